"""Instances are in every respect what Django makes of the same rows, whoever makes them."""

import contextlib
import gc
import pickle
import subprocess
import sys
import weakref
from dataclasses import replace
from typing import Any, Generic, TypeVar

import django
import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import models, router
from django.db.models import Count, F, FilteredRelation, Prefetch, Q, Value
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from django.test.utils import isolate_apps

from demo_project.shop.models import Customer, OrderLine, Product, Review
from querycache import bypass, layouts
from querycache.conf import current, get_config
from querycache.recall import forget_plans
from tests.differential.picture import Picture
from tests.differential.reads import CACHEABLE, NOT_CACHEABLE, alist
from tests.differential.shelf import Library
from tests.plainapp.models import Plain
from tests.testapp.models import (
    Author,
    Biography,
    Book,
    CheapBook,
    Computed,
    Edit,
    Odd,
    Person,
    Publisher,
    Seat,
    Secret,
    Tag,
    Textbook,
)

HAS_FETCH_MODES = django.VERSION >= (6, 1)


class Exact(Picture):
    """A picture that also shows the order of attributes, and all of ``_state``."""

    def _instance(self, instance: models.Model) -> tuple[Any, ...]:
        return (
            type(instance),
            [
                (name, self._state(value) if name == "_state" else self.of(value))
                for name, value in vars(instance).items()
            ],
            instance.get_deferred_fields(),
        )

    def _state(self, state: Any) -> Any:
        return type(state), [
            (name, self._once(value, self._peers) if name == "peers" else self._part(value))
            for name, value in vars(state).items()
        ]

    def _part(self, value: Any) -> Any:
        # A fetch mode is an object of Django's, and fields_cache a dict.
        return self.of(value) if isinstance(value, dict | str | bool) else value

    def _peers(self, peers: list[Any]) -> list[Any]:
        return [self.of(peer()) for peer in peers]


def outcome(ask, *args):
    ContentType.objects.clear_cache()
    try:
        return Exact().of(ask(*args))
    except Exception as error:  # noqa: BLE001  it is to be the same, whatever it is
        return type(error), str(error)


@contextlib.contextmanager
def left_to_django():
    ours = ModelIterable.__iter__
    ModelIterable.__iter__ = ours.__wrapped__
    try:
        yield
    finally:
        ModelIterable.__iter__ = ours


def is_hydrated(queryset):
    """Say whether it is we who make the instances of a queryset."""
    return iter(queryset._iterable_class(queryset)).__name__ == "instances"


def assert_as_django(ask, *args):
    with bypass():
        with left_to_django():
            expected = outcome(ask, *args)
        assert outcome(ask, *args) == expected
    for _ in range(2):  # a miss and a hit
        assert outcome(ask, *args) == expected
    return expected


@pytest.fixture
def library(using):
    library = Library(using)
    library.build()
    return library


def by_name(model, db):
    return model._default_manager.using(db.using).order_by("name")


def test_every_read_gives_the_instances_of_django(library, subtests):
    for read in (*CACHEABLE, *NOT_CACHEABLE):
        if read.can_run_on(library.using):
            with subtests.test(msg=read.name):
                assert_as_django(read.run, library)


def lazily(db):
    """Look at each instance before the next one is made."""
    for book in by_name(Book, db).select_related("author").iterator(chunk_size=2):
        return book
    return None


def annotated_by_hand(db):
    """``annotate()`` refuses a name that is a field's."""
    odd = by_name(Odd, db)
    odd.query.add_annotation(Value(4711), "parent_id", select=True)
    return list(odd)


READS = {
    "all": lambda db: list(by_name(Book, db)),
    "no rows": lambda db: list(db.books.filter(name="none")),
    "nothing": lambda db: list(db.books.none()),
    "known to be empty": lambda db: list(db.books.filter(pk__in=[])),
    "first": lambda db: db.books.order_by("pk").first(),
    "iterator": lambda db: list(by_name(Book, db).iterator(chunk_size=1)),
    "iterator, by hand": lazily,
    "iterator with prefetch": lambda db: list(
        by_name(Author, db).prefetch_related("books__tags").iterator(chunk_size=1)
    ),
    "aiterator": lambda db: alist(by_name(Book, db).select_related("author").aiterator()),
    "async": lambda db: alist(by_name(Author, db)),
    "in_bulk": lambda db: db.books.in_bulk(field_name="pk"),
    "raw": lambda db: list(db.books.raw("SELECT * FROM testapp_book ORDER BY name")),
    "only": lambda db: list(by_name(Book, db).only("name")),
    "only the key": lambda db: list(by_name(Book, db).only("pk")),
    "only a foreign key": lambda db: list(by_name(Book, db).only("publisher")),
    "only, in another order": lambda db: list(by_name(Book, db).only("pages", "price", "name")),
    "defer": lambda db: list(by_name(Book, db).defer("author", "name", "extra")),
    "a deferred field": lambda db: [book.pages for book in by_name(Book, db).defer("pages")],
    "only across": lambda db: list(
        by_name(Book, db).select_related("author").only("name", "author__email")
    ),
    "only the key across": lambda db: list(
        by_name(Book, db).select_related("publisher").only("publisher__pk", "name")
    ),
    "defer across": lambda db: list(
        by_name(Book, db).select_related("author", "publisher").defer("author__name", "pages")
    ),
    "select_related of all": lambda db: list(by_name(Odd, db).select_related()),
    "select_related back and forth": lambda db: list(
        by_name(Author, db).select_related("biography__author")
    ),
    "select_related to the key": lambda db: list(db.biographies.select_related("author")),
    "select_related, deep": lambda db: list(
        by_name(Book, db).select_related(
            "author__biography", "sequel_to__author", "sequel_to__publisher", "publisher"
        )
    ),
    "select_related of a row of nulls": lambda db: list(
        by_name(Odd, db).select_related("parent__parent")
    ),
    "select_related of many nulls": lambda db: list(
        db.placements.order_by("pk").select_related(
            "cascades", "nulls", "defaults", "protects", "restricts", "calls"
        )
    ),
    "select_related of a child": lambda db: list(by_name(Book, db).select_related("textbook")),
    "select_related of a child, and only": lambda db: list(
        by_name(Book, db).select_related("textbook").only("name", "textbook__subject")
    ),
    "select_related of a child, and little of it": lambda db: list(
        by_name(Book, db).select_related("textbook").only("textbook__book_ptr")
    ),
    "select_related of a child, and its relations": lambda db: list(
        by_name(Book, db).select_related("textbook__author", "author")
    ),
    "select_related of a parent": lambda db: list(
        by_name(Textbook, db).select_related("book_ptr__author")
    ),
    "select_related of one that is never cached": lambda db: list(
        db.secrets.order_by("pk").select_related("author")
    ),
    "FilteredRelation": lambda db: list(
        by_name(Book, db)
        .annotate(ace=FilteredRelation("publisher", condition=Q(publisher__name="Ace")))
        .select_related("ace")
    ),
    "FilteredRelation of many": lambda db: list(
        by_name(Author, db)
        .annotate(thick=FilteredRelation("books", condition=Q(books__pages__gt=200)))
        .select_related("thick__publisher")
    ),
    "FilteredRelation of a child": lambda db: list(
        by_name(Book, db)
        .annotate(taught=FilteredRelation("textbook", condition=Q(textbook__subject="biology")))
        .select_related("taught")
    ),
    "FilteredRelation and annotations": lambda db: list(
        by_name(Book, db)
        .annotate(ace=FilteredRelation("publisher", condition=Q(publisher__name="Ace")))
        .annotate(more=F("pages") + 1)
        .select_related("ace")
    ),
    "annotate": lambda db: list(by_name(Book, db).annotate(one=Value(1), more=F("pages") + 1)),
    "alias": lambda db: list(by_name(Book, db).alias(one=Value(1)).annotate(two=F("one") + 1)),
    "annotate a deferred one": lambda db: list(
        by_name(Book, db).only("name").annotate(p=F("pages"))
    ),
    "annotate and select_related": lambda db: list(
        by_name(Book, db).select_related("author").annotate(tagged=Count("tags"))
    ),
    "annotate the other way round": lambda db: list(
        by_name(Book, db).annotate(one=Value(1)).select_related("author").extra(select={"two": 2})
    ),
    "annotate a name of the class": lambda db: list(by_name(Book, db).annotate(save=Value(1))),
    "annotate a property": lambda db: list(by_name(Book, db).annotate(objects=Value(1))),
    "annotate a name that cannot be set": lambda db: list(by_name(Book, db).annotate(pk=Value(1))),
    "annotate the state": lambda db: dict(
        vars(by_name(Book, db).annotate(_state=Value(1)).first()).items()
    ),
    "annotate in the place of a foreign key": annotated_by_hand,
    "annotate what a relation has": lambda db: list(
        by_name(Tag, db).annotate(books_count=Count("books"))
    ),
    "extra": lambda db: list(by_name(Tag, db).extra(select={"one": "1", "two": "2"})),
    "extra, over a field": lambda db: list(by_name(Tag, db).extra(select={"name": "'x'"})),
    "extra, over a foreign key": lambda db: list(
        by_name(Book, db).select_related("author").extra(select={"author_id": "4711"})
    ),
    "extra and annotate": lambda db: list(
        by_name(Tag, db).extra(select={"one": "1"}).annotate(two=Value(2))
    ),
    "a related manager": lambda db: list(db.author("Herbert").books.order_by("name")),
    "a related manager, and its other side": lambda db: [
        (author, list(author.books.order_by("name")))
        for author in by_name(Author, db).prefetch_related("biography")
    ],
    "a related manager with select_related": lambda db: list(
        db.author("Herbert").books.select_related("author").order_by("name")
    ),
    "a related manager without its key": lambda db: list(
        db.author("Herbert").books.defer("author").order_by("name")
    ),
    "a related manager and annotations": lambda db: list(
        db.author("Herbert").books.annotate(more=F("pages") + 1).order_by("name")
    ),
    "two related managers": lambda db: list(
        (db.author("Herbert").books.all() | db.author("Le Guin").books.all()).order_by("name")
    ),
    "a related manager or any": lambda db: list(
        (db.author("Herbert").books.all() | db.books.all()).order_by("name")
    ),
    "a related manager of one to itself": lambda db: list(db.book("Dune").sequels.all()),
    "a related manager of a UUID": lambda db: list(
        db.publishers.get(name="Ace").books.select_related("author")
    ),
    "a related manager of one that is not saved": lambda db: list(Author(name="new").books.all()),
    "many to many": lambda db: list(db.book("Dune").tags.all()),
    "a generic relation": lambda db: list(db.book("Dune").notes.all()),
    "prefetch": lambda db: list(by_name(Author, db).prefetch_related("books__author__biography")),
    "prefetch into a list": lambda db: list(
        by_name(Author, db).prefetch_related(
            Prefetch("books", by_name(Book, db).select_related("author"), to_attr="best")
        )
    ),
    "a proxy": lambda db: list(by_name(CheapBook, db).select_related("author", "sequel_to")),
    "a child": lambda db: list(by_name(Textbook, db).select_related("author")),
    "a child, and only": lambda db: list(by_name(Textbook, db).only("subject", "name")),
    "a child, and only the parent's": lambda db: list(by_name(Textbook, db).only("pages")),
    "a key of two columns": lambda db: list(db.seats.order_by("row", "number")),
    "only half a key": lambda db: list(db.seats.order_by("row", "number").only("guest")),
    "columns that the database fills": lambda db: list(db.computed.all()),
    "a from_db of its own": lambda db: list(by_name(Person, db)),
    "a union": lambda db: list(
        db.authors.filter(name="Herbert").union(db.authors.all()).order_by("name")
    ),
    "distinct": lambda db: list(by_name(Author, db).filter(books__pages__gt=1).distinct()),
    "a slice": lambda db: list(by_name(Book, db)[1:3]),
    "dates": lambda db: list(db.books.dates("published_on", "year")),
    "values": lambda db: list(by_name(Book, db).values("name", "author__name")),
    "wrong, and not asked": lambda db: iter(Book.objects.using("no such alias")).__name__,
    "wrong": lambda db: list(by_name(Book, db).select_related("pages")),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_gives_the_instances_of_django(library, name):
    assert_as_django(READS[name], library)


def with_fetch_mode(name):
    mode = getattr(models, name, None)

    def read(db):
        books = (
            by_name(Book, db).fetch_mode(mode).defer("pages").select_related("author__biography")
        )
        found = list(books)
        return found, found[0].pages, found[0].publisher, found[-1].sequel_to

    def related(db):
        author = db.authors.fetch_mode(mode).get(name="Herbert")
        return list(author.books.order_by("name")), author.books.all()[0].publisher

    def iterated(db):
        return list(by_name(Book, db).fetch_mode(mode).iterator(chunk_size=1))

    return read, related, iterated


@pytest.mark.skipif(not HAS_FETCH_MODES, reason="Django 6.1 has fetch modes")
@pytest.mark.parametrize("name", ["FETCH_ONE", "FETCH_PEERS", "RAISE", "FETCH_RAISE"])
def test_a_fetch_mode_is_that_of_django(library, name):
    if hasattr(models, name):
        for read in with_fetch_mode(name):
            assert_as_django(read, library)


@pytest.mark.django_db(transaction=True)
def test_the_shop_is_the_same(subtests):
    call_command("seed_shop", products=8, reviews=20, verbosity=0)
    for queryset in (
        Product.objects.select_related("category", "brand").prefetch_related("tags", "reviews"),
        Product.objects.annotate(number=Count("reviews")),
        Review.objects.select_related("product__category", "customer__user"),
        OrderLine.objects.select_related("order__customer", "product__brand"),
        Customer.objects.prefetch_related("orders__lines"),
    ):
        with subtests.test(msg=str(queryset.model)):
            assert is_hydrated(queryset)
            assert_as_django(lambda queryset=queryset: list(queryset.order_by("pk")))


def test_every_model_but_those_with_ways_of_their_own_is_hydrated():
    left = [model for model in get_config().models if not layouts.layout_of(model)]
    assert left == [Person]
    assert {Author, Book, CheapBook, Computed, Seat, Textbook} < set(get_config().models)


def test_a_model_that_is_not_opted_in_is_left_to_django(settings):
    assert not is_hydrated(Plain.objects.all())
    assert not is_hydrated(Secret.objects.all())
    assert is_hydrated(Author.objects.all())
    settings.QUERYCACHE = {"MODELS": {"plainapp.Plain": {}}}
    assert is_hydrated(Plain.objects.all())
    assert not is_hydrated(Author.objects.all())


def test_nothing_is_asked_before_the_first_instance_is(library, count_sql):
    books = library.author("Herbert").books.order_by("name").select_related("author")
    with count_sql(library.using) as statements, bypass():
        found = iter(books._iterable_class(books))
        assert statements == []
        next(found)
        assert len(statements) == 1


def test_a_filter_that_cannot_be_applied_fails_with_the_first_instance(library):
    """Related managers put it off, to when ``queryset.query`` is asked for."""
    books = library.books.all()
    books._defer_next_filter = True
    books = books.filter(pk__in=["no number"])
    found = iter(ModelIterable(books))
    with pytest.raises(ValueError, match="no number"):
        next(found)


def test_instances_can_be_pickled_and_saved(library):
    book = library.books.select_related("author").get(name="Dune")
    again = pickle.loads(pickle.dumps(book))
    assert again == book
    assert again.author == book.author
    book.name = "Dune again"
    book.save()
    book.refresh_from_db()
    assert library.book("Dune again").author.name == "Herbert"


def test_values_of_one_instance_are_not_those_of_another(library):
    first, second = (library.book("Dune") for _ in range(2))
    first.extra["parts"].append(3)
    assert second.extra == {"prize": "Hugo", "parts": [1, 2, {"deep": None}], "ratio": 0.5}
    assert library.book("Dune").extra == second.extra


# Models with ways of their own --------------------------------------------------------------------

ROW = {"name": "Dune", "pages": 412}
B = TypeVar("B")


@pytest.fixture
def odd(library, monkeypatch):
    """Let classes be defined that read the table of books, as if they were opted in."""
    config = get_config()
    opted_in = dict(config.models)
    monkeypatch.setattr(current, "config", replace(config, models=opted_in))

    def opt_in(*classes):
        opted_in.update(dict.fromkeys(classes, config.models[Book]))
        return classes[0]._base_manager.using(library.using).order_by("pk")

    with isolate_apps("tests.testapp"):
        yield opt_in


class Books(models.Model):
    """What those classes have in common: it is not much."""

    name = models.CharField(max_length=100)
    pages = models.IntegerField()

    class Meta:
        abstract = True
        app_label = "testapp"


class Meta:
    app_label = "testapp"
    managed = False
    db_table = "testapp_book"


def both_ways(queryset):
    with left_to_django():
        expected = outcome(lambda: list(queryset.all()))
    assert outcome(lambda: list(queryset.all())) == expected
    return list(queryset.all())


def assert_left_to_django(queryset):
    assert not is_hydrated(queryset)
    return both_ways(queryset)


def assert_hydrated(queryset):
    assert is_hydrated(queryset)
    return both_ways(queryset)


def test_an_ordinary_class_is_hydrated(odd):
    class Plainest(Books):
        Meta = Meta

    assert_hydrated(odd(Plainest))


def test_a_class_with_an_init_of_its_own_is_left_to_django(odd):
    class WithInit(Books):
        Meta = Meta

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.was = self.pages

    assert assert_left_to_django(odd(WithInit))[0].was == 412


def test_a_class_with_an_init_behind_that_of_django_is_left_to_django(odd):
    class Mixin:
        def __init__(self):
            self.mixed = True

    class WithMixin(Books, Mixin):
        Meta = Meta

    assert assert_left_to_django(odd(WithMixin))[0].mixed


def test_a_class_with_a_new_of_its_own_is_left_to_django(odd):
    class WithNew(Books):
        Meta = Meta

        def __new__(cls, *args, **kwargs):
            new = super().__new__(cls)
            new.is_new = True
            return new

    assert assert_left_to_django(odd(WithNew))[0].is_new


def test_a_class_with_a_from_db_of_its_own_is_left_to_django(odd):
    class WithFromDb(Books):
        Meta = Meta

        @classmethod
        def from_db(cls, *args, **kwargs):
            new = super().from_db(*args, **kwargs)
            new.is_from_db = True
            return new

    assert assert_left_to_django(odd(WithFromDb))[0].is_from_db


def test_a_class_with_a_setattr_of_its_own_is_left_to_django(odd):
    class WithSetattr(Books):
        Meta = Meta

        def __setattr__(self, name, value):
            super().__setattr__(name, value * 2 if name == "pages" else value)

    assert assert_left_to_django(odd(WithSetattr))[0].pages == 824


def test_a_class_with_a_getattribute_of_its_own_is_left_to_django(odd):
    class WithGetattribute(Books):
        Meta = Meta
        asked = []

        def __getattribute__(self, name):
            if name != "asked":
                self.asked.append(name)
            return super().__getattribute__(name)

    queryset = odd(WithGetattribute)
    assert not is_hydrated(queryset)
    list(queryset)
    assert "_meta" in WithGetattribute.asked


def test_a_class_whose_class_is_called_in_a_way_of_its_own_is_left_to_django(odd):
    class Calling(type(models.Model)):
        def __call__(cls, *args, **kwargs):
            called = super().__call__(*args, **kwargs)
            called.was_called = True
            return called

    class Called(Books, metaclass=Calling):
        Meta = Meta

    assert assert_left_to_django(odd(Called))[0].was_called


def test_a_class_that_keeps_its_state_elsewhere_is_left_to_django(odd):
    class WithState(Books):
        Meta = Meta

        @property
        def _state(self):
            return self.kept

        @_state.setter
        def _state(self, state):
            self.kept = state

    assert "kept" in vars(odd(WithState).first())
    assert not is_hydrated(odd(WithState))


def test_a_class_with_a_dict_of_its_own_is_left_to_django(odd):
    class WithDict(Books):
        Meta = Meta
        asked = 0

        @property
        def __dict__(self):
            WithDict.asked += 1
            return super().__getattribute__("__dict__")

    assert not is_hydrated(odd(WithDict))


def test_a_class_of_a_generic_kind_is_hydrated(odd):
    class Boxed(Books, Generic[B]):
        Meta = Meta

    assert_hydrated(odd(Boxed))


def test_a_class_with_slots_is_hydrated_if_none_of_them_is_a_field(odd):
    class Slotted(Books):
        __slots__ = ("more",)
        Meta = Meta

    assert_hydrated(odd(Slotted))


def test_a_descriptor_of_its_own_is_left_to_django(odd):
    class Doubling(DeferredAttribute):
        def __set__(self, instance, value):
            instance.__dict__[self.field.attname] = value * 2

    class DoublingField(models.IntegerField):
        descriptor_class = Doubling

    class WithDescriptor(Books):
        Meta = Meta
        pages = DoublingField()

    assert assert_left_to_django(odd(WithDescriptor))[0].pages == 824


def test_a_property_in_the_place_of_a_field_is_left_to_django(odd):
    class WithProperty(Books):
        Meta = Meta

        def double(self, pages):
            self.doubled = pages * 2

    WithProperty.pages = property(lambda self: self.doubled // 2, WithProperty.double)
    assert assert_left_to_django(odd(WithProperty))[0].doubled == 824


def test_a_descriptor_of_a_foreign_key_s_own_is_left_to_django(odd):
    from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute

    class Loud(ForeignKeyDeferredAttribute):
        def __set__(self, instance, value):
            super().__set__(instance, value)
            instance.__dict__["heard"] = value

    class LoudKey(models.ForeignKey):
        descriptor_class = Loud

    class WithLoudKey(Books):
        Meta = Meta
        author = LoudKey(Author, models.CASCADE, related_name="+")

    book = assert_left_to_django(odd(WithLoudKey))[0]
    assert book.heard == book.author_id


def test_a_descriptor_that_only_reads_is_hydrated(odd):
    class Shouting(DeferredAttribute):
        def __get__(self, instance, cls=None):
            value = super().__get__(instance, cls)
            return value if instance is None else value.upper()

    class ShoutingField(models.CharField):
        descriptor_class = Shouting

    class WithShouting(Books):
        Meta = Meta
        name = ShoutingField(max_length=100)

    # Reading does not come to it, as the instance has the value itself.
    assert assert_hydrated(odd(WithShouting))[0].name == "Dune"


def test_files_are_hydrated(odd):
    class WithFiles(Books):
        Meta = Meta
        name = models.FileField()
        image = models.ImageField(db_column="extra")

    book = assert_hydrated(odd(WithFiles))[0]
    assert type(book.name).__name__ == "FieldFile"
    assert type(book.image).__name__ == "ImageFieldFile"
    both_ways(odd(WithFiles).only("image"))


def test_an_image_that_tells_its_size_is_left_to_django(odd):
    class WithImage(Books):
        Meta = Meta
        name = models.ImageField(width_field="pages")

    assert_left_to_django(odd(WithImage))


def test_a_converter_of_its_own_is_asked(odd):
    class Reversed(models.CharField):
        def from_db_value(self, value, expression, connection):
            return value[::-1]

    class WithConverter(Books):
        Meta = Meta
        name = Reversed(max_length=100)

    assert assert_hydrated(odd(WithConverter))[0].name == "enuD"


def test_a_wide_model_and_a_narrow_one_are_hydrated(odd):
    class Narrow(models.Model):
        Meta = Meta

    class Wide(Books):
        Meta = Meta
        for number in range(14):
            vars()[f"field_{number}"] = models.IntegerField(db_column="pages")

    for queryset in (odd(Narrow), odd(Wide), odd(Wide).only("field_13"), odd(Wide).defer("name")):
        assert_hydrated(queryset)
    for number in range(14):
        assert_hydrated(odd(Wide).only(*(f"field_{n}" for n in range(number))))


def test_a_field_that_is_added_later_is_seen(odd):
    class Growing(Books):
        Meta = Meta

    for _ in range(2):
        assert list(odd(Growing).values()[0]) == ["id", "name", "pages"]
    assert_hydrated(odd(Growing))
    models.FloatField(null=True).contribute_to_class(Growing, "rating")
    assert assert_hydrated(odd(Growing))[0].rating == 4.25
    assert odd(Growing).values()[0]["rating"] == 4.25


def test_two_foreign_keys_one_of_them_null_are_hydrated(library, odd):
    dune = library.book("Dune")
    library.books.create(name="Children", author=dune.author, sequel_to=dune)

    class WithKeys(Books):
        Meta = Meta
        author = models.ForeignKey(Author, models.CASCADE, related_name="+")
        publisher = models.ForeignKey(Publisher, models.CASCADE, null=True, related_name="+")
        sequel_to = models.ForeignKey("self", models.CASCADE, null=True, related_name="+")

    assert_hydrated(odd(WithKeys))
    assert_hydrated(odd(WithKeys).only("publisher", "sequel_to"))
    assert_hydrated(odd(WithKeys).only("sequel_to"))
    assert_hydrated(odd(WithKeys).select_related("author", "publisher", "sequel_to__sequel_to"))


def test_a_related_model_with_ways_of_its_own_is_left_to_django_alone(odd):
    class Loud(models.Model):
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = "testapp_author"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.was = self.name

    class WithLoud(Books):
        Meta = Meta
        author = models.ForeignKey(Loud, models.CASCADE, related_name="+")
        sequel_to = models.ForeignKey("self", models.CASCADE, null=True, related_name="+")

    books = odd(WithLoud).select_related("author", "sequel_to__author")
    assert [book.author.was for book in assert_hydrated(books)][:2] == ["Herbert", "Herbert"]


def test_annotations_are_set_as_django_sets_them(odd):
    class Settable(Books):
        Meta = Meta

        @property
        def doubled(self):
            return self.kept

        @doubled.setter
        def doubled(self, value):
            self.kept = value * 2

        @property
        def fixed(self):
            return 1

        class Eraser:
            def __delete__(self, instance):
                pass

        erased = Eraser()

    queryset = odd(Settable)
    assert assert_hydrated(queryset.annotate(doubled=Value(3)))[0].kept == 6
    assert both_ways(queryset.annotate(one=Value(1), doubled=Value(3), two=Value(2)))[0].two == 2
    for name in ("fixed", "erased"):
        with left_to_django():
            expected = outcome(lambda name=name: list(queryset.annotate(**{name: Value(1)})))
        assert expected[0] is AttributeError
        assert outcome(lambda name=name: list(queryset.annotate(**{name: Value(1)}))) == expected


# What changes at run time -------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [pre_init, post_init])
@pytest.mark.parametrize("sender", [Author, None])
def test_a_receiver_hears_of_each_instance_while_it_is_connected(library, signal, sender):
    heard = []

    def receiver(sender, **kwargs):
        heard.append(sender)

    signal.connect(receiver, sender=sender, dispatch_uid="hydration")
    try:
        assert not is_hydrated(library.authors)
        assert is_hydrated(library.tags) is (sender is not None)
        list(library.authors)
        assert heard == [Author] * 3
        list(library.books.select_related("author"))
        assert heard.count(Author) == 7
        assert_as_django(lambda: list(library.books.select_related("author")))
        del receiver  # it was connected by a weak reference
        gc.collect()
        assert is_hydrated(library.authors)
    finally:
        signal.disconnect(sender=sender, dispatch_uid="hydration")
    assert is_hydrated(library.authors)


@pytest.mark.parametrize("name", ["__init__", "__setattr__", "from_db"])
def test_a_method_that_is_replaced_for_a_while_is_called(library, monkeypatch, name):
    called = []
    original = vars(models.Model).get(name, getattr(object, name, None))

    def method(*args, **kwargs):
        called.append(args)
        return getattr(original, "__func__", original)(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Author, name, classmethod(method) if name == "from_db" else method)
        assert not is_hydrated(library.authors)
        list(library.authors)
        assert called
    assert is_hydrated(library.authors)


def test_nothing_is_hydrated_where_django_s_own_method_was_replaced_before():
    script = (
        "from django.db.models import Model\n"
        "original = Model.__init__\n"
        "def __init__(self, *args, **kwargs):\n"
        "    original(self, *args, **kwargs)\n"
        "Model.__init__ = __init__\n"
        "import django\n"
        "django.setup()\n"
        "from querycache import layouts\n"
        "from tests.testapp.models import Tag\n"
        "assert layouts.layout_of(Tag) is None\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_class_that_nobody_has_any_more_is_forgotten(odd):
    class Passing(Books):
        Meta = Meta
        sequel_to = models.ForeignKey("self", models.CASCADE, null=True, related_name="+")

    layouts.layout_of(Passing)
    key = weakref.ref(Passing)
    assert key in layouts._layouts
    before = len(layouts._layouts)
    apps.clear_cache()
    Passing._meta.apps.all_models["testapp"].clear()
    Passing._meta.apps.clear_cache()
    del Passing
    gc.collect()
    assert key() is None
    assert len(layouts._layouts) < before


def test_what_was_found_out_is_forgotten_with_the_settings(settings):
    layouts.layout_of(Author)
    assert layouts._layouts
    settings.QUERYCACHE = {"MODELS": {"testapp.Author": {}}}
    assert not layouts._layouts


def test_no_more_than_some_shapes_are_remembered(library):
    for number in range(layouts._MAX_SHAPES + 5):
        assert library.tags.annotate(**{f"n{number}": Value(number)})[0].name == "classic"
    assert len(layouts._layouts[weakref.ref(Tag)].shapes) <= layouts._MAX_SHAPES


# Relations that are known already -----------------------------------------------------------------


class Refusing:
    def allow_relation(self, *args, **hints):
        return False


def test_a_router_may_refuse_a_relation(library, monkeypatch):
    author = library.author("Herbert")
    assert author.books.all()[0].author is author
    monkeypatch.setattr(router, "routers", [Refusing()])
    assert assert_as_django(lambda: list(author.books.all()))[0] is ValueError


def test_an_instance_of_another_database_is_refused(library):
    author = library.author("Herbert")

    def read():
        books = author.books.using(library.using)
        author._state.db = "elsewhere"
        try:
            return list(books)
        finally:
            author._state.db = library.using

    assert assert_as_django(read)[0] is ValueError


def test_an_instance_of_no_database_gets_one(library):
    author = library.author("Herbert")

    def read():
        books = author.books.using(library.using)
        author._state.db = None
        found = outcome(lambda: list(books))
        return found, author._state.db

    assert_as_django(read)


def test_an_instance_of_another_class_is_refused(library):
    author, tag = library.author("Herbert"), library.tags.first()

    def read():
        books = author.books.all()
        books._known_related_objects = {Book._meta.get_field("author"): {author.pk: tag}}
        return list(books)

    assert assert_as_django(read)[0] is ValueError


def test_a_relation_to_one_is_known_from_both_sides(library):
    author = library.author("Herbert")
    field = Biography._meta.get_field("author")

    def read():
        biographies = library.biographies.all()
        biographies._known_related_objects = {field: {author.pk: author}}
        found = list(biographies)
        return found, author

    assert_as_django(read)
    assert author.biography.author is author


def test_the_key_of_the_other_side_is_taken(library):
    """``1`` and ``True`` are the same key, and not the same value."""
    author = library.author("Herbert")
    other = Author(pk=float(author.pk), name="of another type")
    other._state.db = library.using

    def read():
        books = author.books.all()
        books._known_related_objects = {Book._meta.get_field("author"): {author.pk: other}}
        return [(book, type(book.author_id)) for book in books]

    assert_as_django(read)
    assert {kind for _, kind in read()} == {float}


def test_a_relation_with_a_descriptor_of_its_own_is_set_by_it(library, monkeypatch):
    author = library.author("Herbert")
    heard = []

    class Loud(type(Book.__dict__["author"])):
        def __set__(self, instance, value):
            heard.append(value)
            super().__set__(instance, value)

    field = Book._meta.get_field("author")
    monkeypatch.setattr(Book, "author", Loud(field))
    books = list(author.books.all())
    assert books
    assert heard == [author] * len(books)


def test_a_field_that_keeps_its_relations_elsewhere_is_asked(library, monkeypatch):
    author = library.author("Herbert")
    kept = []
    field = Book._meta.get_field("author")

    class Elsewhere(type(field)):
        def set_cached_value(self, instance, value):
            kept.append(value)
            super().set_cached_value(instance, value)

    monkeypatch.setattr(field, "__class__", Elsewhere)
    forget_plans()  # which hold what was bound to the field before
    books = list(author.books.all())
    assert kept == [author] * len(books)
    kept.clear()
    assert len(list(library.books.select_related("author"))) == len(kept)


def test_edits_know_both_of_their_sides(library):
    assert_as_django(
        lambda: list(
            Edit.objects.using(library.using)
            .select_related("book__author", "editor")
            .order_by("pk")
        )
    )
