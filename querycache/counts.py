"""
The counts of all processes, which the store sums up.

They are of less weight than anything else in there: nothing waits for them, and none is lost if the
store does not answer, since it is added later.
"""

from collections.abc import Mapping, Sequence

from querycache import debts
from querycache.breaker import ask, ask_unless_failing
from querycache.exceptions import StoreFailed
from querycache.stores import get_store


def add_counts(counts: Mapping[str, int]) -> None:
    """
    Add to the statistics in the store. Raises ``StoreFailed``.

    Since this is tried again and again while there is something to add, it is also what pays debts
    of a process that reads nothing.
    """
    debts.settle()
    if debts.owed or debts.unfenced:
        debts.pay_debts()
    ask_unless_failing("add_counts", counts)


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


def read_counts(names: Sequence[str]) -> dict[str, int]:
    """Return statistics from the store. Raises ``StoreFailed``."""
    counts: dict[str, int] = ask("read_counts", names)
    return counts
