"""
What Django's cursors offer beside ``execute()``, which is not seen by an ``execute_wrapper``.

Procedures, PostgreSQL's COPY, rows that are streamed, scripts: each may write, and is watched as
any other statement is.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from querycache import changes
from querycache._django.connections import CursorWrapper
from querycache.invalidation import watching
from querycache.statements import EVERYTHING
from querycache.transactions import state_of


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
