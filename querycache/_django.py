"""
Every private API of Django that is used, one function each.

Checked on Django 5.2, 6.0 and 6.1; ``tests/unit/test_django.py`` fails clearly where Django moves.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from operator import attrgetter
from types import FunctionType, GetSetDescriptorType
from typing import Any, Final, NamedTuple

import django
from django.core.cache.backends.redis import RedisCache
from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import ForeignObject, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.constants import OnConflict
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.fields.related_descriptors import (
    ForeignKeyDeferredAttribute,
    ForwardManyToOneDescriptor,
)
from django.db.models.query import ModelIterable, RawQuerySet, RelatedPopulator
from django.db.models.signals import post_init, pre_init
from django.db.models.sql import Query, RawQuery
from django.db.models.sql.compiler import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI, SINGLE
from django.db.models.sql.where import WhereNode
from django.test.utils import _TestState

try:
    from django.db.models.deletion import DatabaseOnDelete  # Django 6.1
except ImportError:
    DatabaseOnDelete = None  # type: ignore[misc,assignment]

__all__ = [
    "GET_ITERATOR_CHUNK_SIZE",
    "LEAVES_DEFERRED_KEYS",
    "MULTI",
    "SINGLE",
    "BaseDatabaseWrapper",
    "Columns",
    "Converters",
    "CursorWrapper",
    "KnownRelated",
    "ModelIterable",
    "ModelState",
    "PlainKey",
    "Query",
    "RawQuery",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
    "block_of_test",
    "cached_under",
    "columns_of",
    "commit_again",
    "compiled_as",
    "compiles_anew",
    "converters_of",
    "copy_of_raw",
    "debug_cursor_with_copy",
    "deletes_in_database",
    "fetch_mode_of",
    "fills_dict",
    "has_no_transaction",
    "has_open_statement",
    "in_transaction",
    "is_built_by_django",
    "is_ordered",
    "is_selected_plainly",
    "is_set_by_writing",
    "is_snapshot",
    "is_test_environment",
    "keeps_locks",
    "known_related",
    "knows_outcome",
    "model_of",
    "nodes_of",
    "parts_of",
    "plain_key",
    "primary_client",
    "reads_uncommitted",
    "related_populator",
    "restricts_joins",
    "result_width",
    "schema_of",
    "set_columns",
    "sets_fields_cache",
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


Columns = dict[str, Any]
"""What a compiler knows, once it has compiled, of the columns of its rows."""
_COLUMNS: Final = (
    "select",
    "klass_info",
    "annotation_col_map",
    "col_count",
    "has_extra_select",  # not of an aggregate over a subquery
)


def columns_of(compiler: SQLCompiler) -> Columns:
    """Return what ``execute_sql`` leaves behind for those who make something of its rows."""
    known = compiler.__dict__
    return {name: known[name] for name in _COLUMNS if name in known}


Converters = dict[int, Any]
"""What Django converts the columns of a row with, by their place."""


def converters_of(compiler: SQLCompiler) -> Converters:
    """Ask each column of a compiler, which takes a while; they may belong to its connection."""
    return compiler.get_converters(
        [column for column, _, _ in compiler.select[: compiler.col_count]]
    )


def set_columns(compiler: SQLCompiler, columns: Columns, converters: Converters | None) -> None:
    """
    Have a compiler that has not compiled know the columns all the same.

    And their converters, unless they are None: then it asks each column.
    """
    compiler.__dict__.update(columns)
    if converters is not None:
        compiler.get_converters = lambda expressions: converters  # type: ignore[method-assign]


def restricts_joins(kind: type) -> bool:
    """Say whether a field of this class adds a condition to its joins as they are compiled."""
    return (
        issubclass(kind, ForeignObject)
        and kind.get_extra_restriction is not ForeignObject.get_extra_restriction
    )


def is_selected_plainly(compiler: SQLCompiler, is_plain: Callable[[type], bool]) -> bool:
    """
    Say whether no field or expression of another's brings code along for its column.

    Those of the model's default columns are no part of the query before it is compiled.
    """
    for expression, _, _ in compiler.select or ():
        target = getattr(expression, "target", None)
        if not is_plain(type(expression)) or not (target is None or _is_plain_column(target)):
            return False
    return True


def _is_plain_column(field: Any) -> bool:
    methods = (field.select_format, field.get_col, field.db_parameters)
    return all(method.__func__.__module__.startswith("django.") for method in methods)


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


model_of: Final[Callable[[Any], type[Model]]] = attrgetter("queryset._query.model")
"""
The model that a ``ModelIterable`` makes instances of.

Not ``queryset.query``: that is where Django 5.2 to 6.1 apply the filter of a related manager, which
may fail, and must not do so before the first instance is asked for.
"""


def fetch_mode_of(queryset: "QuerySet[Any]") -> Any:
    """Return what becomes ``_state.fetch_mode``; None before Django 6.1, which has none."""
    return getattr(queryset, "_fetch_mode", None)


_OWN_INIT: Final[Any] = Model.__init__
_OWN_FROM_DB: Final[Any] = Model.from_db.__func__  # type: ignore[attr-defined]
_IS_PATCHED: Final = not all(
    isinstance(method, FunctionType) and method.__globals__ is vars(sys.modules[Model.__module__])
    for method in (_OWN_INIT, _OWN_FROM_DB)
)
"""Whether somebody has put something in the place of Django's methods before this is imported."""


def is_built_by_django(model: type[Model]) -> bool:
    """
    Say whether ``from_db`` and all that it calls are Django's own, and nobody hears of it.

    It is asked for each query: tests replace methods for a while, and receivers of signals come and
    go.
    """
    return (
        model.__init__ is _OWN_INIT
        and getattr(model.from_db, "__func__", None) is _OWN_FROM_DB
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and model.__getattribute__ is object.__getattribute__
        and not _IS_PATCHED
        # has_listeners() takes 1 µs, and most projects have no receiver at all.
        and not (pre_init.receivers and pre_init.has_listeners(model))
        and not (post_init.receivers and post_init.has_listeners(model))
    )


def fills_dict(model: type[Model]) -> bool:
    """Say whether to call the class does nothing beside what ``Model.__init__`` does."""
    # Model.__init__ goes on to that of the bases behind it.
    inits = [base for base in model.__mro__ if "__init__" in vars(base)]
    return (
        set(inits) == {Model, object}
        and type(model).__call__ is type.__call__
        and type(_attribute(model, "__dict__")) is GetSetDescriptorType
        and _attribute(model, "_state") is None
    )


def is_set_by_writing(model: type[Model], name: str) -> bool:
    """
    Say whether ``setattr`` on a new instance amounts to an item of its ``__dict__``.

    It does for all that is no data descriptor (``DeferredAttribute`` is none), and for those of
    Django 5.2 to 6.1 that only look for what a new instance does not have.
    """
    kind = type(_attribute(model, name))
    return kind in _WRITTEN or not (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))


_WRITTEN: Final = frozenset({ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor})


def sets_fields_cache(model: type[Model], name: str) -> bool:
    """Say whether to set this is to look into ``_state.fields_cache``, unless it is None."""
    return type(_attribute(model, name)) is ForeignKeyDeferredAttribute


def _attribute(model: type[Model], name: str) -> Any:
    """Return what ``setattr`` finds in the class, as it stands there."""
    return next((vars(base)[name] for base in model.__mro__ if name in vars(base)), None)


def related_populator(
    info: dict[str, Any], select: Sequence[Any], db: str, fetch_mode: Any
) -> Callable[[Sequence[Any], Any], None]:
    """Return Django's own function that makes and connects an instance of select_related."""
    modes = () if fetch_mode is None else (fetch_mode,)
    populate: Callable[[Sequence[Any], Any], None]
    populate = RelatedPopulator(info, select, db, *modes).populate
    return populate


def cached_under(setter: Any) -> str | None:
    """
    Return under which name a setter of select_related puts an instance into ``fields_cache``.

    None if it does something else.
    """
    if getattr(setter, "__func__", None) is not FieldCacheMixin.set_cached_value:
        return None
    name: str = setter.__self__.cache_name
    return name


class KnownRelated(NamedTuple):
    """
    Instances that those of a query are to be connected with, by key.

    ``names`` are the attributes that the key of an instance is made of, by ``key_of``.
    """

    field: Any
    objects: Mapping[Any, Any]
    names: list[str]
    key_of: Callable[[Any], Any]


LEAVES_DEFERRED_KEYS: Final = django.VERSION >= (6, 1)
"""Whether an instance whose key is deferred is not connected, where Django 5.2 and 6.0 load it."""


def known_related(queryset: "QuerySet[Any]") -> list[KnownRelated]:
    """What a related manager has told its queryset of the other side."""
    known: dict[Any, Any] = queryset._known_related_objects  # type: ignore[attr-defined]
    return [_known_related(queryset.model, *item) for item in known.items()] if known else []


def _known_related(model: type[Model], field: Any, objects: Mapping[Any, Any]) -> KnownRelated:
    names = [
        field.attname if name == "self" else model._meta.get_field(name).attname  # type: ignore[union-attr]
        for name in field.from_fields
    ]
    return KnownRelated(field, objects, names, attrgetter(*names))


class PlainKey(NamedTuple):
    """
    An ordinary foreign key: to set it is to write two items.

    ``here`` of the instance's ``__dict__`` becomes the attribute ``there`` of the related one,
    which must be an instance of ``model``; and that is kept in ``fields_cache`` under ``name``.
    """

    name: str
    here: str
    there: str
    model: type[Model]


def plain_key(model: type[Model], field: Any) -> PlainKey | None:
    """Return how a foreign key is set; None if that is not as simple."""
    descriptor = _attribute(model, field.name)
    if type(descriptor) is not ForwardManyToOneDescriptor or descriptor.field is not field:
        return None
    kind = type(field)
    is_own = (
        kind.is_cached is FieldCacheMixin.is_cached
        and kind.set_cached_value is FieldCacheMixin.set_cached_value
    )
    if not is_own or len(field.related_fields) != 1 or not field.remote_field.multiple:
        return None
    here, there = field.related_fields[0]
    related_model = field.remote_field.model._meta.concrete_model
    return PlainKey(field.cache_name, here.attname, there.attname, related_model)
