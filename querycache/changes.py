"""What a write changes: from a write compiler, from a model, or from the text of a statement."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from django.apps import apps
from django.db.models import Model

from querycache import statements
from querycache._django.compilers import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    updates_on_conflict,
)
from querycache._django.relations import deletes_in_database
from querycache.conf import get_config
from querycache.memory import Memory
from querycache.options import normalized_table
from querycache.pins import pins_of_write
from querycache.scopes import ANY, NEW, Column, Scope, merged
from querycache.statements import EVERYTHING, Change
from querycache.stats import Cause

_STATEMENTS: Final = 4096
_LONG_STATEMENT: Final = 4096
"""Characters. A longer statement holds its values in its text, and is hardly seen twice."""

Before = Callable[[Sequence[Column], Column, Sequence[Any]], Sequence[Sequence[Any]]]
"""Is given columns, and the primary key with its values in rows; returns the rows it has found."""

_changes: Memory[tuple[str, str], Change] = Memory(_STATEMENTS)


def change_of_statement(statement: Any, vendor: str) -> Change:
    """Return what a statement given to a cursor may change, whatever kind of object it is."""
    if not isinstance(statement, str):
        statement = _text(statement)
        if statement is None:
            return EVERYTHING
    change = _changes.get((vendor, statement))
    if change is None:
        change = _with_followers(statements.change_of(statement, vendor))
        # Each savepoint has another name.
        if len(statement) <= _LONG_STATEMENT and "SAVEPOINT" not in statement:
            _changes.put((vendor, statement), change)
    return change


def _text(statement: Any) -> str | None:
    """Return the text of bytes or of a psycopg ``Composed``, None if it has none."""
    if isinstance(statement, bytes | bytearray):
        return statement.decode(errors="replace")
    try:
        return str(statement.as_string(None))
    except Exception:  # noqa: BLE001  what kind of object it is, only its driver knows
        return None


def change_of_query(statement: Any) -> Change:
    """Return what the functions change that a query calls, of those that the settings declare."""
    return _with_followers(statements.change_of_declared_calls(str(statement)))


def change_of_compiler(
    compiler: SQLCompiler, compiled: Any, values: Mapping[str, Sequence[Any]], before: Before
) -> Change:
    """
    Return what the statement of an INSERT, UPDATE or DELETE compiler changes.

    ``compiled`` is what it has compiled, and ``values`` those of an INSERT, by column. ``before``
    looks what rows have in some columns before the statement, and keeps others from changing them.
    """
    meta = compiler.query.get_meta()
    table, scopes = normalized_table(meta.db_table), list[Scope]()
    if columns := get_config().scopes.get(table):
        if isinstance(compiler, SQLInsertCompiler):
            scopes = _scopes_of_insert(compiler, table, columns, values)
        else:
            scopes = _scopes_of_write(compiler, table, columns, compiled, before)
    others = set() if scopes else {table}
    if isinstance(compiler, SQLDeleteCompiler):
        # Of a table whose rows go along with its own rows, any row may be one of them.
        others |= cascaded_tables([meta.model])
    tables = _followers({table, *others}).union(others)
    causes = frozenset([(table, _cause_of(compiler))])
    return Change(tables, scopes=merged(scopes), causes=causes)


def _cause_of(compiler: SQLCompiler) -> Cause:
    if isinstance(compiler, SQLInsertCompiler):
        return Cause.INSERT
    return Cause.DELETE if isinstance(compiler, SQLDeleteCompiler) else Cause.UPDATE


def _scopes_of_write(
    compiler: SQLCompiler, table: str, columns: tuple[Column, ...], compiled: Any, before: Before
) -> list[Scope]:
    """
    Return the scopes that the rows of an UPDATE or a DELETE leave, are in and come into.

    Nothing if no column tells the rows. A column that is set does not tell them, unless the rows
    themselves are known, and so what they had in it before.
    """
    statement, params = compiled
    if "WHERE" not in statement:
        return []
    pinned = pins_of_write(statement, compiler.connection.vendor, table, columns)
    if pinned is None or pinned.parameters != len(params):
        return []
    values: dict[str, set[int | str]] = {}
    for pin in pinned.pins:
        if pin.column.name not in pinned.sets:
            found = {pin.column.value(params[position]) for position in pin.positions}
            if None not in found:
                values[pin.column.name] = {value for value in found if value is not None}
    key, *others = columns
    unknown = [column for column in others if column.name not in values]
    if unknown and key.name in values:
        pin = next(pin for pin in pinned.pins if pin.column == key)
        rows = before(unknown, key, [params[position] for position in pin.positions])
        if len(rows) == len(values[key.name]):  # otherwise one may yet be inserted
            values |= _values_of_rows(unknown, rows, pinned.sets, params)
    if not values:
        return []
    return [
        Scope(table, column.name, value)
        for column in columns
        for value in values.get(column.name, {ANY})
    ]


def _values_of_rows(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    sets: Mapping[str, int | None],
    params: Sequence[Any],
) -> dict[str, set[int | str]]:
    """Return what rows have in columns before and after an UPDATE, as far as that is known."""
    values: dict[str, set[int | str]] = {}
    for number, column in enumerate(columns):
        found = column.stored([row[number] for row in rows])
        new: set[int | str] | None = set()
        if column.name in sets:
            position = sets[column.name]
            new = None if position is None else column.stored([params[position]])
        if found is not None and new is not None:
            values[column.name] = found | new
    return values


def _scopes_of_insert(
    compiler: SQLInsertCompiler,
    table: str,
    columns: tuple[Column, ...],
    values: Mapping[str, Sequence[Any]],
) -> list[Scope]:
    """Return the scopes into which rows are inserted, nothing if it may change others instead."""
    if updates_on_conflict(compiler):
        return []
    key, *others = columns
    scopes = [Scope(table, key.name, NEW)]
    for column in others:
        inserted = values.get(column.name, ())
        found = column.stored(inserted) if len(inserted) == len(compiler.query.objs) else None
        scopes += [
            Scope(table, column.name, value) for value in ({ANY} if found is None else found)
        ]
    return scopes


def row_of(model: type[Model], instance: Any, *, is_new: bool) -> Scope | None:
    """Return the scope of the row that a signal is about, None if it tells none."""
    table = normalized_table(model._meta.db_table)
    columns = get_config().scopes.get(table)
    if columns is None or not isinstance(instance, model):
        return None
    value = NEW if is_new else columns[0].value(instance.pk)
    return None if value is None else Scope(table, columns[0].name, value)


def change_of_procedure(name: str, vendor: str) -> Change:
    """Return what a stored procedure changes: what the settings say, otherwise anything."""
    return _with_followers(statements.change_of(f"CALL {name}()", vendor))


def change_of_models(models: Iterable[type[Model]]) -> Change:
    """Return what changes if any row of these models is saved or deleted."""
    tables = set()
    for model in models:
        for part in [model, *model._meta.all_parents]:
            tables.add(normalized_table(part._meta.db_table))
    return Change(_with_triggers(tables), causes=_BY_SIGNAL)


_BY_SIGNAL: Final = frozenset([("", Cause.SIGNAL)])


def change_of_instance(instance: Model) -> Change:
    """Return what changes if the row of an instance was written, whatever it has in its columns."""
    model, config = type(instance), get_config()
    scopes: set[Scope] = set()
    tables: set[str] = set()
    for part in [model, *model._meta.all_parents]:
        table = normalized_table(part._meta.db_table)
        tables.add(table)
        if columns := config.scopes.get(table):
            key, *others = columns
            value = key.value(instance.__dict__.get(part._meta.pk.attname))
            if value is not None:
                scopes.add(Scope(table, key.name, value))
                scopes.update(Scope(table, column.name, ANY) for column in others)
    whole = tables - {scope.table for scope in scopes}
    return Change(_followers(tables) | whole, scopes=frozenset(scopes))


def cascaded_tables(models: Iterable[type[Model]]) -> set[str]:
    """Return the tables in which the database itself deletes or changes rows along with these."""
    tables: set[str] = set()
    waiting = list(models)
    while waiting:
        for model in deletes_in_database(waiting.pop()):
            table = normalized_table(model._meta.db_table)
            if table not in tables:
                tables.add(table)
                waiting.append(model)
    return tables


def _with_triggers(tables: Iterable[str]) -> frozenset[str]:
    """Add what changes along with these tables."""
    changed = frozenset(tables)
    return changed | _followers(changed)


def _followers(changed: AbstractSet[str]) -> frozenset[str]:
    """
    Return what triggers write along with these tables, as far as the settings say so.

    And the tables that a view is made of: it may have been written to.
    """
    config = get_config()
    if not config.triggers and not config.depends_on:
        return frozenset()
    behind = frozenset[str]().union(*(config.depends_on.get(table, ()) for table in changed))
    writers = behind.union(changed)
    return behind.union(*(_with_cascades(config.triggers.get(table, ())) for table in writers))


def _with_cascades(tables: Iterable[str]) -> set[str]:
    """Add what the database deletes along with rows of these tables, as far as models say so."""
    changed = set(tables)
    if not changed:
        return changed
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if normalized_table(model._meta.db_table) in changed
    ]
    return changed | cascaded_tables(models)


def _with_followers(change: Change) -> Change:
    return change.also(_with_triggers(_with_cascades(change.tables)))


def forget_changes() -> None:
    """Forget every statement: the installed models have changed."""
    _changes.clear()
