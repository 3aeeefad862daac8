"""The rows that reads and writes are tried on: a small library, in one database."""

import datetime
import uuid
from contextlib import closing
from decimal import Decimal
from typing import Any, Self

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.models import Model, QuerySet

from tests.testapp import models
from tests.testapp.models import (
    Author,
    Biography,
    Book,
    CheapBook,
    Computed,
    Edit,
    Founding,
    Initials,
    Note,
    Odd,
    Person,
    Placement,
    Publisher,
    Quoted,
    Reading,
    Seat,
    Secret,
    Shelf,
    Tag,
    Textbook,
)

MOMENT = datetime.datetime(2024, 3, 31, 23, 30, 15, 123456, tzinfo=datetime.UTC)
ACE = uuid.UUID("5e2f8a4e-6c3c-4f0f-8f7c-0d6f3a1b2c3d")
TOR = uuid.UUID("a1b2c3d4-0000-4000-8000-00000000000f")
CODE = uuid.UUID("11111111-2222-4333-8444-555555555555")


class Library:
    """
    The library in the database ``using``; every attribute is a new queryset.

    Objects are known by name, as primary keys are the database's to give.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def of(self, model: type[Model]) -> QuerySet[Any]:
        queryset: QuerySet[Any] = model._default_manager.using(self.using)
        return queryset

    books = property(lambda self: self.of(Book))
    authors = property(lambda self: self.of(Author))
    tags = property(lambda self: self.of(Tag))
    publishers = property(lambda self: self.of(Publisher))
    edits = property(lambda self: self.of(Edit))
    notes = property(lambda self: self.of(Note))
    textbooks = property(lambda self: self.of(Textbook))
    cheap_books = property(lambda self: self.of(CheapBook))
    biographies = property(lambda self: self.of(Biography))
    secrets = property(lambda self: self.of(Secret))
    shelves = property(lambda self: self.of(Shelf))
    placements = property(lambda self: self.of(Placement))
    seats = property(lambda self: self.of(Seat))
    computed = property(lambda self: self.of(Computed))
    odd = property(lambda self: self.of(Odd))
    quoted = property(lambda self: self.of(Quoted))
    people = property(lambda self: self.of(Person))
    foundings = property(lambda self: self.of(Founding))
    readings = property(lambda self: self.of(Reading))

    tagged = property(lambda self: self.of(Book.tags.through))

    def book(self, name: str) -> Any:
        return self.books.get(name=name)

    def author(self, name: str) -> Any:
        return self.authors.get(name=name)

    def person(self, name: str) -> Any:
        return self.people.get(name=name)

    def has(self, model: str) -> bool:
        """Say whether this version of Django and this database have the model."""
        found = getattr(models, model, None)
        return found is not None and found._meta.can_migrate(connections[self.using])

    def build(self) -> None:
        self._build_view()
        with transaction.atomic(using=self.using):
            self._build_books()
            self._build_notes()
            self._build_oddities()
            self._build_people()
            self._build_what_only_some_have()

    def _build_view(self) -> None:
        create = "CREATE VIEW IF NOT EXISTS"
        if connections[self.using].vendor == "postgresql":
            create = "CREATE OR REPLACE VIEW"
        with connections[self.using].cursor() as cursor:
            cursor.execute(
                f"{create} testapp_founding AS SELECT name, founded FROM testapp_publisher"
            )

    def _build_books(self) -> None:
        herbert = self.authors.create(name="Herbert", born=datetime.date(1920, 10, 8))
        le_guin = self.authors.create(name="Le Guin", email="ursula@example.org")
        self.authors.create(name="Nobody")
        self.biographies.create(author=herbert, text="Was a journalist.")
        ace = self.publishers.create(id=ACE, name="Ace", founded=1952)
        tor = self.publishers.create(id=TOR, name="Tor", founded=None)
        dune = self.books.create(
            name="Dune",
            author=herbert,
            publisher=ace,
            price=Decimal("12.50"),
            pages=412,
            rating=4.25,
            published_at=MOMENT,
            published_on=MOMENT.date(),
            opens_at=datetime.time(8, 15, 30),
            reading_time=datetime.timedelta(days=1, hours=2, microseconds=5),
            code=CODE,
            cover=b"\x00\xffcover",
            extra={"prize": "Hugo", "parts": [1, 2, {"deep": None}], "ratio": 0.5},
        )
        messiah = self.books.create(
            name="Messiah",
            author=herbert,
            publisher=tor,
            sequel_to=dune,
            price=Decimal("4.00"),
            pages=256,
            in_print=False,
            published_at=MOMENT + datetime.timedelta(days=400, hours=5),
            published_on=datetime.date(2025, 5, 6),
            extra={"prize": None},
        )
        self.books.create(
            name="Earthsea", author=le_guin, pages=183, price=Decimal("3.20"), rating=4.5
        )
        ecology = self.textbooks.create(
            name="Ecology", author=herbert, pages=99, price=Decimal("80.00"), subject="biology"
        )
        desert, classic, _unused = (
            self.tags.create(name=name) for name in ("desert", "classic", "unused")
        )
        dune.tags.add(desert, classic)
        messiah.tags.add(desert)
        ecology.tags.add(classic)
        self.edits.create(book=dune, editor=le_guin, role="reviewer")
        self.edits.create(book=messiah, editor=le_guin)
        self.secrets.create(text="spice", author=herbert)

    def _build_notes(self) -> None:
        types = ContentType.objects.db_manager(self.using)
        for about in (self.book("Dune"), self.author("Herbert"), self.author("Le Guin")):
            self.notes.create(
                text=f"on {about.name}",
                content_type=types.get_for_model(about),
                object_id=about.pk,
            )

    def _build_oddities(self) -> None:
        first = self.shelves.create(name="first")
        second = self.shelves.create(name="second")
        third = self.shelves.create(name="third")
        fourth = self.shelves.create(name="fourth")
        fifth = self.shelves.create(name="fifth")
        if self.has("DatabasePlacement"):  # Django 6.1
            placements = self.of(models.DatabasePlacement)
            placement = placements.create(cascades=fourth, nulls=first)
            self.of(models.DatabaseLabel).create(placement=placement)
            placements.create(cascades=first, nulls=fourth)
        if self.has("DatabaseDefault"):
            self.shelves.create(pk=0, name="default")
            self.of(models.DatabaseDefault).create(shelf=fourth)
        self.placements.create(cascades=first, nulls=second, defaults=third)
        self.placements.create(cascades=second, nulls=third, defaults=second)
        self.placements.create(cascades=first, calls=fifth)
        self.placements.create(cascades=first, dangles=fifth)
        for number in (1, 2):
            self.seats.create(row=7, number=number, guest=f"guest {number}")
        self.computed.create(name="MiXeD")
        self.odd.create(name="child", parent=self.odd.create(name="parent"))
        self.quoted.create(name="quoted")

    def _build_people(self) -> None:
        ann = self.people.create(name="Ann", initials=Initials("AB"), motto="Go on.")
        ben = self.people.create(name="Ben", initials=Initials("BCD"))
        cy = self.people.create(name="Cy")
        ann.friends.add(ben)
        cy.follows.add(ann, ben)

    def _build_what_only_some_have(self) -> None:
        if self.has("Reading"):
            self.readings.create(
                name="slow reader",
                chapters=[1, 2, 3],
                pages=(1, 40),
                days=(MOMENT.date(), datetime.date(2024, 5, 1)),
            )
            self.readings.create(name="no reader")


class Copy:
    """
    A copy of all rows of the library, in tables beside them, from which they can be put back.

    By the driver alone: neither Django nor querycache hears of it.
    """

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        quote = self._connection.ops.quote_name
        installed = apps.get_app_config("testapp").get_models(include_auto_created=True)
        self._tables = [
            (
                quote(model._meta.db_table),
                f"copy_{number}",
                ", ".join(
                    quote(field.column)
                    for field in model._meta.local_concrete_fields
                    if not field.generated
                ),
            )
            for number, model in enumerate(installed)
            if model._meta.can_migrate(self._connection)
        ]

    def __enter__(self) -> Self:
        for table, copy, columns in self._tables:
            self._run(f"CREATE TABLE {copy} AS SELECT {columns} FROM {table}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._run(*(f"DROP TABLE {copy}" for _, copy, _ in self._tables))

    def put_back(self) -> None:
        mysql = self._connection.vendor == "mysql"
        self._run(
            "SET foreign_key_checks = 0" if mysql else "SELECT 1",
            "BEGIN",
            # Those that point to others come after them.
            *(f"DELETE FROM {table}" for table, _, _ in reversed(self._tables)),
            *(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {copy}"
                for table, copy, columns in self._tables
            ),
            "COMMIT",
            "SET foreign_key_checks = 1" if mysql else "SELECT 1",
        )

    def _run(self, *statements: str) -> None:
        self._connection.ensure_connection()
        with closing(self._connection.connection.cursor()) as cursor:
            if self._connection.vendor == "postgresql":
                statements = ("; ".join(statements),)  # in one round trip
            for statement in statements:
                cursor.execute(statement)
