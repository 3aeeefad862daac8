"""One of everything that a Django model can be."""

import datetime
import decimal
import uuid
from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import ArrayField, DateRangeField, IntegerRangeField
from django.db import models
from django.db.models.functions import Lower, Now

from querycache import CacheQuerySet


class Named(models.Model):
    """An abstract base."""

    name = models.CharField(max_length=100)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Author(Named):
    email = models.EmailField(blank=True, default="")
    born = models.DateField(null=True, blank=True)
    notes = GenericRelation("Note", content_type_field="content_type", object_id_field="object_id")


class Biography(models.Model):
    """One-to-one, with the author's primary key as its own."""

    author = models.OneToOneField(Author, models.CASCADE, primary_key=True)
    text = models.TextField()

    def __str__(self) -> str:
        return self.text


class Publisher(Named):
    """A UUID as primary key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    founded = models.PositiveSmallIntegerField(null=True)


class Tag(Named):
    class Meta:
        ordering = ("name",)


class Book(Named):
    """Every kind of column, many-to-many both ways, a foreign key to itself."""

    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    publisher = models.ForeignKey(Publisher, models.SET_NULL, null=True, related_name="books")
    sequel_to = models.ForeignKey("self", models.SET_NULL, null=True, related_name="sequels")
    tags = models.ManyToManyField(Tag, related_name="books")
    editors = models.ManyToManyField(Author, through="Edit", related_name="edited_books")

    price = models.DecimalField(max_digits=8, decimal_places=2, default=decimal.Decimal("9.90"))
    pages = models.IntegerField(default=100)
    rating = models.FloatField(null=True)
    in_print = models.BooleanField(default=True)
    published_at = models.DateTimeField(null=True)
    published_on = models.DateField(null=True)
    opens_at = models.TimeField(null=True)
    reading_time = models.DurationField(default=datetime.timedelta(hours=1))
    code = models.UUIDField(default=uuid.uuid4)
    cover = models.BinaryField(null=True)
    extra = models.JSONField(default=dict)

    objects = CacheQuerySet.as_manager()
    notes = GenericRelation("Note")


class Edit(models.Model):
    """The explicit model of a many-to-many relation."""

    book = models.ForeignKey(Book, models.CASCADE)
    editor = models.ForeignKey(Author, models.CASCADE)
    role = models.CharField(max_length=20, default="editor")

    def __str__(self) -> str:
        return self.role


class Textbook(Book):
    """A child in a table of its own (multi-table inheritance)."""

    subject = models.CharField(max_length=50)


class CheapBookManager(models.Manager["CheapBook"]):
    def get_queryset(self) -> models.QuerySet["CheapBook"]:
        return super().get_queryset().filter(price__lt=5)


class CheapBook(Book):
    """A proxy with a manager of its own."""

    class Meta:
        proxy = True

    objects = CheapBookManager()


class Note(models.Model):
    """A generic foreign key."""

    text = models.TextField()
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey("content_type", "object_id")

    def __str__(self) -> str:
        return self.text


class Secret(models.Model):
    """Never cached, whatever the app's pattern says."""

    text = models.CharField(max_length=100)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="secrets")

    def __str__(self) -> str:
        return self.text


class Shelf(Named):
    pass


def first_shelf() -> int | None:
    shelf = Shelf.objects.order_by("pk").first()
    return shelf and shelf.pk


class Placement(models.Model):
    """What can become of a row when the row that it points to is deleted."""

    cascades = models.ForeignKey(Shelf, models.CASCADE, null=True, related_name="+")
    nulls = models.ForeignKey(Shelf, models.SET_NULL, null=True, related_name="+")
    defaults = models.ForeignKey(
        Shelf, models.SET_DEFAULT, null=True, default=first_shelf, related_name="+"
    )
    protects = models.ForeignKey(Shelf, models.PROTECT, null=True, related_name="+")
    restricts = models.ForeignKey(Shelf, models.RESTRICT, null=True, related_name="+")
    calls = models.ForeignKey(Shelf, models.SET(first_shelf), null=True, related_name="+")
    dangles = models.ForeignKey(
        Shelf, models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )

    def __str__(self) -> str:
        return str(self.pk)


if hasattr(models, "DB_CASCADE"):  # Django 6.1

    class DatabasePlacement(models.Model):
        """Rows that the database itself deletes or changes: no signal, no statement."""

        cascades = models.ForeignKey(Shelf, models.DB_CASCADE, null=True, related_name="+")
        nulls = models.ForeignKey(Shelf, models.DB_SET_NULL, null=True, related_name="+")

        def __str__(self) -> str:
            return str(self.pk)

    class DatabaseLabel(models.Model):
        """A row that goes with the row that goes with another."""

        placement = models.ForeignKey(DatabasePlacement, models.DB_CASCADE)

        def __str__(self) -> str:
            return str(self.pk)

    class DatabaseDefault(models.Model):
        """A row to which the database gives its default."""

        shelf = models.ForeignKey(
            Shelf, models.DB_SET_DEFAULT, null=True, db_default=0, related_name="+"
        )

        class Meta:
            required_db_features = ("supports_on_delete_db_default",)

        def __str__(self) -> str:
            return str(self.pk)


class Computed(models.Model):
    """Columns that the database fills in."""

    name = models.CharField(max_length=50)
    made_at = models.DateTimeField(db_default=Now())
    amount = models.IntegerField(db_default=7)
    lower_name = models.GeneratedField(
        expression=Lower("name"), output_field=models.CharField(max_length=50), db_persist=True
    )

    def __str__(self) -> str:
        return self.name


class Seat(models.Model):
    """A primary key of two columns."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.IntegerField()
    number = models.IntegerField()
    guest = models.CharField(max_length=50, default="")

    def __str__(self) -> str:
        return f"{self.row}/{self.number}"


class Odd(Named):
    """A table whose name has a space, an emoji, a dot, a semicolon and a keyword in it."""

    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")

    class Meta:
        db_table = "odd ✨ table; select.from"


class Quoted(Named):
    """A table whose name stands in quotes already, which is how Django takes it as it is."""

    class Meta:
        db_table = '"Quoted Table"'


class Summary(models.Model):
    """A view of the database, on authors and their books: the tests make it."""

    name = models.CharField(max_length=100, primary_key=True)
    books = models.IntegerField()

    class Meta:
        managed = False
        db_table = "testapp_summary"

    def __str__(self) -> str:
        return self.name


class Initials(tuple[str, ...]):
    """A value that no database knows."""

    __slots__ = ()


class InitialsField(models.CharField):
    """A column that is one thing in Python and another in the database."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Initials | None:
        return None if value is None else Initials(value.split("."))

    def get_prep_value(self, value: Any) -> Any:
        return ".".join(value) if isinstance(value, Initials) else value


@InitialsField.register_lookup
class HowMany(models.Transform):
    """A transform of the project's own."""

    lookup_name = "how_many"
    function = "LENGTH"
    output_field = models.IntegerField()


@InitialsField.register_lookup
class Among(models.Lookup):
    """A lookup of the project's own."""

    lookup_name = "among"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, column_params = self.process_lhs(compiler, connection)
        value, value_params = self.process_rhs(compiler, connection)
        return f"{column} <= {value}", [*column_params, *value_params]


class PersonQuerySet(models.QuerySet["Person"]):
    def popular(self) -> "PersonQuerySet":
        return self.annotate(fans=models.Count("followers")).filter(fans__gt=0)


class PersonManager(models.Manager.from_queryset(PersonQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> PersonQuerySet:
        queryset: PersonQuerySet = super().get_queryset()
        return queryset.defer("motto")

    def get_by_natural_key(self, name: str) -> "Person":
        person: Person = self.get(name=name)
        return person


class Person(Named):
    """Relations to itself, and a key, a column, a manager and a ``from_db`` of its own."""

    initials = InitialsField(max_length=20, default=Initials())
    motto = models.TextField(default="")
    friends = models.ManyToManyField("self")
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")

    objects = PersonManager()

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> "Person":
        person = super().from_db(*args, **kwargs)
        person.greeting = f"I am {person.name}"  # type: ignore[attr-defined]
        return person

    def natural_key(self) -> tuple[str]:
        return (self.name,)


class Founding(models.Model):
    """A view of the database, on publishers."""

    name = models.CharField(max_length=100, primary_key=True)
    founded = models.IntegerField(null=True)

    class Meta:
        managed = False
        db_table = "testapp_founding"

    def __str__(self) -> str:
        return self.name


class Busiest(models.Model):
    """A view on the view."""

    name = models.CharField(max_length=100, primary_key=True)

    class Meta:
        managed = False
        db_table = "testapp_busiest"

    def __str__(self) -> str:
        return self.name


class Reading(Named):
    """Columns that only PostgreSQL has."""

    chapters = ArrayField(models.IntegerField(), default=list)
    pages = IntegerRangeField(null=True)
    days = DateRangeField(null=True)

    class Meta:
        required_db_vendor = "postgresql"
