"""The page of models: the options in force, the counts, and what to do about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from querycache import reports
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.options import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_ROWS,
    ModelOptions,
    Table,
)
from querycache.panel import listing, wording
from querycache.panel.listing import Cell, Column, Figure
from querycache.querysets import get_stats
from querycache.stats import ModelStats, Stats

MODELS_PER_PAGE: Final = 100
DEFAULT_SORT: Final = "label"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that is opted in; without counts if the store does not answer."""

    table: Table
    counts: ModelStats | None
    advice: str = ""
    figures: list[Figure] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.table.label

    @property
    def cells(self) -> SafeString:
        return listing.cells(self.figures)

    @property
    def options(self) -> list[str]:
        return options_in_force(self.table.options)


def _count(name: str) -> Any:
    def value(row: ModelRow) -> Any:
        return getattr(row.counts, name) if row.counts else None

    return value


def _number(name: str, parts: str = "") -> Any:
    def show(row: ModelRow) -> Cell:
        if row.counts is None:
            return Cell(wording.NOTHING)
        found: Mapping[str, int] = getattr(row.counts, parts) if parts else {}
        return Cell(wording.number(getattr(row.counts, name)), by_number(found))

    return show


def _shown(write: Any, name: str) -> Any:
    return lambda row: Cell(write(_count(name)(row)))


def by_number(parts: Mapping[str, int]) -> str:
    """Return what a number is made of, the most first."""
    most = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {wording.number(number)}" for name, number in most if number)


def _hit_rate(row: ModelRow) -> float | None:
    return row.counts.hit_rate if row.counts and row.counts.reads else None


COLUMNS: Final[tuple[Column[ModelRow], ...]] = (
    Column(
        "label", gettext_lazy("Model"), lambda row: row.label, lambda row: Cell(row.label), False
    ),
    Column(
        "ttl",
        gettext_lazy("TTL"),
        lambda row: row.table.options.ttl,
        lambda row: Cell(wording.duration(row.table.options.ttl)),
        about=gettext_lazy("For how long an answer is kept, at most"),
    ),
    Column("reads", gettext_lazy("Reads"), _count("reads"), _number("reads")),
    Column(
        "hit_rate",
        gettext_lazy("Hit rate"),
        _hit_rate,
        lambda row: Cell(wording.hit_rate(row.counts)),
        about=gettext_lazy("Reads that the cache answered"),
    ),
    Column("hits", gettext_lazy("Hits"), _count("hits"), _number("hits")),
    Column("misses", gettext_lazy("Misses"), _count("misses"), _number("misses")),
    Column("fills", gettext_lazy("Fills"), _count("fills"), _number("fills")),
    Column(
        "bypasses",
        gettext_lazy("Bypasses"),
        _count("bypasses"),
        _number("bypasses", "reasons"),
        about=gettext_lazy("Reads that went past the cache, by reason"),
    ),
    Column(
        "invalidations",
        gettext_lazy("Invalidations"),
        _count("invalidations"),
        _number("invalidations", "causes"),
        about=gettext_lazy("Times that something was made stale, by cause"),
    ),
    Column(
        "database_us",
        gettext_lazy("Database"),
        _count("mean_load_us"),
        _shown(wording.microseconds, "mean_load_us"),
        about=gettext_lazy("What the database takes for a query, on average"),
    ),
    Column(
        "hit_us",
        gettext_lazy("Hit"),
        _count("mean_hit_us"),
        _shown(wording.microseconds, "mean_hit_us"),
        about=gettext_lazy("What a hit takes, on average"),
    ),
    Column(
        "entry_bytes",
        gettext_lazy("Entry"),
        _count("mean_bytes"),
        _shown(wording.size, "mean_bytes"),
        about=gettext_lazy("Bytes of an entry, on average"),
    ),
    Column(
        "saved_seconds",
        gettext_lazy("Net benefit"),
        _count("saved_seconds"),
        lambda row: Cell(wording.benefit(row.counts)),
        about=gettext_lazy("Database time saved, less the time of the hits"),
    ),
)


def options_in_force(options: ModelOptions) -> list[str]:
    """Return the options of a model as its settings write them, those left alone left out."""
    found = []
    if options.max_stale:
        found.append(f"MAX_STALE {wording.duration(options.max_stale)}")
    if options.max_rows != DEFAULT_MAX_ROWS:
        found.append(f"MAX_ROWS {wording.number(options.max_rows)}")
    if options.max_bytes != DEFAULT_MAX_BYTES:
        found.append(f"MAX_BYTES {wording.size(options.max_bytes)}")
    if options.scopes:
        found.append(f"SCOPES {', '.join(options.scopes)}")
    if options.depends_on:
        found.append(f"DEPENDS_ON {', '.join(sorted(options.depends_on))}")
    if not options.delete_signal:
        found.append("DELETE_SIGNAL False")
    return found


def rows_of(stats: Stats | None, advice: Mapping[str, str]) -> list[ModelRow]:
    """Return a row for each model that is opted in."""
    return [
        ModelRow(
            table, stats.models.get(table.label) if stats else None, advice.get(table.label, "")
        )
        for table in get_config().tables.values()
    ]


def chosen(
    request: HttpRequest, stats: Stats | None, advice: Mapping[str, str]
) -> tuple[listing.Asked, list[ModelRow]]:
    """Return what the address asks for, and the models in its order."""
    asked = listing.asked_of(request, COLUMNS, DEFAULT_SORT)
    rows = [
        row
        for row in rows_of(stats, advice)
        if listing.matches(asked.text, row.label, row.table.options.pattern)
    ]
    return asked, listing.in_order(rows, COLUMNS, asked.sort, lambda row: row)


def not_opted_in(stats: Stats, text: str) -> list[tuple[str, int]]:
    """Return the reads of models that are not opted in, the most first."""
    found = [(label, n) for label, n in stats.not_opted_in.items() if listing.matches(text, label)]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def page(request: HttpRequest) -> dict[str, Any]:
    """Return what the page of models shows."""
    stats, failure = None, None
    try:
        stats = get_stats()
    except StoreFailed as error:
        failure = str(error)
    advice = {each.label: each.text for each in reports.advice(stats)} if stats else {}
    asked, rows = chosen(request, stats, advice)
    shown = listing.page_of(rows, request, MODELS_PER_PAGE)
    for row in shown:
        row.figures.extend(listing.figures_of(row, COLUMNS[1:]))
    unopted = not_opted_in(stats, asked.text) if stats else []
    return {
        "failure": failure,
        "asked": asked,
        "headings": listing.headings(COLUMNS, asked),
        "orders": listing.orders(COLUMNS),
        "rows": shown,
        "found": ngettext("%s model", "%s models", len(rows)) % wording.number(len(rows)),
        "not_opted_in": [(label, wording.number(n), advice.get(label, "")) for label, n in unopted],
        "apps": apps_of(get_config().tables.values()),
        "is_opted_in": bool(get_config().tables),
    }


def apps_of(tables: Iterable[Table]) -> list[str]:
    """Return the labels of the apps that have a model that is opted in."""
    return sorted({table.label.partition(".")[0] for table in tables})


def records(request: HttpRequest) -> list[dict[str, Any]]:
    """Return what is exported: raw numbers, in the order and with the filter of the page."""
    stats = get_stats()
    advice = {each.label: each.text for each in reports.advice(stats)}
    asked, rows = chosen(request, stats, advice)
    found = []
    for row in rows:
        options = row.table.options
        record = {"model": row.label, "is_opted_in": True, "pattern": options.pattern}
        record |= {column.name: column.value(row) for column in COLUMNS[1:]}
        record["max_stale"] = options.max_stale
        record["bypasses_by_reason"] = dict(row.counts.reasons) if row.counts else {}
        record["invalidations_by_cause"] = dict(row.counts.causes) if row.counts else {}
        record["advice"] = row.advice
        found.append(record)
    for label, reads in not_opted_in(stats, asked.text):
        empty = dict.fromkeys(found[0], None) if found else {}
        more = {"model": label, "is_opted_in": False, "reads": reads}
        found.append(empty | more | {"advice": advice.get(label, "")})
    return found
