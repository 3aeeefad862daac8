"""
The statements of Django's write compilers: every save, update, delete and bulk write of the ORM.

A compiler knows the rows and columns that it is about to write, and says so before its statement
runs. It is watched until the rows that it returns are fetched: only then may SQLite have committed.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from querycache import changes
from querycache._django.compilers import (
    SQLCompiler,
    SQLDeleteCompiler,
    compiles_anew,
    values_prepared,
)
from querycache._django.connections import keeps_locks
from querycache.invalidation import watching
from querycache.scopes import Column
from querycache.transactions import ConnectionState, state_of


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
