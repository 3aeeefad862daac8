"""
The read path: what happens instead of ``SQLCompiler.execute_sql``.

Every ORM read comes through here: get, lists, values, count, exists, aggregates, prefetches,
related managers and the async twins. Rows are kept as the driver gave them, before Django's
converters, so that what is made of them on a hit is made by Django itself.
"""

import functools
from collections.abc import Callable
from itertools import chain
from random import random
from time import perf_counter_ns, time
from typing import Any

from querycache import generations
from querycache._django.compilers import GET_ITERATOR_CHUNK_SIZE, MULTI, SQLCompiler
from querycache.admission import site_of, sites
from querycache.conf import current, get_config
from querycache.counting import QUEUE_LENGTH, statistics
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.loads import answered, is_due, note, tell
from querycache.planning import new_plan
from querycache.plans import Plan
from querycache.recall import checked, name_of_plan, recalled_plan, remember
from querycache.recorder import Read, recorders
from querycache.refusals import refuse_before_compiling, refuse_if_not_worth_it
from querycache.signals import read_done
from querycache.transactions import STATE, ConnectionState, state_of
from querycache.verification import verified


def wrap_execute_sql(  # noqa: C901, PLR0915
    execute_sql: Callable[..., Any],
) -> Callable[..., Any]:
    """
    Return what takes the place of ``SQLCompiler.execute_sql``.

    It is one long function since each call more is felt on a hit, and by whoever is not cached.
    """

    @functools.wraps(execute_sql)
    def read(  # noqa: C901, PLR0911, PLR0912, PLR0915
        compiler: SQLCompiler,
        result_type: str = MULTI,
        chunked_fetch: bool = False,
        chunk_size: int = GET_ITERATOR_CHUNK_SIZE,
    ) -> Any:
        connection, model = compiler.connection, compiler.query.model
        state = connection.__dict__.get(STATE) or state_of(connection)  # a call less
        if state.covered:
            return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
        config = current.config or get_config()  # a call less
        table = config.models.get(model)  # type: ignore[arg-type]
        plan, site = None, None
        counted: Any = None
        if table is None:
            # There is no model in Q.check(), by which constraints are validated.
            counted = model if config.models else None
        else:
            began = perf_counter_ns()
            of_model = sites.by_model.get(model)
            if of_model is not None:
                site = of_model.get(site_of(compiler.query, result_type))
            if site is not None and site.left > 0:
                # Most likely this one is refused, too.
                site.left -= 1
                counted = site.counted
                if recorders() or read_done.receivers:
                    took = (perf_counter_ns() - began) // 1000
                    tell(Read(table.label, "bypass", took, site.reason))
        if counted is not None:
            statistics.queue.append(counted)  # as count() does, a call less
            if statistics.thread is None or len(statistics.queue) > QUEUE_LENGTH:
                statistics.keep_up()
        if (table is None or counted is not None) and not config.writes:
            state.covered = True  # as cover() does, a call less
            try:
                return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
            finally:
                state.covered = False
        # A function that a query calls may be declared to write.
        run = state.cover_query if config.writes else state.cover
        if table is None or counted is not None:
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        try:
            refuse_before_compiling(compiler, state, result_type, chunked_fetch)
            name = name_of_plan(compiler, result_type, state, config)
            plan = recalled_plan(compiler, result_type, state, name)
            plan = plan or new_plan(compiler, result_type, state)
            if plan is None:
                return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
            if plan.shape.costs.left <= 0 or site is not None:
                refuse_if_not_worth_it(compiler.query, result_type, plan, site)
            look = generations.look(plan.key, plan.dependencies, plan.ttl, plan.max_stale)
        except (Uncacheable, StoreFailed) as refusal:
            instead = refused(refusal, table.label, began, plan, execute_sql)
            return run(instead, compiler, result_type, chunked_fetch, chunk_size)
        if name is not None and "as_sql" in compiler.__dict__:
            remember(compiler, name, plan)
        loaded = look.loaded
        if loaded is None or is_due(loaded, plan.ttl):
            look = checked(look, plan, compiler, result_type, state)
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = answered(connection, table.label, plan, look, load, began)
            compiler.__dict__.pop("as_sql", None)  # where another has loaded
            return as_result(loaded.rows, result_type)
        note(table.label, "hit", began, None, plan, loaded, is_unasked=look.is_unasked)
        plan.shape.costs.note_hit((perf_counter_ns() - began) / 1000)
        if config.verify and is_to_be_verified(config.verify, compiler, state):
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = verified(load, compiler.query, plan, loaded, look, table.label)
        # As by compiles_anew(), a call less; and not before: the SQL that made the key is verified.
        compiler.__dict__.pop("as_sql", None)
        return as_result(loaded.rows, result_type)

    return read


def refused(
    refusal: Uncacheable | StoreFailed,
    label: str,
    began: int,
    plan: Plan | None,
    execute_sql: Callable[..., Any],
) -> Callable[..., Any]:
    """Note that a read goes to the database, and return what runs it there."""
    reason = getattr(refusal, "reason", Reason.STORE_FAILED)
    note(label, "bypass", began, reason, plan, query=getattr(refusal, "query", ""))
    if plan is not None and reason is Reason.NOT_WORTH_IT:
        return functools.partial(timed, plan, execute_sql)
    return execute_sql


def timed(plan: Plan, execute_sql: Callable[..., Any], *args: Any) -> Any:
    """Run a query that was refused, to compare what it takes with what a hit takes."""
    began = perf_counter_ns()
    result = execute_sql(*args)
    plan.shape.costs.note_direct((perf_counter_ns() - began) / 1000)
    return result


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
