"""
The write path: what happens around a statement that writes, a COMMIT, a ROLLBACK and a signal.

Every statement of every connection passes ``watch_statement`` (Django's ``execute_wrapper``). Write
compilers and signals only say beforehand, or afterwards, *what* is written; *when* it is published
is decided here, once: around the statement in autocommit, around COMMIT in a transaction.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from django.db import connections
from django.db.models import Model

from querycache import changes, generations
from querycache._django import (
    BaseDatabaseWrapper,
    CursorWrapper,
    SQLCompiler,
    SQLDeleteCompiler,
    commit_again,
    compiles_anew,
    has_no_transaction,
    in_transaction,
    keeps_locks,
    knows_outcome,
    values_prepared,
)
from querycache.conf import get_config
from querycache.exceptions import StoreFailed, Uncacheable
from querycache.scopes import Column
from querycache.sessions import TEMPORARY
from querycache.signals import invalidated
from querycache.statements import EVERYTHING, NOTHING, Change
from querycache.stats import statistics
from querycache.transactions import ConnectionState, state_of

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]


# Statements ---------------------------------------------------------------------------------------


def watch_statement(
    execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement, with what its change needs around it; an ``execute_wrapper``."""
    connection: BaseDatabaseWrapper = context["connection"]
    state = state_of(connection)
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
            _count_invalidations(change, dependencies, connection)
            if error is None and generations.is_stored_in(connection):
                commit_again(connection)
    finally:
        state.publishing = outer
        if state.untold:
            _tell(connection, state)


def _dependencies(connection: BaseDatabaseWrapper, change: Change) -> tuple[str, ...]:
    """Return the dependencies of a change, of the opted-in tables among its tables."""
    if not change.everything and get_config().published.isdisjoint(change.touched):
        return ()
    try:
        database = state_of(connection).database(connection)
    except Uncacheable:  # no read can have cached anything of it either
        return ()
    return database.changed(change)


def _count_invalidations(
    change: Change, dependencies: tuple[str, ...], connection: BaseDatabaseWrapper
) -> None:
    """Count what was published, for statistics and for those who listen."""
    tables = get_config().tables
    names = tables.keys() if change.everything else change.touched & tables.keys()
    for name in names:
        statistics.count(tables[name].label, "invalidations")
    if invalidated.receivers:
        labels = frozenset(tables[name].label for name in names)
        told = {"labels": labels, "dependencies": dependencies, "using": connection.alias}
        state_of(connection).untold.append(told)


def _tell(connection: BaseDatabaseWrapper, state: ConnectionState) -> None:
    """
    Tell those who listen what was published, as soon as a receiver may query the database.

    That is not so between a COMMIT and the return to autocommit: its query would begin a
    transaction, and Django fail to return.
    """
    is_returning = not connection.autocommit and not connection.in_atomic_block
    if is_returning and connection.settings_dict["AUTOCOMMIT"]:
        return
    while state.untold:
        invalidated.send_robust(None, **state.untold.pop(0))


# Compilers ----------------------------------------------------------------------------------------


def wrap_write(execute_sql: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of a method of a write compiler that runs its statement."""

    @functools.wraps(execute_sql)
    def write(compiler: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
        if "as_sql" in compiler.__dict__:  # execute_returning_sql() calls execute_sql()
            return execute_sql(compiler, *args, **kwargs)
        connection = compiler.connection
        state = state_of(connection)
        as_sql, outer = compiler.as_sql, (state.covered, state.uncompiled)

        def as_sql_and_watch(*args: Any, **kwargs: Any) -> Any:
            # A field's pre_save() may run statements of its own.
            state.covered = state.uncompiled = False
            with values_prepared(compiler) as values:
                compiled = as_sql(*args, **kwargs)
            # A child that has none of the columns to be updated has no statement either.
            if compiled[:1] != ("",):
                before = functools.partial(rows_before, compiler, state)
                change = changes.change_of_compiler(compiler, compiled, values, before)
                watched.enter_context(watching(connection, state, change))
            state.covered = True
            return compiled

        # From here to the end of it, and not around its statement: in autocommit, SQLite commits an
        # INSERT … RETURNING only when its rows have been fetched.
        with ExitStack() as watched:
            state.covered = state.uncompiled = True
            compiler.as_sql = as_sql_and_watch  # type: ignore[method-assign]
            try:
                return execute_sql(compiler, *args, **kwargs)
            finally:
                state.covered, state.uncompiled = outer
                compiles_anew(compiler)

    return write


def rows_before(
    compiler: SQLCompiler,
    state: ConnectionState,
    columns: Sequence[Column],
    key: Column,
    keys: Sequence[Any],
) -> Sequence[Sequence[Any]]:
    """
    Return what the rows of a write have in some columns, and lock them until it has come.

    Nothing where they cannot be locked: then another writer may change them in between.

        SELECT(1) UPDATE COMMIT(2) UPDATE(1): what 2 has written is changed, and 1 has not seen it
    """
    connection = compiler.connection
    if not keeps_locks(connection):
        return []
    quoted = connection.ops.quote_name
    names = ", ".join([quoted(column.name) for column in columns])
    table, places = quoted(compiler.query.get_meta().db_table), ", ".join(["%s"] * len(keys))
    # As strong as the lock of an UPDATE, which lets others insert rows that point to this one.
    weak = connection.vendor == "postgresql" and not isinstance(compiler, SQLDeleteCompiler)
    lock = "FOR NO KEY UPDATE" if weak else "FOR UPDATE"
    statement = f"SELECT {names} FROM {table} WHERE {quoted(key.name)} IN ({places}) {lock}"  # noqa: S608
    with connection.cursor() as cursor:
        state.cover(cursor.execute, statement, keys)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
        return rows


# Cursors ------------------------------------------------------------------------------------------
# What Django's cursors offer beside ``execute()``, which is not seen by an ``execute_wrapper``.


def wrap_callproc(callproc: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``CursorWrapper.callproc``."""

    @functools.wraps(callproc)
    def watched_callproc(cursor: CursorWrapper, name: str, *args: Any, **kwargs: Any) -> Any:
        with watching(
            cursor.db, state_of(cursor.db), changes.change_of_procedure(name, cursor.db.vendor)
        ):
            return callproc(cursor, name, *args, **kwargs)

    return watched_callproc


def watched_copy(cursor: CursorWrapper) -> Callable[..., Any]:
    """Return what takes the place of psycopg's ``cursor.copy``."""
    copy = wrap_copy(lambda cursor, *args, **kwargs: cursor.cursor.copy(*args, **kwargs))
    cursor.cursor.copy  # noqa: B018  a driver that has none raises AttributeError
    return functools.partial(copy, cursor)


def wrap_copy(copy: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of a cursor's ``copy()``; its change ends with its block."""

    @contextmanager
    def copy_and_publish(
        cursor: CursorWrapper, statement: Any, *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        change = changes.change_of_statement(statement, cursor.db.vendor)
        with (
            watching(cursor.db, state_of(cursor.db), change),
            copy(cursor, statement, *args, **kwargs) as stream,
        ):
            yield stream

    return copy_and_publish


def watched_stream(cursor: CursorWrapper) -> Callable[..., Any]:
    """Return what takes the place of psycopg's ``cursor.stream``; its change ends with its rows."""
    stream = cursor.cursor.stream

    def stream_and_publish(statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        change = changes.change_of_statement(statement, cursor.db.vendor)
        with watching(cursor.db, state_of(cursor.db), change):
            yield from stream(statement, *args, **kwargs)

    return stream_and_publish


def watched_executescript(cursor: CursorWrapper) -> Callable[..., Any]:
    """Return what takes the place of sqlite3's ``cursor.executescript``, which commits first."""
    executescript = cursor.cursor.executescript

    def execute_and_publish(script: str) -> Any:
        change = replace(EVERYTHING, ends_transaction=True)
        with watching(cursor.db, state_of(cursor.db), change):
            return executescript(script)

    return execute_and_publish


# Transactions -------------------------------------------------------------------------------------


def wrap_commit(commit: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.commit``."""

    @functools.wraps(commit)
    def fenced_commit(connection: BaseDatabaseWrapper) -> None:
        state = state_of(connection)
        with publishing(connection, state.written()):
            commit(connection)
        # Not if it failed: SQLite leaves the transaction open, to be tried again.
        state.forget(takes_back=takes_back(connection, state.broken))

    return fenced_commit


def wrap_rollback(rollback: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.rollback``, which publishes nothing."""

    @functools.wraps(rollback)
    def forgetting_rollback(connection: BaseDatabaseWrapper) -> None:
        rollback(connection)
        state = state_of(connection)
        state.forget(takes_back=takes_back(connection, rolls_back=True))
        state.published = NOTHING

    return forgetting_rollback


def wrap_close(close: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.close``, which publishes nothing."""

    @functools.wraps(close)
    def forgetting_close(connection: BaseDatabaseWrapper) -> None:
        close(connection)
        state_of(connection).forget_session()

    return forgetting_close


def wrap_set_autocommit(set_autocommit: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``set_autocommit``, which may commit an open transaction."""

    @functools.wraps(set_autocommit)
    def fenced_set_autocommit(
        connection: BaseDatabaseWrapper, autocommit: bool, *args: Any, **kwargs: Any
    ) -> None:
        state = state_of(connection)
        if not autocommit:
            set_autocommit(connection, autocommit, *args, **kwargs)
            return
        try:
            with publishing(connection, state.written()):
                # The hooks of on_commit run in here: after a commit, the journal is empty already.
                set_autocommit(connection, autocommit, *args, **kwargs)
            state.forget()
        finally:
            if state.untold:
                _tell(connection, state)

    return fenced_set_autocommit


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
        _count_invalidations(change, dependencies, connection)
        if state.untold:
            _tell(connection, state)
