"""
What this process reads and writes, for OpenTelemetry: metrics, and attributes of the current span.

It listens to the signals of querycache and speaks to the API of OpenTelemetry. Where no SDK is set
up, that does nothing.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db.models import Model
from django.dispatch import Signal
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span

from querycache.exceptions import Reason
from querycache.recorder import Outcome
from querycache.signals import flushed, invalidated, read_done, store_failed

__all__ = ["instrument", "uninstrument"]

_BOUNDS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Of the buckets of the histogram, in seconds: a hit takes less than the first ones of others."""
_PLURALS: Final[dict[Outcome, str]] = {"hit": "hits", "miss": "misses", "bypass": "bypasses"}

_connected: Final[list[tuple[Signal, Callable[..., None]]]] = []
_lock: Final = threading.Lock()
_of_spans: Final[WeakKeyDictionary[Span, Counter[str]]] = WeakKeyDictionary()
"""What was counted for each span so far: the API cannot be asked for an attribute."""


def instrument(meter_provider: MeterProvider | None = None) -> None:
    """
    Begin to tell OpenTelemetry what happens. Takes the place of what an earlier call has begun.

    ``meter_provider`` is the global one unless another is given.
    """
    uninstrument()
    meter = get_meter("querycache", meter_provider=meter_provider)
    reads = meter.create_counter("querycache.reads", "{read}", "Reads of opted-in models")
    durations = meter.create_histogram(
        "querycache.read.duration",
        "s",
        "What reads took; of a bypass, to see that it is one",
        explicit_bucket_boundaries_advisory=_BOUNDS,
    )
    writes = meter.create_counter("querycache.invalidations", "{write}", "Writes published")
    flushes = meter.create_counter("querycache.flushes", "{flush}", "Calls of flush()")
    outages = meter.create_counter("querycache.store.failures", "{failure}", "Outages of the store")

    def count_read(
        sender: type[Model], outcome: Outcome, reason: Reason | None, microseconds: int, **_: Any
    ) -> None:
        attributes = {"model": sender._meta.label, "outcome": outcome}
        if reason is not None:
            attributes["reason"] = reason.value
        reads.add(1, attributes)
        durations.record(microseconds / 1e6, attributes)
        _count_in_span(_PLURALS[outcome])

    def count_write(labels: frozenset[str], **_: Any) -> None:
        for label in labels:
            writes.add(1, {"model": label})

    def count_flush(**_: Any) -> None:
        flushes.add(1)

    def count_outage(cache: str, **_: Any) -> None:
        outages.add(1, {"cache": cache})

    _connected.extend(
        [
            (read_done, count_read),
            (invalidated, count_write),
            (flushed, count_flush),
            (store_failed, count_outage),
        ]
    )
    for signal, receiver in _connected:
        signal.connect(receiver, weak=False)


def uninstrument() -> None:
    """Tell OpenTelemetry no more."""
    while _connected:
        signal, receiver = _connected.pop()
        signal.disconnect(receiver)


def _count_in_span(name: str) -> None:
    span = trace.get_current_span()
    if not span.is_recording():
        return
    with _lock:  # threads may work for one span
        counts = _of_spans.setdefault(span, Counter())
        counts[name] += 1
        span.set_attribute(f"querycache.{name}", counts[name])
