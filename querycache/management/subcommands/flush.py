"""``manage.py querycache flush``."""

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from querycache.management.subcommands.base import Subcommand
from querycache.management.subcommands.invalidate import forget
from querycache.querysets import flush


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("models", nargs="*", metavar="app.Model", help="default: everything")


def run(command: BaseCommand, *, models: list[str], **options: Any) -> None:
    if models:
        forget(command, models)
        return
    flush()
    command.stdout.write(command.style.SUCCESS("Forgot everything."))


FLUSH: Final = Subcommand(
    "flush",
    "Forget what was read of some models, or everything.",
    ("", "shop.Product shop.Review"),
    add_arguments,
    run,
)
