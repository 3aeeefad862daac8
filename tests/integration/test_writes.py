"""Writes that come in by a side door."""

import datetime
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.commands import flush
from django.db import connection, connections, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models.functions import Cast
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from querycache import bypass
from tests.testapp.models import Author, Book, Note, Odd, Tag


@pytest.fixture
def tag(using):
    return Tag.objects.using(using).create(name="old")


def names(using):
    return sorted(Tag.objects.using(using).values_list("name", flat=True))


def execute(using, *statements):
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


RENAME = "UPDATE testapp_tag SET name = 'new'"
ROUTINES = {
    "postgresql": (
        f"CREATE FUNCTION rename_tags() RETURNS void LANGUAGE sql AS $$ {RENAME} $$",
        f"CREATE PROCEDURE rename_tags_too() LANGUAGE sql AS $$ {RENAME} $$",
        "DROP FUNCTION rename_tags",
        "DROP PROCEDURE rename_tags_too",
    ),
    "mysql": (
        f"CREATE FUNCTION rename_tags() RETURNS INT BEGIN {RENAME}; RETURN 1; END",
        f"CREATE PROCEDURE rename_tags_too() {RENAME}",
        "DROP FUNCTION rename_tags",
        "DROP PROCEDURE rename_tags_too",
    ),
}


@pytest.fixture
def routines(using, tag):
    """A function and a procedure in the database, both of which write."""
    vendor = connections[using].vendor
    if vendor not in ROUTINES:
        pytest.skip(f"{vendor} has no routines of its own")
    function, procedure, *drop = ROUTINES[vendor]
    execute(using, function, procedure)
    yield
    execute(using, *drop)


@pytest.mark.parametrize("statement", ["SELECT rename_tags()", "CALL rename_tags_too()"])
def test_a_routine_of_the_database_that_writes_invalidates(using, routines, statement):
    assert names(using) == ["old"]
    execute(using, statement)
    assert names(using) == ["new"]


LONGER = {
    "postgresql": {
        "BEGIN after a comment": (["/* why */ BEGIN", RENAME], "COMMIT"),
        "BEGIN before a comment": (["BEGIN -- why", RENAME], "COMMIT"),
        "BEGIN with two options": (
            ["BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE", RENAME],
            "COMMIT",
        ),
        "BEGIN together with a write": ([f"BEGIN; {RENAME}"], "COMMIT"),
        "COMMIT before a comment": (["BEGIN", RENAME], "COMMIT /* back to normal */"),
        "COMMIT AND CHAIN": (["BEGIN", "COMMIT AND CHAIN", RENAME], "COMMIT"),
    },
    "mysql": {
        "BEGIN after a comment": (["/* why */ BEGIN", RENAME], "COMMIT"),
        "COMMIT AND CHAIN": (["BEGIN", "COMMIT AND CHAIN", RENAME], "COMMIT"),
        "a temporary table": (["BEGIN", "CREATE TEMPORARY TABLE t (x INT)", RENAME], "COMMIT"),
        "autocommit switched off": (["SET autocommit = 0", RENAME], "COMMIT"),
        "another BEGIN": (["BEGIN", RENAME], "BEGIN"),
        "GRANT": (["BEGIN", RENAME], "GRANT USAGE ON *.* TO root@localhost"),
        "ANALYZE TABLE": (["BEGIN", RENAME], "ANALYZE TABLE testapp_shelf"),
        "FLUSH TABLES": (["BEGIN", RENAME], "FLUSH TABLES"),
        "CREATE USER": (["BEGIN", RENAME], "CREATE USER IF NOT EXISTS somebody"),
    },
    "sqlite": {"BEGIN after a comment": (["/* why */ BEGIN", RENAME], "COMMIT")},
}


@pytest.mark.parametrize("case", sorted({name for cases in LONGER.values() for name in cases}))
def test_a_transaction_by_hand_is_published_when_it_commits(using, tag, case):
    statements, last = LONGER[connections[using].vendor].get(case, ([], None))
    if last is None:
        pytest.skip("not on this database")

    def names_elsewhere():
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(names, using).result()
            thread.submit(connections.close_all).result()
            return found

    assert names(using) == ["old"]
    try:
        execute(using, *statements)
        assert names_elsewhere() == ["old"]
        execute(using, last)
        assert names_elsewhere() == ["new"]
        if using != "default":  # SQLite refuses a COMMIT without a transaction
            execute(using, "UPDATE testapp_tag SET name = 'newer'", "COMMIT")
            assert names_elsewhere() == ["newer"]
    finally:
        connections[using].close()


def test_callproc_invalidates(using, routines):
    assert names(using) == ["old"]
    with connections[using].cursor() as cursor:
        cursor.callproc("rename_tags_too" if using == "mariadb" else "rename_tags")
    assert names(using) == ["new"]


def test_a_write_in_the_select_of_a_read_is_seen(using, routines):
    if connections[using].vendor != "postgresql":
        pytest.skip("MySQL's function may not write a table that the statement reads")
    assert names(using) == ["old"]
    list(Author.objects.using(using).extra(select={"done": "rename_tags()"}))
    execute(using, "SELECT rename_tags() FROM testapp_tag")
    assert names(using) == ["new"]


def test_a_model_without_the_delete_signal_is_deleted_fast_and_invalidated(
    using, settings, count_sql
):
    Tag.objects.using(using).create(name="old")
    fast = {name: {"DELETE_SIGNAL": False} for name in ("testapp.Tag", "testapp.Note")}
    opted_in = settings.QUERYCACHE["MODELS"] | fast
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": opted_in}
    assert names(using) == ["old"]
    with count_sql(using) as statements:
        Tag.objects.using(using).all().delete()
    # The rows of the many-to-many table go first.
    assert [statement.split()[0] for statement in statements][-1] == "DELETE"
    assert names(using) == []
    with count_sql(using) as statements:
        Note.objects.using(using).all().delete()
    assert len(statements) == 1


def test_a_model_without_the_delete_signal_adds_many_to_many_rows_in_one_statement(
    using, tag, settings, count_sql
):
    author = Author.objects.using(using).create(name="Herbert")
    book = Book.objects.using(using).create(name="Dune", author=author, pages=412)
    models = {**settings.QUERYCACHE["MODELS"], "testapp.Book": {"DELETE_SIGNAL": False}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    assert list(book.tags.all()) == []
    with count_sql(using) as statements:
        book.tags.add(tag)
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    assert list(book.tags.all()) == [tag]


def test_a_receiver_of_post_save_reads_what_was_saved(using, tag):
    seen = []

    def look(sender, instance, **kwargs):
        seen.append(names(using))

    assert names(using) == ["old"]
    post_save.connect(look, sender=Tag)
    try:
        tag.name = "new"
        tag.save()
        with transaction.atomic(using=using):
            tag.name = "newer"
            tag.save()
    finally:
        post_save.disconnect(look, sender=Tag)
    assert seen == [["new"], ["newer"]]
    assert names(using) == ["newer"]


def test_a_statement_that_fails_changes_nothing_that_is_seen(using, tag):
    assert names(using) == ["old"]
    with pytest.raises(Exception, match=r"(?i)null|constraint"), transaction.atomic(using=using):
        Tag.objects.using(using).update(name="new")
        Tag.objects.using(using).update(name=None)
    assert names(using) == ["old"]


def test_what_another_thread_writes_is_seen(using, tag):
    def write():
        Tag.objects.using(using).update(name="new")
        connections.close_all()

    assert names(using) == ["old"]
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert names(using) == ["new"]


def test_a_write_after_a_rollback_in_the_same_connection_is_published(using, tag):
    assert names(using) == ["old"]
    with transaction.atomic(using=using):
        Tag.objects.using(using).update(name="lost")
        transaction.set_rollback(True, using=using)
    assert names(using) == ["old"]
    Tag.objects.using(using).update(name="new")
    assert names(using) == ["new"]


def test_flush_of_all_tables_is_seen(using, tag):
    assert names(using) == ["old"]
    # Django's own, and not the quick one of the tests.
    call_command(flush.Command(), database=using, interactive=False, verbosity=0)
    assert names(using) == []


def test_a_table_that_is_made_anew_is_seen(using, tag):
    if not connections[using].features.can_rollback_ddl:
        pytest.skip("each DDL statement commits by itself")
    assert names(using) == ["old"]
    with transaction.atomic(using=using):
        execute(using, "ALTER TABLE testapp_tag RENAME TO tag_of_before")
        execute(using, "CREATE TABLE testapp_tag AS SELECT id, 'new' AS name FROM tag_of_before")
        assert names(using) == ["new"]
        transaction.set_rollback(True, using=using)
    assert names(using) == ["old"]


def rename_in_python(apps, schema_editor):
    tags = apps.get_model("testapp", "Tag").objects.using(schema_editor.connection.alias)
    tags.update(name="new")


def unnamed(**options):
    return models.CharField(max_length=100, **options)


OPERATIONS = {
    "RunSQL": [migrations.RunSQL(RENAME)],
    "RunPython": [migrations.RunPython(rename_in_python)],
    "RenameField": [
        migrations.RenameField("tag", "name", "title"),
        migrations.RunSQL("UPDATE testapp_tag SET title = 'new'"),
        migrations.RenameField("tag", "title", "name"),
    ],
    "AlterField to one with a default": [
        migrations.AlterField("tag", "name", unnamed(null=True)),
        migrations.RunSQL("UPDATE testapp_tag SET name = NULL"),
        migrations.AlterField("tag", "name", unnamed(default="new")),
        migrations.AlterField("tag", "name", unnamed()),
    ],
    "RemoveField and AddField with a default": [
        migrations.RemoveField("tag", "name"),
        migrations.AddField("tag", "name", unnamed(default="new"), preserve_default=False),
    ],
    "AlterModelTable": [
        migrations.AlterModelTable("tag", "tag_for_now"),
        migrations.RunSQL("UPDATE tag_for_now SET name = 'new'"),
        migrations.AlterModelTable("tag", "testapp_tag"),
    ],
}


@pytest.mark.parametrize("operations", OPERATIONS.values(), ids=OPERATIONS)
def test_a_migration_invalidates(using, tag, operations):
    assert names(using) == ["old"]
    before = ProjectState.from_apps(apps)
    with connections[using].schema_editor() as editor:
        for operation in operations:
            after = before.clone()
            operation.state_forwards("testapp", after)
            operation.database_forwards("testapp", editor, before, after)
            before = after
    assert names(using) == ["new"]


def test_a_model_that_is_deleted_and_created_is_seen(using):
    Odd.objects.using(using).create(name="old")
    assert Odd.objects.using(using).count() == 1
    with connections[using].schema_editor() as editor:
        editor.delete_model(Odd)
        editor.create_model(Odd)
    assert Odd.objects.using(using).count() == 0


def test_copy_of_psycopg_invalidates(using, tag):
    if connections[using].vendor != "postgresql":
        pytest.skip("COPY is PostgreSQL's")
    assert names(using) == ["old"]
    statement = "COPY testapp_tag (name) FROM STDIN"
    with connections[using].cursor() as cursor, cursor.copy(statement) as copy:
        copy.write_row(["copied"])
    assert names(using) == ["copied", "old"]


def test_copy_invalidates_while_queries_are_logged(using, tag):
    if connections[using].vendor != "postgresql":
        pytest.skip("COPY is PostgreSQL's")
    assert names(using) == ["old"]
    with (
        CaptureQueriesContext(connections[using]),
        connections[using].cursor() as cursor,
        cursor.copy("COPY testapp_tag (name) FROM STDIN") as copy,
    ):
        copy.write_row(["copied"])
    assert names(using) == ["copied", "old"]


def test_stream_of_psycopg_invalidates(using, tag):
    if connections[using].vendor != "postgresql":
        pytest.skip("only psycopg streams")
    assert names(using) == ["old"]
    with connections[using].cursor() as cursor:
        assert list(cursor.stream(f"{RENAME} RETURNING name")) == [("new",)]
    assert names(using) == ["new"]


SESSIONS = {
    "temporary table": "CREATE TEMPORARY TABLE testapp_tag (id INTEGER, name VARCHAR(100))",
    "time zone": {"postgresql": "SET TIME ZONE 'Asia/Tokyo'"},
    "case": {"sqlite": "PRAGMA case_sensitive_like = ON"},
}


@pytest.mark.parametrize("statement", SESSIONS.values(), ids=SESSIONS)
def test_what_a_session_alone_sees_is_not_what_others_are_answered(using, tag, statement):
    def read():
        days = Book.objects.using(using).values_list(Cast("published_at", models.DateField()))
        found = Tag.objects.using(using).filter(name__istartswith="O").values_list("name")
        return list(days), list(found)

    def read_elsewhere():
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(read).result()
            thread.submit(connections.close_all).result()
            return found

    if isinstance(statement, dict):
        statement = statement.get(connections[using].vendor)
    if statement is None:
        pytest.skip("not on this database")
    moment = datetime.datetime(2024, 1, 1, 23, 30, tzinfo=datetime.UTC)
    author = Author.objects.using(using).create(name="author")
    Book.objects.using(using).create(name="book", author=author, published_at=moment)
    others = read_elsewhere()
    try:
        execute(using, statement)
        with bypass():
            own = read()
        assert own != others
        assert read() == own
        assert read_elsewhere() == others
    finally:
        connections[using].close()


@pytest.mark.django_db(transaction=True)
def test_a_script_of_sqlite_invalidates():
    Tag.objects.create(name="old")
    assert names("default") == ["old"]
    with connection.cursor() as cursor:
        cursor.executescript(RENAME)
    assert names("default") == ["new"]


def test_a_write_by_the_related_objects_of_another_database_is_published_there(using):
    author = Author.objects.using(using).create(name="author")
    assert list(author.books.all()) == []
    book = Book(name="book", author=author)
    book.save(using=using)
    assert list(author.books.all()) == [book]
