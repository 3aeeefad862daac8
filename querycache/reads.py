"""
The read path: what happens instead of ``SQLCompiler.execute_sql``.

Every ORM read comes through here: get, lists, values, count, exists, aggregates, prefetches,
related managers and the async twins. Rows are kept as the driver gave them, before Django's
converters, so that what is made of them on a hit is made by Django itself.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from time import perf_counter_ns, time
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import router

from querycache import generations, plans
from querycache._django import (
    GET_ITERATOR_CHUNK_SIZE,
    MULTI,
    SINGLE,
    BaseDatabaseWrapper,
    Query,
    SQLCompiler,
    compiled_as,
    compiles_anew,
    is_snapshot,
    reads_uncommitted,
    result_width,
)
from querycache.conf import get_config
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.keys import key_of
from querycache.recorder import Outcome, Read, recorders
from querycache.stats import statistics
from querycache.stores import get_store
from querycache.transactions import ConnectionState, state_of

logger = logging.getLogger("querycache")

HINT: Final = "querycache_hint"
"""The attribute of a ``Query`` that holds what ``cached()`` or ``uncached()`` asked for."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What was asked for one query: to be cached for ``ttl`` seconds, or not at all."""

    cache: bool
    ttl: float | None = None


bypassed: Final[ContextVar[bool]] = ContextVar("querycache_bypassed", default=False)
"""Whether reads of the current context go to the database."""


class Plan(NamedTuple):
    """What a compiled query is for the cache."""

    key: str
    tables: tuple[str, ...]
    dependencies: tuple[str, ...]
    ttl: float
    ttl_source: str


def wrap_execute_sql(execute_sql: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``SQLCompiler.execute_sql``."""

    @functools.wraps(execute_sql)
    def read(
        compiler: SQLCompiler,
        result_type: str = MULTI,
        chunked_fetch: bool = False,
        chunk_size: int = GET_ITERATOR_CHUNK_SIZE,
    ) -> Any:
        state = state_of(compiler.connection)
        table = get_config().models.get(compiler.query.model)  # type: ignore[arg-type]
        if table is None or state.covered:
            return state.cover(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        began = perf_counter_ns()
        try:
            refuse_before_compiling(compiler, state, result_type, chunked_fetch)
            compiled = compile_once(compiler)
            if compiled is None:
                return state.cover(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
            plan = plan_of(compiler, compiled, result_type, state)
            look = generations.look(plan.key, plan.dependencies)
        except (Uncacheable, StoreFailed) as refusal:
            reason = getattr(refusal, "reason", Reason.STORE_FAILED)
            note(table.label, "bypass", began, reason)
            return state.cover(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        if look.loaded is not None:
            compiles_anew(compiler)
            note(table.label, "hit", began, None, plan, look.loaded)
            return as_result(look.loaded.rows, result_type)
        selected = perf_counter_ns()
        result = state.cover(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        cost = (perf_counter_ns() - selected) // 1000
        loaded = Loaded(as_rows(result, result_type), time(), cost)
        # A fence that was met leaves no generations to fill under.
        reason = fill(table.label, plan, look.tokens, loaded) if look.tokens else None
        note(table.label, "bypass" if reason else "miss", began, reason, plan)
        return result

    return read


def compile_once(compiler: SQLCompiler) -> tuple[str, Sequence[Any]] | None:
    """
    Compile the query, in a way that its ``execute_sql`` runs just this SQL.

    Return None if it is known to be empty without asking the database.
    """
    try:
        compiled = compiler.as_sql()
    except EmptyResultSet as empty:
        compiled_as(compiler, empty)
        return None
    compiled_as(compiler, compiled)
    return compiled if compiled[0] else None


def refuse_before_compiling(
    compiler: SQLCompiler, state: ConnectionState, result_type: str, chunked_fetch: bool
) -> None:
    """Raise ``Uncacheable`` for what can be told without the SQL."""
    query, connection = compiler.query, compiler.connection
    hint = hint_of(query)
    if chunked_fetch:
        raise Uncacheable(Reason.ITERATOR)
    if result_type not in (MULTI, SINGLE):
        raise Uncacheable(Reason.CURSOR)
    if query.select_for_update:
        raise Uncacheable(Reason.LOCKING)
    if query.explain_info is not None:
        raise Uncacheable(Reason.EXPLAIN)
    if bypassed.get():
        raise Uncacheable(Reason.BYPASSED)
    if hint is not None and not hint.cache:
        raise Uncacheable(Reason.UNCACHED)
    if connection.vendor == "mysql" and reads_uncommitted(connection):
        raise Uncacheable(Reason.UNCOMMITTED)
    if router.routers and router.db_for_write(query.get_meta().model) != connection.alias:
        # A replica, most likely: writes to its primary would not be heard of here.
        raise Uncacheable(Reason.WRITTEN_ELSEWHERE)
    if state.in_transaction(connection):
        refuse_in_transaction(connection, state)


def refuse_in_transaction(connection: BaseDatabaseWrapper, state: ConnectionState) -> None:
    """Raise ``Uncacheable`` if the open transaction must not be answered from the cache."""
    if connection.needs_rollback or state.broken:
        raise Uncacheable(Reason.BROKEN_TRANSACTION)
    if state.snapshot or is_snapshot(connection):
        raise Uncacheable(Reason.SNAPSHOT)
    if get_store().using == connection.alias:
        raise Uncacheable(Reason.STORE_IN_TRANSACTION)


def hint_of(query: Query) -> Hint | None:
    """Return what was asked for the query; for an aggregate over a subquery, for that."""
    hint: Hint | None = query.__dict__.get(HINT)
    inner = query.__dict__.get("inner_query")
    return hint_of(inner) if hint is None and inner is not None else hint


def plan_of(
    compiler: SQLCompiler,
    compiled: tuple[str, Sequence[Any]],
    result_type: str,
    state: ConnectionState,
) -> Plan:
    """Return the plan of a compiled query. Raises ``Uncacheable``."""
    statement, params = compiled
    config = get_config()
    shape = plans.shape_of(compiler, statement, config)
    if shape.reason is not None:
        raise Uncacheable(shape.reason, shape.detail)
    if state.has_written(shape.tables):
        raise Uncacheable(Reason.WRITTEN_HERE)
    database = state.database(compiler.connection)
    namespace = "" if config.namespace is None else config.namespace()
    width = result_width(compiler, result_type)
    hint = hint_of(compiler.query)
    return Plan(
        key=key_of(database.session, namespace, statement, params, (result_type, width)),
        tables=shape.tables,
        dependencies=database.dependencies(shape.tables),
        ttl=shape.ttl if hint is None or hint.ttl is None else hint.ttl,
        ttl_source=shape.ttl_source if hint is None or hint.ttl is None else "cached()",
    )


def as_rows(result: Any, result_type: str) -> Any:
    """Turn what ``execute_sql`` returned into what an entry holds."""
    return list(chain.from_iterable(result)) if result_type == MULTI else result


def as_result(rows: Any, result_type: str) -> Any:
    """Turn what an entry holds into what ``execute_sql`` returns: a list of chunks, or one row."""
    return [rows] if result_type == MULTI else rows


def fill(label: str, plan: Plan, tokens: bytes, loaded: Loaded) -> Reason | None:
    """Store what was read. If it never can be, return why; the read is none the worse for it."""
    try:
        generations.fill(plan.key, tokens, loaded, plan.ttl)
    except Uncacheable as refusal:
        return refusal.reason
    except StoreFailed as failure:
        logger.warning("A read of %s was not stored: %s", label, failure)
    else:
        statistics.count(label, "fills")
    return None


def note(
    label: str,
    outcome: Outcome,
    began: int,
    reason: Reason | None = None,
    plan: Plan | None = None,
    loaded: Loaded | None = None,
) -> None:
    """Count a read, and tell those who record reads."""
    took = (perf_counter_ns() - began) // 1000
    if loaded is not None:
        statistics.count_hit(label, took, loaded.cost)
    else:
        statistics.count(label, _COUNTED_AS[outcome])
    for reads in recorders():
        reads.append(Read(label, outcome, took, reason, plan.dependencies if plan else ()))


_COUNTED_AS: Final[dict[Outcome, str]] = {"miss": "misses", "bypass": "bypasses"}
