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
from querycache.admission import sites
from querycache.conf import get_config
from querycache.counting import statistics
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.loads import answered, is_due, note
from querycache.planning import forget_compiled, new_plan
from querycache.plans import Plan
from querycache.recall import checked, name_of_plan, recalled_plan, remember
from querycache.refusals import (
    refuse_before_compiling,
    refuse_if_not_worth_it,
    refuse_like_the_last,
)
from querycache.stats import UNOPTED
from querycache.transactions import ConnectionState, state_of
from querycache.verification import verified


def wrap_execute_sql(execute_sql: Callable[..., Any]) -> Callable[..., Any]:  # noqa: C901  one story
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
        # A function that a query calls may be declared to write.
        run = state.cover_query if config.writes else state.cover
        table = config.models.get(compiler.query.model)  # type: ignore[arg-type]
        if table is None or state.covered:
            model = compiler.query.model  # none of Q.check(), by which constraints are validated
            if not state.covered and config.models and model is not None:
                statistics.count(model._meta.label, UNOPTED)
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        began, plan = perf_counter_ns(), None
        try:
            refuse_before_compiling(compiler, state, result_type, chunked_fetch)
            is_known = compiler.query.model in sites.by_model
            site = refuse_like_the_last(compiler.query, result_type) if is_known else None
            name = name_of_plan(compiler, result_type, state, config)
            plan = recalled_plan(compiler, result_type, state, name)
            plan = plan or new_plan(compiler, result_type, state)
            if plan is None:
                return execute_sql(compiler, result_type, chunked_fetch, chunk_size)
            if plan.shape.costs.left <= 0 or site is not None:
                refuse_if_not_worth_it(compiler.query, result_type, plan, site)
            look = generations.look(plan.key, plan.dependencies, plan.ttl, plan.max_stale)
        except (Uncacheable, StoreFailed) as refusal:
            reason = getattr(refusal, "reason", Reason.STORE_FAILED)
            query = getattr(refusal, "query", "")
            note(table.label, "bypass", began, reason, plan, query=query)
            if reason is Reason.NOT_WORTH_IT and plan is not None:
                return run(timed, plan, execute_sql, compiler, result_type)
            return run(execute_sql, compiler, result_type, chunked_fetch, chunk_size)
        loaded = look.loaded
        if loaded is None or is_due(loaded, plan.ttl):
            look = checked(look, plan, compiler, result_type, state)
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = answered(compiler.connection, table.label, plan, look, load, began)
            forget_compiled(compiler)
            return as_result(loaded.rows, result_type)
        note(table.label, "hit", began, None, plan, loaded, is_unasked=look.is_unasked)
        plan.shape.costs.note_hit((perf_counter_ns() - began) / 1000)
        if name is not None and "as_sql" in compiler.__dict__:
            remember(compiler, name, plan)
        if config.verify and is_to_be_verified(config.verify, compiler, state):
            load = functools.partial(state.cover, load_rows, execute_sql, compiler, result_type)
            loaded = verified(load, compiler.query, plan, loaded, look, table.label)
        forget_compiled(compiler)  # and not before: the SQL that made the key is verified
        return as_result(loaded.rows, result_type)

    return read


def timed(
    plan: Plan, execute_sql: Callable[..., Any], compiler: SQLCompiler, result_type: str
) -> Any:
    """Run a query that was refused, to compare what it takes with what a hit takes."""
    began = perf_counter_ns()
    result = execute_sql(compiler, result_type)
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
