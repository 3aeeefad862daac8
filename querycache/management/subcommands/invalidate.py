"""``manage.py querycache invalidate``."""

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from querycache.conf import get_config
from querycache.management.expressions import model_named
from querycache.management.subcommands.base import Subcommand, check_alias
from querycache.querysets import invalidate


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("models", nargs="+", metavar="app.Model")
    parser.add_argument(
        "--database", metavar="ALIAS", help="the one that has changed; default: every one"
    )


def run(command: BaseCommand, *, models: list[str], database: str | None, **options: Any) -> None:
    check_alias(database)
    forget(command, models, database)


def forget(command: BaseCommand, labels: list[str], database: str | None = None) -> None:
    """Forget what was read of all of these models, or of none if one of them is wrong."""
    targets = [model_named(label) for label in labels]
    for target in targets:
        if target not in get_config().models:
            raise CommandError(
                f"{target._meta.label} is not opted in: QUERYCACHE['MODELS'] does not name it"
            )
    invalidate(*targets, using=database)
    names = ", ".join(target._meta.label for target in targets)
    command.stdout.write(command.style.SUCCESS(f"Forgot what was read of {names}."))


INVALIDATE: Final = Subcommand(
    "invalidate",
    "Forget what was read of some models that were changed past Django.",
    ("shop.Product shop.Review", "--database legacy shop.Product"),
    add_arguments,
    run,
)
