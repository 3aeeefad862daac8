"""
What filter(), exclude() and values() make of a query is made by Django once, and then copied.

Those who have such a query may do with it what they like: it is theirs alone.
"""

import copy
import gc
import pickle
import uuid
from collections import defaultdict
from datetime import date
from decimal import Decimal
from weakref import ref

import pytest
from django.core.exceptions import EmptyResultSet, FieldDoesNotExist, FieldError
from django.db import DatabaseError, models, transaction
from django.db.models import (
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Value,
)  # fmt: skip
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from django.db.models.sql import Query
from django.db.models.sql.constants import LOUTER
from django.test.utils import isolate_apps, register_lookup

from querycache import bypass, cached, filters, hooks, uncached
from querycache._django.conditions import conditions_of
from querycache._django.filters import MADE_AS
from querycache.conf import forget_config
from querycache.fingerprints import Made, fingerprint_of
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book, CheapBook, Person, Publisher, Seat, Tag, Textbook

pytestmark = pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)
on_one_database = pytest.mark.parametrize("using", ["default"], indirect=True)
"""What is made of a query is the same for all of them; that of rows is tested on each."""

KEY = uuid.UUID(int=7)


@pytest.fixture(autouse=True)
def forgotten(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": False}


@pytest.fixture
def book(using, store):
    authors = [
        Author.objects.using(using).create(pk=number, name=name)
        for number, name in enumerate(["O'Brien 🐙", "1", "c"], 1)
    ]
    publisher = Publisher.objects.using(using).create(pk=KEY, name="p")
    tag = Tag.objects.using(using).create(pk=1, name="t")
    for number in range(1, 7):
        book = Book.objects.using(using).create(
            pk=number,
            name=f"b{number}",
            author=authors[number % 3],
            publisher=publisher if number % 2 else None,
            pages=number,
            published_on=f"2026-01-0{number}",
            price=number,
        )
        book.tags.add(tag)
    filters.forget_filters()  # what this has asked for
    return book


@pytest.fixture
def resolved(monkeypatch):
    """Count the filters whose conditions Django resolves, and the columns that it looks up."""
    found = []
    for name in ("_add_q", "add_fields"):
        original = getattr(Query, name)

        def noted(query, *args, original=original, name=name, **kwargs):
            found.append(name)
            return original(query, *args, **kwargs)

        monkeypatch.setattr(Query, name, noted)
    return found


MADE_ONCE = {
    "all": lambda books: books.all(),
    "all, ordered and sliced": lambda books: books.order_by("-pages")[1:4],
    "a number": lambda books: books.filter(pages=3),
    "the key": lambda books: books.filter(pk=3),
    "greater": lambda books: books.filter(pages__gt=3),
    "texts": lambda books: books.filter(name__startswith="b", name__contains="3"),
    "a day, as text": lambda books: books.filter(published_on="2026-01-03"),
    "a decimal, as text": lambda books: books.filter(price="3.00"),
    "a day": lambda books: books.filter(published_on=date(2026, 1, 3)),
    "a decimal": lambda books: books.filter(price=Decimal("3.00")),
    "an equal decimal": lambda books: books.filter(price=Decimal("3.0")),
    "below a decimal": lambda books: books.filter(price__lt=Decimal(3)),
    "a float": lambda books: books.filter(pages__gt=3.0),
    "null": lambda books: books.filter(publisher__isnull=True),
    "None": lambda books: books.filter(publisher=None),
    "not None": lambda books: books.exclude(publisher=None),
    "a foreign key": lambda books: books.filter(author_id=1),
    "a foreign key, by the relation": lambda books: books.filter(author=1),
    "an instance": lambda books: books.filter(author=Author(pk=1)),
    "an instance with another key": lambda books: books.filter(publisher=Publisher(pk=KEY)),
    "two": lambda books: books.filter(in_print=True, pages__lt=5),
    "one after the other": lambda books: books.filter(in_print=True).filter(pages__lt=4),
    "exclude": lambda books: books.exclude(pages=3),
    "exclude both": lambda books: books.exclude(pages=3, name="b3"),
    "exclude what may be null": lambda books: books.exclude(publisher_id=KEY),
    "ordered before": lambda books: books.order_by("-pages").filter(pages__lt=5),
    "ordered after": lambda books: books.filter(pages__lt=5).order_by("author_id", "-pages"),
    "reversed": lambda books: books.filter(pages__lt=5).order_by("pages").reverse(),
    "sliced": lambda books: books.filter(pages__lt=6).order_by("pages")[1:3],
    "values": lambda books: books.filter(pages__lt=5).values("pk", "name").order_by("pk"),
    "values of all": lambda books: books.values("pk", "pages"),
    "values of every column": lambda books: books.filter(pages__lt=3).values("author", "price"),
    "values_list": lambda books: books.filter(pages__lt=5).values_list("name", flat=True),
    "values after values": lambda books: books.values("pk").values("name"),
    "a filter after values": lambda books: books.values("name").filter(pages=3),
    "all() of it": lambda books: books.filter(pages=3).all(),
    "either": lambda books: books.filter(Q(pages=1) | Q(pages=2)),
    "both, each": lambda books: books.filter(Q(pages=1), name="b1"),
    "select_related": lambda books: books.filter(author_id=1).select_related("author"),
    "select_related before": lambda books: books.select_related("author").filter(author_id=1),
    "not, and either": lambda books: books.filter(~Q(Q(pages=1) | Q(name="b2")), in_print=True),
    "complex_filter": lambda books: books.complex_filter({"pages": 3}),
    "joined": lambda books: books.filter(author__name="1"),
    "joined where there may be none": lambda books: books.filter(publisher__name="p"),
    "joined after": lambda books: books.filter(author_id=2).filter(author__name="1"),
    "joined with a key first": lambda books: books.filter(author=2).exclude(author__name="c"),
    "joined and ordered": lambda books: books.filter(author__name="c").order_by("-author__name"),
    "of either table": lambda books: books.filter(Q(author__name="1") | Q(publisher__name="p")),
    "excluded by another table": lambda books: books.exclude(publisher__name="p"),
    "of many": lambda books: books.filter(tags__name="t"),
    "of many, by their key": lambda books: books.filter(tags=1),
    "a related manager of many": lambda books: Tag(pk=1).books.using(books.db),
    "one of those, counted": lambda books: Tag(pk=1).books.using(books.db).order_by("pk")[1:3],
    "values of another table": lambda books: books.filter(pages=3).values("author__name"),
    "values of many": lambda books: books.values("tags__name", "pk"),
}
"""Of which nothing is resolved the second time."""
MADE_AS_BEFORE = {
    "joined to itself": lambda books: books.filter(pages__lt=5).filter(sequel_to__pages=1),
    "many, twice": lambda books: books.filter(tags__name="t").filter(tags=1),
    "a related manager of many, filtered": lambda books: (
        Tag(pk=1).books.using(books.db).filter(tags__name="t")
    ),
    "a related manager of many, and others": lambda books: (
        Tag(pk=1).books.using(books.db).filter(pages__lt=4).filter(tags__name="t")
    ),
    "joined, and then filtered": lambda books: books.filter(author__name="1").filter(pages=1),
    "joined, and then values": lambda books: books.filter(author__name="1").values("pk"),
    "excluded many": lambda books: books.exclude(tags__name="x"),
    "values after select_related": lambda books: (
        books.filter(author_id=1).select_related("author").values("name")
    ),
    "only": lambda books: books.only("name").filter(pages=3),
    "deferred": lambda books: books.defer("name"),
    "annotated alone": lambda books: books.annotate(n=F("pages")),
    "deferred after": lambda books: books.filter(pages=3).defer("name"),
    "distinct": lambda books: books.filter(pages__lt=5).values("author").distinct(),
    "annotated": lambda books: books.filter(pages__lt=5).annotate(n=Count("tags")).filter(n=1),
    "annotated before": lambda books: books.annotate(n=Lower("name")).filter(pages=3, n="b3"),
    "grouped": lambda books: books.filter(pages__lt=5).values("author").annotate(n=Count("pk")),
    "values of an annotation": lambda books: books.annotate(n=F("pages")).values("n"),
    "values of an expression": lambda books: books.filter(pages=3).values(n=F("pages") + 1),
    "aliased": lambda books: books.alias(n=F("pages")).filter(n=3),
    "combined by or": lambda books: books.filter(pages=1) | books.filter(pages=2),
    "combined by and": lambda books: books.filter(pages__lt=4) & books.filter(pages__gt=2),
    "combined by xor": lambda books: books.filter(pages__lt=4) ^ books.filter(pages__gt=2),
    "union": lambda books: books.filter(pages=1).union(books.filter(pages=2)),
    "a list": lambda books: books.filter(pages__in=[1, 2]),
    "a text as a list": lambda books: books.filter(name__in="ab"),
    "a range": lambda books: books.filter(pages__range=(1, 2)),
    "a transform": lambda books: books.filter(published_on__day=3),
    "a column": lambda books: books.filter(pages=F("pk")),
    "a subquery": lambda books: books.filter(author__in=Author.objects.filter(pk=1)),
    "a subquery of values": lambda books: books.filter(
        author__in=Author.objects.filter(name="1").values("pk")
    ),
    "exists": lambda books: books.filter(Exists(Author.objects.filter(pk=OuterRef("author_id")))),
    "an annotated subquery": lambda books: books.filter(pages=3).annotate(
        a=Subquery(Author.objects.filter(pk=OuterRef("author_id")).values("name")[:1])
    ),
    "a relation with a condition": lambda books: (
        books.filter(pages__lt=9)
        .annotate(a=FilteredRelation("author", condition=Q(author__name="1")))
        .filter(a__pk=2)
    ),
    "ordered by an expression": lambda books: books.filter(pages__lt=5).order_by(F("pages").desc()),
    "ordered by another table": lambda books: books.filter(pages__lt=5).order_by("author__name"),
    "extra": lambda books: books.filter(pages=3).extra(where=["1 = 1"]),
    "extra, ordered": lambda books: books.filter(pages__lt=4).extra(order_by=["-pages"]),
    "nothing": lambda books: books.filter(pk__in=[]),
    "none()": lambda books: books.filter(pages=3).none(),
    "long": lambda books: books.filter(name="x" * 1000),
    "other": lambda books: Seat.objects.using(books.db).filter(pk=(1, 2)),
    "a parent": lambda books: Textbook.objects.using(books.db).filter(pages=3),
    "a proxy": lambda books: CheapBook.objects.using(books.db).filter(pages=3),
    "a field of others": lambda books: Person.objects.using(books.db).filter(initials="x"),
    "dates": lambda books: books.filter(pages__lt=5).dates("published_on", "day"),
    "for update": lambda books: books.filter(pages=3).select_for_update(),
}
"""Of which some, or all, is resolved each time."""
ALL = {**MADE_ONCE, **MADE_AS_BEFORE}


def sql_of(queryset):
    with transaction.atomic(using=queryset.db):  # for update
        try:
            return queryset.query.clone().get_compiler(queryset.db).as_sql()
        except EmptyResultSet:
            return None


def remembered():
    """What is remembered, and what it looks like now."""
    known = filters._remembered._values.items()
    return {key: fingerprint_of(made.query.clone()) for key, made in known}


@on_one_database
@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_the_query_is_that_of_django(book, using, make):
    books = Book.objects.using(using)
    with bypass():
        expected = sql_of(make(books))
    for _ in range(3):
        assert sql_of(make(books)) == expected


@pytest.mark.parametrize("make", MADE_ONCE.values(), ids=MADE_ONCE)
def test_its_rows_are_those_of_django_and_nothing_is_resolved_twice(book, using, make, resolved):
    books = Book.objects.using(using)
    with bypass():
        expected = list(make(books))
    for _ in range(3):
        del resolved[:]
        assert list(make(books)) == expected
    assert resolved == []


@on_one_database
@pytest.mark.parametrize("make", MADE_ONCE.values(), ids=MADE_ONCE)
def test_its_fingerprint_is_known_without_looking_at_it(book, using, make):
    make(Book.objects.using(using))
    query = make(Book.objects.using(using)).query
    assert isinstance(fingerprint_of(query), tuple)
    assert fingerprint_of(query) == fingerprint_of(make(Book.objects.using(using)).query)


def test_each_has_a_fingerprint_of_its_own(book, using):
    books = Book.objects.using(using)
    same = {
        "select_related before",
        "all() of it",
        "complex_filter",
        "an instance",
        "a foreign key, by the relation",
    }
    found = {}
    for _ in range(2):
        found = {
            name: fingerprint_of(make(books).query)
            for name, make in ALL.items()
            if name not in same and make(books).model is Book
        }
    alike = defaultdict(list)
    for name, fingerprint in found.items():
        if fingerprint is not None:
            alike[fingerprint].append(name)
    assert [names for names in alike.values() if len(names) > 1] == []


FURTHER = {
    "an annotation": lambda queryset: queryset.annotate(n=F("pages") + 1),
    "an aggregate": lambda queryset: queryset.annotate(n=Count("tags")),
    "an alias": lambda queryset: queryset.alias(n=F("pages")),
    "values of an expression": lambda queryset: queryset.values(n=F("pages") + 1),
    "other values": lambda queryset: queryset.values_list("pk", "author__name"),
    "extra": lambda queryset: queryset.extra(select={"n": "1"}),
    "the same table": lambda queryset: queryset.filter(sequel_to__sequel_to__pages=1),
    "other rows": lambda queryset: queryset.exclude(tags__name="x").filter(tags=1),
    "a related instance": lambda queryset: queryset.select_related("author", "publisher"),
    "a union": lambda queryset: queryset.order_by().union(queryset.order_by()),
    "either": lambda queryset: (
        queryset | Book.objects.using(queryset.db).filter(pages=1).values("name")
    ),
    "a condition of a relation": lambda queryset: queryset.annotate(
        a=FilteredRelation("author", condition=Q(author__name="1"))
    ).filter(a=2),
    "another order": lambda queryset: queryset.order_by("sequel_to__author__name"),
    "less": lambda queryset: queryset.none(),
    "more columns": lambda queryset: queryset.only("pages", "author__name"),
    "an aggregate of all": lambda queryset: queryset.aggregate(Count("tags__books")),
    "a subquery": lambda queryset: Book.objects.using(queryset.db).filter(
        name__in=queryset.values("name")
    ),
    "its deletion": lambda queryset: queryset.filter(pk=99).delete(),
    "its update": lambda queryset: queryset.filter(pk=99).update(pages=F("pages") + 1),
}
"""What Django does in place, to a copy that shares a part of its query with the first."""


@on_one_database
@pytest.mark.parametrize("further", FURTHER.values(), ids=FURTHER)
def test_what_comes_of_a_query_later_leaves_what_is_remembered_alone(book, using, further):

    def make(fields):
        books = Book.objects.using(using).filter(author_id=1, pages__gt=0).order_by("pk")
        return books.values(*fields) if fields else books

    for fields in ([], ["name"]):
        with bypass():
            expected = vars(make(fields).query)
        for _ in range(3):
            queryset = make(fields)
            made = vars(queryset.query)
            for name, value in expected.items():
                if isinstance(value, dict | list | set) and name != "alias_map":
                    assert made[name] == value, name
            try:
                found = further(queryset)
            except (FieldError, NotImplementedError, TypeError):
                continue  # not with values()
            if isinstance(found, models.QuerySet):
                sql_of(found)
                list(found)
            if fields:
                made["selected"]["mine"] = 0  # in place, as some versions of Django may


REFUSED = (DatabaseError, FieldDoesNotExist, FieldError, NotImplementedError, TypeError, ValueError)


@on_one_database
@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_what_comes_of_it_later_is_that_of_django(book, using, make):
    def found_by(further):
        try:
            found = further(make(Book.objects.using(using)))
            return sql_of(found) if isinstance(found, models.QuerySet) else found
        except REFUSED as error:
            return type(error)

    reads = {name: one for name, one in FURTHER.items() if not name.startswith("its ")}
    with bypass():
        expected = {name: found_by(further) for name, further in reads.items()}
    for _ in range(2):
        assert {name: found_by(further) for name, further in reads.items()} == expected


def test_what_is_remembered_stays_as_it_was_made(book, using):
    books = Book.objects.using(using)
    for make in ALL.values():
        make(books)
    before = remembered()
    assert len(before) > 20
    for make in ALL.values():
        queryset = make(books)
        sql_of(queryset)
        if not queryset.query.select_for_update:
            list(queryset)
            queryset.exists()
    assert {key: one for key, one in remembered().items() if key in before} == before


CHANGES = {
    "a value": lambda query: setattr(query.where.children[0], "rhs", 5),
    "a side": lambda query: setattr(
        query.where.children[0], "lhs", Book._meta.get_field("name").get_col("testapp_book")
    ),
    "all are left out": lambda query: query.where.children.clear(),
    "one more": lambda query: query.where.children.append(query.where.children[0]),
    "not": lambda query: query.where.negate(),
    "or": lambda query: setattr(query.where, "connector", "OR"),
    "another lookup": lambda query: query.where.children.__setitem__(
        0, Exact(query.where.children[0].lhs, 4)
    ),
    "a join": lambda query: setattr(query.alias_map["testapp_author"], "join_type", LOUTER),
    "another table": lambda query: setattr(
        query.alias_map["testapp_book"], "table_name", "testapp_author"
    ),
    "an alias": lambda query: query.alias_refcount.update(testapp_book=3),
    "an annotation": lambda query: query.add_annotation(Value(1), "one"),
    "columns": lambda query: query.set_select([Book._meta.pk.get_col("testapp_book")]),
    "a mask": lambda query: query.set_annotation_mask(["x"]),
    "distinct": lambda query: setattr(query, "distinct", True),
    "an order": lambda query: query.add_ordering("-pages"),
    "no order": lambda query: query.clear_ordering(force=True),
    "a slice": lambda query: query.set_limits(0, 1),
    "a group": lambda query: setattr(query, "group_by", True),
    "a filter": lambda query: query.add_q(Q(pages=2)),
    "nothing at all": lambda query: query.set_empty(),
    "an attribute of theirs": lambda query: setattr(query, "note", "mine"),
    "columns of extra": lambda query: query.extra.update(one=("1", [])),
    "another class": lambda query: setattr(query, "__class__", Theirs),
}


class Theirs(Query):
    """A query of others."""


@on_one_database
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_somebody_does_to_a_query_nobody_else_sees_and_it_is_seen(book, using, change):
    make = lambda: Book.objects.using(using).filter(author_id=1, pages__gt=0)  # noqa: E731
    for _ in range(3):
        list(make())
    expected, known = sql_of(make()), fingerprint_of(make().query)
    theirs = make()
    assert theirs.query.__dict__[MADE_AS] is not None
    change(theirs.query)
    # It is told apart from what it was, and so is what is made of it.
    assert fingerprint_of(theirs.query.clone()) != known
    further = theirs.all()
    further.query.add_q(Q(in_print=True))
    with bypass():
        by_django = make()
        change(by_django.query)
        by_django.query.add_q(Q(in_print=True))
    assert sql_of(further) == sql_of(by_django)
    # And nothing of it has come to the others.
    assert sql_of(make()) == expected
    assert fingerprint_of(make().query) == known
    assert [one.pk for one in make().order_by("pk")] == [3, 6]


def test_what_is_kept_nobody_changes(book, using):
    """A text stands for the list of its characters."""
    make = lambda: Book.objects.using(using).filter(name__in="b1")  # noqa: E731
    for _ in range(3):
        queryset = make()
        assert not list(queryset)
        assert queryset.query.where.children[0].rhs == ["b", "1"]
        queryset.query.where.children[0].rhs.append("b1")
    assert not list(make())


def test_a_query_has_no_more_and_less_than_what_it_was_made_as(book, using):
    for _ in range(2):
        values = Book.objects.using(using).filter(pages=1).values("pk").query
    for change in (
        lambda query: query.__dict__.pop("values_select"),
        lambda query: query.__dict__.update(values_select=()),
        lambda query: query.__dict__.pop("deferred_loading"),
    ):
        other = values.clone()
        assert fingerprint_of(other) == fingerprint_of(values)
        change(other)
        assert fingerprint_of(other) != fingerprint_of(values)


def test_a_query_that_threads_share_is_left_as_it_is(book, using):
    """Such as that of a queryset of a module, of which each request asks how many there are."""
    for make in MADE_ONCE.values():
        query = make(Book.objects.using(using)).query
        for _ in range(2):
            before = {**vars(query)}
            fingerprint_of(query)
            assert vars(query) == before
            assert list(vars(query)) == list(before)


def test_a_query_may_be_compiled_by_another_thread_meanwhile(book, using):
    class Compiles:
        def __eq__(self, other):
            query.__dict__["base_table"] = query.__dict__["another"] = "testapp_book"
            return True

        def __ne__(self, other):
            return not self == other

        __hash__ = None

    query = Book.objects.using(using).filter(pages=1).query
    assert isinstance(fingerprint_of(query), tuple)
    query.alias_refcount["testapp_book"] = Compiles()
    assert isinstance(fingerprint_of(query), tuple)  # that of before, and no error
    assert "another" in query.__dict__
    assert not isinstance(fingerprint_of(query), tuple)


def test_slices_are_told_apart(book, using):
    books = Book.objects.using(using).filter(pages__gt=0).order_by("pk")
    for _ in range(3):
        for start, end in [(0, 2), (1, 2), (1, 3), (0, 3)]:
            assert [one.pk for one in books[start:end]] == list(range(start + 1, end + 1))
        assert len(books.all()) == 6


def test_what_was_in_an_order_is_remembered_in_no_order(book, using):
    for _ in range(3):
        books = Book.objects.using(using)
        assert [one.pk for one in books.order_by("-pk").filter(pages__gt=4)] == [6, 5]
        assert [one.pk for one in books.order_by("pk").filter(pages__gt=4)] == [5, 6]
        assert [one["pk"] for one in books.order_by("pk")[:2].values("pk")] == [1, 2]
        assert [one["pk"] for one in books.order_by("-pk")[:2].values("pk")] == [6, 5]
        assert len(books.values("pk")) == 6


@isolate_apps("tests.testapp")
def test_an_instance_that_is_known_by_another_column_is_left_to_django(book):
    """Which asks whether it was saved, whatever column the foreign key refers to."""

    class Shelf(models.Model):
        code = models.CharField(unique=True)

        class Meta:
            app_label = "testapp"

    class Loan(models.Model):
        shelf = models.ForeignKey(Shelf, models.CASCADE, to_field="code")
        other = models.ForeignKey(Shelf, models.CASCADE)

        class Meta:
            app_label = "testapp"

    assert conditions_of(Loan, Q(shelf=Shelf(pk=1, code="s"))) is None
    assert conditions_of(Loan, Q(other=Shelf(pk=1, code="s"))) == (
        "AND",
        False,
        Shelf,
        "other",
        int,
        1,
    )


def test_a_list_that_was_given_may_be_changed_afterwards(book, using):
    pages = [1, 2]
    for _ in range(3):
        found = Book.objects.using(using).filter(pages__in=pages)
        assert found.count() == len(pages)
        pages.append(pages[-1] + 1)
        assert Book.objects.using(using).filter(pages__in=pages).count() == len(pages)


def test_values_are_told_apart_by_their_types(book, using):
    for _ in range(3):
        authors = Author.objects.using(using)
        assert authors.filter(name=1).count() == 1
        assert authors.filter(name="1").count() == 1
        assert authors.filter(name=True).count() == 0
        assert authors.filter(pk=True).count() == authors.filter(pk=1).count() == 1


def test_names_are_told_apart_from_values(book, using):
    for _ in range(3):
        books = Book.objects.using(using)
        assert books.filter(name="b1").exclude(pages=2).count() == 1
        assert books.exclude(name="b1").filter(pages=2).count() == 1
        assert books.filter(pages=1, name="b1").count() == 1
        assert books.filter(pages=1).filter(name="b2").count() == 0
        assert books.filter(name="b1").count() == 1
        assert books.exclude(name="b1").count() == 5
        assert books.complex_filter(Q(name="b1") & Q(pages=2)).count() == 0
        assert books.complex_filter(Q(name="b1") | Q(pages=2)).count() == 2


def test_joins_that_the_next_filter_may_use_are_told_apart(book, using):
    """As after a related manager: of the same row as the first, and not of any."""
    for _ in range(3):
        tags = models.QuerySet(Tag, using=using)
        assert tags.filter(books=1).filter(books=2).count() == 1
        assert tags._next_is_sticky().filter(books=1).filter(books=2).count() == 0


def test_orders_are_told_apart_by_more_than_their_equality(book, using):
    def marks(order):
        return fingerprint_of(Book.objects.using(using).filter(pages=1).order_by(order).query)

    for _ in range(2):
        found = [marks("pages"), marks("-pages"), marks(F("pages") + 1), marks(F("pages") + True)]
        books = Book.objects.using(using).filter(pages=1)
        found += [fingerprint_of(one.query) for one in (books, books.extra(order_by=["pages"]))]
        assert len(set(found)) == len(found)


def test_an_instance_counts_by_its_key_and_its_class(book, using):
    books = Book.objects.using(using)
    for _ in range(3):
        assert books.filter(author=Author(pk=1)).count() == 2
        assert books.filter(author=Author(pk=9)).count() == 0
        assert books.filter(author=Author.objects.using(using).get(pk=2)).count() == 2
        assert Author(pk=1).books.using(using).count() == 2
        with pytest.raises(ValueError, match="Cannot query"):
            books.filter(author=Publisher(pk=KEY))
        with pytest.raises(ValueError, match="must be saved"):
            books.filter(author=Author(name="new")).count()
        with pytest.raises(ValueError, match="Cannot query"):
            books.filter(author=Book(pk=1)).count()


def test_an_instance_is_not_kept_alive(book, using):
    author = Author.objects.using(using).get(pk=1)
    for _ in range(3):
        assert Book.objects.using(using).filter(author=author).order_by("pk")[:5]
    alive = ref(author)
    assert remembered()
    del author
    gc.collect()
    assert alive() is None


def test_a_query_is_pickled_and_copied_without_what_it_was_made_as(book, using):
    make = lambda: Book.objects.using(using).filter(pages__lt=3).order_by("pk")  # noqa: E731
    make()
    for _ in range(2):
        again = Book.objects.using(using).all()
        again.query = pickle.loads(pickle.dumps(make().query))
        assert again.query.__dict__[MADE_AS] is None
        assert [one.pk for one in again] == [1, 2]
        assert [one.pk for one in again.filter(pages=2)] == [2]
        assert [one.pk for one in copy.deepcopy(make())] == [1, 2]


def test_a_bypass_leaves_it_to_django(book, using, resolved):
    for _ in range(3):
        with bypass():
            list(Book.objects.using(using).filter(pages=3).values("pk"))
    assert resolved == ["_add_q", "add_fields"] * 3
    assert remembered() == {}


def test_a_hint_goes_along(book, using):
    books = Book.objects.using(using)
    for _ in range(2):
        list(books.filter(pages=3))
    for _ in range(3):
        with record_reads() as reads:
            list(uncached(books.filter(pages=3)))
            list(uncached(books).filter(pages=3))
            list(uncached(books.filter(pages=3)).order_by("pk"))
        assert [one.outcome for one in reads] == ["bypass"] * 3
    with record_reads() as reads:
        for _ in range(2):
            list(cached(books.filter(pages=3), ttl=9).filter(in_print=True))
    assert [one.outcome for one in reads] == ["miss", "hit"]


def test_writes_go_through_it(book, using):
    for number in range(3):
        books = Book.objects.using(using).filter(author_id=1)
        assert books.update(rating=number) == 2
        assert set(books.values_list("rating", flat=True)) == {number}
    for number in (1, 2, 3):
        Book.objects.using(using).filter(author_id=number).delete()
        assert Book.objects.using(using).filter(author_id=number).count() == 0
        assert Book.objects.using(using).count() == 6 - 2 * number


def test_what_is_wrong_is_said_each_time(book, using):
    books = Book.objects.using(using)
    for _ in range(3):
        with pytest.raises(FieldError, match="Cannot resolve keyword 'colour'"):
            books.filter(colour=1)
        with pytest.raises(ValueError, match="expected a number"):
            books.filter(pages="x")
        with pytest.raises(TypeError, match="once a slice"):
            books.filter(pages=1)[:1].filter(pages=1)
    assert len(remembered()) == 1


def test_prefetches_and_related_managers_are_those_of_django(book, using):
    def read():
        authors = Author.objects.using(using).prefetch_related(
            Prefetch("books", Book.objects.using(using).filter(pages__gt=1).order_by("pk"))
        )
        one = Author.objects.using(using).get(pk=1)
        return (
            [[book.pk for book in author.books.all()] for author in authors.order_by("pk")],
            [(book.pk, book.author is one) for book in one.books.order_by("pk")],
            [book.pk for book in one.books.exclude(pk=3).order_by("-pages")],
            [tag.pk for tag in book.tags.using(using).filter(name="t")],
            one.books.aggregate(Max("pages")),
        )

    with bypass():
        expected = read()
    for _ in range(3):
        assert read() == expected


@pytest.fixture
def uninstalled():
    hooks.uninstall()
    yield
    hooks.uninstall()
    hooks.install()


def test_methods_that_others_have_put_in_the_place_of_djangos_are_called(
    book, using, uninstalled, monkeypatch
):
    original, limit = Query.add_q, 0
    with monkeypatch.context() as patch:
        patch.setattr(Query, "add_q", lambda query, q: original(query, Q(q, pages__lt=limit)))
        patch.setattr(Query, "set_values", lambda query, fields: query.add_q(Q(in_print=True)))
        hooks.install()
        for limit in (2, 3, 2, 3):
            assert Book.objects.using(using).filter(in_print=True).count() == limit - 1
            assert len(Book.objects.using(using).values("pk")) == limit - 1
        hooks.uninstall()


class Odd(Query):
    def add_q(self, condition, *args, **kwargs):
        super().add_q(~condition, *args, **kwargs)


def test_a_query_of_a_class_of_others_is_left_to_django(book, using):
    for kind, expected in [(Query, 1), (Odd, 5)] * 3:
        books = models.QuerySet(Book, query=kind(Book), using=using)
        assert len(books.filter(pages=3)) == expected


class Half(Exact):
    def get_prep_lookup(self):
        return self.rhs // 2


def test_a_lookup_that_is_registered_later_counts(book, using):
    read = lambda: [one.pk for one in Book.objects.using(using).filter(pages=2)]  # noqa: E731
    field = Book._meta.get_field("pages")
    for _ in range(2):
        assert [read(), read()] == [[2], [2]]
        with register_lookup(type(field), Half):
            assert [read(), read()] == [[1], [1]]


def test_a_query_that_is_older_than_a_lookup_does_not_pass_for_a_newer_one(book, using):
    older = Book.objects.using(using).filter(pages=2).query
    with register_lookup(Book._meta.get_field("pages"), Half):
        pass
    newer = Book.objects.using(using).filter(pages=2).query
    assert isinstance(fingerprint_of(older), tuple)
    assert isinstance(fingerprint_of(newer), tuple)
    assert fingerprint_of(older) != fingerprint_of(newer)


@isolate_apps("tests.testapp")
def test_a_query_is_another_once_its_model_has_another_field(store):
    class Growing(models.Model):
        class Meta:
            app_label = "testapp"

    before = fingerprint_of(Query(Growing))
    assert fingerprint_of(Query(Growing)) == before
    models.FloatField(null=True).contribute_to_class(Growing, "rating")
    assert fingerprint_of(Query(Growing)) != before


def test_nothing_is_kept_that_code_of_others_takes_part_in(book, using):
    books, people = Book.objects.using(using), Person._base_manager.using(using)
    for _ in range(2):
        assert people.filter(initials="x").query.__dict__.get(MADE_AS) is None
        assert people.values("initials").query.__dict__.get(MADE_AS) is None
        assert people.filter(pk=1).query.__dict__.get(MADE_AS) is not None
        with register_lookup(Book._meta.get_field("pages"), Half):
            assert books.filter(pages=2).query.__dict__.get(MADE_AS) is None
            assert books.exclude(Q(pages=2), pk=1).query.__dict__.get(MADE_AS) is None
        # A GenericRelation looks up its content type as it is compiled.
        authors = Author.objects.using(using)
        assert authors.filter(notes__text="x").query.__dict__.get(MADE_AS) is None
        assert authors.filter(books__name="x").query.__dict__.get(MADE_AS) is not None


def test_a_setting_that_changes_has_all_made_anew(book, using, settings):
    Book.objects.using(using).filter(pages=1)
    assert remembered() != {}
    settings.USE_THOUSAND_SEPARATOR = True
    assert remembered() == {}


@pytest.mark.a_plan_differs
def test_a_query_that_is_made_otherwise_now_is_reported_and_made_anew(
    book, using, settings, caplog
):
    read = lambda: [one.pk for one in Book.objects.using(using).filter(pk=2)]  # noqa: E731
    assert [read(), read()] == [[2], [2]]
    (key,) = remembered()
    one = Book.objects.using(using).exclude(pk=2).query
    filters._remembered.put(key, Made(one, fingerprint_of(one)))
    settings.QUERYCACHE["CHECK_PLANS"] = True
    forget_config()
    assert read() == [2]
    assert "A query of testapp.Book was remembered" in caplog.text


def test_there_is_an_end_to_what_is_remembered(book, using):
    for number in range(1100):
        Book.objects.using(using).filter(pages=number)
    assert len(remembered()) == 1024
