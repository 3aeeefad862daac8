"""
Plans that are remembered, so that a query is compiled once.

They are found by what the query consists of, and by all else that compiling reads. Where that is
not known, nothing is remembered.
"""

import logging
from typing import Any, Final

from django.utils.timezone import get_current_timezone

from querycache import derivations, filters, plans
from querycache._django.compilers import (
    MULTI,
    Columns,
    SQLCompiler,
    are_alike,
    columns_of,
    converters_of,
    is_selected_plainly,
    set_columns,
)
from querycache.admission import sites
from querycache.conf import get_config
from querycache.exceptions import Uncacheable
from querycache.fingerprints import fingerprint_of, is_known
from querycache.generations import Look
from querycache.memory import Kept, Memory
from querycache.options import Config
from querycache.planning import compile_once, plan_of, publish_written
from querycache.plans import Plan
from querycache.transactions import ConnectionState

logger = logging.getLogger("querycache")


class Remembered(Kept):
    """A plan, and what a compiler that does not compile is to know of its columns."""

    __slots__ = ("columns", "plan")

    def __init__(self, plan: Plan, columns: Columns) -> None:
        super().__init__()
        self.plan, self.columns = plan, columns


_PLANS: Final = 4096
"""Of 1 to 5 KB each."""
_remembered: Memory[tuple[Any, ...], Remembered] = Memory(_PLANS)
"""Plans by what ``name_of_plan`` says of their queries."""
_columns: Memory[str, Columns] = Memory(_PLANS)
"""Columns of a text of SQL, which most plans of this text share."""


def forget_plans() -> None:
    """Forget every plan: the settings have changed."""
    _remembered.clear()
    _columns.clear()
    forget_queries()
    plans.forget_plans()
    sites.clear()


def forget_queries() -> None:
    """Forget every query: something has changed that Django reads when it makes one."""
    derivations.forget_derivations()
    filters.forget_filters()


def name_of_plan(
    compiler: SQLCompiler, result_type: str, state: ConnectionState, config: Config
) -> tuple[Any, ...] | None:
    """Return all that a plan depends on, without compiling; None where that is not known."""
    query = compiler.query
    # Compiling an ordered union changes it.
    if query.combinator or state.session.apart is None:
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
    known.was_used = True
    plan = known.plan
    if not state.is_journal_empty and state.has_written(plan.shape.tables):  # a call less
        publish_written(compiler.connection, state)
    if get_config().checks_plans and not compiles_to(plan, compiler, result_type, state):
        return None
    columns = known.columns
    converters = state.converters.get(columns)
    set_columns(compiler, columns, converters)
    if converters is None and result_type == MULTI:
        if len(state.converters) >= _PLANS:
            state.converters.clear()
        state.converters[columns] = converters_of(compiler)
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
    """Remember the plan of a query that was compiled, to compile it no more."""
    columns, known = columns_of(compiler), _columns.get(plan.statement)
    if known is None or not are_alike(known, columns):
        if not is_selected_plainly(compiler, is_known):
            return
        _columns.put(plan.statement, columns)
        known = columns
    _remembered.put(name, Remembered(plan, known))
