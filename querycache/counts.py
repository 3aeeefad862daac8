"""
The counts of all processes, which the store sums up.

They are of less weight than anything else in there: nothing waits for them, and none is lost if the
store does not answer, since it is added later.
"""

from collections.abc import Sequence

from querycache import debts
from querycache.breaker import ask, ask_unless_failing
from querycache.counting import Batch
from querycache.exceptions import StoreFailed
from querycache.stats import QUERIES, least_read, query_of
from querycache.stores import get_store


def publish(batch: Batch) -> None:
    """
    Add to the statistics in the store. Raises ``StoreFailed``.

    Since this is tried again and again while there is something to add, it is also what pays debts
    of a process that reads nothing.
    """
    debts.settle()
    if debts.owed or debts.unfenced:
        debts.pay_debts()
    size = ask_unless_failing("publish", batch)
    if size > get_store().most_counters:
        _drop_queries()


def _drop_queries() -> None:
    """Forget the half of all queries that were read least: there may be a new one each time."""
    (counts,) = ask_unless_failing("read_counts", QUERIES)
    counters = least_read(counts, 0.5)
    names = {query_of(name) for name in counters}
    texts = [f"{name}{part}" for name in names for part in ("", ":died", ":parameters")]
    ask_unless_failing("drop", counters, texts)


def counts_in_background() -> bool:
    """
    Say whether statistics may be published at any time.

    Not where the store is a table of a database: on SQLite, the write of another connection makes a
    transaction fail that has read and is about to write. There a request publishes as it finishes.
    """
    try:
        return get_store().using is None
    except StoreFailed:
        return False


def read_counts(*groups: str) -> list[dict[str, int]]:
    """Return groups of counters from the store. Raises ``StoreFailed``."""
    counts: list[dict[str, int]] = ask("read_counts", *groups)
    return counts


def read_texts(names: Sequence[str]) -> dict[str, bytes]:
    """Return texts of queries from the store, by name. Raises ``StoreFailed``."""
    texts: dict[str, bytes] = ask("read_texts", names)
    return texts


def read_events() -> list[bytes]:
    """Return the newest events from the store. Raises ``StoreFailed``."""
    events: list[bytes] = ask("read_events")
    return events
