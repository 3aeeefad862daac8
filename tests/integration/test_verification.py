"""VERIFY: a share of all hits is compared with the database."""

import logging
from contextlib import closing

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import Avg

from querycache import bypass, get_stats, verification
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book
from tests.threads import elsewhere


@pytest.fixture
def verify(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem", "VERIFY": 1.0}


@pytest.fixture
def author(using, verify):
    author = Author.objects.using(using).create(name="before")
    name(author)
    return author


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def counts(label="testapp.Author"):
    found = get_stats().models[label]
    return found.verified, found.mismatches


@pytest.fixture
def counted(verify, transactional_db):
    """Return what was counted since the test began."""
    before = counts()
    return lambda: tuple(now - then for now, then in zip(counts(), before, strict=True))


def change_unseen(author, new):
    """Change a row by the driver alone, as another program does: nobody hears of it."""
    given = connections[author._state.db]
    given.ensure_connection()
    with closing(given.connection.cursor()) as cursor:
        cursor.execute(f"UPDATE testapp_author SET name = '{new}' WHERE id = {author.pk}")
    if not given.get_autocommit():
        given.connection.commit()


def test_a_hit_that_is_right_is_counted_as_verified(author, counted):
    assert name(author) == "before"
    assert counted() == (1, 0)


def test_a_union_that_compiling_changes_is_compiled_once(using, verify, counted, caplog):
    authors = Author.objects.using(using)
    for new in ("a", "b"):
        authors.create(name=new)

    def names():
        both = authors.filter(name="a").union(authors.filter(name="b"))
        return list(both.order_by("-pk").values_list("name", flat=True))

    assert [names() for _ in range(3)] == [["b", "a"]] * 3
    assert counted() == (2, 0)
    assert caplog.text == ""


def test_a_hit_that_differs_is_counted_logged_and_mended(author, counted, caplog):
    change_unseen(author, "after")
    with caplog.at_level(logging.ERROR, "querycache"):
        assert name(author) == "after"
    assert counted() == (1, 1)
    (record,) = caplog.records
    assert "A hit differs from the database" in record.getMessage()
    assert "testapp_author" in record.getMessage()
    assert "before" not in record.getMessage()  # values may be personal data
    with record_reads() as reads:
        assert name(author) == "after"
    assert reads[0].outcome == "hit"
    assert counted() == (2, 1)


def test_a_write_between_look_and_select_explains_a_difference(author, using, counted, caplog):
    writes = [lambda: elsewhere(rename, author, "after")]

    def write_first(execute, sql, params, many, context):
        if writes:
            writes.pop()()
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(write_first), caplog.at_level("ERROR", "querycache"):
        assert name(author) == "after"
    assert not writes
    assert counted() == (1, 0)
    assert not caplog.records
    assert name(author) == "after"


def rename(author, new):
    Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


def test_a_share_of_none_asks_no_database(author, settings, count_sql, using):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "VERIFY": 0.0}
    name(author)
    with count_sql(using) as statements:
        name(author)
    assert statements == []


def test_a_share_is_a_share_of_the_hits(author, settings, count_sql, using, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "VERIFY": 0.25}
    chances = iter([0.2, 0.3, 0.25, 0.1])
    monkeypatch.setattr("querycache.reads.random", lambda: next(chances))
    asked = []
    for _ in range(4):
        with count_sql(using) as statements:
            name(author)
        asked.append(len(statements))
    assert asked == [1, 0, 0, 1]


@pytest.mark.parametrize("using", ["postgresql", "mariadb"], indirect=True)
def test_a_hit_in_a_transaction_is_not_verified(author, using, count_sql):
    """A SELECT that failed would break the transaction, where the hit did not."""
    with transaction.atomic(using=using), count_sql(using) as statements:
        name(author)
    assert statements == []


def test_a_database_that_does_not_answer_is_no_harm_to_a_hit(author, using, counted):
    def fail(*arguments):
        raise DatabaseError("gone")

    with connections[using].execute_wrapper(fail):
        assert name(author) == "before"
    assert counted() == (0, 0)


def test_aggregates_and_prefetches_are_verified_too(verify, transactional_db):
    author = Author.objects.create(name="a")
    Book.objects.create(name="b", author=author)

    def read():
        return Book.objects.count(), [
            [book.name for book in found.books.all()]
            for found in Author.objects.prefetch_related("books")
        ]

    before = counts("testapp.Book")
    read()
    assert read() == read() == (1, [["b"]])
    verified, mismatches = counts("testapp.Book")
    assert verified - before[0] == 4
    assert mismatches == before[1]
    with bypass():
        assert connection.alias == "default"
        assert Book.objects.aggregate(Avg("author_id"))


# What is the same ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cached", "fresh"),
    [
        ([], []),
        (None, None),
        ((5,), (5,)),
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")]),  # no order was asked for, or there are ties
        ([(float("nan"),)], [(float("nan"),)]),
        ([(0.1 + 0.2,)], [(0.3,)]),  # a sum of floats in another order
        ([(b"x",)], [(memoryview(b"x"),)]),
        ([[1, 2]], [(1, 2)]),
        ([({"a": [1]},)], [({"a": [1]},)]),
    ],
)
def test_rows_that_are_the_same(cached, fresh):
    assert verification.is_same(cached, fresh)
    assert verification.is_same(fresh, cached)


@pytest.mark.parametrize(
    ("cached", "fresh"),
    [
        ([], [(1,)]),
        (None, (1,)),
        ((5,), (6,)),
        ([(1,), (1,)], [(1,)]),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)]),
        ([("a",)], [("b",)]),
        ([("ab",)], [("ba",)]),
        ([(0.1,)], [(0.2,)]),
        ([(float("nan"),)], [(0.0,)]),
        ([(None,)], [(0,)]),
        ([(1, 2)], [(1,)]),
        ([(b"x",)], [(memoryview(b"y"),)]),
    ],
)
def test_rows_that_differ(cached, fresh):
    assert not verification.is_same(cached, fresh)
    assert not verification.is_same(fresh, cached)


@pytest.mark.parametrize(
    ("queryset", "cached", "fresh", "is_same"),
    [
        (Author.objects.all(), [(1,), (2,)], [(1,), (3,)], False),
        (Author.objects.all()[:2], [(1,), (2,)], [(1,), (3,)], True),
        (Author.objects.all()[:3], [(1,), (2,)], [(1,), (3,)], False),  # nothing was cut off
        (Author.objects.all()[:2], [(1,), (2,)], [(1,)], False),
        (Author.objects.all()[:2], [(1,)], [(1,), (2,)], False),
        (Author.objects.all()[1:3], [(1,)], [(2,)], True),
        (Author.objects.all()[1:], [(1,)], [(2,)], True),
        (Author.objects.order_by("pk")[:2], [(1,), (2,)], [(1,), (3,)], False),
        (Author.objects.extra(order_by=["name"])[:2], [(1,), (2,)], [(1,), (3,)], False),
    ],
)
def test_a_limit_that_cuts_without_an_order_may_choose_other_rows(queryset, cached, fresh, is_same):
    assert verification.is_same_answer(queryset.query, cached, fresh) is is_same
