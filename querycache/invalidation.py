"""
The write path: what happens around a statement that writes, a COMMIT, a ROLLBACK and a signal.

Every statement of every connection passes ``watch_statement`` (Django's ``execute_wrapper``). Write
compilers and signals only say beforehand, or afterwards, *what* is written; *when* it is published
is decided here, once: around the statement in autocommit, around COMMIT in a transaction.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from django.db import connections
from django.db.models import Model

from querycache import breaker, changes, generations
from querycache._django.connections import (
    BaseDatabaseWrapper,
    commit_again,
    has_no_transaction,
    in_transaction,
    knows_outcome,
)
from querycache.conf import get_config
from querycache.events import note_invalidation, tell
from querycache.exceptions import StoreFailed, Uncacheable
from querycache.sessions import TEMPORARY
from querycache.statements import EVERYTHING, NOTHING, Change
from querycache.transactions import STATE, ConnectionState, state_of

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]


# Statements ---------------------------------------------------------------------------------------


def watch_statement(
    execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement, with what its change needs around it; an ``execute_wrapper``."""
    connection: BaseDatabaseWrapper = context["connection"]
    state = connection.__dict__.get(STATE) or state_of(connection)  # a call less
    if state.unfinished and not state.publishing:
        return _after_another(execute, sql, params, many, context)
    if state.covered and not state.uncompiled:
        try:
            return execute(sql, params, many, context)
        except Exception:
            state.broken = state.in_transaction(connection)
            raise
    if state.in_query:
        change = changes.change_of_query(sql)
    else:
        change = changes.change_of_statement(sql, connection.vendor)
    with watching(connection, state, change):
        result = execute(sql, params, many, context)
    if change.told is not None or connection.in_atomic_block:
        _note_session(connection, state, change, sql, params)
    return result


def _after_another(
    execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement, and release what the one before it has left: now that one is over."""
    state = state_of(context["connection"])
    unfinished, state.unfinished = state.unfinished, []
    try:
        return watch_statement(execute, sql, params, many, context)
    finally:
        for dependencies, writer in unfinished:
            generations.release(dependencies, writer)


def _note_session(
    connection: BaseDatabaseWrapper, state: ConnectionState, change: Change, sql: Any, params: Any
) -> None:
    """Keep up with what the session is told, and with savepoints, that can take it back."""
    if change.told is not None:
        if change.told.name == TEMPORARY and change.tables.isdisjoint(get_config().published):
            return
        in_transaction = connection.in_atomic_block or state.in_transaction(connection)
        state.session.tell(change.told, sql, params, in_transaction=in_transaction)
        return
    if connection.vendor != "postgresql":  # which others do not take back
        return
    is_partial = change.rolls_back and not change.ends_transaction
    if change.sets_savepoint or change.releases_savepoint or is_partial:
        name = str(sql).rstrip("; ").split()[-1].strip('"').casefold()
        if change.sets_savepoint:
            state.session.set_savepoint(name)
        elif is_partial:
            state.session.roll_back_to_savepoint(name)
        else:
            state.session.release_savepoint(name)


@contextmanager
def watching(
    connection: BaseDatabaseWrapper, state: ConnectionState, change: Change
) -> Iterator[None]:
    """Journal a change in a transaction, publish it around its statement outside of one."""
    state.published = NOTHING
    if change.begins_transaction or state.in_transaction(connection):
        # Before the statement: one that fails half way may have changed something nonetheless.
        state.note(change)
        visible = state.written() if _commits(connection, state, change) else NOTHING
        try:
            with publishing(connection, visible):
                yield
        except Exception:  # the transaction may be of no use after that
            state.broken = state.in_transaction(connection)
            raise
        state.has_run(
            change,
            is_known=in_transaction(connection),
            takes_back=takes_back(connection, change.rolls_back or state.broken),
        )
        state.published = change
        return
    if change.takes_snapshot:
        state.keep_to_snapshots()
    is_in_test = connection.in_atomic_block
    if is_in_test and change.rolls_back:  # what was published since the savepoint is taken back
        change = EVERYTHING
        state.forget()
    with publishing(connection, change, until_deadline=change.is_unfinished and not is_in_test):
        yield
    state.published = change


def takes_back(connection: BaseDatabaseWrapper, rolls_back: bool) -> bool:
    """Say whether a rollback takes back what the session was told: only PostgreSQL does."""
    return rolls_back and connection.vendor == "postgresql"


def _commits(connection: BaseDatabaseWrapper, state: ConnectionState, change: Change) -> bool:
    """Say whether a statement in a transaction may make what was written so far visible."""
    if change.rolls_back:
        return False
    # A deadlock ends a transaction of MySQL. If that was begun by hand, the connection is in
    # autocommit again, and nobody was told.
    is_lost = state.broken and connection.vendor == "mysql" and not in_transaction(connection)
    if has_no_transaction(connection):
        state.unbegun = not change.begins_transaction
        return True
    # MySQL commits when another transaction begins.
    is_left = change.begins_transaction and connection.vendor == "mysql"
    # COMMIT by hand, or DDL that commits implicitly.
    is_over = change.ends_transaction or change.may_commit or is_left
    return is_lost or is_over or (state.unbegun and change.releases_savepoint)


@contextmanager
def publishing(
    connection: BaseDatabaseWrapper, change: Change, *, until_deadline: bool = False
) -> Iterator[None]:
    """
    Fence what is about to become visible to others; release it whatever happens.

    ``until_deadline`` leaves the fence standing, where nobody can tell when the change is visible.
    So does a connection that was lost on the way:

        fence  COMMIT(sent)  connection lost  release  look SELECT fill(reader)  COMMIT takes effect
    """
    dependencies = _dependencies(connection, change) if change else ()
    if not dependencies:
        yield
        return
    state, error = state_of(connection), None
    outer, state.publishing = state.publishing, True
    try:
        writer = generations.fence(dependencies)
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            is_over = not until_deadline and knows_outcome(connection, error)
            end = generations.release if is_over else generations.leave_fenced
            end(dependencies, writer)
            if until_deadline and connection.vendor == "mysql":
                state.unfinished.append((dependencies, writer))
            note_invalidation(connection, change, dependencies)
            if error is None and breaker.is_stored_in(connection):
                commit_again(connection)
    finally:
        state.publishing = outer
        if state.untold:
            tell(connection, state)


def _dependencies(connection: BaseDatabaseWrapper, change: Change) -> tuple[str, ...]:
    """Return the dependencies of a change, of the opted-in tables among its tables."""
    if not change.everything and get_config().published.isdisjoint(change.touched):
        return ()
    try:
        database = state_of(connection).database(connection)
    except Uncacheable:  # no read can have cached anything of it either
        return ()
    return database.changed(change)


# Signals ------------------------------------------------------------------------------------------


def rows_changed(
    sender: type[Model],
    using: str,
    action: str = "",
    instance: Any = None,
    created: bool = False,
    **kwargs: Any,
) -> None:
    """
    Invalidate a model; a receiver of ``post_save``, ``post_delete`` and ``m2m_changed``.

    What its statement, the last one of the connection, has published is not published again. But
    whoever sends a signal by hand may have changed any row.
    """
    if action.startswith("pre_"):
        return
    state = state_of(connections[using])
    published, state.published = state.published, NOTHING
    # The instance of m2m_changed is a row of another table.
    row = None if action else changes.row_of(sender, instance, is_new=created)
    if row in published.scopes:
        # Each row that a statement deletes has a signal of its own.
        state.published = replace(published, scopes=published.scopes - {row})
        return
    change = changes.change_of_models([sender])
    if not change.tables <= published.tables:
        with suppress(StoreFailed):  # which this process makes up for as soon as the store answers
            invalidate_change(change, using)


def invalidate_change(change: Change, using: str) -> None:
    """
    Publish a change that was made before or elsewhere, at once or with the open transaction.

    Raises ``StoreFailed``.
    """
    connection: BaseDatabaseWrapper = connections[using]
    state = state_of(connection)
    if state.in_transaction(connection):
        state.note(change)
        return
    dependencies = _dependencies(connection, change)
    if dependencies:
        generations.renew(dependencies)
        note_invalidation(connection, change, dependencies)
        if state.untold:
            tell(connection, state)
