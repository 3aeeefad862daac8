"""
The counts of all processes, for Prometheus.

They are read from the store while Prometheus scrapes: any one process gives those of all.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from querycache.exceptions import StoreFailed
from querycache.querysets import get_stats
from querycache.stats import ModelStats, Stats

__all__ = ["QueryCacheCollector"]

_OF_A_MODEL: Final[tuple[tuple[str, str, Callable[[ModelStats], float]], ...]] = (
    ("fills", "Answers that were stored.", lambda of: of.fills),
    ("unasked", "Hits within MAX_STALE that asked nobody.", lambda of: of.unasked),
    ("deaths", "Answers that were found, and found stale.", lambda of: of.deaths),
    ("fill_seconds", "Time it took to load what was stored.", lambda of: of.fill_us / 1e6),
    ("fill_bytes", "Bytes of what was stored.", lambda of: of.fill_bytes),
    ("invalidations", "Writes that made answers stale.", lambda of: of.invalidations),
    ("verified", "Hits that were compared with the database.", lambda of: of.verified),
    ("mismatches", "Hits that differed from the database.", lambda of: of.mismatches),
    ("hit_seconds", "Time that hits took.", lambda of: of.hit_us / 1e6),
    ("database_seconds_saved", "Time it took to load what was hit.", lambda of: of.load_us / 1e6),
)
"""Counters of a model: a name, what it says, and how it is read."""
_OF_ALL: Final[tuple[tuple[str, str, Callable[[Stats], float]], ...]] = (
    ("incidents", "Fences that the store lost.", lambda of: of.incidents),
    ("late_writes", "Writes published only when the store answered.", lambda of: of.late_writes),
)


class QueryCacheCollector(Collector):
    """
    A collector for a registry of prometheus_client: ``REGISTRY.register(QueryCacheCollector())``.

    Of a store that does not answer, ``querycache_up`` is 0, and there is nothing else.
    """

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their samples, so that to register asks no store."""
        return _metrics(Stats({}))

    def collect(self) -> Iterable[Metric]:
        """Return what all processes have counted."""
        try:
            stats = get_stats()
        except StoreFailed:
            return [_up(0)]
        return _metrics(stats)


def _up(value: int) -> Metric:
    return GaugeMetricFamily("querycache_up", "Whether the store answers.", value)


def _metrics(stats: Stats) -> Iterator[Metric]:
    yield _up(1)
    reads = CounterMetricFamily(
        "querycache_reads", "Reads of opted-in models.", labels=["model", "outcome", "reason"]
    )
    for label, of in stats.models.items():
        reads.add_metric([label, "hit", ""], of.hits)
        reads.add_metric([label, "miss", ""], of.misses)
        for reason, number in of.reasons.items():
            reads.add_metric([label, "bypass", reason], number)
    yield reads
    for name, says, read in _OF_A_MODEL:
        metric = CounterMetricFamily(f"querycache_{name}", says, labels=["model"])
        for label, of in stats.models.items():
            metric.add_metric([label], read(of))
        yield metric
    for name, says, read_all in _OF_ALL:
        yield CounterMetricFamily(f"querycache_{name}", says, read_all(stats))
