"""
Counting what this process does, and publishing it for all of them.

Counting is an append to a queue. A thread adds up what is in the queue and publishes it to the
store, once a second and at exit; what cannot be published is kept and tried again.
"""

import atexit
import json
import os
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final, NamedTuple

from django.db.models import Model

from querycache.exceptions import StoreFailed
from querycache.memory import Memory
from querycache.series import SERIES, Resolution, group_of
from querycache.stats import MOST_EVENTS, QUERIES, TOTALS, UNOPTED, name_of

PUBLISH_SECONDS: Final = 1.0
QUEUE_LENGTH: Final = 10_000
"""Counts after which the queue is added up at once, so that it cannot grow without bound."""
_MOST_TEXTS: Final = 5_000
"""Queries whose descriptions are kept, and other texts that wait for the store to answer."""
_TELL_AGAIN: Final = 3600
"""Seconds after which the store is told anew what a query is."""
_MOST_PARAMETERS: Final = 50
_LONGEST_PARAMETER: Final = 200
KEPT_SECONDS: Final = 30 * 24 * 3600
"""Seconds that counts are kept after the last one."""


class Group(NamedTuple):
    """Counters that are kept together, for ``ttl`` seconds after the last one."""

    name: str
    counts: Mapping[str, int]
    ttl: int


class Batch(NamedTuple):
    """What a process publishes at a time: ``texts`` are of queries, ``events`` are JSON."""

    groups: list[Group]
    texts: dict[str, bytes]
    events: list[bytes]


Sink = Callable[[Batch], None]

_Key = tuple[str, str, str]
"""The label of a model, what is counted, and the name of a query's shape; empty where none is."""
Count = tuple[_Key, int, int]
"""What stands in the queue: one more of these, and two numbers that are added up with it."""


class Statistics:
    """What this process has counted and not yet published."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._in_background: Callable[[], bool] = bool
        self._described: Memory[str, bytes] = Memory(_MOST_TEXTS)
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.publish)

    def _begin(self) -> None:
        """
        Begin with nothing counted and no thread: also in a child, which has not its parent's.
        """
        self.queue: deque[Count | type[Model]] = deque()
        """``reads`` appends to it, too: of a model that is not opted in, the model alone."""
        self._sums: dict[_Key, list[int]] = {}
        self._texts: dict[str, bytes] = {}
        self._told: dict[str, float] = {}
        """When the store was told of a query, by ``monotonic()``: it may have forgotten since."""
        self._events: deque[Mapping[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._lock = threading.Lock()
        self._publishing = threading.RLock()  # who is told of an outage may ask for statistics
        self.thread: threading.Thread | None = None
        self._published = 0.0

    def connect(self, sink: Sink | None, in_background: Callable[[], bool] = bool) -> None:
        """
        Say where counts go: a function that adds them up for all processes, or None.

        ``in_background`` is asked before the thread publishes whether it may.
        """
        self._sink = sink
        self._in_background = in_background

    def count(self, label: str, counted: str, query: str = "") -> None:
        """
        Count one more, of a model and of a query if one is named.

        ``counted`` is a field of ``ModelStats``, the value of a ``Reason`` or a ``Cause``, or
        of no model "incidents" or "late_writes".
        """
        self.queue.append(((label, counted, query), 0, 0))
        if self.thread is None or len(self.queue) > QUEUE_LENGTH:
            self.keep_up()

    def count_hit(self, label: str, counted: str, query: str, hit_us: int, load_us: int) -> None:
        """Count a hit ("hits" or "unasked"), with the microseconds it took and those it saved."""
        self.queue.append(((label, counted, query), hit_us, load_us))
        if self.thread is None or len(self.queue) > QUEUE_LENGTH:
            self.keep_up()

    def count_fill(self, label: str, query: str, fill_us: int, size: int) -> None:
        """Count a fill, with the microseconds of its SELECT and the bytes of its entry."""
        self.queue.append(((label, "fills", query), fill_us, size))

    def describe(self, query: str, text: Mapping[str, Any]) -> None:
        """Say what the name of a query stands for."""
        self._described.put(query, json.dumps(text).encode())

    def tell_again(self) -> None:
        """Tell the store of all queries anew: it is another one."""
        self._told.clear()

    def note_death(self, query: str, reason: str) -> None:
        """Tell what a query's last stale entry died of."""
        self._note_text(f"{query}:died", {"reason": reason, "at": time.time()})

    def note_example(self, query: str, parameters: Sequence[Any]) -> None:
        """Tell the parameters of a query, if the settings allow it."""
        values = [repr(value)[:_LONGEST_PARAMETER] for value in parameters[:_MOST_PARAMETERS]]
        self._note_text(f"{query}:parameters", {"values": values})

    def _note_text(self, name: str, text: Mapping[str, Any]) -> None:
        with self._lock:
            if len(self._texts) < _MOST_TEXTS:
                self._texts[name] = json.dumps(text).encode()

    def note_event(self, event: Mapping[str, Any]) -> None:
        """Tell of something worth a line of its own; of many at once, of the last ones."""
        self._events.append(event)

    def keep_up(self) -> None:
        """Add up what was counted, and see to it that it is published."""
        with self._lock:
            self._add_up()
            if self.thread is None and self._sink is not None:
                self.thread = threading.Thread(
                    target=self._publish_for_ever, name="querycache-statistics", daemon=True
                )
                self.thread.start()

    def _add_up(self) -> None:
        queue, sums = self.queue, self._sums
        while queue:
            item = queue.popleft()
            if not isinstance(item, tuple):
                item = (item._meta.label, UNOPTED, ""), 0, 0
            key, first, second = item
            known = sums.get(key)
            if known is None:
                sums[key] = [1, first, second]
            else:
                known[0] += 1
                known[1] += first
                known[2] += second

    def _publish_for_ever(self) -> None:
        while True:
            time.sleep(PUBLISH_SECONDS)
            if self._in_background():
                self.publish()

    def publish_if_due(self) -> None:
        """Publish what was counted, unless that was done within the last second."""
        if time.monotonic() - self._published >= PUBLISH_SECONDS:
            self.publish()

    def publish(self) -> bool:
        """Publish what was counted; say whether nothing is left to publish."""
        with self._publishing:  # so that a process that ends waits for what is under way
            self._published = time.monotonic()
            with self._lock:  # not while the store is asked: whoever counts must not wait for it
                self._add_up()
                sums, self._sums = self._sums, {}
                texts, self._texts = self._texts, {}
                events = list(self._events)
                self._events.clear()
            if self._sink is None or not (sums or texts or events):
                return True
            descriptions = self._to_tell(sums)
            lines = [json.dumps(event).encode() for event in events]
            try:
                self._sink(Batch(groups_of(sums, time.time()), descriptions | texts, lines))
            except StoreFailed:
                with self._lock:
                    self._keep(sums, texts, events)
                return False
            self._told.update(dict.fromkeys(descriptions, time.monotonic()))
        return True

    def _to_tell(self, sums: Mapping[_Key, Any]) -> dict[str, bytes]:
        """Return what the queries are that were counted, as far as that was not told lately."""
        if len(self._told) > _MOST_TEXTS:
            self._told.clear()
        before, told = time.monotonic() - _TELL_AGAIN, self._told
        names = {query for _, _, query in sums if query and told.get(query, before) <= before}
        found = {name: self._described.get(name) for name in names}
        return {name: text for name, text in found.items() if text is not None}

    def _keep(
        self,
        sums: dict[_Key, list[int]],
        texts: dict[str, bytes],
        events: list[Mapping[str, Any]],
    ) -> None:
        for key, amounts in sums.items():
            known = self._sums.get(key)
            self._sums[key] = amounts if known is None else [*map(add, known, amounts)]
        self._texts = texts | self._texts
        self._events.extendleft(reversed(events))


_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "hits": ("hits", "hit_us", "load_us"),
    "unasked": ("unasked", "hit_us", "load_us"),
    "fills": ("fills", "fill_us", "fill_bytes"),
}
"""What the amounts of an item are added to; of all others, there is only the number."""


def _amounts(counted: str, amounts: list[int]) -> Iterator[tuple[str, int]]:
    names = _COLUMNS.get(counted, (counted,))
    yield from zip(names, amounts, strict=False)
    if counted == "unasked":  # which is a hit, too
        yield "hits", amounts[0]


def groups_of(sums: Mapping[_Key, list[int]], now: float) -> list[Group]:
    """Return what is to be added to the counters of the store, at a Unix time."""
    totals: Counter[str] = Counter()
    queries: Counter[str] = Counter()
    series: defaultdict[str, int] = defaultdict(int)
    for (label, counted, query), amounts in sums.items():
        for name, amount in _amounts(counted, amounts):
            totals[name_of(label, name)] += amount
            if query:
                queries[name_of(query, name)] += amount
            in_series = SERIES.get(name)
            if in_series is not None:
                series[in_series] += amount
    groups = [Group(TOTALS, totals, KEPT_SECONDS)]
    if queries:
        groups.append(Group(QUERIES, queries, KEPT_SECONDS))
    if series:
        groups += [Group(group_of(each, now), series, each.kept) for each in Resolution]
    return groups


statistics: Final = Statistics()
