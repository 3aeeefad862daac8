"""What count(), exists(), aggregate() and get() ask is made by Django once, and then copied."""

import gc
import uuid
from weakref import ref

import pytest
from django.core.exceptions import FieldError
from django.db import models, transaction
from django.db.models import (
    Avg,
    Count,
    F,
    FilteredRelation,
    Max,
    Min,
    Q,
    Sum,
    Value,
    Window,
)  # fmt: skip
from django.db.models.fields.related_lookups import RelatedExact
from django.db.models.functions import RowNumber
from django.db.models.lookups import Exact, GreaterThan
from django.db.models.query import ModelIterable
from django.db.models.sql import Query
from django.test.utils import register_lookup

from querycache import bypass, cached, derivations, hooks, uncached
from querycache.conf import forget_config
from querycache.fingerprints import fingerprint_of
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book, CheapBook, Person, Publisher, Seat, Textbook

pytestmark = pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)
on_one_database = pytest.mark.parametrize("using", ["default"], indirect=True)

KEY = uuid.UUID(int=7)


@pytest.fixture(autouse=True)
def forgotten(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": False}


@pytest.fixture
def book(using, store):
    author = Author.objects.using(using).create(pk=1, name="O'Brien 🐙")
    publisher = Publisher.objects.using(using).create(pk=KEY, name="p")
    for number in range(1, 4):
        book = Book.objects.using(using).create(
            pk=number,
            name=f"b{number}",
            author=author,
            publisher=publisher,
            pages=number,
            published_on=f"2026-01-0{number}",
            price=number,
        )
    return book


@pytest.fixture
def made(monkeypatch):
    """Name what Django makes of queries: conditions, aggregates, and the queries of exists()."""
    found = []
    for name in ("_add_q", "append_annotation_mask", "exists"):
        original = getattr(Query, name)

        def noted(query, *args, original=original, name=name, **kwargs):
            found.append(name)
            return original(query, *args, **kwargs)

        monkeypatch.setattr(Query, name, noted)
    return found


REMEMBERED = {
    "pk": lambda using: Book.objects.using(using).get(pk=1),
    "two conditions": lambda using: Book.objects.using(using).get(pk=1, in_print=True),
    "text": lambda using: Author.objects.using(using).get(name="O'Brien 🐙"),
    "uuid": lambda using: Publisher.objects.using(using).get(pk=KEY),
    "of all()": lambda using: Book.objects.using(using).all().get(pk=1),
    "Q": lambda using: Book.objects.using(using).get(Q(pk=1), Q(pages=1, name="b1")),
    "an instance": lambda using: Book.objects.using(using).get(author=Author(pk=1), pk=1),
    "not": lambda using: Book.objects.using(using).get(~Q(pk=1), pk=2),
    "select_related": lambda using: Book.objects.using(using).select_related("author").get(pk=1),
    "values_list": lambda using: Book.objects.using(using).values_list("name", flat=True).get(pk=1),
    "ordered": lambda using: Book.objects.using(using).order_by("-pages").get(pk=1),
    "count all": lambda using: Book.objects.using(using).count(),
    "exists at all": lambda using: Book.objects.using(using).exists(),
    "aggregate": lambda using: Book.objects.using(using).aggregate(Avg("pages"), n=Count("*")),
    "aggregate of other types": lambda using: Book.objects.using(using).aggregate(
        Sum("price"), Min("published_on"), Max("name")
    ),
    "aggregate of joined": lambda using: Author.objects.using(using).aggregate(
        Count("books__publisher", distinct=True), most=Max("books__pages")
    ),
    "aggregate by name": lambda using: Book.objects.using(using).aggregate(
        n=Count(expression="pk"), rating=Avg("rating", default=7)
    ),
}
"""Reads of which nothing is made the second time."""
FILTERED = {
    "joined": lambda using: Book.objects.using(using).get(author__name="O'Brien 🐙", pages=2),
    "only": lambda using: Book.objects.using(using).only("name").get(pk=1),
    "values": lambda using: Book.objects.using(using).values("name", "author__name").get(pk=1),
    "cached": lambda using: cached(Book.objects.using(using).all(), ttl=9).get(pk=1),
    "get of a filter": lambda using: Book.objects.using(using).filter(pages__gt=2).get(),
    "get of an exclude": lambda using: Book.objects.using(using).exclude(pages__in=[1, 2]).get(),
    "count": lambda using: Book.objects.using(using).filter(pages__range=(1, 2)).count(),
    "count of joined": lambda using: Book.objects.using(using).filter(author__name="x").count(),
    "count of either": lambda using: (
        Book.objects.using(using).filter(Q(pages=1) | Q(pages=2)).count()
    ),
    "exists": lambda using: Book.objects.using(using).filter(name="b2").exists(),
    "not exists": lambda using: Book.objects.using(using).filter(name="x").exists(),
    "of a parent": lambda using: Textbook.objects.using(using).filter(pk=1).count(),
    "prefetch_related": lambda using: Book.objects.using(using).prefetch_related("tags").get(pk=1),
    "contains": lambda using: Book.objects.using(using).contains(Book(pk=2)),
    "of a manager": lambda using: CheapBook.objects.using(using).get(pk=1),
    "of nothing": lambda using: Book.objects.using(using).filter(pk__in=[]).count(),
    "related": lambda using: Author(pk=1).books.using(using).get(pk=2),
    "related count": lambda using: Author(pk=1).books.using(using).count(),
    "aggregate of a filter": lambda using: (
        Book.objects.using(using).filter(pages__gt=1).aggregate(n=Count("pk"), least=Min("price"))
    ),
    "aggregate of nothing": lambda using: (
        Book.objects.using(using).filter(pk__in=[]).aggregate(Count("pk"), Max("pages"))
    ),
    "aggregate of no row": lambda using: (
        Book.objects.using(using).filter(name="x").aggregate(Count("pk"), Sum("price"))
    ),
    "related aggregate": lambda using: Author(pk=1).books.using(using).aggregate(Max("pages")),
}
"""Reads of which their filters are made each time, and nothing else."""


class Twice(Max):
    def as_sql(self, *args, **kwargs):
        statement, params = super().as_sql(*args, **kwargs)
        return f"2 * {statement}", params


def changed(aggregate):
    aggregate.distinct = True
    return aggregate


def for_update(using):
    with transaction.atomic(using=using):
        return Book.objects.using(using).select_for_update().exists()


MADE_EACH_TIME = {
    "sliced": lambda using: Book.objects.using(using)[:2].count(),
    "distinct": lambda using: Book.objects.using(using).values("author").distinct().count(),
    "annotated for nothing": lambda using: (
        Author.objects.using(using).annotate(n=models.Count("books")).count()
    ),
    "for update": for_update,
    "extra": lambda using: Book.objects.using(using).extra(select={"one": "1"}).count(),
    "a filtered relation": lambda using: (
        Author.objects.using(using)
        .annotate(thin=FilteredRelation("books", condition=Q(books__pages=1)))
        .filter(thin__name="b1")
        .count()
    ),
    "a transform of get": lambda using: Book.objects.using(using).get(published_on__day=1),
    "annotated": lambda using: (
        Author.objects.using(using).annotate(n=models.Count("books")).filter(n=3).count()
    ),
    "union": lambda using: Book.objects.using(using).union(Book.objects.using(using)).count(),
    "subquery": lambda using: (
        Book.objects.using(using).filter(author__in=Author.objects.using(using).all()).count()
    ),
    "F()": lambda using: Book.objects.using(using).filter(pages=F("pk")).count(),
    "a transform": lambda using: Book.objects.using(using).filter(published_on__year=9).count(),
    "a value that is none": lambda using: Book.objects.using(using).get(rating=None, pk=1),
    "either": lambda using: Book.objects.using(using).get(Q(pk=1) | Q(pk=1)),
    "Q in Q": lambda using: Book.objects.using(using).get(Q(Q(pk=1), name="b1")),
    "a field of others": lambda using: Person.objects.using(using).filter(initials="x").count(),
    "a window": lambda using: (
        Book.objects.using(using)
        .filter(GreaterThan(Window(RowNumber(), order_by="pages"), 1))
        .count()
    ),
    "long": lambda using: Book.objects.using(using).filter(name="x" * 1000).count(),
    "many": lambda using: Book.objects.using(using).filter(pk__in=range(1000)).count(),
    "an aggregate of nothing with a default": lambda using: (
        Book.objects.using(using).filter(pk__in=[]).aggregate(n=Sum("pages", default=Value(3)))
    ),
    "an aggregate of some": lambda using: Book.objects.using(using).aggregate(
        n=Count("pk", filter=Q(pages__gt=1))
    ),
    "an aggregate of an expression": lambda using: Book.objects.using(using).aggregate(
        n=Max(F("pages") + F("pk")), m=Max("pages") + 1
    ),
    "an aggregate of an aggregate": lambda using: Book.objects.using(using).aggregate(
        n=Sum("pages"), m=F("n") + 1
    ),
    "an aggregate that was changed": lambda using: Book.objects.using(using).aggregate(
        n=changed(Count("author"))
    ),
    "an aggregate of others": lambda using: Book.objects.using(using).aggregate(n=Twice("pages")),
    "an aggregate over a slice": lambda using: (
        Book.objects.using(using).order_by("pk")[:2].aggregate(Sum("pages"))
    ),
    "an aggregate of nothing at all": lambda using: Book.objects.using(using).aggregate(),
    "a key of two": lambda using: Seat.objects.using(using).filter(pk=(1, 2)).count(),
}


def picture(value):
    """All that somebody could see of a result."""
    if not isinstance(value, models.Model):
        return type(value), value
    state = {name: found for name, found in vars(value._state).items() if name != "peers"}
    cached_there = state.pop("fields_cache", {})
    inside = {name: found for name, found in vars(value).items() if name != "_state"}
    inside.pop("_prefetched_objects_cache", None)
    related = {name: picture(other) for name, other in cached_there.items()}
    return type(value), inside, {**state, "fetch_mode": None}, related


def test_each_result_is_that_of_django(book, using):
    for name, read in {**REMEMBERED, **FILTERED, **MADE_EACH_TIME}.items():
        with bypass():
            expected = picture(read(using))
        for _ in range(4):
            assert picture(read(using)) == expected, name


@on_one_database
@pytest.mark.parametrize("read", REMEMBERED.values(), ids=REMEMBERED)
def test_nothing_is_made_twice(book, using, read, made):
    read(using), read(using)
    del made[:]
    read(using)
    assert made == []


@on_one_database
@pytest.mark.parametrize("read", FILTERED.values(), ids=FILTERED)
def test_of_a_filter_nothing_else_is_made_twice(book, using, read, made):
    read(using), read(using)
    del made[:]
    read(using)
    assert set(made) <= {"_add_q"}
    assert len(made) <= 2


@on_one_database
@pytest.mark.parametrize("read", MADE_EACH_TIME.values(), ids=MADE_EACH_TIME)
def test_what_may_change_is_made_each_time(book, using, read):
    read(using), read(using)
    # What comes of the parts of a union, or of prefetches, is a query of its own.
    assert len(derivations._remembered._values) == 0


def test_a_foreign_key_is_followed_without_making_a_query(book, using, made):
    for _ in range(2):
        assert Book.objects.using(using).get(pk=1).author.name == "O'Brien 🐙"
    del made[:]
    assert Book.objects.using(using).get(pk=1).author.name == "O'Brien 🐙"
    assert made == []


def remembered():
    """What is remembered, and what it looks like now."""
    known = derivations._remembered._values.items()
    return {key: fingerprint_of(derived.query.clone()) for key, derived in known}


def test_what_is_remembered_stays_as_it_was_made_whoever_runs_its_copies(book, using):
    reads = {**REMEMBERED, **FILTERED}.values()
    for read in reads:
        read(using)
    before = remembered()
    for _ in range(2):
        Book.objects.using(using).update(rating=1)  # so that they are compiled
        Author.objects.using(using).update(email="a")
        for read in reads:
            read(using)
    assert remembered() == before
    assert len(before) > 15


def test_an_instance_that_somebody_filtered_by_is_not_kept_alive(book, using):
    author = Author.objects.using(using).get(pk=1)
    for _ in range(3):
        assert Book.objects.using(using).filter(author=author).count() == 3
        assert author.books.exists()
    assert len(remembered()) == 2
    alive = ref(author)
    del author
    gc.collect()
    assert alive() is None


def test_a_bypass_leaves_it_to_django(book, using, made):
    for _ in range(3):
        with bypass():
            books = Book.objects.using(using)
            books.get(pk=1), books.count(), books.exists()
    of_exists = ["exists", "append_annotation_mask"]
    assert made == ["_add_q", "append_annotation_mask", *of_exists] * 3
    assert remembered() == {}


def test_a_hint_goes_along(book, using):
    for _ in range(2):
        assert Book.objects.using(using).get(pk=1)
    books = Book.objects.using(using).filter(pk=1)
    for _ in range(3):
        with record_reads() as reads:
            uncached(books).get(), uncached(books).count(), uncached(books).exists()
        assert [one.outcome for one in reads] == ["bypass"] * 3


def test_values_are_told_apart_by_their_types(book, using):
    Author.objects.using(using).create(pk=2, name="1")
    for _ in range(3):
        assert Book.objects.using(using).get(pk=1).pk == 1
        assert Book.objects.using(using).get(pk=True).pk == 1
        assert Book.objects.using(using).get(pk="1").pk == 1
        assert Author.objects.using(using).get(name=1).pk == 2
        assert Author.objects.using(using).get(name="1").pk == 2
        with pytest.raises(Author.DoesNotExist):
            Author.objects.using(using).get(name=True)


def test_aggregates_are_told_apart_by_the_types_of_their_words(book, using):
    nothing = Book.objects.using(using).filter(name="x")

    def read(default):
        try:
            return repr(nothing.aggregate(n=Max("name", default=default)))
        except FieldError as error:  # a number for a name
            return str(error)

    defaults = [1, True]
    with bypass():
        expected = [read(default) for default in defaults]
    assert len(set(expected)) == 2
    for _ in range(3):
        assert [read(default) for default in defaults] == expected


def test_a_field_and_a_condition_of_the_same_look_are_told_apart(book, using):
    for _ in range(3):
        assert Book.objects.using(using).get(pk=1, pages=1)
        assert Book.objects.using(using).get(Q(pk=1), pages=1)
        with pytest.raises(Book.DoesNotExist):
            Book.objects.using(using).get(Q(pk=2), pages=1)
        with pytest.raises(Book.DoesNotExist):
            Book.objects.using(using).get(Q(pages=2), Q(pk=1))


WRONG = {
    "none": lambda books: books.get(pk=99),
    "none, by name": lambda books: books.get(name="nobody's"),
    "more than one": lambda books: books.get(),
    "too many": lambda books: books.get(in_print=True),
    "no field": lambda books: books.get(colour=1),
    "no number": lambda books: books.get(pk="x"),
    "a slice": lambda books: books.all()[:1].get(pk=1),
    "a union": lambda books: books.union(books.all()).get(pk=1),
    "too large a number": lambda books: books.get(pk=2**80),
}


@pytest.mark.parametrize("read", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_djangos_words(book, using, read):
    def said():
        with pytest.raises(Exception) as raised:
            read(Book.objects.using(using))
        return raised.type, str(raised.value)

    Book.objects.using(using).bulk_create(
        [Book(pk=100 + n, name=f"more {n}", author_id=1, in_print=True) for n in range(30)]
    )
    with bypass():
        expected = said()
    assert [said() for _ in range(3)] == [expected] * 3


def test_a_row_that_is_missing_is_looked_for_once(book, using, count_sql):
    with record_reads() as reads:
        for _ in range(3):
            with pytest.raises(Book.DoesNotExist):
                Book.objects.using(using).get(pk=99)
    assert [one.outcome for one in reads] == ["miss", "hit", "hit"]


@pytest.fixture
def uninstalled():
    hooks.uninstall()
    yield
    hooks.uninstall()
    hooks.install()


def test_a_method_that_others_have_put_in_the_place_of_djangos_is_called(
    book, using, uninstalled, monkeypatch
):
    theirs = {
        (Query, "get_count"): lambda query, using: 77,
        (Query, "has_results"): lambda query, using: False,
        (Query, "get_aggregation"): lambda query, using, expressions: {"n": 78},
    }
    with monkeypatch.context() as patch:
        for (owner, name), method in theirs.items():
            patch.setattr(owner, name, method)
        hooks.install()
        for _ in range(2):
            assert Book.objects.using(using).count() == 77
            assert not Book.objects.using(using).exists()
            assert Book.objects.using(using).aggregate(n=Count("pk")) == {"n": 78}
        hooks.uninstall()


class Odd(Query):
    """A query of others, that looks like a new one of Django's."""

    def add_q(self, *args, **kwargs):
        super().add_q(Q(pages__in=[1, 3]))
        super().add_q(*args, **kwargs)

    def exists(self, *args, **kwargs):
        return super().exists(*args, **kwargs).none()

    def none(self):
        self.set_empty()
        return self

    def get_aggregation(self, using, expressions):
        return dict.fromkeys(expressions, 79)


def test_a_query_of_a_class_of_others_is_left_to_django(book, using):
    for kind in (Query, Odd, Query, Odd):
        books = models.QuerySet(Book, query=kind(Book), using=using)
        assert books.get(pk=1).pk == 1
        if kind is Odd:
            with pytest.raises(Book.DoesNotExist):
                books.get(pk=2)
        else:
            assert books.get(pk=2).pk == 2
        assert books.exists() is (kind is Query)
        assert books.count() == (79 if kind is Odd else 3)


class Shouting(models.QuerySet):
    def filter(self, *args, **kwargs):
        return super().filter(*args, **kwargs).exclude(pages=self.unwanted)

    unwanted = 0


class Even:
    """Instances, of a query that it changes before it is run."""

    def __init__(self, queryset, **kwargs):
        queryset.query.add_q(Q(pages=2))
        self.instances = ModelIterable(queryset, **kwargs)

    def __iter__(self):
        return iter(self.instances)


class Late(models.QuerySet):
    def _fetch_all(self):
        if self._result_cache is None:
            self.query.add_q(Q(pages=2))
        super()._fetch_all()


def test_a_queryset_that_filters_in_its_own_way_is_left_to_django(book, using):
    for Shouting.unwanted in (0, 1, 0, 1):
        books = Shouting(Book, using=using)
        if Shouting.unwanted:
            with pytest.raises(Book.DoesNotExist):
                books.get(pk=1)
        else:
            assert books.get(pk=1).pk == 1


def test_a_query_that_is_changed_as_it_is_run_is_left_to_django(book, using):
    even = models.QuerySet(Book, using=using)
    even._iterable_class = Even
    for books in (even, Late(Book, using=using), even, Late(Book, using=using)):
        assert models.QuerySet(Book, using=using).get(pk=1).pk == 1
        with pytest.raises(Book.DoesNotExist):
            books.get(pk=1)


def test_a_copy_of_what_is_remembered_does_not_pass_for_it(book, using):
    """Whoever gets hold of the query, and asks for more by it."""
    books = models.QuerySet(Book, using=using)
    query = derivations.derived(Book, ("x",), books.filter(pk=1).query.clone)
    other = query.clone()
    other.add_q(Q(pages=2))
    assert fingerprint_of(query) == fingerprint_of(books.filter(pk=1).query)
    assert fingerprint_of(other) != fingerprint_of(query)
    assert fingerprint_of(other) is not None


def test_what_follows_from_the_queryset_is_kept(book, using, settings):
    author = Author.objects.using(using).get(pk=1)
    for _ in range(3):
        assert author.books.get(pk=1).author is author
        assert author.books.get(pk=2)._state.db == using
        found = Book.objects.using(using).prefetch_related("tags").get(pk=1)
        assert "tags" in found._prefetched_objects_cache


def test_two_threads_may_make_the_same_query(book, using):
    """Nobody runs a query that another has: each has a copy."""
    first = derivations.derived(Book, ("x",), lambda: Book.objects.all().query)
    again = derivations.derived(Book, ("x",), lambda: None)
    assert first is not again
    assert first.where is not again.where
    assert first.alias_map is not again.alias_map


class Half(Exact):
    def get_prep_lookup(self):
        return self.rhs // 2


class RelatedHalf(RelatedExact):
    def get_prep_lookup(self):
        return self.rhs // 2


def test_a_lookup_that_is_registered_later_counts(book, using):
    def read():
        return Book.objects.using(using).get(pk=2).pk

    field = Book._meta.get_field("id")
    for _ in range(2):
        assert [read(), read()] == [2, 2]
        with register_lookup(type(field), Half):  # of the class
            assert [read(), read()] == [1, 1]
        assert [read(), read()] == [2, 2]
        with register_lookup(field, Half):  # of this field alone
            assert [read(), read()] == [1, 1]


def test_a_setting_that_changes_has_all_made_anew(book, using, settings):
    Book.objects.using(using).count()
    assert remembered() != {}
    settings.USE_THOUSAND_SEPARATOR = True
    assert remembered() == {}


@pytest.mark.a_plan_differs
def test_a_query_that_is_made_otherwise_now_is_reported_and_made_anew(
    book, using, settings, caplog
):
    some, all_ = Book.objects.using(using).filter(pages=2), Book.objects.using(using)
    assert [some.count(), all_.count()] == [1, 3]
    of_some, of_all = derivations._remembered._values
    derivations._remembered.put(of_some, derivations._remembered.get(of_all))
    settings.QUERYCACHE["CHECK_PLANS"] = True
    forget_config()
    assert some.count() == 1
    assert "A query of testapp.Book was remembered" in caplog.text


def test_there_is_an_end_to_what_is_remembered(book, using):
    for number in range(1100):
        Book.objects.using(using).filter(pages=number).exists()
    assert len(remembered()) == 1024
