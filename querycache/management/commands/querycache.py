"""``manage.py querycache``: takes the arguments apart, and has a sub-command run."""

import argparse
import os
import sys
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.management.expressions import NotUnderstood
from querycache.management.secrets import reason_of
from querycache.management.subcommands import SUBCOMMANDS
from querycache.management.subcommands.base import Subcommand

_UNREAD: Final = 141
"""The exit code of a program that was ended by SIGPIPE, as shells have it."""


class Command(BaseCommand):
    help = "Look at the query cache, steer it, and make it forget."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = (
            "Options that every command has, such as --settings, go before the sub-command."
        )
        names = ",".join(one.name for one in SUBCOMMANDS)
        commands = parser.add_subparsers(title="sub-commands", metavar=f"{{{names}}}")
        commands.required = True
        for one in SUBCOMMANDS:
            lines = (f"  manage.py querycache {one.name} {text}".rstrip() for text in one.examples)
            command: CommandParser = commands.add_parser(
                one.name,
                help=one.about,
                description=one.about,
                epilog="\n".join(["examples:", *lines]),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            command.set_defaults(subcommand=one)
            if one.judges_settings:
                command.set_defaults(skip_checks=True)
            one.add_arguments(command)

    def execute(self, *args: Any, **options: Any) -> str | None:
        # Django looks at sys.stdout only, and knows no NO_COLOR (https://no-color.org).
        out = options.get("stdout") or self.stdout
        is_plain = bool(os.environ.get("NO_COLOR")) or not (hasattr(out, "isatty") and out.isatty())
        if is_plain and not options["force_color"]:
            options["no_color"] = True
        return super().execute(*args, **options)

    def handle(self, *, subcommand: Subcommand, **options: Any) -> None:
        try:
            subcommand.run(self, **options)
        except NotUnderstood as error:
            raise CommandError(str(error)) from error
        except StoreFailed as error:
            reason = reason_of(error.__cause__ or error)
            message = f"the cache '{get_config().cache}' does not answer: {reason}"
            raise CommandError(message) from error
        except BrokenPipeError:  # who read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered
            sys.exit(_UNREAD)
