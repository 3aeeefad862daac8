"""
What is counted, by model and by query: names, and their arithmetic.

The store keeps counters in groups. One holds the totals of each model, one those of each query.
"""

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from heapq import nsmallest
from typing import Any, Final

from querycache.exceptions import Reason

TOTALS: Final = "totals"
QUERIES: Final = "queries"
"""Names of groups."""
MOST_EVENTS: Final = 200
"""How many of the newest events are kept."""


class Cause(enum.StrEnum):
    """What kind of change made something stale."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    SQL = "sql"
    """A statement that Django's ORM has not made; a procedure; COPY."""
    SIGNAL = "signal"
    """A signal that somebody has sent by hand."""
    CALL = "call"
    """``invalidate()``."""


class Ratios:
    """What follows from the counts of a model or of a query, however these are kept."""

    __slots__ = ()

    hits: int
    misses: int
    fills: int
    hit_us: int
    load_us: int
    fill_us: int
    fill_bytes: int
    reasons: Mapping[str, int]

    @property
    def bypasses(self) -> int:
        """How many reads went to the database, for whatever reason."""
        return sum(self.reasons.values())

    @property
    def reads(self) -> int:
        """How many reads there were, answered from the cache or not."""
        return self.hits + self.misses + self.bypasses

    @property
    def hit_rate(self) -> float:
        """The share of all reads that the cache answered, 0.0 to 1.0."""
        return self.hits / self.reads if self.reads else 0.0

    @property
    def saved_seconds(self) -> float:
        """Seconds of database time that hits have saved, less what the hits themselves took."""
        return (self.load_us - self.hit_us) / 1_000_000

    @property
    def mean_hit_us(self) -> float | None:
        """Microseconds of a hit, None before the first."""
        return self.hit_us / self.hits if self.hits else None

    @property
    def mean_load_us(self) -> float | None:
        """Microseconds of a SELECT whose rows were stored, None before the first."""
        return self.fill_us / self.fills if self.fills else None

    @property
    def mean_bytes(self) -> float | None:
        """Bytes of an entry in the store, None before the first."""
        return self.fill_bytes / self.fills if self.fills else None


@dataclass(frozen=True, slots=True)
class Counts(Ratios):
    """
    What is counted of a model and of a query alike.

    ``unasked`` are those of the hits that were answered within ``MAX_STALE``, without asking the
    store. ``hit_us`` are the microseconds that hits took, ``load_us`` those that the database had
    taken for the rows of these hits; ``fill_us`` those of the SELECTs whose rows were stored, in
    ``fill_bytes`` bytes. ``deaths`` are the entries that a read has found stale.
    """

    hits: int = 0
    unasked: int = 0
    misses: int = 0
    fills: int = 0
    deaths: int = 0
    hit_us: int = 0
    load_us: int = 0
    fill_us: int = 0
    fill_bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Of the bypasses, by the value of their ``Reason``."""


@dataclass(frozen=True, slots=True)
class ModelStats(Counts):
    """
    The counts of one model, or of all of them.

    ``invalidations`` are the times that something of the model was made stale, by ``causes``. Of
    ``verified`` hits the database was asked too, and ``mismatches`` differed from it without an
    explanation.
    """

    invalidations: int = 0
    verified: int = 0
    mismatches: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    """Of the invalidations, by the value of their ``Cause``; a transaction may have several."""

    def __add__(self, other: "ModelStats") -> "ModelStats":
        return ModelStats(
            **{name: getattr(self, name) + getattr(other, name) for name in COUNTED},
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
            causes=dict(Counter(self.causes) + Counter(other.causes)),
        )


_BY_NAME: Final = ("reasons", "causes")
COUNTED: Final = tuple(each.name for each in fields(ModelStats) if each.name not in _BY_NAME)
_OF_QUERY: Final = tuple(each.name for each in fields(Counts) if each.name not in _BY_NAME)
REASONS: Final = tuple(reason.value for reason in Reason)
UNOPTED: Final = "unopted"
"""What is counted of a model that is not opted in: its reads."""


@dataclass(frozen=True, slots=True)
class Stats:
    """
    The counts of each opted-in model by its label, and their sum.

    ``incidents`` are fences that the store lost before their release: for moments a reader may have
    been given old rows. ``late_writes`` were published only when the store answered again.
    ``not_opted_in`` are the reads of models that are not, by label.
    """

    models: Mapping[str, ModelStats]
    incidents: int = 0
    late_writes: int = 0
    not_opted_in: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> ModelStats:
        """The sum over all models."""
        return sum(self.models.values(), ModelStats())


def name_of(subject: str, counted: str) -> str:
    """Return the name of a counter: of a model by its label, or of a query by its name."""
    return f"{subject}:{counted}"


def query_of(name: str) -> str:
    """Return the name of the query that a counter is of."""
    return name.rpartition(":")[0]


def _by_subject(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, number in counts.items():
        subject, _, counted = name.rpartition(":")
        found[subject][counted] = number
    return found


def _counts_from(found: Mapping[str, int], names: Sequence[str]) -> dict[str, Any]:
    return {name: found.get(name, 0) for name in names} | {
        "reasons": {name: found[name] for name in REASONS if name in found}
    }


def stats_from(labels: Iterable[str], counts: Mapping[str, int]) -> Stats:
    """Put the counters of the totals together again."""
    found = _by_subject(counts)
    models = {
        label: ModelStats(
            **_counts_from(found.get(label, {}), COUNTED),
            causes={cause.value: n for cause in Cause if (n := found.get(label, {}).get(cause))},
        )
        for label in labels
    }
    events = found.get("", {})
    unopted = {label: of[UNOPTED] for label, of in found.items() if UNOPTED in of}
    return Stats(
        models,
        events.get("incidents", 0),
        events.get("late_writes", 0),
        {label: number for label, number in unopted.items() if label not in models},
    )


# Queries ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueryStats(Counts):
    """
    The counts of the queries of one text of SQL, under the name of that text.

    What it stands for is in the store too, and read for those that are shown only.
    """

    name: str = ""


class Glance(Ratios):
    """The counts of the query that it is just the turn of, each found when it is asked for."""

    __slots__ = ("_columns", "_of_reasons", "name")

    def __init__(
        self, columns: Mapping[str, Mapping[str, int]], of_reasons: Mapping[str, Mapping[str, int]]
    ) -> None:
        self._columns, self._of_reasons, self.name = columns, of_reasons, ""

    def __getattr__(self, counted: str) -> Any:
        if counted in self._columns:
            return self._columns[counted].get(self.name, 0)
        if counted != "reasons":
            raise AttributeError(counted)
        name = self.name
        return {each: column[name] for each, column in self._of_reasons.items() if name in column}


class Queries(Mapping[str, QueryStats]):
    """
    The counters of queries, put together again one by one as they are asked for.

    There may be thousands, of which fifty are shown: as many objects would take longer to make, and
    to be looked through by the garbage collector, than the store takes to answer.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        columns: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for each, number in counts.items():
            name, _, counted = each.rpartition(":")
            if name:
                columns[counted][name] = number
        self._columns = [columns[each] for each in _OF_QUERY]
        self._reasons = {each: columns[each] for each in REASONS if each in columns}
        self._names: dict[str, int] = {}
        for column in columns.values():
            self._names.update(column)

    def __getitem__(self, name: str) -> QueryStats:
        if name not in self._names:
            raise KeyError(name)
        # In the order of the fields: by their names, it takes twice as long.
        counts = [column.get(name, 0) for column in self._columns]
        reasons = {each: column[name] for each, column in self._reasons.items() if name in column}
        return QueryStats(*counts, reasons=reasons, name=name)  # type: ignore[misc, arg-type]

    def each(self, names: Iterable[str]) -> "Iterator[Glance]":
        """
        Yield these queries, in one and the same object that stands for one after the other.

        For whoever looks at thousands and keeps none: to make an object takes longer than to sort.
        """
        one = Glance(dict(zip(_OF_QUERY, self._columns, strict=True)), self._reasons)
        for one.name in names:
            yield one

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def queries_from(counts: Mapping[str, int]) -> list[QueryStats]:
    """Put the counters of all queries together again."""
    return list(Queries(counts).values())


def least_read(counts: Mapping[str, int], share: float) -> list[str]:
    """Return the names of all counters of those queries that were read the least."""
    found = _by_subject(counts)
    reads = {
        name: sum(of.get(each, 0) for each in ("hits", "misses", *REASONS))
        for name, of in found.items()
    }
    least = nsmallest(int(len(reads) * share), reads, key=reads.__getitem__)
    return [name_of(name, counted) for name in least for counted in found[name]]
