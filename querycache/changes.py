"""What a write changes: from a write compiler, from a model, or from the text of a statement."""

from collections.abc import Iterable
from typing import Any, Final

from django.apps import apps
from django.db.models import Model

from querycache import statements
from querycache._django import (
    SQLCompiler,
    SQLDeleteCompiler,
    deletes_in_database,
)
from querycache.conf import get_config
from querycache.memory import Memory
from querycache.options import normalized_table
from querycache.statements import EVERYTHING, Change

_STATEMENTS: Final = 4096
_LONG_STATEMENT: Final = 4096
"""Characters. A longer statement holds its values in its text, and is hardly seen twice."""

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


def change_of_compiler(compiler: SQLCompiler) -> Change:
    """Return what the statement of an INSERT, UPDATE or DELETE compiler changes."""
    query = compiler.query
    tables = {normalized_table(query.get_meta().db_table)}
    if isinstance(compiler, SQLDeleteCompiler):
        tables |= cascaded_tables([query.get_meta().model])
    config = get_config()
    if config.triggers or config.depends_on:
        return Change(_with_triggers(tables))
    return Change(frozenset(tables))


def change_of_procedure(name: str, vendor: str) -> Change:
    """Return what a stored procedure changes: what the settings say, otherwise anything."""
    return _with_followers(statements.change_of(f"CALL {name}()", vendor))


def change_of_models(models: Iterable[type[Model]]) -> Change:
    """Return what changes if any row of these models is saved or deleted."""
    tables = set()
    for model in models:
        for part in [model, *model._meta.all_parents]:
            tables.add(normalized_table(part._meta.db_table))
    return Change(_with_triggers(tables))


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
    """
    Add what triggers write along with these tables, as far as the settings say so.

    And the tables that a view is made of: it may have been written to.
    """
    config, changed = get_config(), frozenset(tables)
    if not config.triggers and not config.depends_on:
        return changed
    changed = changed.union(*(config.depends_on.get(table, ()) for table in changed))
    return changed.union(*(_with_cascades(config.triggers.get(table, ())) for table in changed))


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
