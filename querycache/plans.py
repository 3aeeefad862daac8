"""
Plans: what a compiled query is for the cache.

What can be told from the SQL alone (its tables, or why it is not cacheable) is worked out once for
each text of SQL and remembered in the process; the key depends on the parameters, and is made anew.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from querycache import dependencies, sql
from querycache._django import Query, RawQuery
from querycache.admission import Costs
from querycache.exceptions import Reason, Uncacheable
from querycache.memory import Memory
from querycache.options import Config


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a text of SQL is for the cache.

    ``tables`` are normalized names in a fixed order; ``ttl`` is in seconds, the smallest of the
    models', and ``ttl_source`` the pattern of the settings that it comes from. Of ``max_stale``,
    ``max_rows`` and ``max_bytes``, too, the smallest count. ``costs`` are learnt on
    the way. If ``reason`` is set, queries of this text are not cacheable.
    """

    tables: tuple[str, ...] = ()
    ttl: float = 0.0
    ttl_source: str = ""
    max_stale: float = 0.0
    max_rows: int = 0
    max_bytes: int = 0
    reason: Reason | None = None
    detail: str = ""
    costs: Costs = field(default_factory=Costs, compare=False)


class Plan(NamedTuple):
    """
    What a compiled query is for the cache.

    ``ttl`` and ``max_stale`` are in seconds, ``ttl_source`` is where the TTL comes from.
    """

    key: str
    statement: str
    shape: Shape
    dependencies: tuple[str, ...]
    ttl: float
    ttl_source: str
    max_stale: float


_SHAPES: Final = 4096
_LONG_SQL: Final = 4096
"""
Characters. A longer text is remembered by its skeleton only, which lists of all lengths share.
"""

_shapes: Memory[tuple[str, type, str], Shape] = Memory(_SHAPES)


def shape_of(query: Query | RawQuery, statement: str, vendor: str, config: Config) -> Shape:
    """
    Return the shape of the statement of a query; never raises ``Uncacheable``.
    """
    # A query that was compiled may read tables that only its tree tells.
    kind = type(query)
    shape = _shapes.get((vendor, kind, statement))
    if shape is not None:
        return shape
    skeleton = sql.skeleton(statement)
    shape = _shapes.get((vendor, kind, skeleton))
    if shape is None:
        shape = _make_shape(query, skeleton, vendor, config)
        _shapes.put((vendor, kind, skeleton), shape)
    if len(statement) <= _LONG_SQL:
        _shapes.put((vendor, kind, statement), shape)
    return shape


def _make_shape(query: Query | RawQuery, skeleton: str, vendor: str, config: Config) -> Shape:
    try:
        tables = dependencies.tables_of(query, skeleton, vendor, config.tables)
    except Uncacheable as refusal:
        return Shape(reason=refusal.reason, detail=refusal.detail)
    if not tables:  # a SELECT without a table: nothing would ever invalidate it
        return Shape(reason=Reason.UNKNOWN_SQL, detail="it reads no table")
    options = [table.options for table in tables]
    shortest = min(options, key=lambda one: one.ttl)
    names = {table.name for table in tables}
    names.update(*(config.depends_on.get(name, ()) for name in list(names)))
    return Shape(
        tuple(sorted(names)),
        shortest.ttl,
        shortest.pattern,
        min(one.max_stale for one in options),
        min(one.max_rows for one in options),
        min(one.max_bytes for one in options),
    )


def forget_plans() -> None:
    """Forget every shape: what is opted in has changed."""
    _shapes.clear()
