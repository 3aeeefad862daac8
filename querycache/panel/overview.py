"""The first page: how the cache does, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from querycache import breaker, debts, reports
from querycache.checks import check_settings
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.management.figures import remarks
from querycache.panel import charts, wording
from querycache.querysets import get_stats
from querycache.series import Resolution, Step
from querycache.stats import Stats

MOST_ADVICE: Final = 5
"""Pieces of advice that the overview shows; the page of models shows all."""


class Tile(NamedTuple):
    """A figure, and what it is of."""

    label: str
    figure: str
    detail: str
    is_trouble: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What the store said, None where it did not."""

    stats: Stats | None = None
    steps: list[Step] | None = None
    rates: tuple[float, float] | None = None
    failure: str | None = None


def figures_of(resolution: Resolution) -> Figures:
    """Ask the store, and no more once it has not answered."""
    try:
        stats = get_stats()
        steps = reports.series(resolution)
        last_hour = steps if resolution is Resolution.HOUR else reports.series(Resolution.HOUR)
    except StoreFailed as error:
        return Figures(failure=str(error))
    return Figures(stats, steps, reports.rates(last_hour, Resolution.HOUR.seconds))


def overview(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows."""
    span = request.GET.get("span", "")
    span = span if span in charts.SPANS else "hour"
    resting = breaker.resting_since()  # before the store is asked, and may answer again
    figures = figures_of(charts.SPANS[span])
    stats, config = figures.stats, get_config()
    context = {
        "failure": figures.failure,
        "alias": config.cache,
        "backend": settings.CACHES.get(config.cache, {}).get("BACKEND"),
        "resting": wording.moment(resting),
        "debts": len(debts.owed) + len(debts.unfenced),
        "problems": check_settings(),
        "remarks": list(remarks(stats)) if stats else [],
        "advice": most_important(reports.advice(stats)) if stats else [],
        "is_opted_in": bool(config.tables),
        "tiles": tiles(figures),
        "spans": [
            ("hour", _("Last hour"), span == "hour"),
            ("day", _("Last day"), span == "day"),
            ("week", _("Last week"), span == "week"),
        ],
    }
    if figures.steps:
        labels = charts.labels_of(charts.SPANS[span], figures.steps)
        context["charts"] = charts.charts_of(figures.steps, labels)
        context["axis"] = charts.axis_of(labels)
        context["lines"] = charts.lines_of(figures.steps, labels)
    return context


def most_important(advice: Iterable[reports.Advice]) -> list[reports.Advice]:
    """Return a few pieces of advice, those before all others that tell of a trouble."""
    return sorted(advice, key=lambda each: not each.is_trouble)[:MOST_ADVICE]


def tiles(figures: Figures) -> list[Tile]:
    """Return the figures of all models together."""
    stats = figures.stats
    if stats is None or figures.rates is None:
        return []
    total = stats.total
    reads, invalidations = figures.rates
    verified = _("of %s hits that were verified") % wording.number(total.verified)
    return [
        Tile(
            _("Hit rate"),
            wording.hit_rate(total),
            _("of %s reads, answered by the cache") % wording.number(total.reads),
        ),
        Tile(
            _("Time saved"),
            wording.duration(total.saved_seconds),
            _("of the database, less the time of the hits"),
            total.saved_seconds < 0,
        ),
        Tile(_("Reads per second"), wording.number(reads, 1), _("in the last full minute")),
        Tile(
            _("Invalidations per second"),
            wording.number(invalidations, 1),
            _("by writes, in the last full minute"),
        ),
        Tile(
            _("Served unasked"),
            wording.number(total.unasked),
            _("hits within MAX_STALE, without asking the store"),
        ),
        Tile(
            _("Incidents"),
            wording.number(stats.incidents),
            _("fences that the store lost before their release"),
            stats.incidents > 0,
        ),
        Tile(
            _("Late writes"),
            wording.number(stats.late_writes),
            _("published when the store answered again"),
            stats.late_writes > 0,
        ),
        Tile(
            _("Verify mismatches"),
            wording.number(total.mismatches),
            verified if total.verified else _("nothing is verified: VERIFY is 0"),
            total.mismatches > 0,
        ),
    ]
