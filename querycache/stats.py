"""
Counts of what querycache does, summed over all processes.

Counting is an append to a queue. A thread adds up what is in the queue and publishes it to the
store, once a second and at exit; what cannot be published is kept and tried again.
"""

import atexit
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from querycache.exceptions import Reason, StoreFailed

PUBLISH_SECONDS: Final = 1.0
_QUEUE_LENGTH: Final = 10_000
"""Counts after which the queue is added up at once, so that it cannot grow without bound."""

Sink = Callable[[Mapping[str, int]], None]


@dataclass(frozen=True, slots=True)
class ModelStats:
    """
    The counts of one model, or of all of them.

    ``reasons`` are those of the bypasses, by the value of their ``Reason``. ``hit_us`` are the
    microseconds that hits took, ``load_us`` those that the database had taken for the rows of these
    hits. Of ``verified`` hits the database was asked too, and ``mismatches`` differed from it
    without an explanation.
    """

    hits: int = 0
    misses: int = 0
    fills: int = 0
    invalidations: int = 0
    verified: int = 0
    mismatches: int = 0
    hit_us: int = 0
    load_us: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

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

    def __add__(self, other: "ModelStats") -> "ModelStats":
        return ModelStats(
            **{name: getattr(self, name) + getattr(other, name) for name in COUNTED},
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
        )


COUNTED: Final = tuple(field.name for field in fields(ModelStats) if field.name != "reasons")
REASONS: Final = tuple(reason.value for reason in Reason)
EVENTS: Final = ("incidents", "late_writes")
"""What is counted of no model, under the empty label."""


@dataclass(frozen=True, slots=True)
class Stats:
    """
    The counts of each opted-in model by its label, and their sum.

    ``incidents`` are fences that the store lost before their release: for moments a reader may have
    been given old rows. ``late_writes`` were published only when the store answered again.
    """

    models: Mapping[str, ModelStats]
    incidents: int = 0
    late_writes: int = 0

    @property
    def total(self) -> ModelStats:
        """The sum over all models."""
        return sum(self.models.values(), ModelStats())


def name_of(label: str, counted: str) -> str:
    """Return the name of a counter in the store."""
    return f"{label}:{counted}"


def names_of(labels: Iterable[str]) -> list[str]:
    """Return the names of all counters of some models, and of those of no model."""
    return [
        *(name_of(label, counted) for label in labels for counted in (*COUNTED, *REASONS)),
        *(name_of("", event) for event in EVENTS),
    ]


def stats_from(labels: Iterable[str], counts: Mapping[str, int]) -> Stats:
    """Put counters together again."""
    return Stats(
        {
            label: ModelStats(
                **{name: counts.get(name_of(label, name), 0) for name in COUNTED},
                reasons={
                    name: number for name in REASONS if (number := counts.get(name_of(label, name)))
                },
            )
            for label in labels
        },
        *(counts.get(name_of("", event), 0) for event in EVENTS),
    )


class Statistics:
    """What this process has counted and not yet published."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._in_background: Callable[[], bool] = bool
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.publish)

    def _begin(self) -> None:
        """Begin with nothing counted and no thread: also in a child, which has not its parent's."""
        self._queue: deque[tuple[str, str, int, int]] = deque()
        self._pending: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._thread: threading.Thread | None = None

    def connect(self, sink: Sink | None, in_background: Callable[[], bool] = bool) -> None:
        """
        Say where counts go: a function that adds them up for all processes, or None.

        ``in_background`` is asked before the thread publishes whether it may.
        """
        self._sink = sink
        self._in_background = in_background

    def count(self, label: str, counted: str) -> None:
        """
        Count one more.

        ``counted`` is a field of ``ModelStats``, the value of a ``Reason``, or one of ``EVENTS``.
        """
        self._append((label, counted, 0, 0))

    def count_hit(self, label: str, hit_us: int, load_us: int) -> None:
        """Count a hit, with the microseconds that it took and those that it saved."""
        self._append((label, "hits", hit_us, load_us))

    def _append(self, item: tuple[str, str, int, int]) -> None:
        self._queue.append(item)
        if self._thread is None or len(self._queue) > _QUEUE_LENGTH:
            self._keep_up()

    def _keep_up(self) -> None:
        with self._lock:
            self._add_up()
            if self._thread is None and self._sink is not None:
                self._thread = threading.Thread(
                    target=self._publish_for_ever, name="querycache-statistics", daemon=True
                )
                self._thread.start()

    def _add_up(self) -> None:
        while self._queue:
            label, counted, hit_us, load_us = self._queue.popleft()
            self._pending[label, counted] += 1
            if counted == "hits":
                self._pending[label, "hit_us"] += hit_us
                self._pending[label, "load_us"] += load_us

    def _publish_for_ever(self) -> None:
        while True:
            time.sleep(PUBLISH_SECONDS)
            if self._in_background():
                self.publish()

    def publish(self) -> bool:
        """Publish what was counted; say whether nothing is left to publish."""
        with self._publishing:  # so that a process that ends waits for what is under way
            with self._lock:  # not while the store is asked: whoever counts must not wait for it
                self._add_up()
                pending, self._pending = self._pending, Counter()
            if not pending or self._sink is None:
                return True
            try:
                self._sink({name_of(*key): amount for key, amount in pending.items()})
            except StoreFailed:
                with self._lock:
                    self._pending.update(pending)
                return False
        return True


statistics: Final = Statistics()
