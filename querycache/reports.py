"""
What the counters say, put together for people: charts, queries, events, and what to do about it.

Every function asks the store, and raises ``StoreFailed`` if it does not answer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from querycache import counts as counters
from querycache.counting import statistics
from querycache.exceptions import Reason
from querycache.series import Resolution, Step, group_of, steps_until
from querycache.stats import QUERIES, ModelStats, Queries, QueryStats, Stats


def series(resolution: Resolution, now: float | None = None) -> list[Step]:
    """Return what was counted in each step of a chart, the last one that of now."""
    statistics.publish()
    starts = steps_until(resolution, time() if now is None else now)
    counts = counters.read_counts(*(group_of(resolution, start) for start in starts))
    names = Step.__dataclass_fields__.keys() - {"at"}
    return [
        Step(at, **{name: found[name] for name in names if name in found})
        for at, found in zip(starts, counts, strict=True)
    ]


def rates(steps: Sequence[Step], seconds: int) -> tuple[float, float]:
    """Return reads and invalidations a second, of the last step that is over."""
    last = steps[-2]
    return last.reads / seconds, last.invalidations / seconds


# Queries ------------------------------------------------------------------------------------------


def queries() -> list[QueryStats]:
    """Return the counts of all queries that are known, by text of SQL."""
    return list(queries_by_name().values())


def queries_by_name() -> Queries:
    """Return the same by the name of each query; what is not asked for is not made."""
    statistics.publish()
    (counts,) = counters.read_counts(QUERIES)
    return Queries(counts)


@dataclass(frozen=True, slots=True)
class QueryText:
    """
    What the name of a query stands for.

    ``sql`` has no values in it. ``reason`` and ``detail`` say why it is not cacheable, if it is
    not. ``died_of`` is what the last stale entry died of, at the Unix time ``died_at``.
    ``parameters`` are those of one such query, if the settings allow to show them.
    """

    sql: str = ""
    vendor: str = ""
    model: str = ""
    tables: Sequence[str] = ()
    ttl: float = 0.0
    pattern: str = ""
    reason: str = ""
    detail: str = ""
    died_of: str = ""
    died_at: float | None = None
    parameters: Sequence[str] | None = None


def texts_of(names: Iterable[str]) -> dict[str, QueryText]:
    """Return what these names stand for; nothing but a name may be left of an old one."""
    names = list(names)
    wanted = [f"{name}{part}" for name in names for part in ("", ":died", ":parameters")]
    found = {name: _parsed(text) for name, text in counters.read_texts(wanted).items()}
    texts = {}
    for name in names:
        text, died = found.get(name, {}), found.get(f"{name}:died", {})
        example = found.get(f"{name}:parameters", {})
        texts[name] = QueryText(
            **_known(text, _OF_TEXT),
            **_known({"died_of": died.get("reason"), "died_at": died.get("at")}, _OF_DEATH),
            **_known({"parameters": example.get("values")}, {"parameters": list}),
        )
    return texts


_OF_TEXT: Final = {
    "sql": str, "vendor": str, "model": str, "tables": list, "ttl": (int, float), "pattern": str,
    "reason": str, "detail": str,
}  # fmt: skip
_OF_DEATH: Final = {"died_of": str, "died_at": (int, float)}


def _known(parsed: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is of the kind it should be: others may write into the store, too."""
    found = {
        name: parsed[name] for name, kind in kinds.items() if isinstance(parsed.get(name), kind)
    }
    return {
        name: [str(each) for each in value] if isinstance(value, list) else value
        for name, value in found.items()
    }


def names_of_model(names: Iterable[str], label: str) -> list[str]:
    """Return those of the names that stand for queries of a model."""
    sign = json.dumps({"model": label}).encode()[1:-1]  # so that few of many texts are parsed
    found = counters.read_texts(list(names))
    return [
        name for name, text in found.items() if sign in text and _parsed(text).get("model") == label
    ]


def _parsed(text: bytes) -> dict[str, Any]:
    """Return what a text says, nothing if it is not one of ours."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


# Events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """
    An invalidation.

    ``at`` is Unix time, ``using`` the alias of the database. ``tables`` are those in which rows
    have changed: so many ``rows``, None if it may be any. ``causes`` are values of ``Cause``, and
    ``site`` is the line of code that wrote, while ``DEBUG`` is on.
    """

    at: float = 0.0
    using: str = ""
    tables: Sequence[str] = ()
    rows: int | None = None
    causes: Sequence[str] = ()
    site: str = ""


def events() -> list[Event]:
    """Return the last invalidations of all processes, the newest first."""
    statistics.publish()
    found = [
        Event(**_known(parsed, _OF_EVENT))
        for parsed in map(_parsed, counters.read_events())
        if parsed
    ]
    return sorted(found, key=lambda event: -event.at)


_OF_EVENT: Final = {
    "at": (int, float), "using": str, "tables": list, "rows": int, "causes": list, "site": str,
}  # fmt: skip


# Advice -------------------------------------------------------------------------------------------

_ENOUGH_READS: Final = 100
_OFTEN: Final = 5
"""Times that a table is invalidated for each hit, from which on it is not worth to be cached."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about the figures of a model. ``is_trouble`` says that something is to be done."""

    label: str
    text: str
    is_trouble: bool = field(default=True)


def advice(stats: Stats) -> Iterator[Advice]:
    """Yield what the counts suggest, in plain words; nothing where all is well."""
    for label, counts in stats.models.items():
        text = _advice(counts)
        if text:
            yield Advice(label, text)
    most = sorted(stats.not_opted_in.items(), key=lambda item: -item[1])
    for label, number in most[:_MOST_NOT_OPTED_IN]:
        if number >= _ENOUGH_READS:
            text = ngettext(
                "%(number)s read went to the database because it is not opted in.",
                "%(number)s reads went to the database because it is not opted in.",
                number,
            )
            yield Advice(label, text % {"number": f"{number:,}"}, is_trouble=False)


_MOST_NOT_OPTED_IN: Final = 5


def _advice(counts: ModelStats) -> str:
    if counts.mismatches:
        return _("Verified hits differed from the database: see the log, and flush the model.")
    return _advice_to_save(counts) if counts.reads >= _ENOUGH_READS else ""


def _advice_to_save(counts: ModelStats) -> str:
    if counts.invalidations > counts.hits * _OFTEN:
        return _(
            "Invalidated %(invalidations)s times and hit %(hits)s times: not worth caching."
        ) % {"invalidations": f"{counts.invalidations:,}", "hits": f"{counts.hits:,}"}
    if counts.hits >= _ENOUGH_READS and counts.saved_seconds < 0:
        return _("Hits take longer than the database: not worth caching.")
    if counts.bypasses * 2 > counts.reads:
        reason, number = max(counts.reasons.items(), key=lambda item: item[1])
        return _("%(number)s of %(reads)s reads went past the cache: %(reason)s.") % {
            "number": f"{number:,}",
            "reads": f"{counts.reads:,}",
            "reason": Reason(reason).explanation,
        }
    if counts.deaths * 2 > counts.reads:
        return _("Most entries are made stale before they are read again.")
    return ""
