"""
The read path: what happens instead of ``SQLCompiler.execute_sql``.

Every ORM read comes through here: get, lists, values, count, exists, aggregates, prefetches,
related managers and the async twins. Rows are kept as the driver gave them, before Django's
converters, so that what is made of them on a hit is made by Django itself.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from random import random
from time import perf_counter_ns, time
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError, router

from querycache import generations, plans, replicas, sql, verification
from querycache._django import (
    GET_ITERATOR_CHUNK_SIZE,
    MULTI,
    SINGLE,
    BaseDatabaseWrapper,
    Query,
    SQLCompiler,
    compiled_as,
    compiles_anew,
    has_open_statement,
    is_snapshot,
    reads_uncommitted,
    result_width,
)
from querycache.conf import get_config
from querycache.entries import TOKEN_SIZE, WILDCARD, Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.keys import key_of
from querycache.recorder import Outcome, Read, recorders
from querycache.scopes import Scope
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
    statement: str
    shape: plans.Shape
    dependencies: tuple[str, ...]
    ttl: float
    ttl_source: str
    scopes: tuple[Scope, ...] = ()


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
        config = get_config()
        table = config.models.get(compiler.query.model)  # type: ignore[arg-type]
        if table is None or state.covered:
            # A function that a query calls may be declared to write.
            run = state.cover_query if config.writes else state.cover
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        began = perf_counter_ns()
        try:
            refuse_before_compiling(compiler, state, result_type, chunked_fetch)
            compiled = compile_once(compiler)
            if compiled is None:
                return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
            plan = plan_of(compiler, compiled, result_type, state)
            look = generations.look(plan.key, plan.dependencies)
        except (Uncacheable, StoreFailed) as refusal:
            reason = getattr(refusal, "reason", Reason.STORE_FAILED)
            note(table.label, "bypass", began, reason)
            run = state.cover_query if config.writes else state.cover
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        loaded = look.loaded
        if loaded is not None:
            note(table.label, "hit", began, None, plan, loaded)
            if config.verify and is_to_be_verified(config.verify, compiler, state):
                load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
                loaded = verified(load, compiler.query, plan, loaded, look.tokens, table.label)
            else:
                compiles_anew(compiler)
            return as_result(loaded.rows, result_type)
        # A fence that was met leaves no generations to fill under.
        reason = too_old(compiler.connection, plan, look.tokens) if look.tokens else None
        loaded = state.cover(load_rows, execute_sql, compiler, result_type)
        if look.tokens and reason is None:
            reason = fill(table.label, plan, look.tokens, loaded)
        note(table.label, "bypass" if reason else "miss", began, reason, plan)
        return as_result(loaded.rows, result_type)

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
    if router.routers and is_written_elsewhere(query, connection):
        raise Uncacheable(Reason.WRITTEN_ELSEWHERE)
    # Django may refuse to go on with a transaction that has ended. To open a connection mends that.
    is_refused = connection.needs_rollback and connection.connection is not None
    if is_refused or state.in_transaction(connection):
        refuse_in_transaction(connection, state)


def is_written_elsewhere(query: Query, connection: BaseDatabaseWrapper) -> bool:
    """Say whether writes go neither to this database nor to the one that it follows."""
    alias = get_config().primary_of(connection.alias)
    return alias is not None and router.db_for_write(query.get_meta().model) != alias


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
    shape = plans.shape_of(compiler.query, statement, compiler.connection.vendor, config)
    if shape.reason is not None:
        raise Uncacheable(shape.reason, shape.detail)
    if state.session.apart is None:
        raise Uncacheable(Reason.UNKNOWN_SESSION)
    if compiler.connection.vendor == "postgresql":
        sql.refuse_clock(params)
    database = state.database(compiler.connection)
    if state.has_written(shape.tables):
        if state.in_transaction(compiler.connection):
            raise Uncacheable(Reason.WRITTEN_HERE)
        # Only in a TestCase: an atomic() has ended, whose COMMIT is none.
        generations.renew(database.changed(state.written()))
        state.forget()
    namespace = "" if config.namespace is None else config.namespace()
    width = result_width(compiler, result_type)
    hint = hint_of(compiler.query)
    scopes = plans.scopes_of(shape, params) if shape.pinned.pins else ()
    return Plan(
        key=key_of(database.session, namespace, statement, params, (result_type, width)),
        statement=statement,
        shape=shape,
        dependencies=database.dependencies(shape.tables, scopes),
        ttl=shape.ttl if hint is None or hint.ttl is None else hint.ttl,
        ttl_source=shape.ttl_source if hint is None or hint.ttl is None else "cached()",
        scopes=scopes,
    )


def too_old(connection: BaseDatabaseWrapper, plan: Plan, tokens: bytes) -> Reason | None:
    """Say why a SELECT that begins now may not see what was committed before these tokens."""
    if has_open_statement(connection):
        return Reason.SNAPSHOT
    replica = get_config().replicas.get(connection.alias)
    if replica is None or replicas.has_caught_up(plan.dependencies, tokens, replica.max_lag):
        return None
    return Reason.REPLICA_LAG


def is_to_be_verified(share: float, compiler: SQLCompiler, state: ConnectionState) -> bool:
    """Choose ``share`` of all hits, of those that a failing SELECT would do no harm to."""
    is_chosen = random() < share  # noqa: S311  a sample, not a secret
    return is_chosen and not state.in_transaction(compiler.connection)


def verified(
    load: Callable[[], Loaded], query: Query, plan: Plan, cached: Loaded, tokens: bytes, label: str
) -> Loaded:
    """
    Ask the database after a hit, report a difference, and return what the database says.

    A write that was published since the look explains one. Nothing else does: what was committed
    before the look has made the entry stale before.
    """
    try:
        loaded = load()
    except DatabaseError:  # a hit needs no database
        return cached
    statistics.count(label, "verified")
    if verification.is_same_answer(query, cached.rows, loaded.rows):
        return loaded
    with suppress(StoreFailed):
        if tokens and generations.look(plan.key, plan.dependencies).tokens == tokens:
            statistics.count(label, "mismatches")
            logger.error(
                verification.DIFFERENCE,
                plan.key,
                loaded.at - cached.at,
                plan.statement,
            )
            fill(label, plan, tokens, loaded)
    return loaded


def load_rows(execute_sql: Callable[..., Any], compiler: SQLCompiler, result_type: str) -> Loaded:
    """Run the SELECT; return what an entry holds of it."""
    began = perf_counter_ns()
    result = execute_sql(compiler, result_type)
    rows = list(chain.from_iterable(result)) if result_type == MULTI else result
    return Loaded(rows, time(), (perf_counter_ns() - began) // 1000)


def as_result(rows: Any, result_type: str) -> Any:
    """Turn what an entry holds into what ``execute_sql`` returns: a list of chunks, or one row."""
    return [rows] if result_type == MULTI else rows


def fill(label: str, plan: Plan, tokens: bytes, loaded: Loaded) -> Reason | None:
    """Store what was read. If it never can be, return why; the read is none the worse for it."""
    if isinstance(loaded.rows, list) and len(loaded.rows) > plan.shape.max_rows:
        return Reason.TOO_LARGE
    if plan.scopes and plans.is_complete(plan.shape, plan.scopes, loaded.rows):
        tokens = tokens[:-TOKEN_SIZE] + WILDCARD
    try:
        generations.fill(plan.key, tokens, loaded, plan.ttl, plan.shape.max_bytes)
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
        statistics.count(label, "misses" if reason is None else reason.value)
    for reads in recorders():
        reads.append(Read(label, outcome, took, reason, plan.dependencies if plan else ()))
