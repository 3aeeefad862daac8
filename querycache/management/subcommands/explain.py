"""``manage.py querycache explain``."""

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from querycache.explanations import explain
from querycache.management.expressions import EXAMPLE, NotUnderstood, queryset_from
from querycache.management.subcommands.base import Subcommand, check_alias


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "queryset", help="a model, its manager, and lazy methods with literals, Q and F"
    )
    parser.add_argument(
        "--database", metavar="ALIAS", help="default: the one that the router reads from"
    )


def run(command: BaseCommand, *, queryset: str, database: str | None, **options: Any) -> None:
    check_alias(database)
    try:
        explanation = explain(queryset_from(queryset, database))
    except NotUnderstood:
        raise
    # Names are resolved when the SQL is made, and Django raises what it likes for wrong ones.
    except Exception as error:
        raise CommandError(f"Django cannot make SQL of this: {error}") from error
    command.stdout.write(str(explanation))


EXPLAIN: Final = Subcommand(
    "explain",
    "Say whether a query is cacheable, and why not, without running it.",
    (
        f'"{EXAMPLE}"',
        "\"shop.Product.objects.filter(Q(stock=0) | ~Q(brand__name='Acme'))\"",
        '--database replica "shop.Product.objects.all()"',
    ),
    add_arguments,
    run,
)
