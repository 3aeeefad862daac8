"""
Plans: what a compiled query is for the cache.

What can be told from the SQL alone (its tables, or why it is not cacheable) is worked out once for
each text of SQL and remembered in the process; the key depends on the parameters, and is made anew.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from querycache import dependencies, pins, sql
from querycache._django.queries import Query, RawQuery
from querycache.admission import Costs
from querycache.counting import statistics
from querycache.exceptions import Reason, Uncacheable
from querycache.memory import Memory
from querycache.options import Config
from querycache.pins import NO_PINS, Pinned, Proof
from querycache.scopes import ANY, NEW, NUMBERS, Scope


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a text of SQL is for the cache.

    ``name`` stands for the text in statistics. ``tables`` are normalized names in a fixed order;
    ``ttl`` is in seconds, the smallest of the models', and ``ttl_source`` the pattern of the
    settings that it comes from. Of ``max_stale``, ``max_rows`` and ``max_bytes``, too, the smallest
    count. ``pinned`` says which of the parameters tell the rows of some of the tables, ``costs``
    are learnt on the way. If ``reason`` is set, queries of this text are not cacheable.
    """

    tables: tuple[str, ...] = ()
    ttl: float = 0.0
    ttl_source: str = ""
    max_stale: float = 0.0
    max_rows: int = 0
    max_bytes: int = 0
    reason: Reason | None = None
    detail: str = ""
    pinned: Pinned = NO_PINS
    name: str = ""
    costs: Costs = field(default_factory=Costs, compare=False)


class Plan(NamedTuple):
    """
    What a compiled query is for the cache.

    ``ttl`` and ``max_stale`` are in seconds, ``ttl_source`` is where the TTL comes from. ``scopes``
    are those that it depends on instead of their tables.
    """

    key: str
    statement: str
    shape: Shape
    dependencies: tuple[str, ...]
    ttl: float
    ttl_source: str
    max_stale: float
    scopes: tuple[Scope, ...] = ()


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
    with _lock.making:
        return _shapes.get((vendor, kind, statement)) or _remember_shape(
            query, statement, vendor, config
        )


def _remember_shape(query: Query | RawQuery, statement: str, vendor: str, config: Config) -> Shape:
    kind, skeleton = type(query), sql.skeleton(statement)
    shape = _shapes.get((vendor, kind, skeleton))
    if shape is None:
        shape = _make_shape(query, skeleton, vendor, config)
        text = statement if len(statement) <= _LONG_SQL else skeleton[:_LONG_SQL]
        name = blake2b(f"{vendor} {skeleton}".encode(), digest_size=8).hexdigest()
        shape = replace(shape, name=name)
        _describe(query, text, vendor, shape)
        _shapes.put((vendor, kind, skeleton), shape)
    if len(statement) <= _LONG_SQL:
        if shape.reason is None and isinstance(query, Query):
            shape = replace(shape, pinned=_pinned(shape, statement, vendor, config))
        _shapes.put((vendor, kind, statement), shape)
    return shape


def _describe(query: Query | RawQuery, text: str, vendor: str, shape: Shape) -> None:
    """Tell the statistics what the name of a shape stands for."""
    model = getattr(query, "model", None)
    description = {
        "sql": text,
        "vendor": vendor,
        "model": model._meta.label if model is not None else "",
        "tables": shape.tables,
        "ttl": shape.ttl,
        "pattern": shape.ttl_source,
        "reason": shape.reason or "",
        "detail": shape.detail,
    }
    statistics.describe(shape.name, description)


class _Lock:
    """
    Held by the thread that parses: a herd of readers would each parse the same SQL.

    Another one in a child, where nobody would release that of its parent.
    """

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.making = threading.RLock()


_lock: Final = _Lock()


def _pinned(shape: Shape, statement: str, vendor: str, config: Config) -> Pinned:
    """
    Return where the statement pins tables, by its own text: in a skeleton all lists are alike.

    Not tables that a view is made of, of which the view may show other rows.
    """
    of_views = {name for table in shape.tables for name in config.depends_on.get(table, ())}
    columns = {
        name: config.scopes[name]
        for name in shape.tables
        if name in config.scopes and name not in of_views
    }
    return pins.pins_of_select(statement, vendor, columns) if columns else NO_PINS


def scopes_of(shape: Shape, params: Sequence[Any]) -> tuple[Scope, ...]:
    """
    Return the scopes that a query depends on, instead of on their tables.

    A table that a parameter of another type pins is left out, and counts as a whole. A row that is
    inserted can only change an answer about a primary key: into those of other columns it comes
    with the scope of its value, or with ``ANY``.
    """
    pinned = shape.pinned
    if not pinned.pins or len(params) != pinned.parameters:
        return ()
    scopes: list[Scope] = []
    for table, column, positions, is_key in pinned.pins:
        name, limits, _ = column
        values: dict[int | str | None, None] = {}
        for position in positions:
            parameter = params[position]
            is_number = limits is not None and type(parameter) in NUMBERS
            values[int.__int__(parameter) if is_number else column.value(parameter)] = None
        if None in values:
            continue
        scopes.append(Scope(table, name, ANY))
        scopes += [Scope(table, name, value) for value in values if value is not None]
        if is_key:
            scopes.append(Scope(table, name, NEW))
    return tuple(scopes)


def is_complete(shape: Shape, scopes: tuple[Scope, ...], rows: Any) -> bool:
    """
    Say whether no row that is inserted can change an answer: all rows it asks for are there.

    Whatever becomes of these rows touches their scopes, and two rows never have the same key.
    """
    proof = shape.pinned.proof
    if proof is Proof.NONE or scopes[-1].value != NEW:
        return False
    if any(scope.table != scopes[-1].table for scope in scopes):
        return False
    values = len(scopes) - 2  # without ANY and NEW
    if values == 1:
        return bool(rows)
    return proof is Proof.ROWS and isinstance(rows, list) and len(rows) == values


ANOTHER_SERVER: Final = "a restart or a replacement of the server"


def causes_of(plan: Plan) -> list[str]:
    """Say of each dependency, in their order, what changes it."""
    writes = [f"a write to {table}" for table in whole_tables(plan)]
    writes += [f"{_WRITES.get(scope.value, 'a write to')} {named(scope)}" for scope in plan.scopes]
    return ["a flush", "a write that may have changed any table", *writes]


def whole_tables(plan: Plan) -> list[str]:
    """Return the tables of which a plan depends on all rows."""
    pinned = {scope.table for scope in plan.scopes}
    return [table for table in plan.shape.tables if table not in pinned]


def named(scope: Scope) -> str:
    """Return what a scope is called: a table, or its rows where a column has a value."""
    if scope.value in _WRITES:
        return scope.table
    return f"{scope.table}.{scope.column} = {scope.value}"


_WRITES: Final[dict[int | str, str]] = {ANY: "a write of unknown rows to", NEW: "an INSERT into"}


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
    pins.forget_pins()
