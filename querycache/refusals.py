"""
Why a read goes to the database, as far as that can be told without its SQL.

Each reason is raised as ``Uncacheable``, before the query is compiled where that is possible: what
is refused is to lose no time.
"""

from django.db import router

from querycache._django.compilers import MULTI, SINGLE, SQLCompiler
from querycache._django.connections import BaseDatabaseWrapper, is_snapshot, reads_uncommitted
from querycache._django.queries import Query
from querycache.admission import Site, is_judged, sites
from querycache.conf import get_config
from querycache.exceptions import Reason, Uncacheable
from querycache.hints import bypassed, hint_of
from querycache.plans import Plan
from querycache.stores import get_store
from querycache.transactions import ConnectionState


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


def refuse_if_not_worth_it(query: Query, result_type: str, plan: Plan, site: Site | None) -> None:
    """Raise ``Uncacheable`` if it is cheaper to ask the database; not if ``cached()`` asks."""
    costs = plan.shape.costs
    if hint_of(query) is not None or not is_judged(get_config().admission):
        return
    if costs.left > 0 or not costs.refuse():
        if site is not None:
            site.streak = 0
        return
    if sites.note_refused(query, result_type, Reason.NOT_WORTH_IT, plan.shape.name):
        costs.try_again()
    raise Uncacheable(Reason.NOT_WORTH_IT)
