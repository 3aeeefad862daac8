"""
What a connection is in the midst of, which decides what its reads see and its writes publish.

Transactions and the blocks of tests, isolation, SELECTs that are half read, errors that leave open
what has become of a statement. Much of that depends on the database. Beside them, the connections
to Redis that Django's cache has.
"""

import sys
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final

from django.core.cache.backends.redis import RedisCache
from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.test.utils import _TestState

__all__ = [
    "BaseDatabaseWrapper",
    "CursorWrapper",
    "block_of_test",
    "commit_again",
    "debug_cursor_with_copy",
    "has_no_transaction",
    "has_open_statement",
    "in_transaction",
    "is_snapshot",
    "is_test_environment",
    "keeps_locks",
    "knows_outcome",
    "primary_client",
    "reads_uncommitted",
    "schema_of",
]


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Say whether statements of this connection are not committed one by one."""
    if connection.in_atomic_block:
        blocks: list[Any] = connection.atomic_blocks
        return not blocks or not blocks[-1]._from_testcase
    if connection.connection is None:  # ``autocommit`` is False until it is opened
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def is_test_environment() -> bool:
    """Say whether a test runner of Django's or pytest-django has set one up."""
    return hasattr(_TestState, "saved_data")


def block_of_test(connection: BaseDatabaseWrapper) -> object | None:
    """
    Return the innermost ``atomic()`` that a ``TestCase`` itself has opened, None if there is none.

    It is always rolled back: what a test does in it is, to the test, as good as committed.
    """
    blocks: list[Any] = connection.atomic_blocks
    of_test = list(takewhile(attrgetter("_from_testcase"), blocks))
    return of_test[-1] if of_test else None


def schema_of(connection: BaseDatabaseWrapper) -> tuple[Any, Any]:
    """Return the schema of the tenant that a connection of django-tenants is set to."""
    given = connection.__dict__
    return given.get("schema_name"), given.get("include_public_schema")


def keeps_locks(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a row that a SELECT locks stays locked, at least until the next statement."""
    if connection.vendor not in {"postgresql", "mysql"} or not in_transaction(connection):
        return False
    # SQL may have turned on the server's own autocommit.
    return connection.vendor != "mysql" or not connection.connection.get_autocommit()


def has_no_transaction(connection: BaseDatabaseWrapper) -> bool:
    """
    Say whether SQLite may commit the next statement by itself, although autocommit is off.

    With ``set_autocommit(False)`` it is Python's sqlite3 that begins transactions, before
    statements whose first word it knows as a write (not ``WITH``). ``atomic()`` sends BEGIN, but
    not if autocommit was off before it; and after it, SQL may have ended the transaction all the
    same (COMMIT by hand, INSERT OR ROLLBACK, a full disk).
    """
    if connection.vendor != "sqlite" or connection.closed_in_transaction:
        return False
    return connection.connection is None or not connection.connection.in_transaction


def commit_again(connection: BaseDatabaseWrapper) -> None:
    """Commit what was written after a COMMIT, where there is no autocommit; no hooks are run."""
    if connection.connection is None or connection.in_atomic_block:
        return
    if not connection.get_autocommit():
        connection._commit()  # type: ignore[attr-defined]


def is_snapshot(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a transaction of this connection goes on reading what was true when it began."""
    if connection.vendor == "sqlite":
        return True
    options = str(connection.settings_dict["OPTIONS"].get("options", ""))
    if "isolation" in options:  # of libpq: -c default_transaction_isolation=…
        return True
    level = getattr(connection, "isolation_level", None)
    if level is None:
        # PostgreSQL's own default is READ COMMITTED, that of MySQL and MariaDB REPEATABLE READ.
        return connection.vendor != "postgresql"
    name = getattr(level, "name", None) or str(level)
    return name.lower().replace("_", " ") != "read committed"


def has_open_statement(connection: BaseDatabaseWrapper) -> bool:
    """
    Say whether a SELECT of this connection is half read, and all others read its snapshot.

    So it is on SQLite, outside of transactions too: an ``iterator()``, a cursor that somebody still
    reads from. Neither sqlite3 nor a statement tells; but a function cannot be defined anew then.
    """
    if connection.vendor != "sqlite" or connection.connection is None:
        return False
    define = connection.connection.create_function
    try:
        define("querycache_probe", 0, bool)
        define("querycache_probe", 0, bool)
    except type(connection).Database.OperationalError:  # type: ignore[attr-defined]
        return True
    return False


def reads_uncommitted(connection: BaseDatabaseWrapper) -> bool:
    """
    Say whether this connection may read what others have not committed, and may yet roll back.
    """
    # PostgreSQL takes READ UNCOMMITTED for READ COMMITTED; SQLite has it for shared caches only.
    level = connection.settings_dict["OPTIONS"].get("isolation_level")
    return connection.vendor == "mysql" and str(level).lower() == "read uncommitted"


def knows_outcome(connection: BaseDatabaseWrapper, error: BaseException | None) -> bool:
    """
    Say whether what was sent is over, after the error that came of it.

    Not if the connection was lost, or if nobody waited for the answer: then the server may go on
    with it, and commit it later.
    """
    if error is None or connection.vendor == "sqlite":  # which is a part of this process
        return True
    if not isinstance(error, Exception):  # KeyboardInterrupt, SystemExit, CancelledError
        return False
    if not isinstance(error, DatabaseError | InterfaceError) or error.__cause__ is None:
        return True  # raised by Django or by a parameter, before anything was sent
    return _has_answered(error.__cause__)


def _has_answered(error: BaseException) -> bool:
    """Say whether an error of a driver is what the server says, and not that it says nothing."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:  # 08: connection exception; 57P01 to 57P05: the session was ended
        return not state.startswith(("08", "57P"))
    # MySQL and MariaDB number their errors; from 2000 to 2999 are those of clients.
    number = error.args[0] if error.args else None
    return isinstance(number, int) and number > 0 and number not in _LOST_CONNECTION


_LOST_CONNECTION: Final = frozenset(range(2000, 3000)) | {1053, 1152, 1159, 1161, 1184, 1927}
"""Beside those: server shutdown in progress, network time-outs, connection was killed."""


def debug_cursor_with_copy(connection: BaseDatabaseWrapper) -> Any:
    """Return the class of the cursors that log queries, where it has a ``copy()`` of its own."""
    module = sys.modules.get(type(connection).__module__)
    cursor = getattr(module, "CursorDebugWrapper", None)
    return cursor if "copy" in getattr(cursor, "__dict__", ()) else None


def primary_client(cache: RedisCache) -> Any:
    """A redis-py client of Django's own RedisCache, which makes one for each call."""
    return cache._cache.get_client(write=True)
