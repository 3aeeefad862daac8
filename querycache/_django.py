"""
Every private API of Django that is used, one function each.

Checked on Django 5.2, 6.0 and 6.1; ``tests/unit/test_django.py`` fails clearly where Django moves.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final

from django.core.cache.backends.redis import RedisCache
from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.db.models.constants import OnConflict
from django.db.models.query import RawQuerySet
from django.db.models.sql import Query, RawQuery
from django.db.models.sql.compiler import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI, SINGLE
from django.db.models.sql.where import WhereNode

try:
    from django.db.models.deletion import DatabaseOnDelete  # Django 6.1
except ImportError:
    DatabaseOnDelete = None  # type: ignore[misc,assignment]

__all__ = [
    "GET_ITERATOR_CHUNK_SIZE",
    "MULTI",
    "SINGLE",
    "BaseDatabaseWrapper",
    "CursorWrapper",
    "Query",
    "RawQuery",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
    "block_of_test",
    "commit_again",
    "compiled_as",
    "compiles_anew",
    "copy_of_raw",
    "debug_cursor_with_copy",
    "deletes_in_database",
    "has_no_transaction",
    "has_open_statement",
    "in_transaction",
    "is_ordered",
    "is_snapshot",
    "keeps_locks",
    "knows_outcome",
    "nodes_of",
    "parts_of",
    "primary_client",
    "reads_uncommitted",
    "result_width",
    "schema_of",
    "table_names",
    "updates_on_conflict",
    "values_prepared",
]


def compiled_as(compiler: SQLCompiler, result: tuple[str, tuple[Any, ...]] | Exception) -> None:
    """
    Make the compiler's next ``execute_sql`` run the SQL that it has already compiled.

    A query is compiled once: compiling changes it (``Query.selected`` of an ordered union), so that
    a second compilation may return other columns.
    """

    def as_sql(*args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...]]:
        compiles_anew(compiler)
        if isinstance(result, Exception):
            raise result
        return result

    compiler.as_sql = as_sql  # type: ignore[method-assign]


def compiles_anew(compiler: SQLCompiler) -> None:
    """Take back ``compiled_as``."""
    del compiler.as_sql


@contextmanager
def values_prepared(compiler: SQLCompiler) -> Iterator[dict[str, list[Any]]]:
    """Return, by column, the values that an INSERT compiles in the block, as they are sent."""
    values: defaultdict[str, list[Any]] = defaultdict(list)
    if not isinstance(compiler, SQLInsertCompiler):
        yield values
        return
    prepare = compiler.prepare_value

    def prepare_value(field: Any, value: Any) -> Any:
        prepared = prepare(field, value)
        values[field.column].append(prepared)
        return prepared

    compiler.prepare_value = prepare_value  # type: ignore[method-assign]
    try:
        yield values
    finally:
        del compiler.prepare_value


def updates_on_conflict(compiler: SQLInsertCompiler) -> bool:
    """Say whether an INSERT may change rows that are there already."""
    on_conflict = compiler.query.on_conflict  # type: ignore[attr-defined]
    return on_conflict not in {None, OnConflict.IGNORE}


def copy_of_raw(queryset: "RawQuerySet[Any]") -> "RawQuerySet[Any]":
    """Return a copy of a raw queryset, which is not evaluated yet."""
    copy: RawQuerySet[Any] = queryset._clone()  # type: ignore[attr-defined]
    if hasattr(queryset, "_fetch_mode"):  # Django 6.1 leaves it out
        copy._fetch_mode = queryset._fetch_mode  # type: ignore[attr-defined]
    return copy


def result_width(compiler: SQLCompiler, result_type: str) -> int | None:
    """
    How many columns of a row ``execute_sql`` returns, where it may return fewer than it selects.
    """
    if result_type == SINGLE or compiler.has_extra_select:
        return compiler.col_count
    return None


def primary_client(cache: RedisCache) -> Any:
    """A redis-py client of Django's own RedisCache, which makes one for each call."""
    return cache._cache.get_client(write=True)


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Say whether statements of this connection are not committed one by one."""
    if connection.in_atomic_block:
        blocks: list[Any] = connection.atomic_blocks
        return not blocks or not blocks[-1]._from_testcase
    if connection.connection is None:  # ``autocommit`` is False until it is opened
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def debug_cursor_with_copy(connection: BaseDatabaseWrapper) -> Any:
    """Return the class of the cursors that log queries, where it has a ``copy()`` of its own."""
    module = sys.modules.get(type(connection).__module__)
    cursor = getattr(module, "CursorDebugWrapper", None)
    return cursor if "copy" in getattr(cursor, "__dict__", ()) else None


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


def is_ordered(query: Query) -> bool:
    """Say whether a query is ordered, as ``QuerySet.ordered`` says it of a queryset."""
    if query.extra_order_by or query.order_by:
        return True
    return bool(query.default_ordering and query.get_meta().ordering and not query.group_by)


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


def deletes_in_database(model: type[Model]) -> Iterator[type[Model]]:
    """The models whose rows the database deletes or changes by itself with rows of ``model``."""
    if DatabaseOnDelete is None:
        return
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(getattr(relation, "on_delete", None), DatabaseOnDelete):
            related: type[Model] = relation.related_model  # type: ignore[assignment]
            yield related


def nodes_of(query: Query) -> Iterator[Any]:
    """Everything that a query consists of: expressions, conditions and other queries."""
    yield from query.select
    yield from query.annotations.values()
    yield from query.combined_queries
    yield from (node for node in query.order_by if not isinstance(node, str))
    yield query.where
    if isinstance(query.group_by, tuple):
        yield from query.group_by
    inner = getattr(query, "inner_query", None)
    if inner is not None:
        yield inner
    for join in query.alias_map.values():
        condition = getattr(join, "filtered_relation", None)
        if condition is not None:
            yield getattr(condition, "resolved_condition", None)


def table_names(query: Query) -> Iterator[str]:
    """
    The tables that a compiled query has joined, by name; subqueries not included.

    Also those that it has trimmed again: compiling ends with the counts of references as they were
    before, so that what it has joined itself (an ordering, select_related) counts nothing.
    """
    yield from (source.table_name for source in query.alias_map.values())
    yield from query.extra_tables


def parts_of(node: Any) -> Iterator[Any]:
    """What an expression or a condition is made of."""
    if isinstance(node, WhereNode):
        yield from node.children
        return
    sources: Callable[[], list[Any]] | None = getattr(node, "get_source_expressions", None)
    if sources is not None:
        yield from sources()
    for name in ("lhs", "rhs", "query"):
        part = getattr(node, name, None)
        if part is not None:
            yield part
