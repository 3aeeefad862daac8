"""``manage.py querycache``: flush, stats and explain."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.explanations import explain
from querycache.management.expressions import EXAMPLE, NotUnderstood, model_named, queryset_from
from querycache.management.figures import bypasses, human_duration, percentage, remarks
from querycache.querysets import flush, get_stats, invalidate
from querycache.stats import ModelStats, Stats

NOTHING_OPTED_IN = (
    "No model is opted in, so nothing is cached.\n"
    'Name models in settings, for example QUERYCACHE = {"MODELS": {"shop.Product": {"TTL": 300}}}.'
)
COLUMNS = (
    "model",
    "reads",
    "hits",
    "misses",
    "hit rate",
    "fills",
    "bypasses",
    "invalidations",
    "time saved",
)


class Command(BaseCommand):
    help = "Look at the query cache, and make it forget."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = (
            "Options that every command has, such as --settings, go before the sub-command."
        )
        commands = parser.add_subparsers(
            title="sub-commands", metavar="{flush,invalidate,stats,explain}"
        )
        commands.required = True

        def add(name: str, run: Callable[..., None], about: str, *examples: str) -> CommandParser:
            shown = "\n".join(f"  manage.py querycache {name}{example}" for example in examples)
            command: CommandParser = commands.add_parser(
                name,
                help=about,
                description=about,
                epilog=f"examples:\n{shown}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            command.set_defaults(run=run)
            return command

        flushing = add(
            "flush",
            self.flush,
            "Forget what was read of some models, or everything.",
            "",
            " shop.Product shop.Review",
        )
        flushing.add_argument("models", nargs="*", metavar="app.Model", help="default: everything")

        invalidating = add(
            "invalidate",
            self.invalidate,
            "Forget what was read of some models that were changed past Django.",
            " shop.Product shop.Review",
            " --database legacy shop.Product",
        )
        invalidating.add_argument("models", nargs="+", metavar="app.Model")
        invalidating.add_argument(
            "--database", metavar="ALIAS", help="the one that has changed; default: every one"
        )

        counts = add(
            "stats",
            self.stats,
            "Show how often the cache answered, by model, summed over all processes.",
            "",
            " --json",
        )
        counts.add_argument(
            "--json", action="store_true", help="for programs: durations in seconds"
        )

        explaining = add(
            "explain",
            self.explain,
            "Say whether a query is cacheable, and why not, without running it.",
            f' "{EXAMPLE}"',
            " \"shop.Product.objects.filter(Q(stock=0) | ~Q(brand__name='Acme'))\"",
            ' --database replica "shop.Product.objects.all()"',
        )
        explaining.add_argument(
            "queryset", help="a model, its manager, and lazy methods with literals, Q and F"
        )
        explaining.add_argument(
            "--database", metavar="ALIAS", help="default: the one that the router reads from"
        )

    def handle(self, *, run: Callable[..., None], **options: Any) -> None:
        try:
            run(**options)
        except NotUnderstood as error:
            raise CommandError(str(error)) from error
        except StoreFailed as error:
            alias = get_config().cache
            raise CommandError(f"the cache '{alias}' does not answer: {error}") from error

    def flush(self, models: list[str], **options: Any) -> None:
        if not models:
            flush()
            self.stdout.write(self.style.SUCCESS("Forgot everything."))
            return
        self.invalidate(models, None)

    def invalidate(self, models: list[str], database: str | None, **options: Any) -> None:
        _check_alias(database)
        targets = [model_named(label) for label in models]
        for target in targets:
            if target not in get_config().models:
                raise CommandError(
                    f"{target._meta.label} is not opted in: QUERYCACHE['MODELS'] does not name it"
                )
        invalidate(*targets, using=database)
        labels = ", ".join(target._meta.label for target in targets)
        self.stdout.write(self.style.SUCCESS(f"Forgot what was read of {labels}."))

    def stats(self, *, json: bool, **options: Any) -> None:
        stats = get_stats()
        if json:
            self.stdout.write(_as_json(stats))
        elif not stats.models:
            self.stdout.write(NOTHING_OPTED_IN)
        else:
            rows = [*stats.models.items(), ("total", stats.total)]
            header, *lines = _aligned([COLUMNS, *(_cells(*row) for row in rows)])
            self.stdout.write(self.style.MIGRATE_HEADING(header))
            self.stdout.write("\n".join(lines))
            self._show_bypasses(stats)
            for remark, is_trouble in remarks(stats):
                self.stdout.write(self.style.WARNING(remark) if is_trouble else remark)

    def _show_bypasses(self, stats: Stats) -> None:
        found = bypasses(stats)
        if not found:
            return
        header = ("bypasses of", "reads", "reason")
        rows = [(label, f"{number:,}", str(reason)) for label, reason, number in found]
        heading, *lines = _aligned([header, *rows], left=(0, 2))
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n{heading}"))
        for line, (_, reason, _) in zip(lines, found, strict=True):
            self.stdout.write(f"{line}  {reason.explanation}")

    def explain(self, queryset: str, database: str | None, **options: Any) -> None:
        _check_alias(database)
        try:
            explanation = explain(queryset_from(queryset, database))
        except NotUnderstood:
            raise
        # Names are resolved when the SQL is made, and Django raises what it likes for wrong ones.
        except Exception as error:
            raise CommandError(f"Django cannot make SQL of this: {error}") from error
        self.stdout.write(str(explanation))


def _check_alias(database: str | None) -> None:
    if database is not None and database not in connections:
        raise CommandError(f"no database '{database}'; there are {', '.join(connections)}")


def _cells(label: str, counts: ModelStats) -> tuple[str, ...]:
    return (
        label,
        f"{counts.reads:,}",
        f"{counts.hits:,}",
        f"{counts.misses:,}",
        percentage(counts.hit_rate) if counts.reads else "-",
        f"{counts.fills:,}",
        f"{counts.bypasses:,}",
        f"{counts.invalidations:,}",
        human_duration(counts.saved_seconds),
    )


def _aligned(rows: list[tuple[str, ...]], left: tuple[int, ...] = (0,)) -> Iterator[str]:
    """Return lines of columns; ``left`` are the numbers of those that hold no figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        yield "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in cells
        ).rstrip()


def _as_json(stats: Stats) -> str:
    def values(counts: ModelStats) -> dict[str, Any]:
        return asdict(counts) | {
            "reads": counts.reads,
            "bypasses": counts.bypasses,
            "hit_rate": counts.hit_rate,
            "saved_seconds": counts.saved_seconds,
        }

    document = {
        "cache": get_config().cache,
        "models": {label: values(counts) for label, counts in stats.models.items()},
        "total": values(stats.total),
        "incidents": stats.incidents,
        "late_writes": stats.late_writes,
    }
    return json.dumps(document, indent=2)
