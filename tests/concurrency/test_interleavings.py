"""
Never older than the database: the interleavings that the order of steps exists for.

Each is forced at the boundary of the database or the store; nothing sleeps.
"""

import threading
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from querycache import generations
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.testapp.models import Author
from tests.threads import elsewhere

STRICT_STORES = ["locmem", "redis", "redis_builtin"]


@pytest.fixture
def author(using, store):
    return Author.objects.using(using).create(name="before")


pytestmark = pytest.mark.parametrize("store_alias", STRICT_STORES, indirect=True)


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def rename(author, new):
    Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


@contextmanager
def once_before(monkeypatch, owner, method, act):
    """Run ``act`` once, just before the method is called the first time."""
    original = getattr(owner, method)
    waiting = [act]

    def acting(*arguments, **options):
        if waiting:
            waiting.pop()()
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, acting)
        yield
    assert not waiting, f"{method} was never called"


def test_a_write_between_select_and_fill_makes_the_fill_stale(author, monkeypatch):
    """look(reader) SELECT(reader) UPDATE COMMIT release(writer) fill(reader)"""
    with once_before(monkeypatch, generations, "fill", lambda: elsewhere(rename, author, "after")):
        assert name(author) == "before"
    assert name(author) == "after"


def test_a_reader_in_the_commit_window_gets_the_new_rows(author, using, monkeypatch):
    """fence COMMIT look(reader) release: the writer has not come to its release yet."""
    name(author)
    seen = []
    with (
        once_before(
            monkeypatch, generations, "release", lambda: seen.append(elsewhere(name, author))
        ),
        transaction.atomic(using=using),
    ):
        rename(author, "after")
    assert seen == ["after"]


def test_a_refill_just_before_the_commit_is_stale_after_it(author, using, monkeypatch):
    """fence look(reader) SELECT(reader) COMMIT: without a fence, the reader would refill."""
    name(author)
    connection = connections[using]

    def read():
        assert elsewhere(name, author) == "before"

    with (
        once_before(monkeypatch, connection, "_commit", read),
        once_before(
            monkeypatch, generations, "release", lambda: seen.append(elsewhere(name, author))
        ),
        transaction.atomic(using=using),
    ):
        seen = []
        rename(author, "after")
    assert seen == ["after"]
    assert name(author) == "after"


def test_a_fill_under_a_look_from_before_the_fence_is_stale(author, using, monkeypatch):
    """look(reader) SELECT(reader) fence fill(reader) COMMIT look(reader)"""
    connection = connections[using]
    reader_may_fill, reader_has_filled = threading.Event(), threading.Event()
    reader_has_selected = threading.Event()
    original = generations.fill

    def slow_fill(*arguments, **options):
        reader_has_selected.set()
        assert reader_may_fill.wait(10)
        return original(*arguments, **options)

    def read():
        elsewhere_name = name(author)
        reader_has_filled.set()
        connections.close_all()
        assert elsewhere_name == "before"

    def let_the_reader_fill():
        reader_may_fill.set()
        assert reader_has_filled.wait(10)

    monkeypatch.setattr(generations, "fill", slow_fill)
    reader = threading.Thread(target=read)
    reader.start()
    assert reader_has_selected.wait(10)
    monkeypatch.setattr(generations, "fill", original)
    with (
        once_before(monkeypatch, connection, "_commit", let_the_reader_fill),
        transaction.atomic(using=using),
    ):
        rename(author, "after")
    reader.join()
    assert name(author) == "after"


def test_a_reader_before_the_release_gets_the_new_rows_in_autocommit(author, monkeypatch):
    """fence UPDATE look(reader) release"""
    name(author)
    seen = []
    with once_before(
        monkeypatch, generations, "release", lambda: seen.append(elsewhere(name, author))
    ):
        rename(author, "after")
    assert seen == ["after"]
    assert name(author) == "after"


def test_a_refill_just_before_the_statement_is_stale_after_it(author, using, monkeypatch):
    """fence look(reader) SELECT(reader) UPDATE look(reader) release, in autocommit"""
    name(author)
    seen = []

    def read_first(execute, sql, params, many, context):
        if sql.startswith("UPDATE"):
            seen.append(elsewhere(name, author))
        return execute(sql, params, many, context)

    with (
        once_before(
            monkeypatch, generations, "release", lambda: seen.append(elsewhere(name, author))
        ),
        connections[using].execute_wrapper(read_first),
    ):
        rename(author, "after")
    assert seen == ["before", "after"]
    assert name(author) == "after"


@pytest.mark.parametrize("using", ["postgresql", "mariadb"], indirect=True)
def test_a_writer_that_ends_in_the_middle_of_another_leaves_its_fence(author, using, monkeypatch):
    """fence(1) [fence COMMIT release](2) look SELECT (reader) COMMIT(1) look(reader) release(1)"""
    other = Author.objects.using(using).create(name="other")

    def first_name():  # of all rows: both writers change what it depends on
        return Author.objects.using(using).order_by("pk").values_list("name", flat=True)[0]

    first_name()
    commit = connections[using]._commit
    seen = []

    def commit_around_another_writer():
        elsewhere(rename, other, "changed")
        seen.append(elsewhere(first_name))  # with a fence that is not counted, this would fill
        commit()
        seen.append(elsewhere(first_name))

    monkeypatch.setattr(connections[using], "_commit", commit_around_another_writer)
    with transaction.atomic(using=using):
        rename(author, "after")
    monkeypatch.undo()
    assert seen == ["before", "after"]
    assert first_name() == "after"


def test_the_first_of_two_writers_does_not_lift_the_fence_of_the_second(author):
    """fence(1) fence(2) release(1) look(reader) release(2): counted, not boolean"""
    dependencies = ["shared"]
    first, second = generations.fence(dependencies), generations.fence(dependencies)
    assert generations.look("0" * 40, dependencies).tokens == b""
    generations.release(dependencies, first)
    assert generations.look("0" * 40, dependencies).tokens == b""
    generations.release(dependencies, second)
    assert generations.look("0" * 40, dependencies).tokens


def test_a_reader_that_meets_a_fence_does_not_fill(author, using):
    other = Author.objects.using(using).create(name="other")
    with record_reads() as reads:
        name(other)
    writer = generations.fence(reads[0].dependencies)
    try:
        with record_reads() as reads:
            name(author)
            name(author)
        assert [read.outcome for read in reads] == ["miss", "miss"]
    finally:
        generations.release(reads[0].dependencies, writer)


# Rows ---------------------------------------------------------------------------------------------


def names_of(using, *pks):
    authors = Author.objects.using(using).filter(pk__in=pks)
    return sorted(authors.values_list("name", flat=True))


def insert(using, pk=None):
    return Author.objects.using(using).create(pk=pk, name="new").pk


@pytest.mark.parametrize("by_number", [False, True], ids=["of any key", "of this key"])
def test_a_fill_without_a_row_that_is_inserted_meanwhile_is_stale(
    author, using, monkeypatch, by_number
):
    """look(reader) SELECT(reader: no row) fence INSERT release fill(reader) look(reader)"""
    pk = author.pk + 1

    def write():
        assert elsewhere(insert, using, pk if by_number else None) == pk

    with once_before(monkeypatch, generations, "fill", write):
        assert names_of(using, pk) == []
    assert names_of(using, pk) == ["new"]


def test_a_refill_without_a_row_just_before_it_is_inserted_is_stale(author, using, monkeypatch):
    """fence look(reader) SELECT(reader: no row) INSERT look(reader) release, in autocommit"""
    pk = author.pk + 1
    names_of(using, pk, author.pk)
    seen = []

    def look():
        seen.append((elsewhere(names_of, using, pk), elsewhere(names_of, using, pk, author.pk)))

    def read_first(execute, sql, params, many, context):
        if sql.startswith("INSERT INTO"):
            look()
        return execute(sql, params, many, context)

    with (
        once_before(monkeypatch, generations, "release", look),
        connections[using].execute_wrapper(read_first),
    ):
        assert insert(using) == pk
    assert seen == [([], ["before"]), (["new"], ["before", "new"])]
    assert names_of(using, pk) == ["new"]
    assert names_of(using, pk, author.pk) == ["before", "new"]


@pytest.mark.parametrize("then", ["nothing", "another"])
def test_a_fill_with_a_row_that_is_deleted_meanwhile_is_stale(author, using, monkeypatch, then):
    """look(reader) SELECT(reader) DELETE INSERT COMMIT fill(reader) look(reader)"""
    pk = author.pk

    def write():
        with transaction.atomic(using=using):
            Author.objects.using(using).filter(pk=pk).delete()
            if then == "another":
                insert(using, pk)

    with once_before(monkeypatch, generations, "fill", lambda: elsewhere(write)):
        assert names_of(using, pk) == ["before"]
    assert names_of(using, pk) == (["new"] if then == "another" else [])


@pytest.mark.parametrize(
    "write",
    [
        lambda authors: authors.update(name="after"),
        lambda authors: authors.filter(name="before").update(name="after"),
    ],
    ids=["all", "by another column"],
)
def test_a_fill_of_a_row_among_others_that_are_changed_meanwhile_is_stale(
    author, using, monkeypatch, write
):
    """look(reader) SELECT(reader) UPDATE(of rows that are not known) fill(reader) look(reader)"""
    authors = Author.objects.using(using)
    with once_before(monkeypatch, generations, "fill", lambda: elsewhere(write, authors)):
        assert name(author) == "before"
    assert name(author) == "after"


@pytest.mark.parametrize("using", ["default"], indirect=True)
@pytest.mark.parametrize("opened_by", ["iterator", "raw", "cursor"])
def test_a_select_that_is_half_read_keeps_its_snapshot_on_sqlite(author, using, opened_by):
    """SELECT(half read) COMMIT release look SELECT(the same snapshot) fill look(another reader)"""
    Author.objects.bulk_create([Author(name="other") for _ in range(300)])
    if opened_by == "iterator":
        rows = Author.objects.iterator(chunk_size=1)
    elif opened_by == "raw":
        rows = Author.objects.raw("SELECT * FROM testapp_author").iterator()
    else:
        rows = connections[using].cursor()
        rows.execute("SELECT * FROM testapp_author")
        rows = iter(rows)
    next(rows)
    elsewhere(rename, author, "after")
    with record_reads() as reads:
        assert name(author) == "before"  # by Django alone, too
    assert [(read.outcome, read.reason) for read in reads] == [("bypass", Reason.SNAPSHOT)]
    assert elsewhere(name, author) == "after"
    list(rows)
    assert name(author) == "after"
