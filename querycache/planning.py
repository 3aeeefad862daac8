"""
The way from a query to its plan: it is compiled once, and the SQL that makes the key is what runs.

Compiling may change a query: compiled again, it may return other columns.
"""

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

from django.core.exceptions import EmptyResultSet

from querycache import generations, plans, sql
from querycache._django.compilers import SQLCompiler, compiled_as, result_width
from querycache._django.connections import BaseDatabaseWrapper
from querycache.admission import is_judged, sites
from querycache.conf import get_config
from querycache.counting import statistics
from querycache.exceptions import Reason, Uncacheable
from querycache.hints import hint_of
from querycache.keys import key_of
from querycache.plans import Plan
from querycache.transactions import ConnectionState


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
        if refusal.query and is_judged(get_config().admission):
            sites.note_refused(compiler.query, result_type, refusal.reason, refusal.query)
        raise
    plan.shape.costs.note_compile(took)
    return plan


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
        raise Uncacheable(shape.reason, shape.detail, query=shape.name)
    if state.session.apart is None:
        raise Uncacheable(Reason.UNKNOWN_SESSION)
    if compiler.connection.vendor == "postgresql":
        sql.refuse_clock(params)
    if config.shows_parameters and not shape.costs.has_example:
        shape.costs.has_example = True
        statistics.note_example(shape.name, params)
    database = state.database(compiler.connection)
    if not state.is_journal_empty and state.has_written(shape.tables):
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
