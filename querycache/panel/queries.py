"""The page of queries, by text of SQL, and that of one of them."""

from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from querycache import reports
from querycache.conf import get_config
from querycache.exceptions import Reason, StoreFailed
from querycache.panel import listing, wording
from querycache.panel.listing import Asked, Cell, Column, Figure
from querycache.panel.models import by_number
from querycache.reports import QueryText
from querycache.stats import Queries, QueryStats, Ratios

QUERIES_PER_PAGE: Final = 50


class View(NamedTuple):
    """A question that the list answers: what it is sorted by, and which queries it shows."""

    name: str
    heading: str | Promise
    sort: str
    about: str | Promise
    only_bypassed: bool = False


VIEWS: Final = (
    View(
        "valuable",
        gettext_lazy("Most valuable"),
        "-saved_seconds",
        gettext_lazy("Those that have saved the database the most time."),
    ),
    View(
        "missed",
        gettext_lazy("Most missed"),
        "-misses",
        gettext_lazy("Those for which the database was asked the most, and an entry made."),
    ),
    View(
        "invalidated",
        gettext_lazy("Most invalidated"),
        "-deaths",
        gettext_lazy("Those whose entries were found stale the most, after a write."),
    ),
    View(
        "uncacheable",
        gettext_lazy("Not cacheable"),
        "-bypasses",
        gettext_lazy("Those that went past the cache, and why."),
        only_bypassed=True,
    ),
)


def _number(name: str) -> Column[Ratios]:
    return Column(
        name,
        _HEADINGS[name],
        lambda row: getattr(row, name),
        lambda row: Cell(wording.number(getattr(row, name))),
    )


_HEADINGS: Final = {
    "reads": gettext_lazy("Reads"),
    "hits": gettext_lazy("Hits"),
    "misses": gettext_lazy("Misses"),
    "deaths": gettext_lazy("Deaths"),
}
COLUMNS: Final[tuple[Column[Ratios], ...]] = (
    _number("reads"),
    _number("hits"),
    _number("misses"),
    Column(
        "bypasses",
        gettext_lazy("Bypasses"),
        lambda row: row.bypasses,
        lambda row: Cell(wording.number(row.bypasses), by_number(row.reasons)),
        about=gettext_lazy("Reads that went past the cache, by reason"),
    ),
    _number("deaths"),
    Column(
        "database_us",
        gettext_lazy("Database"),
        lambda row: row.mean_load_us,
        lambda row: Cell(wording.microseconds(row.mean_load_us)),
        about=gettext_lazy("What the database takes for it, on average"),
    ),
    Column(
        "hit_us",
        gettext_lazy("Hit"),
        lambda row: row.mean_hit_us,
        lambda row: Cell(wording.microseconds(row.mean_hit_us)),
        about=gettext_lazy("What a hit takes, on average"),
    ),
    Column(
        "entry_bytes",
        gettext_lazy("Entry"),
        lambda row: row.mean_bytes,
        lambda row: Cell(wording.size(row.mean_bytes)),
        about=gettext_lazy("Bytes of an entry, on average"),
    ),
    Column(
        "saved_seconds",
        gettext_lazy("Time saved"),
        lambda row: row.saved_seconds,
        lambda row: Cell(wording.benefit(row)),
        about=gettext_lazy("Database time saved, less the time of the hits"),
    ),
)


class Line(NamedTuple):
    """A query in the list; ``sql`` is empty if nobody knows it any more."""

    name: str
    sql: str
    model: str
    died_of: str
    died: str
    figures: list[Figure]

    @property
    def cells(self) -> SafeString:
        return listing.cells(self.figures)


def asked_of(request: HttpRequest) -> tuple[View, str, Asked]:
    """Return the view, the model and the order that are asked for."""
    view = next((each for each in VIEWS if each.name == request.GET.get("view")), VIEWS[0])
    model = request.GET.get("model", "")
    model = model if model in known_models() else ""
    asked = listing.asked_of(request, COLUMNS, view.sort, {"view": view.name, "model": model})
    return view, model, asked


def known_models() -> list[str]:
    """Return the labels of all models that are opted in."""
    return sorted({table.label for table in get_config().tables.values()})


def page(request: HttpRequest) -> dict[str, Any]:
    """Return what the page of queries shows."""
    view, model, asked = asked_of(request)
    lines: list[Line] = []
    names: list[str] = []
    failure = None
    try:
        known = reports.queries_by_name()
        names = _names(known, view, model, asked.sort)
        shown = listing.page_of(names, request, QUERIES_PER_PAGE)
        texts = reports.texts_of(shown)
        lines = [_line(known[name], texts[name]) for name in shown]
    except StoreFailed as error:
        failure = str(error)
        shown = listing.page_of(names, request, QUERIES_PER_PAGE)
    return {
        "failure": failure,
        "view": view,
        "views": [
            (each.heading, asked.link(view=each.name, sort=""), each is view) for each in VIEWS
        ],
        "model": model,
        "models": known_models(),
        "asked": asked,
        "headings": listing.headings(COLUMNS, asked),
        "orders": listing.orders(COLUMNS),
        "rows": shown,
        "lines": lines,
        "found": ngettext("%s query", "%s queries", len(names)) % wording.number(len(names)),
    }


def _names(known: Queries, view: View, model: str, sort: str) -> list[str]:
    """Return the names of the queries that are asked for, in order."""
    names = reports.names_of_model(known, model) if model else known
    found = known.each(names)
    if view.only_bypassed:
        found = (query for query in found if query.bypasses)
    return listing.in_order(found, COLUMNS, sort, attrgetter("name"))


def _line(query: QueryStats, text: QueryText) -> Line:
    figures = listing.figures_of(query, COLUMNS)
    died_at = wording.moment(text.died_at)
    died = wording.ago(died_at) if died_at else ""
    return Line(query.name, wording.excerpt(text.sql), text.model, text.died_of, died, figures)


def detail(name: str) -> dict[str, Any] | None:
    """Return what the page of one query shows, None if it is not known. Raises ``StoreFailed``."""
    query = reports.queries_by_name().get(name)
    text = reports.texts_of([name])[name]
    if query is None and not text.sql:
        return None
    query = query or QueryStats(name=name)
    config = get_config()
    return {
        "name": name,
        "query": query,
        "text": text,
        "sql": wording.pretty(text.sql, text.vendor),
        "ttl": wording.duration(text.ttl or None),
        "why_not": explanation(text),
        "figures": [
            *listing.figures_of(query, COLUMNS),
            Figure(_("Hit rate"), wording.hit_rate(query), ""),
            Figure(_("Fills"), wording.number(query.fills), ""),
            Figure(_("Served unasked"), wording.number(query.unasked), ""),
        ],
        "reasons": [
            (reason, Reason(reason).explanation, wording.number(number))
            for reason, number in sorted(query.reasons.items(), key=lambda item: -item[1])
        ],
        "died_at": wording.moment(text.died_at),
        "keeps_parameters": config.shows_parameters,
        "parameters": text.parameters if config.shows_parameters else None,
        "labels": labels_of(text),
    }


def explanation(text: QueryText) -> str:
    """Return why a query is not cacheable, empty if it is."""
    try:
        return Reason(text.reason).explanation
    except ValueError:
        return text.reason  # of a later release


def labels_of(text: QueryText) -> list[str]:
    """Return the models whose tables a query reads, those that are opted in."""
    tables = get_config().tables
    return sorted({tables[name].label for name in text.tables if name in tables})
