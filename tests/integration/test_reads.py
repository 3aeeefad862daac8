"""What a read from the cache is, beyond its rows."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from django.utils import timezone

from querycache import cached
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book, Tag


@pytest.fixture
def book(using):
    author = Author.objects.using(using).create(name="author")
    return Book.objects.using(using).create(name="book", author=author, extra={"list": [1]})


def outcomes(read, *, times=2):
    with record_reads() as reads:
        for _ in range(times):
            read()
    return [found.outcome for found in reads]


def test_changing_a_result_does_not_change_the_next_one(book, using, store):
    def read():
        return Book.objects.using(using).values().get()

    first = read()
    untouched = copy.deepcopy(first)
    for _ in range(2):
        result = read()
        assert result == untouched
        result["extra"]["list"].append(2)
        result["name"] = "changed"


def test_changing_a_list_of_instances_does_not_change_the_next_one(book, using, store):
    for _ in range(3):
        books = list(Book.objects.using(using).select_related("author"))
        assert [(found.name, found.extra, found.author.name) for found in books] == [
            ("book", {"list": [1]}, "author")
        ]
        books[0].extra["list"].append(2)
        books[0].author.name = "changed"
        books.clear()


def test_two_hits_give_different_objects(book, using):
    first, second = (Book.objects.using(using).get() for _ in range(2))
    assert first == second
    assert first is not second


def test_parameters_that_are_equal_in_python_share_no_answer(book, using, count_sql):
    with count_sql(using) as statements:
        assert Book.objects.using(using).filter(pages=100).exists()
        assert Book.objects.using(using).extra(where=["pages = %s"], params=[100]).exists()
        assert Book.objects.using(using).extra(where=["pages = %s"], params=[100.0]).exists()
    assert len(statements) == 3


def test_lists_of_different_lengths_share_no_answer(using):
    tags = [Tag.objects.using(using).create(name=str(number)) for number in range(5)]
    for length in (3, 1, 5, 3, 1, 5):
        wanted = [tag.pk for tag in tags[:length]]
        found = Tag.objects.using(using).filter(pk__in=wanted).order_by("pk")
        assert [tag.pk for tag in found] == wanted


def test_a_query_of_many_parameters_is_cached(using):
    tag = Tag.objects.using(using).create(name="tag")
    numbers = [tag.pk, *range(tag.pk + 1, tag.pk + 900)]
    read = Tag.objects.using(using).filter(pk__in=numbers)
    assert outcomes(lambda: list(read.all())) == ["miss", "hit"]


def test_a_large_result_is_the_same_from_the_cache(using, count_sql):
    Tag.objects.using(using).bulk_create(Tag(name=f"tag {number}") for number in range(1000))
    first = list(Tag.objects.using(using).order_by("pk"))
    with count_sql(using) as statements:
        assert list(Tag.objects.using(using).order_by("pk")) == first
    assert (len(first), statements) == (1000, [])


def test_another_thread_is_answered_from_the_cache(book, using):
    def read():
        try:
            return outcomes(lambda: Book.objects.using(using).count(), times=1)
        finally:
            connections.close_all()

    assert outcomes(lambda: Book.objects.using(using).count(), times=1) == ["miss"]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(read).result() == ["hit"]


def test_a_queryset_that_was_pickled_is_answered_from_the_cache(book, using):
    queryset = Book.objects.using(using).filter(name="book")
    assert outcomes(lambda: list(queryset.all()), times=1) == ["miss"]
    query = pickle.loads(pickle.dumps(queryset.query))
    restored = Book.objects.using(using).all()
    restored.query = query
    assert outcomes(lambda: list(restored), times=1) == ["hit"]


def test_a_queryset_goes_on_keeping_its_own_result(book, using):
    queryset = Book.objects.using(using).all()
    assert [found.name for found in queryset] == ["book"]
    Book.objects.using(using).update(name="changed")
    assert [found.name for found in queryset] == ["book"]
    assert [found.name for found in queryset.all()] == ["changed"]


def test_a_query_is_run_as_often_as_it_is_asked_with_another_answer_each_time(using):
    read = Tag.objects.using(using).all()
    for number in range(5):
        assert read.count() == number
        assert read.count() == number
        Tag.objects.using(using).create(name=f"tag {number}")


def test_time_zones_share_no_answer_that_depends_on_them(book, using):
    if not connections[using].features.has_zoneinfo_database:
        pytest.skip("this database knows no time zones")
    moment = timezone.datetime(2024, 1, 1, 23, 30, tzinfo=timezone.get_fixed_timezone(0))
    Book.objects.using(using).update(published_at=moment)
    for zone, day in [("UTC", 1), ("Asia/Tokyo", 2)] * 2:
        with timezone.override(zone):
            assert Book.objects.using(using).filter(published_at__day=day).exists()
            assert not Book.objects.using(using).filter(published_at__day=3 - day).exists()


def test_a_read_within_a_write_by_another_model_is_cached_on_read_committed(book, using):
    if connections[using].vendor != "postgresql":
        pytest.skip("transactions read a snapshot here")
    with transaction.atomic(using=using):
        Tag.objects.using(using).create(name="tag")
        assert outcomes(lambda: Book.objects.using(using).count()) == ["miss", "hit"]
        assert outcomes(lambda: Tag.objects.using(using).count()) == ["bypass", "bypass"]


def test_rows_with_every_strange_character_come_back(using, store):
    text = "a\u0000b".replace("\u0000", "") + "é✨\u202e'\"\\%s;--\r\n\t😀"
    Tag.objects.using(using).create(name=text)
    for _ in range(2):
        assert Tag.objects.using(using).get(name=text).name == text


def test_a_ttl_that_was_asked_for_does_not_make_another_answer(book, using):
    queryset = Book.objects.using(using).all()
    assert outcomes(lambda: list(cached(queryset, ttl=5)), times=1) == ["miss"]
    assert outcomes(lambda: list(queryset.all()), times=1) == ["hit"]
