"""
Django's ``flush``, which ends every transactional test, at a fraction of its cost.

Django empties every table and makes content types and permissions again, in every database. Here
only tables that hold rows are emptied, and content types, permissions and sites stay as they were
made, unless the test has changed them.
"""

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from django.core.management.commands.flush import Command as DjangoFlush
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

MADE_BY_MIGRATE = ("django_content_type", "auth_permission", "django_site")

as_migrated: dict[str, list[tuple[Any, ...]]] = {}
"""What is in those tables, by database alias, as it was after ``migrate``."""
filled_by_tests: dict[str, list[str]] = {}
"""The names of all other tables."""


class Command(DjangoFlush):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if options["reset_sequences"] or options["inhibit_post_migrate"]:
            super().handle(**options)
            return
        if made_by_migrate(connection) != as_migrated.get(connection.alias):
            super().handle(**options)
            as_migrated[connection.alias] = made_by_migrate(connection)
            tables = connection.introspection.django_table_names(
                only_existing=True, include_views=False
            )
            filled_by_tests[connection.alias] = sorted(set(tables) - set(MADE_BY_MIGRATE))
            return
        empty(connection, filled_by_tests[connection.alias])


def made_by_migrate(connection: BaseDatabaseWrapper) -> list[tuple[Any, ...]]:
    quoted = [connection.ops.quote_name(table) for table in MADE_BY_MIGRATE]
    rows: list[tuple[Any, ...]] = []
    with raw_cursor(connection) as cursor:
        if connection.vendor == "mysql":  # whose driver takes its time over each row
            cursor.execute(f"CHECKSUM TABLE {', '.join(quoted)}")
            return list(cursor.fetchall())
        for table in quoted:
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            rows += cursor.fetchall()
    return rows


def empty(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> None:
    quoted = [connection.ops.quote_name(table) for table in tables]
    filled = " UNION ALL ".join(
        f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {table})"
        for number, table in enumerate(quoted)
    )
    with raw_cursor(connection) as cursor:
        cursor.execute(filled)
        dirty = [quoted[number] for (number,) in cursor.fetchall()]
    if dirty:
        delete_all(connection, dirty)


def delete_all(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> None:
    """Empty tables, whose foreign keys are checked when all of them are empty."""
    checked_at_once = connection.vendor == "mysql"
    with transaction.atomic(using=connection.alias), raw_cursor(connection) as cursor:
        if checked_at_once:
            cursor.execute("SET foreign_key_checks = 0")
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")
        if checked_at_once:
            cursor.execute("SET foreign_key_checks = 1")


def raw_cursor(connection: BaseDatabaseWrapper) -> AbstractContextManager[Any]:
    """Return the driver's cursor: what ends a test is no write of the test."""
    return contextlib.closing(connection.cursor().cursor)
