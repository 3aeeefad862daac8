"""``manage.py querycache stats``."""

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from time import monotonic, sleep, strftime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.core.management.color import Style

from querycache.conf import get_config
from querycache.exceptions import Reason, StoreFailed
from querycache.management.figures import bypasses, human_duration, percentage, remarks
from querycache.management.subcommands.base import Subcommand
from querycache.management.terminal import Line, Redrawn, aligned, is_terminal
from querycache.querysets import get_stats
from querycache.stats import ModelStats, Stats

NOTHING_OPTED_IN: Final = (
    "No model is opted in, so nothing is cached.\n"
    'Name models in settings, for example QUERYCACHE = {"MODELS": {"shop.Product": {"TTL": 300}}}.'
)
WATCH_SECONDS: Final = 2.0


def _number(name: str) -> Callable[[ModelStats], str]:
    return lambda counts: f"{getattr(counts, name):,}"


def _hit_rate(counts: ModelStats) -> str:
    return percentage(counts.hit_rate) if counts.reads else "-"


COLUMNS: Final[Mapping[str, Callable[[ModelStats], str]]] = {
    "reads": _number("reads"),
    "hits": _number("hits"),
    "misses": _number("misses"),
    "hit rate": _hit_rate,
    "fills": _number("fills"),
    "bypasses": _number("bypasses"),
    "invalidations": _number("invalidations"),
    "time saved": lambda counts: human_duration(counts.saved_seconds),
}
RATES: Final = ("reads", "hits", "misses", "fills", "bypasses", "invalidations")
"""What ``--watch`` shows per second."""


def add_arguments(parser: CommandParser) -> None:
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="for programs: durations in seconds")
    forms.add_argument(
        "--watch",
        nargs="?",
        const=WATCH_SECONDS,
        type=_seconds,
        metavar="SECONDS",
        help=f"show rates, anew every {WATCH_SECONDS:g} or so many seconds, until Ctrl-C",
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")


def run(command: BaseCommand, *, json: bool, watch: float | None, **options: Any) -> None:
    if watch is not None:
        try:
            _watch(command, watch)
        except KeyboardInterrupt:
            if is_terminal(command.stdout):
                command.stdout.write()  # after the ^C that it shows
        return
    stats = get_stats()
    if json:
        command.stdout.write(as_json(stats))
    elif not stats.models:
        command.stdout.write(NOTHING_OPTED_IN)
    else:
        rows = ((label, *_cells(counts)) for label, counts in _labelled(stats))
        table = [("model", *COLUMNS), *rows]
        for line in (*_lines(table, command.style), *_notes(stats, command.style)):
            command.stdout.write(line.paint(line.text))


def _labelled(stats: Stats) -> Iterator[tuple[str, ModelStats]]:
    yield from stats.models.items()
    yield "total", stats.total


def _cells(counts: ModelStats) -> Iterator[str]:
    return (cell(counts) for cell in COLUMNS.values())


def _lines(table: list[tuple[str, ...]], style: Style) -> Iterator[Line]:
    header, *lines = aligned(table)
    yield Line(header, style.MIGRATE_HEADING)
    yield from map(Line, lines)


def _notes(stats: Stats, style: Style) -> Iterator[Line]:
    """Yield what stands below the table: bypasses and their reasons, and what else there is."""
    found = bypasses(stats)
    if found:
        yield Line("")
        yield from lines_of_bypasses(found, style)
    for remark, is_trouble in remarks(stats):
        yield Line(remark, style.WARNING if is_trouble else str)


def lines_of_bypasses(found: list[tuple[str, Reason, int]], style: Style) -> Iterator[Line]:
    """Yield a table of bypasses: the model, the reason, and how many."""
    header = ("bypasses of", "reads", "reason")
    rows = [(label, f"{number:,}", str(reason)) for label, reason, number in found]
    heading, *lines = aligned([header, *rows], left=(0, 2))
    yield Line(heading, style.MIGRATE_HEADING)
    for line, (_, reason, _) in zip(lines, found, strict=True):
        yield Line(f"{line}  {reason.explanation}")


def as_json(stats: Stats) -> str:
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
    }
    of_no_model = {name: count for name, count in asdict(stats).items() if name != "models"}
    return json.dumps(document | of_no_model, indent=2)


# --watch ------------------------------------------------------------------------------------------


def _watch(command: BaseCommand, seconds: float) -> None:
    """Show the statistics again and again; a store that fails later is waited for."""
    redrawn = Redrawn(command.stdout)
    in_place = is_terminal(command.stdout)
    before, seen = get_stats(), monotonic()
    now: Stats | None = before
    elapsed = 0.0
    while True:
        title = f"{strftime('%H:%M:%S')}, every {seconds:g} s until Ctrl-C"
        lines = [Line(title)]
        if now is None:
            lines.append(Line("The cache does not answer.", command.style.ERROR))
        elif not now.models:
            lines += map(Line, NOTHING_OPTED_IN.splitlines())
        else:
            lines += _lines(_table_of_rates(before, now, elapsed), command.style)
            lines += _notes(now, command.style)
            before = now
        if in_place:
            redrawn.draw(lines)
        else:
            shown = "".join(f"{line.paint(line.text)}\n" for line in lines)
            command.stdout.write(f"{shown}\n", ending="")
            command.stdout.flush()
        sleep(seconds)
        try:
            now, asked = get_stats(), monotonic()
            elapsed, seen = asked - seen, asked
        except StoreFailed:
            now = None


def _table_of_rates(before: Stats, now: Stats, seconds: float) -> list[tuple[str, ...]]:
    """
    Return the table of ``--watch``, with the total and the busiest models at the top.

    Without seconds, before the first interval, the rates are dashes.
    """
    earlier = dict(_labelled(before))

    def grown(label: str, counts: ModelStats, name: str) -> int:
        return int(getattr(counts, name) - getattr(earlier.get(label, _NOTHING), name))

    def busyness(row: tuple[str, ModelStats]) -> tuple[int, int]:
        return grown(*row, "reads"), row[1].reads

    busiest = sorted(now.models.items(), key=busyness, reverse=True)
    table = [("model", "reads", "hit rate", *(f"{name}/s" for name in RATES))]
    for label, counts in [("total", now.total), *busiest]:
        rates = (_rate(grown(label, counts, name), seconds) for name in RATES)
        table.append((label, COLUMNS["reads"](counts), _hit_rate(counts), *rates))
    return table


_NOTHING: Final = ModelStats()


def _rate(number: int, seconds: float) -> str:
    """Return how many there were per second; a dash if the counts began anew in between."""
    if not seconds or number < 0:
        return "-"
    rate = number / seconds
    return f"{rate:,.1f}" if 0 < rate < 100 else f"{rate:,.0f}"


STATS: Final = Subcommand(
    "stats",
    "Show how often the cache answered, by model, summed over all processes.",
    ("", "--json", "--watch", "--watch 10"),
    add_arguments,
    run,
)
