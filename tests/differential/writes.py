"""Every kind of write, one row each, and every kind of transaction that it may happen in."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models import Case, Exists, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Upper

from tests.differential.shelf import ACE, Library
from tests.testapp import models

ANY = frozenset({"sqlite", "postgresql", "mysql"})


@dataclass(frozen=True)
class Write:
    """
    A write to the library.

    ``is_one_statement`` says that it may run in a transaction that Django does not know of.
    ``on`` are the vendors on which it runs. ``is_ddl`` says that MySQL commits it implicitly, and
    that PostgreSQL locks the table for it, readers included.
    """

    name: str
    run: Callable[[Library], Any]
    is_one_statement: bool = False
    on: frozenset[str] = ANY
    is_ddl: bool = False


# Transactions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mode:
    """
    How a write is committed, or is not.

    ``is_open`` says that others do not see the write before the end of ``run``, ``commits`` that
    they see it then. ``is_by_hand``: Django does not know of the transaction. ``keeps_entries``:
    nothing is published, so that what was warm stays warm.
    """

    run: Callable[[str], AbstractContextManager[None]]
    is_open: bool = True
    commits: bool = True
    is_by_hand: bool = False
    keeps_entries: bool = False
    on: frozenset[str] = ANY


class RollBack(Exception):
    pass


@contextmanager
def autocommit(using: str) -> Iterator[None]:
    yield


@contextmanager
def atomic(using: str) -> Iterator[None]:
    with transaction.atomic(using=using):
        yield


@contextmanager
def nested(using: str) -> Iterator[None]:
    again = transaction.atomic(using=using, savepoint=False)
    with transaction.atomic(using=using), transaction.atomic(using=using), again:
        yield


@contextmanager
def rolled_back(using: str) -> Iterator[None]:
    try:
        with transaction.atomic(using=using):
            yield
            raise RollBack
    except RollBack:
        pass


@contextmanager
def set_to_roll_back(using: str) -> Iterator[None]:
    with transaction.atomic(using=using):
        yield
        transaction.set_rollback(True, using=using)


@contextmanager
def savepoint_rolled_back(using: str) -> Iterator[None]:
    with transaction.atomic(using=using), rolled_back(using):
        yield


@contextmanager
def rolled_back_around_a_savepoint(using: str) -> Iterator[None]:
    with rolled_back(using), transaction.atomic(using=using):
        yield


@contextmanager
def committed_by_hand(using: str) -> Iterator[None]:
    transaction.set_autocommit(False, using=using)
    try:
        yield
        transaction.commit(using=using)
    finally:
        transaction.rollback(using=using)
        transaction.set_autocommit(True, using=using)


@contextmanager
def rolled_back_by_hand(using: str) -> Iterator[None]:
    transaction.set_autocommit(False, using=using)
    try:
        yield
    finally:
        transaction.rollback(using=using)
        transaction.set_autocommit(True, using=using)


@contextmanager
def committed_by_autocommit(using: str) -> Iterator[None]:
    transaction.set_autocommit(False, using=using)
    try:
        yield
    finally:
        transaction.set_autocommit(True, using=using)


@contextmanager
def raw_commit(using: str) -> Iterator[None]:
    execute(using, "BEGIN")
    try:
        yield
    finally:
        execute(using, "COMMIT")


@contextmanager
def raw_rollback(using: str) -> Iterator[None]:
    execute(using, "BEGIN")
    try:
        yield
    finally:
        execute(using, "ROLLBACK")


MODES = {
    "in autocommit": Mode(autocommit, is_open=False),
    "in atomic()": Mode(atomic),
    "in nested atomic()": Mode(nested),
    "rolled back": Mode(rolled_back, commits=False, keeps_entries=True),
    "rolled back by set_rollback()": Mode(set_to_roll_back, commits=False, keeps_entries=True),
    "rolled back around a savepoint": Mode(
        rolled_back_around_a_savepoint, commits=False, keeps_entries=True
    ),
    "in a savepoint that is rolled back": Mode(savepoint_rolled_back, commits=False),
    "committed by hand": Mode(committed_by_hand),
    "rolled back by hand": Mode(rolled_back_by_hand, commits=False, keeps_entries=True),
    "committed by set_autocommit()": Mode(committed_by_autocommit, on=ANY - {"postgresql"}),
    "in BEGIN and COMMIT": Mode(raw_commit, is_by_hand=True),
    "in BEGIN and ROLLBACK": Mode(raw_rollback, commits=False, keeps_entries=True, is_by_hand=True),
}


# Writes that need more than an expression ---------------------------------------------------------


def execute(using: str, statement: Any, params: Any = None) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, params)


def raw(name: str, statement: Any, params: Any = None, **options: Any) -> Write:
    """Return a row for one statement, given as a string or for each vendor."""
    if isinstance(statement, dict):
        options["on"] = frozenset(statement)

    def run(db: Library) -> None:
        vendor = connections[db.using].vendor
        execute(db.using, statement[vendor] if isinstance(statement, dict) else statement, params)

    return Write(f"raw {name}", run, **{"is_one_statement": True, **options})


def twin(method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    async def call() -> None:
        await method(*args, **kwargs)

    async_to_sync(call)()


def changed(instance: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


def save_again(db: Library) -> None:
    changed(db.book("Dune"), name="Dune, again").save()


def save_some_fields(db: Library) -> None:
    changed(db.book("Dune"), name="Dune, again", pages=0).save(update_fields=["pages"])


def save_a_new_object_under_an_old_key(db: Library) -> None:
    models.Tag(pk=db.tags.get(name="desert").pk, name="overwritten").save(using=db.using)


def save_forced(db: Library) -> None:
    models.Tag(name="forced").save(force_insert=True, using=db.using)


def save_an_expression(db: Library) -> None:
    changed(db.book("Dune"), pages=F("pages") + 1).save()


def save_base(db: Library) -> None:
    changed(db.book("Dune"), name="by save_base").save_base(raw=True, using=db.using)


def save_a_child(db: Library) -> None:
    changed(db.textbooks.get(), name="Ecology II", subject="earth").save()


def save_with_force_update(db: Library) -> None:
    changed(db.book("Dune"), pages=1).save(force_update=True)


def save_some_fields_of_expressions(db: Library) -> None:
    changed(db.book("Dune"), pages=F("pages") * 2, name=Upper("name")).save(update_fields=["pages"])


def save_where_the_database_computes(db: Library) -> None:
    computed = changed(db.computed.get(), name="SAVED")
    computed.save()
    computed.refresh_from_db()
    assert computed.lower_name == "saved"


def save_what_get_or_create_got(db: Library) -> None:
    tag, _ = db.tags.get_or_create(name="desert")
    changed(tag, name="dune").save()


def save_the_parent_of_a_child(db: Library) -> None:
    changed(db.book("Ecology"), name="Ecology II").save()


def save_a_proxy(db: Library) -> None:
    changed(db.cheap_books.get(name="Messiah"), name="Messiah II").save()


def save_both_keys(db: Library) -> None:
    changed(db.seats.get(pk=(7, 2)), guest="another").save()


def bulk_upsert(db: Library) -> None:
    on_mysql = connections[db.using].vendor == "mysql"
    db.publishers.bulk_create(
        [
            models.Publisher(id=ACE, name="Ace, again"),
            models.Publisher(id=uuid.UUID(int=7), name="Orbit"),
        ],
        update_conflicts=True,
        update_fields=["name"],
        unique_fields=None if on_mysql else ["id"],
    )


def bulk_ignore(db: Library) -> None:
    db.publishers.bulk_create(
        [
            models.Publisher(id=ACE, name="ignored"),
            models.Publisher(id=uuid.UUID(int=7), name="Orbit"),
        ],
        ignore_conflicts=True,
    )


def bulk_update(db: Library) -> None:
    books = list(db.books.order_by("pk"))
    for number, book in enumerate(books):
        changed(book, pages=number, name=f"number {number}")
    db.books.bulk_update(books, ["pages", "name"], batch_size=3)


def bulk_update_with_expressions(db: Library) -> None:
    books = [changed(book, pages=F("pages") + 1) for book in db.books.all()]
    db.books.bulk_update(books, ["pages"])


def bulk_create_with_keys(db: Library) -> None:
    """In a table of no other key: what the database gives is a default and a generated column."""
    found = db.computed.bulk_create([models.Computed(name="A"), models.Computed(name="B")])
    assert len(found) == 2


def new_tags(*names: str) -> list[models.Tag]:
    return [models.Tag(name=name) for name in names]


def update_or_create(db: Library) -> None:
    db.books.update_or_create(name="Dune", defaults={"pages": 1}, create_defaults={"pages": 2})


def load_a_fixture(db: Library) -> None:
    tag = db.tags.get(name="classic")
    with TemporaryDirectory() as folder:
        fixture = Path(folder) / "tags.json"
        fields = {"name": "loaded"}
        fixture.write_text(
            json.dumps(
                [
                    {"model": "testapp.tag", "pk": tag.pk, "fields": fields},
                    {"model": "testapp.publisher", "pk": str(uuid.UUID(int=9)), "fields": fields},
                ]
            )
        )
        call_command("loaddata", fixture, database=db.using, verbosity=0)


def load_a_file(db: Library) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "tags.txt"
        file.write_text("loaded\n")
        execute(db.using, "LOAD DATA INFILE %s INTO TABLE testapp_tag (name)", [str(file)])


def copied(db: Library) -> None:
    from psycopg import sql

    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("public", "testapp_tag"), sql.Identifier("name")
    )
    with connections[db.using].cursor() as cursor, cursor.copy(statement) as copy:
        copy.write_row(["copied"])


def prepared(db: Library) -> None:
    quoted = UPDATE.replace("'", "''")
    as_what = f"FROM '{quoted}'" if connections[db.using].vendor == "mysql" else f"AS {UPDATE}"
    execute(db.using, f"PREPARE renaming {as_what}")
    execute(db.using, "EXECUTE renaming")
    execute(db.using, "DEALLOCATE PREPARE renaming")


def many_tags(db: Library) -> None:
    with connections[db.using].cursor() as cursor:
        cursor.executemany("INSERT INTO testapp_tag (name) VALUES (%s)", [("m1",), ("m2",)])


def many_books_deleted(db: Library) -> None:
    with connections[db.using].cursor() as cursor:
        cursor.executemany("DELETE FROM testapp_edit WHERE role = %s", [("editor",), ("none",)])


def returning(db: Library) -> None:
    with connections[db.using].cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES (%s) RETURNING id", ["returned"])
        cursor.fetchone()


def returning_through_raw(db: Library) -> None:
    list(db.tags.raw("UPDATE testapp_tag SET name = 'x' WHERE name = 'desert' RETURNING id, name"))


def composed(db: Library) -> None:
    from psycopg import sql

    statement = sql.SQL("UPDATE {} SET name = {} WHERE name = {}").format(
        sql.Identifier("testapp_tag"), sql.Placeholder(), sql.Literal("desert")
    )
    execute(db.using, statement, ["composed"])


def generic(db: Library, name: str) -> Any:
    return db.author(name).notes


def note_on(db: Library, name: str) -> models.Note:
    tag = db.tags.get(name=name)
    kind = ContentType.objects.db_manager(db.using).get_for_model(models.Tag)
    return models.Note(text="a tag's", content_type=kind, object_id=tag.pk)


def ace(db: Library) -> Any:
    return db.publishers.get(name="Ace")


UPDATE = "UPDATE testapp_tag SET name = 'changed' WHERE name = 'desert'"

NEW_GUEST = "INSERT INTO testapp_seat VALUES (7, 1, 'new')"

WRITES = [
    # One row
    Write("create", lambda db: db.tags.create(name="new")),
    Write("save", save_again),
    Write("save of some fields", save_some_fields),
    Write("save under a key that is there", save_a_new_object_under_an_old_key),
    Write("save with force_insert", save_forced),
    Write("save of an expression", save_an_expression),
    Write("save with force_update", save_with_force_update),
    Write("save of some fields of expressions", save_some_fields_of_expressions),
    Write("save where the database computes", save_where_the_database_computes),
    Write("save of what get_or_create got", save_what_get_or_create_got),
    Write("save_base", save_base),
    Write("get_or_create", lambda db: db.tags.get_or_create(name="got")),
    Write("update_or_create that updates", update_or_create),
    Write("update_or_create that creates", lambda db: db.tags.update_or_create(name="made")),
    Write(
        "update_or_create with create_defaults",
        lambda db: db.publishers.update_or_create(
            name="made", defaults={"founded": 1}, create_defaults={"founded": 2}
        ),
    ),
    Write("delete", lambda db: db.edits.get(role="editor").delete()),
    Write("delete that cascades", lambda db: db.author("Herbert").delete()),
    Write("delete that sets NULL", lambda db: db.publishers.get(name="Ace").delete()),
    Write("delete that sets a default", lambda db: db.shelves.get(name="third").delete()),
    Write(
        "delete that calls a function and leaves a dangling key",
        lambda db: db.shelves.get(name="fifth").delete(),
    ),
    Write("delete of the target of a relation", lambda db: db.tags.get(name="desert").delete()),
    # A child, a proxy, strange keys and names
    Write(
        "create of a child",
        lambda db: db.textbooks.create(name="T", author=db.author("Nobody"), subject="t"),
    ),
    Write("save of a child", save_a_child),
    Write("save of the parent of a child", save_the_parent_of_a_child),
    Write("delete of a child", lambda db: db.textbooks.get().delete()),
    Write("delete of the parent of a child", lambda db: db.book("Ecology").delete()),
    Write(
        "delete of a child that keeps its parent",
        lambda db: db.textbooks.get().delete(keep_parents=True),
    ),
    Write("update of a child", lambda db: db.textbooks.update(subject="earth")),
    Write(
        "update of a parent by its child", lambda db: db.textbooks.update(pages=1, subject="both")
    ),
    Write("save of a proxy", save_a_proxy),
    Write(
        "create of a proxy",
        lambda db: db.cheap_books.create(name="p", author=db.author("Nobody"), price=1),
    ),
    Write("update of a proxy", lambda db: db.cheap_books.update(pages=1), is_one_statement=True),
    Write("delete of a proxy", lambda db: db.cheap_books.all().delete()),
    Write("save of a row with two keys", save_both_keys),
    Write("delete by two keys", lambda db: db.seats.get(pk=(7, 2)).delete()),
    Write("create in an odd table", lambda db: db.odd.create(name="new")),
    Write("delete in an odd table that cascades", lambda db: db.odd.get(name="parent").delete()),
    Write("update of a quoted table", lambda db: db.quoted.update(name="x"), is_one_statement=True),
    Write("create where the database computes", lambda db: db.computed.create(name="new")),
    # Many rows
    Write("update", lambda db: db.books.filter(name="Dune").update(pages=1), is_one_statement=True),
    Write("update with F", lambda db: db.books.update(pages=F("pages") + 1), is_one_statement=True),
    Write(
        "update with Case",
        lambda db: db.books.update(
            name=Case(When(pages__gt=200, then=Value("long")), default=Upper("name"))
        ),
        is_one_statement=True,
    ),
    Write(
        "update with a subquery",
        lambda db: db.authors.filter(books__in=db.books.filter(pages__gt=200)).update(name="long"),
        is_one_statement=True,
    ),
    Write(
        "update to a subquery's value",
        lambda db: db.books.update(
            name=Subquery(models.Author.objects.filter(pk=OuterRef("author")).values("name"))
        ),
        is_one_statement=True,
    ),
    Write(
        "update of what exists elsewhere",
        lambda db: db.authors.filter(
            Exists(models.Book.objects.filter(author=OuterRef("pk")))
        ).update(name="writes"),
        is_one_statement=True,
    ),
    Write(
        "update in an order",
        lambda db: db.seats.order_by("-number").update(number=F("number") + 1),
        on=frozenset({"mysql"}),
    ),
    Write("update where the database computes", lambda db: db.computed.update(name="UP")),
    Write("update over a join", lambda db: db.books.filter(author__name="Herbert").update(pages=3)),
    Write("delete of a queryset", lambda db: db.books.filter(pages__gt=200).delete()),
    Write("delete over a join", lambda db: db.edits.filter(book__name="Dune").delete()),
    Write("delete of rows nobody points to", lambda db: db.edits.all().delete()),
    Write("_raw_delete", lambda db: db.edits._raw_delete(db.using), is_one_statement=True),
    Write("bulk_create", lambda db: db.tags.bulk_create(new_tags("a", "b", "c"), batch_size=2)),
    Write("bulk_create where the database computes", bulk_create_with_keys),
    Write("bulk_create that ignores conflicts", bulk_ignore),
    Write("bulk_create that updates", bulk_upsert),
    Write("bulk_update", bulk_update),
    Write("bulk_update with expressions", bulk_update_with_expressions),
    # Relations
    Write("related create", lambda db: db.author("Nobody").books.create(name="new")),
    Write("related add", lambda db: db.author("Nobody").books.add(db.book("Dune"))),
    Write("related set", lambda db: db.publishers.get(name="Ace").books.set([db.book("Messiah")])),
    Write("related remove", lambda db: db.publishers.get(name="Ace").books.remove(db.book("Dune"))),
    Write("related clear", lambda db: db.publishers.get(name="Ace").books.clear()),
    Write(
        "related add, one by one",
        lambda db: db.author("Nobody").books.add(db.book("Dune"), bulk=False),
    ),
    Write(
        "related set, one by one", lambda db: ace(db).books.set([db.book("Messiah")], bulk=False)
    ),
    Write(
        "related set after a clear", lambda db: ace(db).books.set([db.book("Earthsea")], clear=True)
    ),
    Write(
        "related remove, one by one",
        lambda db: ace(db).books.remove(db.book("Dune"), bulk=False),
    ),
    Write("related clear, one by one", lambda db: ace(db).books.clear(bulk=False)),
    Write("related get_or_create", lambda db: db.author("Nobody").books.get_or_create(name="got")),
    Write(
        "related update_or_create",
        lambda db: db.author("Herbert").books.update_or_create(name="Dune", defaults={"pages": 1}),
    ),
    Write("related update", lambda db: db.author("Herbert").books.update(pages=1)),
    Write("many-to-many add", lambda db: db.book("Dune").tags.add(db.tags.get(name="unused"))),
    Write(
        "many-to-many add backwards",
        lambda db: db.tags.get(name="unused").books.add(db.book("Dune")),
    ),
    Write(
        "many-to-many remove", lambda db: db.book("Dune").tags.remove(db.tags.get(name="desert"))
    ),
    Write(
        "many-to-many remove backwards",
        lambda db: db.tags.get(name="desert").books.remove(db.book("Dune")),
    ),
    Write("many-to-many set", lambda db: db.book("Dune").tags.set([db.tags.get(name="unused")])),
    Write(
        "many-to-many set backwards",
        lambda db: db.tags.get(name="desert").books.set([db.book("Earthsea")]),
    ),
    Write(
        "many-to-many set after a clear",
        lambda db: db.book("Dune").tags.set([db.tags.get(name="unused")], clear=True),
    ),
    Write(
        "many-to-many add of a key",
        lambda db: db.book("Dune").tags.add(db.tags.get(name="unused").pk),
    ),
    Write("many-to-many get_or_create", lambda db: db.book("Dune").tags.get_or_create(name="got")),
    Write("many-to-many clear", lambda db: db.book("Dune").tags.clear()),
    Write("many-to-many clear backwards", lambda db: db.tags.get(name="desert").books.clear()),
    Write("many-to-many create", lambda db: db.book("Dune").tags.create(name="fresh")),
    Write(
        "many-to-many with defaults of through",
        lambda db: db.book("Dune").editors.add(
            db.author("Nobody"), through_defaults={"role": "guest"}
        ),
    ),
    Write(
        "many-to-many through set", lambda db: db.book("Dune").editors.set([db.author("Nobody")])
    ),
    Write("many-to-many of a child", lambda db: db.textbooks.get().tags.clear()),
    Write("symmetrical many-to-many add", lambda db: db.person("Cy").friends.add(db.person("Ann"))),
    Write("symmetrical many-to-many clear", lambda db: db.person("Ben").friends.clear()),
    Write(
        "many-to-many to itself, backwards",
        lambda db: db.person("Ann").followers.set([db.person("Ben")]),
    ),
    Write(
        "save of a row of through", lambda db: changed(db.edits.get(role="editor"), role="x").save()
    ),
    Write("row of through", lambda db: db.tagged.filter(tag__name="desert").delete()),
    Write("generic create", lambda db: generic(db, "Herbert").create(text="new")),
    Write("generic add", lambda db: generic(db, "Herbert").add(note_on(db, "desert"), bulk=False)),
    Write(
        "generic add of a saved one",
        lambda db: generic(db, "Herbert").add(*generic(db, "Le Guin").all()),
    ),
    Write("generic remove", lambda db: generic(db, "Herbert").remove(generic(db, "Herbert").get())),
    Write("generic set", lambda db: generic(db, "Herbert").set([])),
    Write("generic clear", lambda db: generic(db, "Herbert").clear()),
    Write(
        "generic update_or_create",
        lambda db: generic(db, "Herbert").update_or_create(
            text="on Herbert", defaults={"text": "x"}
        ),
    ),
    Write("delete of a child of generic relations", lambda db: db.book("Dune").delete()),
    # Asynchronous
    Write("acreate", lambda db: twin(db.tags.acreate, name="new")),
    Write("asave", lambda db: twin(changed(db.book("Dune"), pages=1).asave)),
    Write("aupdate", lambda db: twin(db.books.aupdate, pages=1), is_one_statement=True),
    Write("adelete", lambda db: twin(db.edits.filter(role="editor").adelete)),
    Write(
        "many-to-many aadd", lambda db: twin(db.book("Dune").tags.aadd, db.tags.get(name="unused"))
    ),
    Write("adelete of an instance", lambda db: twin(db.book("Dune").adelete)),
    Write("abulk_create", lambda db: twin(db.tags.abulk_create, new_tags("a", "b"))),
    Write(
        "abulk_update",
        lambda db: twin(db.books.abulk_update, [changed(db.book("Dune"), pages=1)], ["pages"]),
    ),
    Write("aget_or_create", lambda db: twin(db.tags.aget_or_create, name="new")),
    Write(
        "aupdate_or_create",
        lambda db: twin(db.books.aupdate_or_create, name="Dune", defaults={"pages": 1}),
    ),
    Write("related aset", lambda db: twin(ace(db).books.aset, [db.book("Messiah")])),
    Write("many-to-many aclear", lambda db: twin(db.book("Dune").tags.aclear)),
    Write(
        "many-to-many aset",
        lambda db: twin(db.book("Dune").tags.aset, [db.tags.get(name="unused")]),
    ),
    Write("generic aclear", lambda db: twin(generic(db, "Herbert").aclear)),
    # By a command
    Write("loaddata", load_a_fixture),
    # Raw SQL
    raw("UPDATE", UPDATE),
    raw("INSERT", "INSERT INTO testapp_tag (name) VALUES (%s)", ["inserted"]),
    raw(
        "INSERT with named parameters",
        "INSERT INTO testapp_tag (name) VALUES (%(name)s)",
        {"name": "named"},
    ),
    raw("INSERT with a SELECT", "INSERT INTO testapp_tag (name) SELECT name FROM testapp_author"),
    raw("DELETE", "DELETE FROM testapp_edit WHERE role = %s", ["editor"]),
    raw("in lower case", "update testapp_tag set name = 'changed'"),
    raw(
        "table in upper case",
        {
            vendor: UPDATE.replace("testapp_tag", "TESTAPP_TAG")
            for vendor in ("sqlite", "postgresql")
        },
    ),
    raw(
        "quoted names",
        {
            "sqlite": UPDATE.replace("testapp_tag", '"testapp_tag"'),
            "postgresql": UPDATE.replace("testapp_tag", '"testapp_tag"'),
            "mysql": UPDATE.replace("testapp_tag", "`testapp_tag`"),
        },
    ),
    raw("names in brackets", {"sqlite": UPDATE.replace("testapp_tag", "[testapp_tag]")}),
    raw(
        "schema",
        {
            "sqlite": UPDATE.replace("testapp_tag", "main.testapp_tag"),
            "postgresql": UPDATE.replace("testapp_tag", '"public"."testapp_tag"'),
            "mysql": UPDATE.replace("testapp_tag", "test_querycache.testapp_tag"),
        },
    ),
    raw("after a comment", f"/* why */ {UPDATE} -- really"),
    raw("after a comment on a line", f"-- why; not\n{UPDATE}"),
    raw("after blanks", f"\n\t  {UPDATE} ;\n"),
    raw("nested comment", {"postgresql": f"/* why /* not */ SELECT 1; */ {UPDATE}"}),
    raw("after a comment of MySQL", {"mysql": f"# why; SELECT 1\n{UPDATE}"}),
    raw(
        "text with quotes in it",
        {
            "sqlite": "UPDATE testapp_tag SET name = 'it''s ; DELETE FROM \"testapp_edit\" --'",
            "postgresql": "UPDATE testapp_tag SET name = E'it\\'s; --' || $$'; --$$ || $x$ $$ $x$",
            "mysql": "UPDATE testapp_tag SET name = 'it\\'s; `--' '\\\\' \"# '\"",
        },
    ),
    raw(
        "odd table",
        {
            "sqlite": """UPDATE "odd ✨ table; select.from" SET name = 'x'""",
            "postgresql": """UPDATE "odd ✨ table; select.from" SET name = 'x'""",
        },
    ),
    raw("text that looks like SQL", "UPDATE testapp_tag SET name = '; SELECT 1 -- FROM x'"),
    raw(
        "CTE that reads",
        {
            "sqlite": f"WITH t AS (SELECT 1) {UPDATE}",
            "postgresql": f"WITH t AS (SELECT 1) {UPDATE}",
        },
    ),
    raw(
        "CTE that writes",
        {"postgresql": f"WITH t AS ({UPDATE} RETURNING id) SELECT count(*) FROM t"},
    ),
    raw(
        "upsert",
        {
            "sqlite": f"{NEW_GUEST} ON CONFLICT (row, number) DO UPDATE SET guest = 'up'",
            "postgresql": f"{NEW_GUEST} ON CONFLICT (row, number) DO UPDATE SET guest = 'up'",
            "mysql": f"{NEW_GUEST} ON DUPLICATE KEY UPDATE guest = 'up'",
        },
    ),
    raw(
        "REPLACE",
        {
            "sqlite": "REPLACE INTO testapp_seat (row, number, guest) VALUES (7, 1, 'replaced')",
            "mysql": "REPLACE INTO testapp_seat (`row`, number, guest) VALUES (7, 1, 'replaced')",
        },
    ),
    raw(
        "INSERT with SET",
        {"mysql": "INSERT IGNORE testapp_seat SET `row` = 7, number = 3, guest = 'set'"},
    ),
    raw(
        "REPLACE with SET", {"mysql": "REPLACE testapp_seat SET `row` = 7, number = 1, guest = 'r'"}
    ),
    raw(
        "MERGE",
        {
            "postgresql": "MERGE INTO testapp_tag t USING testapp_author a ON a.name = t.name "
            "WHEN NOT MATCHED THEN INSERT (name) VALUES (a.name)"
        },
    ),
    raw("UPDATE that ignores errors", {"mysql": "UPDATE IGNORE testapp_tag SET name = 'ignored'"}),
    raw("UPDATE or REPLACE", {"sqlite": "UPDATE OR REPLACE testapp_tag SET name = 'replaced'"}),
    raw("UPDATE with a limit", {"mysql": f"{UPDATE} ORDER BY id LIMIT 1"}),
    raw(
        "UPDATE of two tables",
        {"mysql": "UPDATE testapp_tag t, testapp_author a SET t.name = 'two', a.name = 'tables'"},
    ),
    raw(
        "UPDATE with a join",
        {"mysql": "UPDATE testapp_author a JOIN testapp_book b ON author_id = a.id SET pages = 1"},
    ),
    raw(
        "DELETE with a join",
        {"mysql": "DELETE e FROM testapp_edit e JOIN testapp_book b ON e.book_id = b.id"},
    ),
    raw(
        "UPDATE from a table",
        {
            "sqlite": "UPDATE testapp_book SET pages = 1 FROM testapp_author a",
            "postgresql": "UPDATE testapp_book SET pages = 1 FROM testapp_author a",
        },
    ),
    raw(
        "DELETE using a table",
        {"postgresql": "DELETE FROM ONLY testapp_edit USING testapp_book b WHERE book_id = b.id"},
    ),
    raw(
        "TRUNCATE",
        {
            "postgresql": "TRUNCATE testapp_note, testapp_edit",
            "mysql": "TRUNCATE TABLE testapp_note",
        },
        is_ddl=True,
    ),
    raw("TRUNCATE that cascades", {"postgresql": "TRUNCATE testapp_tag CASCADE"}, is_ddl=True),
    raw(
        "ALTER TABLE that computes anew",
        {"postgresql": "ALTER TABLE testapp_tag ALTER name TYPE varchar(100) USING upper(name)"},
        is_ddl=True,
    ),
    raw("text in EXECUTE IMMEDIATE", {"mysql": 'EXECUTE IMMEDIATE "' + UPDATE + '"'}),
    raw("compound statement", {"mysql": f"BEGIN NOT ATOMIC {UPDATE}; END"}),
    Write("raw LOAD DATA", load_a_file, True, frozenset({"mysql"})),
    Write("raw prepared statement", prepared, on=ANY - {"sqlite"}),
    Write("raw COPY of psycopg", copied, True, frozenset({"postgresql"})),
    raw("several statements", {"postgresql": f"SELECT 1; {UPDATE}; DELETE FROM testapp_edit"}),
    raw("statement in a block", {"postgresql": f"DO $$ BEGIN {UPDATE}; END $$"}),
    raw("EXPLAIN ANALYZE", {"postgresql": f"EXPLAIN ANALYZE {UPDATE}"}),
    raw("bytes", {"postgresql": UPDATE.encode()}),
    Write("raw statement of psycopg", composed, True, frozenset({"postgresql"})),
    Write("raw RETURNING", returning, is_one_statement=True),
    Write("raw() with RETURNING", returning_through_raw, True, ANY - {"mysql"}),
    Write("executemany", many_tags, is_one_statement=True),
    Write("executemany of DELETE", many_books_deleted, is_one_statement=True),
]

# Not seen as yet.
WRITES += [
    raw("comment that is executed", {"mysql": f"/*!50000 {UPDATE} */"}),
    raw("SET STATEMENT", {"mysql": f"SET STATEMENT max_statement_time = 60 FOR {UPDATE}"}),
    raw("ANALYZE", {"mysql": f"ANALYZE {UPDATE}"}),
    raw("UPDATE of low priority", {"mysql": UPDATE.replace("UPDATE", "UPDATE LOW_PRIORITY")}),
    raw(
        "CTE by the name of the table that it deletes from",
        {
            "postgresql": "WITH testapp_edit AS (DELETE FROM testapp_edit RETURNING role) "
            "INSERT INTO testapp_tag (name) SELECT role FROM testapp_edit"
        },
    ),
]

TYPICAL = {
    "get_or_create", "delete that cascades", "update", "many-to-many set", "loaddata",
    "raw UPDATE", "raw CTE that reads", "raw TRUNCATE", "executemany",
}  # fmt: skip
"""Names of one write of each sort, where trying all of them would take too long."""

if hasattr(models, "DatabasePlacement"):  # Django 6.1
    WRITES += [
        Write(
            "delete that cascades in the database",
            lambda db: db.shelves.get(name="fourth").delete(),
        ),
        Write(
            "delete of a queryset that cascades in the database",
            lambda db: db.shelves.filter(name__in=["fourth", "fifth"]).delete(),
        ),
        raw(
            "DELETE that cascades in the database",
            "DELETE FROM testapp_shelf WHERE name = 'fourth'",
        ),
    ]


# Reads that watch ---------------------------------------------------------------------------------


def names(db: Library) -> list[Any]:
    models = ("shelves", "tags", "odd", "quoted", "publishers", "computed")
    first, *others = (getattr(db, name).order_by().values_list("name") for name in models)
    # MariaDB takes "b" and "B" for equal, and orders them as it likes.
    return sorted(first.union(*others, all=True).order_by("name"))


WATCHES: list[Callable[[Library], Any]] = [
    lambda db: list(
        db.books.order_by("pk").values_list("name", "pages", "author__name", "publisher__name")
    ),
    lambda db: list(
        db.authors.order_by("pk", "books__pk").values_list(
            "name", "books__name", "books__sequel_to__name"
        )
    ),
    lambda db: list(db.tagged.order_by("pk").values_list("book__name", "tag__name")),
    lambda db: list(db.edits.order_by("pk").values_list("book__name", "editor__name", "role")),
    lambda db: [(book.name, book.subject) for book in db.textbooks.order_by("pk")],
    lambda db: list(db.notes.order_by("pk").values_list("text", "object_id")),
    lambda db: list(
        db.placements.order_by("pk").values_list(
            "cascades__name", "nulls", "defaults", "calls", "dangles__name"
        )
    ),
    lambda db: list(db.seats.order_by("row", "number").values_list("pk", "guest")),
    lambda db: list(
        db.people.order_by("pk", "friends", "follows").values_list("name", "friends", "follows")
    ),
    names,
    lambda db: [db.books.count()],
]
if hasattr(models, "DatabasePlacement"):  # Django 6.1
    WATCHES += [
        lambda db: list(
            db.of(models.DatabasePlacement).order_by("pk").values_list("cascades", "nulls")
        ),
        lambda db: db.of(models.DatabaseLabel).count(),
        lambda db: (
            list(db.of(models.DatabaseDefault).values_list("shelf__name"))
            if db.has("DatabaseDefault")
            else []
        ),
    ]
