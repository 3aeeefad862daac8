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
from random import random
from time import perf_counter_ns, time
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import router
from django.utils.timezone import get_current_timezone

from querycache import generations, plans, sql
from querycache._django import (
    GET_ITERATOR_CHUNK_SIZE,
    MULTI,
    SINGLE,
    BaseDatabaseWrapper,
    Columns,
    Query,
    SQLCompiler,
    columns_of,
    compiled_as,
    compiles_anew,
    converters_of,
    is_selected_plainly,
    is_snapshot,
    reads_uncommitted,
    result_width,
    set_columns,
)
from querycache.admission import sites
from querycache.conf import get_config
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.fingerprints import fingerprint_of, is_plain
from querycache.generations import Look
from querycache.keys import key_of
from querycache.loads import answered, is_due, note
from querycache.memory import Memory
from querycache.options import Config
from querycache.plans import Plan
from querycache.stores import get_store
from querycache.transactions import ConnectionState, state_of
from querycache.verification import verified

logger = logging.getLogger("querycache")

HINT: Final = "querycache_hint"
"""The attribute of a ``Query`` that holds what ``cached()`` or ``uncached()`` asked for."""


@dataclass(frozen=True, slots=True)
class Hint:
    """
    What was asked for one query: to be cached for ``ttl`` seconds, or not at all.

    Its answer may be ``max_stale`` seconds old. None stands for what its models say.
    """

    cache: bool
    ttl: float | None = None
    max_stale: float | None = None


bypassed: Final[ContextVar[bool]] = ContextVar("querycache_bypassed", default=False)
"""Whether reads of the current context go to the database."""


class Remembered:
    """A plan, and what a compiler that does not compile is to know of its columns."""

    __slots__ = ("columns", "plan")

    def __init__(self, plan: Plan, columns: Columns) -> None:
        self.plan, self.columns = plan, columns


_PLANS: Final = 2048
_remembered: Memory[tuple[Any, ...], Remembered] = Memory(_PLANS)
"""Plans of queries that were answered from the cache, by what ``name_of_plan`` says of them."""


def forget_plans() -> None:
    """Forget every plan: the settings have changed."""
    _remembered.clear()
    plans.forget_plans()
    sites.clear()


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
        began, plan = perf_counter_ns(), None
        try:
            refuse_before_compiling(compiler, state, result_type, chunked_fetch)
            name = name_of_plan(compiler, result_type, state, config)
            plan = recalled_plan(compiler, result_type, state, name)
            plan = plan or new_plan(compiler, result_type, state)
            if plan is None:
                return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
            if plan.shape.costs.left <= 0 or sites.streaks:
                refuse_if_not_worth_it(compiler.query, result_type, plan)
            look = generations.look(plan.key, plan.dependencies, plan.ttl, plan.max_stale)
        except (Uncacheable, StoreFailed) as refusal:
            reason = getattr(refusal, "reason", Reason.STORE_FAILED)
            note(table.label, "bypass", began, reason)
            run = state.cover_query if config.writes else state.cover
            if reason is Reason.NOT_WORTH_IT:
                return run(timed, plan, execute_sql, compiler, result_type)
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        loaded = look.loaded
        if loaded is None or is_due(loaded, plan.ttl):
            look = checked(look, plan, compiler, result_type, state)
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = answered(compiler.connection, table.label, plan, look, load, began)
            forget_compiled(compiler)
            return as_result(loaded.rows, result_type)
        note(table.label, "hit", began, None, plan, loaded)
        plan.shape.costs.note_hit((perf_counter_ns() - began) / 1000)
        if name is not None and "as_sql" in compiler.__dict__:
            remember(compiler, name, plan)
        if config.verify and is_to_be_verified(config.verify, compiler, state):
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = verified(load, compiler.query, plan, loaded, look, table.label)
        forget_compiled(compiler)  # and not before: the SQL that made the key is verified
        return as_result(loaded.rows, result_type)

    return read


# Plans --------------------------------------------------------------------------------------------


def name_of_plan(
    compiler: SQLCompiler, result_type: str, state: ConnectionState, config: Config
) -> tuple[Any, ...] | None:
    """
    Return all that a plan depends on, without compiling; None where that is not known.

    Raises ``Uncacheable`` for a query that is not worth to be looked at.
    """
    query = compiler.query
    if sites.skips and sites.skip(query, result_type) and hint_of(query) is None:
        raise Uncacheable(Reason.NOT_WORTH_IT)
    # Compiling an ordered union changes it.
    if query.combinator or state.session.apart is None:
        return None
    if sites.uncacheable and sites.is_uncacheable(query, result_type):
        return None
    fingerprint = fingerprint_of(query)
    if fingerprint is None:
        return None
    return (
        fingerprint,
        state.database(compiler.connection).session,
        type(compiler),
        compiler.__dict__["elide_empty"],
        result_type,
        get_current_timezone(),
        None if config.namespace is None else config.namespace(),
    )


def recalled_plan(
    compiler: SQLCompiler, result_type: str, state: ConnectionState, name: tuple[Any, ...] | None
) -> Plan | None:
    """Return the plan that is remembered, if one is, and have the compiler know its columns."""
    known = None if name is None else _remembered.get(name)
    if known is None:
        return None
    plan = known.plan
    if state.has_written(plan.shape.tables):
        publish_written(compiler.connection, state)
    if get_config().checks_plans and not compiles_to(plan, compiler, result_type, state):
        return None
    converters = state.converters.get(known)
    set_columns(compiler, known.columns, converters)
    if converters is None and result_type == MULTI:
        if len(state.converters) >= _PLANS:
            state.converters.clear()
        state.converters[known] = converters_of(compiler)
    return plan


def new_plan(compiler: SQLCompiler, result_type: str, state: ConnectionState) -> Plan | None:
    """
    Return the plan of a query that is compiled for it, None if that is known to be empty.

    Raises ``Uncacheable``.
    """
    began = perf_counter_ns()
    compiled = compile_once(compiler)
    if compiled is None:
        return None
    took = (perf_counter_ns() - began) / 1000
    try:
        plan = plan_of(compiler, compiled, result_type, state)
    except Uncacheable as refusal:
        if refusal.reason is not Reason.WRITTEN_HERE:
            sites.note_uncacheable(compiler.query, result_type)
        raise
    if sites.uncacheable:
        sites.note_cacheable(compiler.query, result_type)
    plan.shape.costs.note_compile(took)
    return plan


def checked(
    look: Look, plan: Plan, compiler: SQLCompiler, result_type: str, state: ConnectionState
) -> Look:
    """
    See to it that the SQL that made the key is the SQL that runs.

    Otherwise there are no generations to fill under.
    """
    if "as_sql" in compiler.__dict__ or compiles_to(plan, compiler, result_type, state):
        return look
    return look._replace(tokens=b"")


def compiles_to(
    plan: Plan, compiler: SQLCompiler, result_type: str, state: ConnectionState
) -> bool:
    """Compile a query, and say whether that gives the plan that was remembered."""
    try:
        compiled = compile_once(compiler)
        found = None if compiled is None else plan_of(compiler, compiled, result_type, state)
    except Uncacheable:
        found = None
    if found == plan:
        return True
    _remembered.clear()
    logger.error(
        ANOTHER_PLAN, plan, found, extra={"querycache_event": "plan-differs", "key": plan.key}
    )
    return False


ANOTHER_PLAN: Final = "A query was remembered as %s, and compiles to %s: please report it"
"""What is logged of two queries that have one fingerprint."""


def remember(compiler: SQLCompiler, name: tuple[Any, ...], plan: Plan) -> None:
    """Remember the plan of a query that was answered from the cache, to compile it no more."""
    if is_selected_plainly(compiler, is_plain):
        _remembered.put(name, Remembered(plan, columns_of(compiler)))


def forget_compiled(compiler: SQLCompiler) -> None:
    """Have a compiler that has compiled compile again if it is asked to."""
    if "as_sql" in compiler.__dict__:
        compiles_anew(compiler)


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
        publish_written(compiler.connection, state)
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
        max_stale=shape.max_stale if hint is None or hint.max_stale is None else hint.max_stale,
        scopes=scopes,
    )


def publish_written(connection: BaseDatabaseWrapper, state: ConnectionState) -> None:
    """Raise ``Uncacheable`` if the journal is yet to be committed; otherwise publish it."""
    if state.in_transaction(connection):
        raise Uncacheable(Reason.WRITTEN_HERE)
    # Only in a TestCase: an atomic() has ended, whose COMMIT is none.
    generations.renew(state.database(connection).changed(state.written()))
    state.forget()


def timed(
    plan: Plan | None, execute_sql: Callable[..., Any], compiler: SQLCompiler, result_type: str
) -> Any:
    """Run a query that was refused, to compare what it takes with what a hit takes."""
    began = perf_counter_ns()
    result = execute_sql(compiler, result_type)
    if plan is not None:
        plan.shape.costs.note_direct((perf_counter_ns() - began) / 1000)
    return result


def refuse_if_not_worth_it(query: Query, result_type: str, plan: Plan) -> None:
    """Raise ``Uncacheable`` if it is cheaper to ask the database; not if ``cached()`` asks."""
    admission, costs = get_config().admission, plan.shape.costs
    if admission == "all" or hint_of(query) is not None:
        return
    if costs.left > 0 or not costs.refuse(admission):
        sites.note_worth(query, result_type)
        return
    if sites.note_refused(query, result_type):
        costs.try_again()
    raise Uncacheable(Reason.NOT_WORTH_IT)


# Rows ---------------------------------------------------------------------------------------------


def is_to_be_verified(share: float, compiler: SQLCompiler, state: ConnectionState) -> bool:
    """Choose ``share`` of all hits, of those that a failing SELECT would do no harm to."""
    is_chosen = random() < share  # noqa: S311  a sample, not a secret
    return is_chosen and not state.in_transaction(compiler.connection)


def load_rows(execute_sql: Callable[..., Any], compiler: SQLCompiler, result_type: str) -> Loaded:
    """Run the SELECT; return what an entry holds of it."""
    began = perf_counter_ns()
    result = execute_sql(compiler, result_type)
    rows = list(chain.from_iterable(result)) if result_type == MULTI else result
    return Loaded(rows, time(), (perf_counter_ns() - began) // 1000)


def as_result(rows: Any, result_type: str) -> Any:
    """Turn what an entry holds into what ``execute_sql`` returns: a list of chunks, or one row."""
    # A copy of the list: others may be given these rows, too.
    return [rows[:]] if result_type == MULTI else rows
