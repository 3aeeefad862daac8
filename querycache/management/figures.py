"""Figures as people read them, in the terminal and in the admin."""

from collections.abc import Iterator

from django.utils.translation import gettext as _

from querycache.exceptions import Reason
from querycache.stats import Stats

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))


def human_duration(seconds: float) -> str:
    """Return a duration in its largest unit that leaves a figure before the point: "1.5 min"."""
    size, unit = next((unit for unit in _UNITS if abs(seconds) >= unit[0]), _UNITS[-1])
    amount = round(seconds / size, 1) + 0.0  # the sum makes no -0.0
    return f"{amount:,.1f}".removesuffix(".0") + f" {unit}"


def percentage(share: float) -> str:
    """Return a share of 0.0 to 1.0 as percent, which is 100 only where nothing is missing."""
    return f"{share if share == 1 else min(share, 0.999):.1%}"


def bypasses(stats: Stats) -> list[tuple[str, Reason, int]]:
    """Return the model, the reason and the number of all bypasses, the most frequent first."""
    found = [
        (label, Reason(reason), number)
        for label, counts in stats.models.items()
        for reason, number in counts.reasons.items()
    ]
    return sorted(found, key=lambda item: (-item[2], item[0]))


def remarks(stats: Stats) -> Iterator[tuple[str, bool]]:
    """Yield what is to be said beside the figures, and whether it is a trouble."""
    verified, mismatches = stats.total.verified, stats.total.mismatches
    if verified:
        text = _("Verified hits: %(verified)s. Different from the database: %(mismatches)s.")
        yield text % {"verified": f"{verified:,}", "mismatches": f"{mismatches:,}"}, mismatches > 0
    if stats.incidents:
        text = _("Fences that the cache lost before their release: %s. Is it short of memory?")
        yield text % f"{stats.incidents:,}", True
    if stats.late_writes:
        text = _("Writes published late, because the cache did not answer: %s.")
        yield text % f"{stats.late_writes:,}", True
