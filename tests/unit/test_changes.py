"""What is made of the objects that are given to a cursor."""

import pytest

from querycache.changes import change_of_statement
from querycache.statements import EVERYTHING


def test_text_and_bytes_are_alike():
    assert change_of_statement("DELETE FROM a", "sqlite").tables == {"a"}
    assert change_of_statement(b"DELETE FROM a", "sqlite").tables == {"a"}


def test_the_composed_sql_of_psycopg_is_read():
    sql = pytest.importorskip("psycopg.sql")
    statement = sql.SQL("DELETE FROM {} WHERE x = {}").format(
        sql.Identifier("Shop", "A"), sql.Literal("it's")
    )
    assert change_of_statement(statement, "postgresql").tables == {"a"}


def test_an_object_that_nobody_understands_changes_everything():
    assert change_of_statement(object(), "postgresql") == EVERYTHING


def test_a_delete_by_raw_sql_takes_along_what_the_database_deletes():
    models = pytest.importorskip("tests.testapp.models")
    placement = getattr(models, "DatabasePlacement", None)
    if placement is None:
        pytest.skip("DB_CASCADE came with Django 6.1")
    for field in placement._meta.concrete_fields:
        if field.remote_field:
            table = field.related_model._meta.db_table
            change = change_of_statement(f'DELETE FROM "{table}"', "postgresql")
            assert placement._meta.db_table in change.tables
