"""
Admission: whether a query is worth an entry.

Some are not: the database is near and answers sooner than the cache, or a table is written so often
that its entries die unread. What a query costs is learnt for each text of SQL, in each process. One
that is not worth it goes to the database for a while, and is then tried again.

To find out which text of SQL a query has takes a large part of the time that it would save. So
where all queries of one site were refused, for this or for their SQL, those that follow are known
by their site: a few of their traits, which are no text of SQL, but tell that it is most likely one
of the same.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from django.db.models import Model

from querycache._django.connections import is_test_environment
from querycache._django.queries import Query
from querycache.counting import Count
from querycache.exceptions import Reason
from querycache.hints import HINT, hint_of
from querycache.options import Admission

_ENOUGH: Final = 100
"""Hits and fills of a text of SQL before it is judged, and judged again."""
_TRIES: Final = 10
"""The same after it was refused."""
_LEAST_HITS: Final = 0.1
"""Hits for each fill, at least."""
_SKIPPED: Final = 1000
"""Reads that go to the database before one is tried again."""
_SKIPPED_FOR_SQL: Final = 100
"""The same where SQL was refused, which is found out by one try; the next time twice as many."""
_STREAK: Final = 20
"""Refusals of a site, without any other read between them, before it is known as one."""
_STEP: Final = 0.06
"""By how much of itself an estimate moves towards a sample."""
_UP: Final = 1 + _STEP
_DOWN: Final = 1 - _STEP
_MARGIN: Final = 1.25
"""How much dearer than the database the cache must be to be left alone."""
_SLOW: Final = 20_000
"""Microseconds."""


@dataclass(slots=True)
class Costs:
    """
    What queries of one text of SQL have cost in this process.

    ``load`` are the microseconds of a SELECT, None before the first, ``compile`` those before it,
    ``hit`` those of a read that was answered from the cache, and ``direct`` those of one that was
    refused, 0.0 before the first: all four as moving medians.
    ``hits`` and ``fills`` are counted since it was judged last, and ``left`` down to when it is
    judged again. ``skips`` are the reads that go to the database before it is tried again.
    ``died_of`` is the place, among those of its plan, of the dependency that made an entry stale,
    as the store was told at ``death_told``, by ``monotonic()``; ``has_example`` says that the
    parameters of one of these queries were told.
    """

    load: float | None = None
    compile: float = 0.0
    hit: float = 0.0
    direct: float = 0.0
    hits: int = 0
    fills: int = 0
    left: int = _ENOUGH
    skips: int = 0
    died_of: int = -1
    death_told: float = 0.0
    has_example: bool = False

    @property
    def may_be_slow(self) -> bool:
        """Whether it is worth a round trip to have one process load, and no other."""
        return self.load is None or self.load >= _SLOW

    def note_load(self, microseconds: float) -> None:
        """Learn what a SELECT has taken, whose rows are stored."""
        self.fills += 1
        self.left -= 1
        known = self.load  # as moved() does, a call less
        self.load = known * (_UP if microseconds > known else _DOWN) if known else microseconds

    def note_compile(self, microseconds: float) -> None:
        """Learn what it has taken to compile."""
        self.compile = moved(self.compile, microseconds)

    def note_hit(self, microseconds: float) -> None:
        """Learn what a hit has taken."""
        self.hits += 1
        self.left -= 1
        known = self.hit  # as moved() does; this is on the path of a hit
        self.hit = known * (_UP if microseconds > known else _DOWN) if known else microseconds

    def note_direct(self, microseconds: float) -> None:
        """Learn what a refused read has taken."""
        self.direct = moved(self.direct, microseconds)

    def refuse(self) -> bool:
        """Say whether a read is to go to the database, when ``left`` is 0 or below."""
        if not self.skips:
            is_slower = self.hits > self.fills and self._is_slower()
            is_refused = is_slower or self.hits < self.fills * _LEAST_HITS
            self.hits, self.fills, self.left = 0, 0, _ENOUGH
            if not is_refused:
                self.direct = 0.0
                return False
            # What a SELECT took once says little of today. A few reads are sent to the database, a
            # few others to the cache, and then they are compared.
            self.left, self.skips = 0, _SKIPPED if self.direct else _TRIES
        self.skips -= 1
        if not self.skips:
            self.try_again()
        return True

    @property
    def _of_database(self) -> float:
        return self.direct or (self.load or self.hit) + self.compile

    def _is_slower(self) -> bool:
        return self.hit > self._of_database * _MARGIN

    @property
    def is_refused(self) -> bool:
        """Whether reads go to the database now."""
        return self.skips > 0

    @property
    def why_refused(self) -> str:
        """Why, for people."""
        if self._is_slower():
            return f"a hit takes {self.hit:.0f} µs, the database {self._of_database:.0f} µs"
        return "its entries were hardly ever read"

    def try_again(self) -> None:
        """End the refusal, and judge anew after a few tries."""
        self.skips, self.left = 0, _TRIES


def is_judged(admission: Admission | None) -> bool:
    """
    Say whether a read may go to the database for what became of those before it.

    In tests only if the settings say so: they shall not depend on how long something takes.
    """
    return admission == "cost" or (admission is None and not is_test_environment())


def moved(known: float | None, sample: float) -> float:
    """
    Return an estimate of the median, moved by a sample.

    Not of the mean: one read that waited for a processor says nothing of the others.
    """
    if not known:
        return sample
    return known * (_UP if sample > known else _DOWN)


@dataclass(slots=True)
class Site:
    """
    Queries of a model that look alike, and what became of the last ones.

    ``streak`` are the refusals since one of them was not refused, ``left`` the reads that go to the
    database without being looked at, for the ``reason`` of the last one that was refused;
    ``counted`` is what each of them is counted as, the same as that one.
    """

    label: str
    streak: int = 0
    left: int = 0
    reason: Reason = Reason.NOT_WORTH_IT
    counted: Count = (("", "", ""), 0, 0)

    def note_refused(self, reason: Reason, query: str) -> bool:
        """
        Learn of a query that was refused; say whether the next ones are skipped.

        ``query`` is the name of its text of SQL.
        """
        self.streak += 1
        self.reason, self.counted = reason, ((self.label, str(reason), query), 0, 0)
        if self.streak >= _STREAK:
            # The more often the same came out, the likelier it is to come out again.
            tries = 1 + self.streak - _STREAK
            is_for_sql = reason is not Reason.NOT_WORTH_IT
            self.left = min(_SKIPPED_FOR_SQL * tries, _SKIPPED) if is_for_sql else _SKIPPED
        return self.left > 0


class Sites:
    """The sites where a query was refused lately."""

    def __init__(self) -> None:
        self.by_model: dict[type[Model] | None, dict[Hashable, Site]] = {}

    def find(self, query: Query, result_type: str) -> Site | None:
        """Return the site of a query, None if none of it was refused."""
        known = self.by_model.get(query.model)
        return None if known is None else known.get(site_of(query, result_type))

    def note_refused(self, query: Query, result_type: str, reason: Reason, shape: str = "") -> bool:
        """Learn of a query that was refused; say whether its site is skipped from now on."""
        if hint_of(query) is not None:
            return False  # what cached() asks for is looked at each time
        known = self.by_model.setdefault(query.model, {})
        if len(known) > _MOST_SITES:
            known.clear()
        site = known.setdefault(site_of(query, result_type), Site(query.get_meta().label))
        return site.note_refused(reason, shape)

    def clear(self) -> None:
        """Forget all."""
        self.by_model.clear()


_MOST_SITES: Final = 1000
"""Of a model."""

sites: Final = Sites()


def site_of(query: Query, result_type: str) -> Hashable:
    """
    Return traits of a query that cost next to nothing; its model is not among them.

    With a hint, it is of a site of its own.
    """
    own = query.__dict__  # where what is as the class has it is missing, most of the time
    return (
        result_type,
        own.get(HINT) if "inner_query" not in own else hint_of(query),  # a call less
        tuple([type(getattr(child, "rhs", child)) for child in query.where.children]),
        own.get("high_mark"),
        own.get("distinct", False),
        own.get("select_related", False) is False,
        own.get("values_select"),
        len(own.get("order_by", ())),
        len(query.annotations),
        len(query.alias_map),
    )
