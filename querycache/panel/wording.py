"""How figures, moments and SQL are written for people."""

import functools
import re
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from querycache import sql
from querycache.exceptions import Uncacheable
from querycache.management.figures import human_duration, percentage
from querycache.stats import Ratios

NOTHING: Final = "–"
_EXCERPT: Final = 200
_LEFT_OUT: Final = (
    (re.compile(r"(?:%s|NULL)(?:, (?:%s|NULL)){2,}"), "%s, …"),
    (re.compile(r" ON \([^()]*\)"), ""),
    (re.compile(r"[\"`]"), ""),
)
"""What does not tell a statement from others: how long lists are, how tables are joined, quotes."""
_LONG_COLUMNS: Final = 40
_TOO_LONG_TO_FORMAT: Final = 20_000


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number as the language writes it."""
    if value is None:
        return NOTHING
    return number_format(value, decimals, use_l10n=True, force_grouping=True)


def duration(seconds: float | None) -> str:
    """Return seconds in a unit that suits them; below a millisecond that is a microsecond."""
    if seconds is None:
        return NOTHING
    if 0 < abs(seconds) < 0.001:
        return f"{seconds * 1_000_000:,.0f} µs"
    return human_duration(seconds)


def microseconds(value: float | None) -> str:
    """Return microseconds in a unit that suits them."""
    return NOTHING if value is None else duration(value / 1_000_000)


def size(value: float | None) -> str:
    """Return bytes in a unit that suits them."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024 or unit == "MiB":
            break
        value /= 1024
    return f"{number(value, 0 if unit == 'B' else 1)} {unit}"


def benefit(counts: Ratios | None) -> str:
    """Return the database time that was saved, if anything was."""
    return duration(counts.saved_seconds if counts and counts.hits else None)


def hit_rate(counts: Ratios | None) -> str:
    """Return the share of reads that the cache answered."""
    return percentage(counts.hit_rate) if counts and counts.reads else NOTHING


def moment(unix_time: Any) -> datetime | None:
    """Return a Unix time as the settings want it; None for what is none."""
    try:
        if settings.USE_TZ:
            return timezone.localtime(datetime.fromtimestamp(unix_time, UTC))
        return datetime.fromtimestamp(unix_time)  # noqa: DTZ006  the settings say so
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def time_of_day(unix_time: float) -> str:
    """Return hours and minutes."""
    when = moment(unix_time)
    return date_format(when, "TIME_FORMAT") if when else NOTHING


def day_and_time(unix_time: float) -> str:
    """Return the day with hours and minutes."""
    when = moment(unix_time)
    return date_format(when, "SHORT_DATETIME_FORMAT") if when else NOTHING


def ago(when: datetime) -> str:
    """Return for how long a moment has been over."""
    now = timezone.now() if settings.USE_TZ else datetime.now()  # noqa: DTZ005
    seconds = (now - when).total_seconds()
    if seconds < 60:
        return _("%s s ago") % number(max(0, int(seconds)))
    return _("%s ago") % timesince(when, now, depth=1)


def excerpt(statement: str) -> str:
    """Return what tells a statement from others, in a line or two; its page has all of it."""
    head, found, rest = statement.partition(" FROM ")
    if found and len(head) > _LONG_COLUMNS and head.startswith("SELECT "):
        statement = " ".join(["SELECT …", "FROM", rest])
    for part, instead in _LEFT_OUT:
        statement = part.sub(instead, statement)
    return statement if len(statement) <= _EXCERPT else f"{statement[:_EXCERPT]}…"


_PLACEHOLDERS: Final = re.compile(r"%s|%\(\w+\)s")
_STAND_IN: Final = "querycache_parameter"
"""What the parser takes for a column where a parameter stands: not all dialects understand %s."""


@functools.lru_cache(maxsize=500)
def pretty(statement: str, vendor: str) -> str:
    """Return SQL with a line for each clause, or as it is if it is not understood."""
    from sqlglot.errors import SqlglotError

    if len(statement) > _TOO_LONG_TO_FORMAT:
        return statement
    plain = _PLACEHOLDERS.sub(_STAND_IN, statement).replace("%%", "%")
    try:
        trees, _tokens = sql.parse(plain, vendor)
        lines = [tree.sql(sql.DIALECTS.get(vendor), pretty=True) for tree in trees]
    except (Uncacheable, SqlglotError, ValueError, RecursionError):
        return statement
    return "\n".join(lines).replace(_STAND_IN, "%s")
