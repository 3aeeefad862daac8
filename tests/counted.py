"""What was counted of queries in other tests, forgotten."""

from querycache import counts, stores
from querycache.counting import statistics
from querycache.stats import QUERIES


def forget_queries() -> None:
    statistics.publish()
    (found,) = counts.read_counts(QUERIES)
    names = {name.rpartition(":")[0] for name in found}
    texts = [f"{name}{part}" for name in names for part in ("", ":died", ":parameters")]
    stores.get_store().drop(list(found), texts)
    statistics.tell_again()
