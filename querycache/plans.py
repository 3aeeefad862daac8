"""
Plans: what a compiled query is for the cache.

What can be told from the SQL alone (its tables, or why it is not cacheable) is worked out once for
each text of SQL and remembered in the process; the key depends on the parameters, and is made anew.
"""

from dataclasses import dataclass
from typing import Final

from querycache import dependencies, sql
from querycache._django import SQLCompiler
from querycache.conf import Config
from querycache.exceptions import Reason, Uncacheable
from querycache.memory import Memory


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a text of SQL is for the cache.

    ``tables`` are normalized names in a fixed order; ``ttl`` is in seconds, the smallest of the
    models', and ``ttl_source`` the pattern of the settings that it comes from. If ``reason`` is
    set, queries of this text are not cacheable.
    """

    tables: tuple[str, ...] = ()
    ttl: float = 0.0
    ttl_source: str = ""
    reason: Reason | None = None
    detail: str = ""


_SHAPES: Final = 4096
_LONG_SQL: Final = 4096
"""
Characters. A longer text is remembered by its skeleton only, which lists of all lengths share.
"""

_shapes: Memory[tuple[str, str], Shape] = Memory(_SHAPES)


def shape_of(compiler: SQLCompiler, statement: str, config: Config) -> Shape:
    """Return the shape of what the compiler has compiled; never raises ``Uncacheable``."""
    vendor = compiler.connection.vendor
    shape = _shapes.get((vendor, statement))
    if shape is not None:
        return shape
    skeleton = sql.skeleton(statement)
    shape = _shapes.get((vendor, skeleton))
    if shape is None:
        shape = _make_shape(compiler, skeleton, vendor, config)
        _shapes.put((vendor, skeleton), shape)
    if len(statement) <= _LONG_SQL:
        _shapes.put((vendor, statement), shape)
    return shape


def _make_shape(compiler: SQLCompiler, skeleton: str, vendor: str, config: Config) -> Shape:
    try:
        tables = dependencies.tables_of(compiler.query, skeleton, vendor, config.tables)
    except Uncacheable as refusal:
        return Shape(reason=refusal.reason, detail=refusal.detail)
    shortest = min(tables, key=lambda table: table.options.ttl, default=None)
    if shortest is None:  # a SELECT without a table: nothing would ever invalidate it
        return Shape(reason=Reason.UNKNOWN_SQL, detail="it reads no table")
    names = tuple(table.name for table in tables)
    return Shape(names, shortest.options.ttl, shortest.options.pattern)


def forget_plans() -> None:
    """Forget every shape: what is opted in has changed."""
    _shapes.clear()
