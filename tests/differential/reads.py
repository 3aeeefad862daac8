"""Every kind of read, one row each."""

import datetime
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.prefetch import GenericPrefetch
from django.contrib.postgres.aggregates import ArrayAgg, BoolOr, JSONBAgg
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.functions import RandomUUID, TransactionNow
from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank, SearchVector
from django.db import connections, models, transaction
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Func,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    RowRange,
    StdDev,
    Subquery,
    Sum,
    Value,
    ValueRange,
    Variance,
    When,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KT
from django.db.models.functions import (
    MD5,
    Abs,
    Cast,
    Ceil,
    Chr,
    Coalesce,
    Concat,
    DenseRank,
    Extract,
    ExtractYear,
    FirstValue,
    Floor,
    Greatest,
    JSONObject,
    Lag,
    Least,
    Left,
    Length,
    Lower,
    LPad,
    Mod,
    Now,
    Ntile,
    NullIf,
    Ord,
    Power,
    Random,
    Rank,
    Repeat,
    Replace,
    Reverse,
    Right,
    Round,
    RowNumber,
    Sign,
    Sqrt,
    StrIndex,
    Substr,
    Trim,
    Trunc,
    TruncDate,
    TruncDay,
    TruncHour,
    TruncMonth,
    Upper,
)
from django.db.models.lookups import GreaterThan
from psycopg.types.range import Range as NumericRange

from querycache import cached, uncached
from querycache.exceptions import Reason
from tests.differential.shelf import ACE, CODE, MOMENT, Library
from tests.testapp.models import (
    Author,
    Biography,
    Book,
    CheapBook,
    Founding,
    Initials,
    Person,
    Reading,
    Secret,
    Tag,
)

with suppress(ImportError):
    from django.db.models import AnyValue, StringAgg  # Django 6.0
with suppress(ImportError):
    from django.core.exceptions import FieldFetchBlocked  # Django 6.1

TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")


@dataclass(frozen=True)
class Read:
    """
    A read of the library.

    ``needs`` is the flag of Django's database features without which it cannot run, ``on`` are the
    vendors on which it runs. ``reason`` is why it is not cacheable; "raw" stands for a read that
    does not pass through a compiler.
    """

    name: str
    run: Callable[[Library], Any]
    needs: str = ""
    reason: Reason | str | None = None
    on: frozenset[str] = frozenset({"sqlite", "postgresql", "mysql"})

    def can_run_on(self, using: str) -> bool:
        needed = not self.needs or bool(getattr(connections[using].features, self.needs))
        return needed and connections[using].vendor in self.on


POSTGRESQL = frozenset({"postgresql"})
DATE_AND_TIME = models.DateTimeField()


# Asynchronous twins -------------------------------------------------------------------------------


def alist(queryset: Any) -> list[Any]:
    async def collect() -> list[Any]:
        return [item async for item in queryset]

    return async_to_sync(collect)()


def twin(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    async def call() -> Any:
        return await method(*args, **kwargs)

    return async_to_sync(call)()


# Results that need more than an expression --------------------------------------------------------


def the_same_parent(db: Library) -> Any:
    author = db.author("Herbert")
    books = list(author.books.order_by("name"))
    assert all(book.author is author for book in books)
    return author, books


def one_to_one_both_ways(db: Library) -> Any:
    biography = db.author("Herbert").biography
    assert biography.author.biography is biography
    return biography


def missing_one_to_one(db: Library) -> Any:
    return hasattr(db.author("Le Guin"), "biography")


def generic_objects(db: Library) -> Any:
    return [(note, note.about) for note in db.notes.order_by("text")]


def deferred_then_loaded(db: Library) -> Any:
    book = db.books.only("name").get(name="Dune")
    return book.get_deferred_fields(), book.pages, book


def refreshed(db: Library) -> Any:
    book = db.book("Dune")
    book.name = "changed here only"
    book.refresh_from_db()
    return book


def refreshed_field(db: Library) -> Any:
    book = db.book("Dune")
    book.name, book.pages = "kept", 0
    book.refresh_from_db(fields=["pages"])
    return book


def locked(db: Library) -> Any:
    with transaction.atomic(using=db.using):
        return list(db.books.select_for_update().order_by("name"))


STRANGE = {"sqlite": "LIKELY", "postgresql": "QUOTE_LITERAL", "mysql": "SOUNDEX"}


def strange(db: Library) -> Any:
    function = STRANGE[connections[db.using].vendor]
    text = models.CharField(max_length=100)
    return list(by_name(Tag, db).values(n=Func("name", function=function, output_field=text)))


def prefetched_later(db: Library) -> Any:
    books = list(db.books.order_by("name"))
    models.prefetch_related_objects(books, "tags", "author__biography")
    return books


def counted_and_listed(db: Library) -> Any:
    queryset = db.books.order_by("name")
    return queryset.count(), len(queryset), queryset.count(), bool(queryset), queryset


def missing(db: Library) -> Any:
    try:
        return db.books.get(name="no such book")
    except Book.DoesNotExist as error:
        return type(error).__qualname__, str(error)


def several(db: Library) -> Any:
    try:
        return db.books.get(author__name="Herbert")
    except Book.MultipleObjectsReturned as error:
        return type(error).__qualname__, str(error)


def found_by_content_type(db: Library) -> Any:
    types = ContentType.objects.db_manager(db.using)
    both = types.get_for_models(Book, CheapBook, for_concrete_models=False)
    kind = types.get_by_natural_key("testapp", "tag")
    return both, kind, kind.get_object_for_this_type(using=db.using, name="desert")


def refreshed_from_a_queryset(db: Library) -> Any:
    book = db.book("Dune")
    book.refresh_from_db(from_queryset=db.books.select_related("author"))
    return book


def peers(db: Library) -> Any:
    books = list(by_name(Book, db).fetch_mode(models.FETCH_PEERS).defer("pages"))
    return books[0].author, books[0].pages, books


def fetch_refused(db: Library) -> Any:
    book = db.books.fetch_mode(models.FETCH_RAISE).get(name="Dune")
    try:
        return book.author
    except FieldFetchBlocked as error:
        return str(error), book


class Doubled(Func):
    """A function of the project's own, with SQL of its own."""

    template = "(%(expressions)s * 2)"
    output_field = models.IntegerField()


class Difference(models.Expression):
    """An expression of the project's own."""

    output_field = models.IntegerField()

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__()
        self.operands = [F(one), F(other)]

    def get_source_expressions(self) -> Any:
        return self.operands

    def set_source_expressions(self, expressions: Any) -> None:
        self.operands = list(expressions)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        (one, params), (other, more) = (compiler.compile(part) for part in self.operands)
        return f"{one} - {other}", [*params, *more]


class Spread(models.Aggregate):
    """An aggregate of the project's own."""

    template = "(MAX(%(expressions)s) - MIN(%(expressions)s))"
    output_field = models.IntegerField()


def locked_with(**options: Any) -> Callable[[Library], Any]:
    def run(db: Library) -> Any:
        with transaction.atomic(using=db.using):
            return list(db.books.select_for_update(**options).order_by("name"))

    return run


def locked_within(db: Library) -> Any:
    with transaction.atomic(using=db.using):
        # The slice keeps Django from dropping the subquery's lock.
        dune = db.books.select_for_update().filter(name="Dune").order_by("pk")
        return list(db.authors.filter(books__in=dune))


def pages_doubled() -> Any:
    return ExpressionWrapper(F("pages") * 2, output_field=models.IntegerField())


def by_name(model: Any, db: Library) -> Any:
    return db.of(model).order_by("name")


PRICED = Case(
    When(price__lt=5, then=Value("cheap")),
    When(price__lt=Decimal("50.00"), then=Value("fair")),
    default=Value("dear"),
)
CLOCK = Case(
    When(Exists(Book.objects.filter(author=OuterRef("pk"), published_at__lt=Now())), then=1),
    default=0,
)
OF_THE_SAME_AUTHOR = Book.objects.filter(author=OuterRef("author")).exclude(pk=OuterRef("pk"))
TAGGED_AS_THE_AUTHOR_IS_NAMED = Book.objects.filter(
    Exists(Tag.objects.filter(books=OuterRef("pk")).exclude(name=OuterRef(OuterRef("name")))),
    author=OuterRef("pk"),
)
BEST_OF_AUTHOR = Book.objects.filter(author=OuterRef("pk")).order_by("-pages")
DESERT = Tag.objects.filter(books=OuterRef("pk"), name="desert")


def ranked(function: Any) -> Any:
    return Window(function, partition_by=F("author"), order_by=F("pages").desc())


CACHEABLE = [
    # One row
    Read("get", lambda db: db.books.get(name="Dune")),
    Read("get by primary key", lambda db: db.books.get(pk=db.book("Dune").pk)),
    Read("get by an int as text", lambda db: db.books.get(pk=str(db.book("Dune").pk))),
    Read("get that finds nothing", missing),
    Read("get that finds several", several),
    Read("first", lambda db: db.books.order_by("name").first()),
    Read("first without an order", lambda db: db.books.first()),
    Read("first of nothing", lambda db: db.books.filter(pages=-1).first()),
    Read("last", lambda db: db.books.order_by("name").last()),
    Read("earliest", lambda db: db.books.earliest("published_on", "name")),
    Read("latest", lambda db: db.books.exclude(published_at=None).latest("published_at")),
    Read("index", lambda db: db.books.order_by("name")[1]),
    Read("refresh_from_db", refreshed),
    Read("refresh_from_db of one field", refreshed_field),
    Read("refresh_from_db from a queryset", refreshed_from_a_queryset),
    # Many rows
    Read("list", lambda db: list(db.books.order_by("name"))),
    Read("slice", lambda db: list(db.books.order_by("name")[1:3])),
    Read("slice with a step", lambda db: db.books.order_by("name")[0:4:2]),
    Read("slice to the end", lambda db: list(db.books.order_by("name")[2:])),
    Read("reverse", lambda db: list(db.books.order_by("name").reverse())),
    Read("in_bulk", lambda db: db.books.in_bulk()),
    Read("in_bulk of some", lambda db: db.publishers.in_bulk([ACE, str(ACE)])),
    Read("values", lambda db: list(db.books.order_by("name").values())),
    Read("values of a join", lambda db: list(db.books.order_by("name").values("author__name"))),
    Read("values with an expression", lambda db: list(by_name(Tag, db).values(up=Upper("name")))),
    Read("values_list", lambda db: list(db.books.order_by("name").values_list("name", "price"))),
    Read("values_list flat", lambda db: list(by_name(Book, db).values_list("rating", flat=True))),
    Read(
        "values_list named", lambda db: list(by_name(Tag, db).values_list("pk", "name", named=True))
    ),
    Read("values_list of a UUID", lambda db: list(db.publishers.order_by("name").values_list())),
    Read("dates", lambda db: list(db.books.dates("published_on", "month"))),
    Read("dates backwards", lambda db: list(db.books.dates("published_on", "year", order="DESC"))),
    Read("datetimes", lambda db: list(db.books.datetimes("published_at", "hour"))),
    Read(
        "datetimes in Tokyo",
        lambda db: list(db.books.datetimes("published_at", "day", tzinfo=TOKYO)),
        needs="has_zoneinfo_database",
    ),
    Read(
        "distinct",
        lambda db: list(db.books.order_by("author__name").values("author__name").distinct()),
    ),
    Read(
        "distinct on a field",
        lambda db: list(db.books.order_by("author__name", "-pages").distinct("author__name")),
        needs="can_distinct_on_fields",
    ),
    Read("membership", lambda db: db.book("Dune") in db.books.filter(pages__gt=200)),
    Read("count, length and truth", counted_and_listed),
    Read("an empty result", lambda db: list(db.books.filter(name="no such book"))),
    Read("none()", lambda db: list(db.books.none())),
    Read("in an empty list", lambda db: list(db.books.filter(pk__in=[]))),
    Read(
        "distinct over a relation",
        lambda db: list(db.books.filter(tags__name__gt="a").order_by("author__name").distinct()),
    ),
    Read(
        "distinct on a field of a relation of a relation",
        lambda db: list(
            db.edits.order_by("book__author__name", "role").distinct("book__author__name")
        ),
        needs="can_distinct_on_fields",
    ),
    # Yes, no and how many
    Read("count", lambda db: db.books.count()),
    Read("count of a slice", lambda db: db.books.order_by("name")[1:3].count()),
    Read("count distinct", lambda db: db.books.values("author").distinct().count()),
    Read("count of a union", lambda db: db.tags.order_by().union(db.tags.order_by()).count()),
    Read(
        "count of annotations",
        lambda db: db.authors.annotate(n=Count("books")).filter(n__gt=0).count(),
    ),
    Read("exists", lambda db: db.books.exists()),
    Read("exists that is not so", lambda db: db.books.filter(pages=-1).exists()),
    Read("exists of a slice", lambda db: db.books.order_by("name")[10:].exists()),
    Read("contains", lambda db: db.books.filter(pages__gt=200).contains(db.book("Dune"))),
    # Aggregates
    Read("aggregate Count", lambda db: db.books.aggregate(Count("publisher"), n=Count("*"))),
    Read(
        "aggregate Count distinct", lambda db: db.books.aggregate(n=Count("author", distinct=True))
    ),
    Read("aggregate Sum of decimals", lambda db: db.books.aggregate(Sum("price"))),
    Read("aggregate Sum of durations", lambda db: db.books.aggregate(Sum("reading_time"))),
    Read("aggregate Avg", lambda db: db.books.aggregate(Avg("pages"), Avg("price"), Avg("rating"))),
    Read(
        "aggregate Min and Max",
        lambda db: db.books.aggregate(Min("published_at"), Max("published_on")),
    ),
    Read("aggregate StdDev", lambda db: db.books.aggregate(StdDev("pages"), Variance("pages"))),
    Read(
        "aggregate of nothing",
        lambda db: db.books.filter(pages=-1).aggregate(Sum("pages"), Count("pk")),
    ),
    Read(
        "aggregate with a default",
        lambda db: db.books.filter(pages=-1).aggregate(n=Sum("pages", default=7)),
    ),
    Read(
        "aggregate with a filter",
        lambda db: db.books.aggregate(n=Count("pk", filter=Q(in_print=True))),
    ),
    Read("aggregate over a join", lambda db: db.authors.aggregate(n=Sum("books__pages"))),
    Read(
        "aggregate over annotations",
        lambda db: db.authors.annotate(n=Count("books")).aggregate(Max("n"), Avg("n")),
    ),
    Read(
        "aggregate over a slice", lambda db: db.books.order_by("name")[:2].aggregate(Sum("pages"))
    ),
    Read(
        "aggregate over distinct",
        lambda db: db.books.values("author").distinct().aggregate(n=Count("author")),
    ),
    Read("aggregates of aggregates", lambda db: db.books.aggregate(a=Sum("pages"), b=F("a") * 2)),
    Read(
        "aggregate of an empty list",
        lambda db: db.books.filter(pk__in=[]).aggregate(n=Count("pk"), s=Sum("pages")),
    ),
    Read(
        "aggregate over a subquery",
        lambda db: db.authors.annotate(best=Subquery(BEST_OF_AUTHOR.values("pages")[:1])).aggregate(
            Sum("best"), Max("best")
        ),
    ),
    Read(
        "aggregate of Case", lambda db: db.books.aggregate(n=Sum(Case(When(pages__gt=200, then=1))))
    ),
    Read("aggregate of one's own", lambda db: db.books.aggregate(n=Spread("pages"))),
    # Annotations
    Read("annotate F", lambda db: list(by_name(Book, db).annotate(writer=F("author__name")))),
    Read("annotate arithmetic", lambda db: list(by_name(Book, db).annotate(twice=pages_doubled()))),
    Read("annotate Count", lambda db: list(by_name(Author, db).annotate(n=Count("books")))),
    Read(
        "annotate Count distinct over two joins",
        lambda db: list(
            by_name(Author, db).annotate(
                b=Count("books", distinct=True), t=Count("books__tags", distinct=True)
            )
        ),
    ),
    Read(
        "annotate Func",
        lambda db: list(by_name(Tag, db).annotate(n=Func("name", function="LENGTH")).values()),
    ),
    Read("annotate Case", lambda db: list(by_name(Book, db).annotate(kind=PRICED).values("kind"))),
    Read("annotate Coalesce", lambda db: list(by_name(Book, db).values(r=Coalesce("rating", 0.0)))),
    Read("annotate Value", lambda db: list(by_name(Tag, db).annotate(one=Value(1), t=Value("1")))),
    Read(
        "annotate functions",
        lambda db: list(
            by_name(Book, db).values(
                a=Lower("name"),
                b=Length("name"),
                c=Concat("name", Value(" "), "author__name"),
                d=Substr("name", 2, 3),
                e=Cast("pages", models.CharField(max_length=20)),
                f=Round("rating"),
                g=MD5("name"),
                h=NullIf("pages", Value(99)),
                i=Greatest("pages", Value(200)),
            )
        ),
    ),
    Read(
        "annotate Subquery",
        lambda db: list(
            by_name(Author, db).annotate(best=Subquery(BEST_OF_AUTHOR.values("name")[:1]))
        ),
    ),
    Read("annotate Exists", lambda db: list(by_name(Book, db).annotate(dry=Exists(DESERT)))),
    Read("filter by Exists", lambda db: list(by_name(Book, db).filter(~Exists(DESERT)))),
    Read(
        "filter by a subquery",
        lambda db: list(by_name(Book, db).filter(author__in=db.authors.filter(name="Herbert"))),
    ),
    Read(
        "filter by an annotation",
        lambda db: list(by_name(Author, db).annotate(n=Count("books")).filter(n__gte=2)),
    ),
    Read("filter by F", lambda db: list(by_name(Book, db).filter(pages__gt=F("rating") * 10))),
    Read(
        "filter by a lookup as expression",
        lambda db: list(by_name(Book, db).filter(GreaterThan(F("pages"), 200))),
    ),
    Read(
        "filter by a subquery's value",
        lambda db: list(
            by_name(Author, db).filter(name=Subquery(db.books.values("author__name")[:1]))
        ),
    ),
    Read(
        "exclude by a subquery",
        lambda db: list(by_name(Book, db).exclude(author__in=db.authors.filter(name="Herbert"))),
    ),
    Read(
        "filter by a subquery of a union",
        lambda db: list(
            by_name(Book, db).filter(
                pk__in=db.books.filter(pages=412)
                .values("pk")
                .union(db.books.filter(author__in=db.authors.filter(name="Le Guin")).values("pk"))
            )
        ),
    ),
    Read(
        "OuterRef of an OuterRef",
        lambda db: list(by_name(Author, db).filter(Exists(TAGGED_AS_THE_AUTHOR_IS_NAMED))),
    ),
    Read(
        "aggregate in a subquery",
        lambda db: list(
            by_name(Book, db).annotate(
                n=Subquery(
                    OF_THE_SAME_AUTHOR.order_by()
                    .values("author")
                    .annotate(n=Count("pk"))
                    .values("n")
                )
            )
        ),
    ),
    Read("filter by Case", lambda db: list(by_name(Book, db).alias(k=PRICED).filter(k="fair"))),
    Read(
        "filter by Coalesce of a subquery",
        lambda db: list(
            by_name(Author, db)
            .alias(n=Coalesce(Subquery(BEST_OF_AUTHOR.values("pages")[:1]), 0))
            .filter(n=0)
        ),
    ),
    Read(
        "a function of one's own", lambda db: list(by_name(Book, db).annotate(n=Doubled("pages")))
    ),
    Read(
        "an expression of one's own",
        lambda db: list(by_name(Book, db).annotate(n=Difference("pages", "price")).values("n")),
    ),
    Read(
        "a transform of one's own",
        lambda db: list(by_name(Person, db).filter(initials__how_many=3)),
    ),
    Read(
        "a lookup of one's own", lambda db: list(by_name(Person, db).filter(initials__among="AC"))
    ),
    Read(
        "functions of numbers",
        lambda db: list(
            by_name(Book, db).values(
                a=Abs("pages"),
                b=Ceil("rating"),
                c=Floor("rating"),
                d=Mod("pages", 7),
                e=Power("pages", 2),
                f=Sign("pages"),
                g=Sqrt("pages"),
                h=Least("pages", Value(200)),
            )
        ),
    ),
    Read(
        "functions of text",
        lambda db: list(
            by_name(Book, db).values(
                a=Left("name", 2),
                b=Right("name", 2),
                c=LPad("name", 9, Value("-")),
                d=Trim("name"),
                e=Replace("name", Value("e"), Value("3")),
                f=Reverse("name"),
                g=Repeat("name", 2),
                h=StrIndex("name", Value("u")),
                i=Ord("name"),
                j=Chr("pages"),
            )
        ),
    ),
    Read("alias", lambda db: list(by_name(Author, db).alias(n=Count("books")).filter(n=1))),
    Read(
        "group by values",
        lambda db: list(db.books.values("author__name").annotate(n=Sum("pages")).order_by("n")),
    ),
    Read(
        "conditional aggregate",
        lambda db: list(
            by_name(Author, db).annotate(n=Sum("books__pages", filter=Q(books__in_print=True)))
        ),
    ),
    Read(
        "RawSQL annotation",
        lambda db: list(by_name(Book, db).annotate(n=RawSQL("pages + %s", [3]))),
    ),
    Read(
        "RawSQL of another table",
        lambda db: list(
            by_name(Tag, db).annotate(n=RawSQL("SELECT COUNT(*) FROM testapp_author", []))
        ),
    ),
    Read("extra select", lambda db: list(by_name(Book, db).extra(select={"n": "pages + 1"}))),
    Read(
        "extra where", lambda db: list(by_name(Book, db).extra(where=["pages > %s"], params=[200]))
    ),
    Read("extra tables", lambda db: list(db.tags.extra(tables=["testapp_shelf"]).values("name"))),
    Read("extra order_by", lambda db: list(db.books.extra(order_by=["-pages", "name"]))),
    Read(
        "extra join",
        lambda db: list(
            db.books.extra(
                tables=["testapp_author"],
                where=["testapp_author.id = author_id", "testapp_author.name = %s"],
                params=["Herbert"],
            ).order_by("name")
        ),
    ),
    Read(
        "RawSQL in a condition",
        lambda db: list(by_name(Book, db).filter(pages__gt=RawSQL("50 + %s", [200]))),
    ),
    Read(
        "extra select in values",
        lambda db: list(
            by_name(Book, db).extra(select={"n": "pages + 1"}).values_list("n", "name")
        ),
    ),
    Read(
        "Window",
        lambda db: list(
            db.books.annotate(r=ranked(Rank()), d=ranked(DenseRank())).order_by("name")
        ),
    ),
    Read("Window over all", lambda db: list(by_name(Book, db).values(n=Window(Sum("pages"))))),
    Read(
        "Window with Lag",
        lambda db: list(by_name(Book, db).values("name", before=ranked(Lag("name")))),
    ),
    Read(
        "Window with a frame",
        lambda db: list(
            by_name(Book, db).values(
                n=Window(Sum("pages"), order_by="name", frame=RowRange(start=-1, end=0)),
                m=Window(FirstValue("name"), order_by="name", frame=ValueRange(start=None, end=0)),
                t=Window(Ntile(2), order_by="name"),
            )
        ),
    ),
    Read(
        "Window over an aggregate",
        lambda db: list(
            db.books.values("author__name")
            .annotate(n=Sum("pages"), r=Window(Rank(), order_by=F("n").desc()))
            .order_by("author__name")
        ),
    ),
    Read(
        "filter by a Window",
        lambda db: list(by_name(Book, db).annotate(n=ranked(RowNumber())).filter(n=1)),
    ),
    # Conditions
    Read("filter over a join", lambda db: list(by_name(Book, db).filter(author__name="Herbert"))),
    Read(
        "filter over many-to-many", lambda db: list(by_name(Book, db).filter(tags__name="desert"))
    ),
    Read(
        "filter backwards",
        lambda db: list(by_name(Author, db).filter(books__tags__name="classic").distinct()),
    ),
    Read(
        "exclude over many-to-many", lambda db: list(by_name(Book, db).exclude(tags__name="desert"))
    ),
    Read(
        "exclude over a foreign key",
        lambda db: list(by_name(Author, db).exclude(books__pages__gt=300)),
    ),
    Read(
        "Q or", lambda db: list(by_name(Book, db).filter(Q(pages=412) | Q(author__name="Le Guin")))
    ),
    Read("Q not", lambda db: list(by_name(Book, db).filter(~Q(pages=412), ~Q(tags=None)))),
    Read("Q xor", lambda db: list(by_name(Book, db).filter(Q(pages=412) ^ Q(in_print=True)))),
    Read("in", lambda db: list(by_name(Book, db).filter(pages__in=[412, 183]))),
    Read("range", lambda db: list(by_name(Book, db).filter(pages__range=(100, 300)))),
    Read("isnull", lambda db: list(by_name(Book, db).filter(publisher__isnull=True))),
    Read("null by a join", lambda db: list(by_name(Book, db).filter(publisher__founded=None))),
    Read(
        "text lookups",
        lambda db: list(
            by_name(Book, db).filter(name__icontains="u", name__startswith="D", name__iregex="^d")
        ),
    ),
    Read("a text like a number", lambda db: list(db.tags.filter(name="1"))),
    Read("a percent sign", lambda db: list(db.tags.filter(name__contains="100%"))),
    Read(
        "date parts",
        lambda db: list(by_name(Book, db).filter(published_at__year=2024, published_at__month=3)),
    ),
    Read(
        "date of a moment",
        lambda db: list(by_name(Book, db).filter(published_at__date=MOMENT.date())),
    ),
    Read("a moment", lambda db: db.books.get(published_at=MOMENT)),
    Read("a time", lambda db: list(db.books.filter(opens_at__gt=datetime.time(8)))),
    Read("a UUID", lambda db: db.books.get(code=CODE)),
    Read("a decimal", lambda db: list(by_name(Book, db).filter(price__gte=Decimal("12.5")))),
    Read("a float", lambda db: list(by_name(Book, db).filter(rating__gt=4.3))),
    Read(
        "a duration",
        lambda db: list(by_name(Book, db).filter(reading_time__gt=datetime.timedelta(hours=2))),
    ),
    Read("bytes", lambda db: list(db.books.filter(cover=b"\x00\xffcover"))),
    Read("a boolean", lambda db: list(by_name(Book, db).filter(in_print=False))),
    Read(
        "parts of moments",
        lambda db: list(
            by_name(Book, db).filter(
                published_at__quarter=1,
                published_at__week_day=1,
                published_at__time__gt=datetime.time(1),
                published_on__iso_year=2024,
                opens_at__hour=8,
            )
        ),
    ),
    # JSON
    Read("JSON key", lambda db: list(by_name(Book, db).filter(extra__prize="Hugo"))),
    Read("JSON null", lambda db: list(by_name(Book, db).filter(extra__prize=None))),
    Read("JSON path", lambda db: list(by_name(Book, db).filter(extra__parts__0=1))),
    Read("JSON has_key", lambda db: list(by_name(Book, db).filter(extra__has_key="ratio"))),
    Read(
        "JSON contains",
        lambda db: list(db.books.filter(extra__contains={"prize": "Hugo"})),
        needs="supports_json_field_contains",
    ),
    Read(
        "JSON in values",
        lambda db: list(by_name(Book, db).values_list("extra", "extra__parts", "extra__ratio")),
    ),
    Read(
        "JSON as text",
        lambda db: list(by_name(Book, db).annotate(p=KT("extra__prize")).values("p")),
    ),
    Read(
        "JSON key of values",
        lambda db: list(by_name(Book, db).values("extra__prize", "extra__parts__2__deep")),
    ),
    Read(
        "JSON has_keys and an index",
        lambda db: list(
            by_name(Book, db).filter(extra__has_keys=["prize", "parts"], extra__parts__1__gt=1)
        ),
    ),
    # Dates in other time zones
    Read(
        "TruncDay",
        lambda db: list(by_name(Book, db).values(d=TruncDay("published_at"))),
        needs="has_zoneinfo_database",
    ),
    Read(
        "TruncMonth",
        lambda db: list(
            by_name(Book, db).values(d=TruncMonth("published_on"), h=TruncHour("published_at"))
        ),
        needs="has_zoneinfo_database",
    ),
    Read(
        "ExtractYear",
        lambda db: list(
            by_name(Book, db).values(
                y=ExtractYear("published_at"), w=Extract("published_on", "week")
            )
        ),
    ),
    Read(
        "TruncDate in Tokyo",
        lambda db: list(by_name(Book, db).values(d=TruncDate("published_at", tzinfo=TOKYO))),
        needs="has_zoneinfo_database",
    ),
    Read(
        "Trunc in Tokyo",
        lambda db: list(by_name(Book, db).values(d=Trunc("published_at", "hour", tzinfo=TOKYO))),
        needs="has_zoneinfo_database",
    ),
    Read(
        "Extract in Tokyo",
        lambda db: list(by_name(Book, db).values(d=Extract("published_at", "day", tzinfo=TOKYO))),
        needs="has_zoneinfo_database",
    ),
    # Order
    Read("order over a relation", lambda db: list(db.books.order_by("author__name", "-name"))),
    Read(
        "order by an expression",
        lambda db: list(db.books.order_by(F("rating").desc(nulls_last=True), "name")),
    ),
    Read(
        "order by an annotation",
        lambda db: list(db.authors.annotate(n=Count("books")).order_by("-n", "name")),
    ),
    Read(
        "order by a subquery",
        lambda db: list(
            db.authors.order_by(
                Coalesce(Subquery(BEST_OF_AUTHOR.values("pages")[:1]), 0).desc(), "name"
            )
        ),
    ),
    Read("order by Case", lambda db: list(db.books.order_by(PRICED, "name"))),
    Read("order over many-to-many", lambda db: list(db.books.order_by("tags__name", "name"))),
    Read("order of the model", lambda db: list(db.tags.all())),
    # Relations
    Read("select_related", lambda db: list(by_name(Book, db).select_related("author"))),
    Read(
        "select_related of a nullable",
        lambda db: list(by_name(Book, db).select_related("publisher", "sequel_to__author")),
    ),
    Read(
        "select_related one-to-one",
        lambda db: list(by_name(Author, db).select_related("biography")),
    ),
    Read(
        "select_related of two",
        lambda db: list(db.edits.order_by("role").select_related("book__author", "editor")),
    ),
    Read(
        "prefetch_related",
        lambda db: list(by_name(Author, db).prefetch_related("books__tags", "biography")),
    ),
    Read(
        "prefetch_related many-to-many",
        lambda db: list(by_name(Book, db).prefetch_related("tags", "editors")),
    ),
    Read("prefetch_related backwards", lambda db: list(db.tags.prefetch_related("books__author"))),
    Read(
        "prefetch_related generic",
        lambda db: list(db.notes.order_by("text").prefetch_related("about")),
    ),
    Read(
        "prefetch_related generic relation",
        lambda db: list(by_name(Author, db).prefetch_related("notes")),
    ),
    Read(
        "GenericPrefetch",
        lambda db: list(
            db.notes.order_by("text").prefetch_related(
                GenericPrefetch("about", [db.books.only("name"), db.authors.all()])
            )
        ),
    ),
    Read(
        "Prefetch with a queryset",
        lambda db: list(
            by_name(Author, db).prefetch_related(
                Prefetch("books", db.books.filter(pages__gt=200).order_by("name"))
            )
        ),
    ),
    Read(
        "Prefetch to an attribute",
        lambda db: list(
            by_name(Author, db).prefetch_related(
                Prefetch("books", by_name(Book, db).select_related("publisher"), to_attr="best")
            )
        ),
    ),
    Read(
        "Prefetch of a slice",
        lambda db: list(
            by_name(Author, db).prefetch_related(
                Prefetch("books", by_name(Book, db)[:1], to_attr="one")
            )
        ),
    ),
    Read("prefetch_related_objects", prefetched_later),
    Read("related manager", the_same_parent),
    Read("related manager count", lambda db: db.author("Herbert").books.count()),
    Read("foreign key", lambda db: db.book("Dune").author),
    Read(
        "nullable foreign key",
        lambda db: (db.book("Earthsea").publisher, db.book("Messiah").sequel_to),
    ),
    Read("many-to-many", lambda db: list(db.book("Dune").tags.all())),
    Read(
        "many-to-many backwards", lambda db: list(db.tags.get(name="desert").books.order_by("name"))
    ),
    Read("many-to-many through", lambda db: list(db.book("Dune").editors.all())),
    Read(
        "many-to-many through backwards",
        lambda db: list(db.author("Le Guin").edited_books.order_by("name")),
    ),
    Read(
        "rows of through",
        lambda db: list(
            Book.tags.through.objects.using(db.using).order_by("book__name", "tag__name")
        ),
    ),
    Read("one-to-one", one_to_one_both_ways),
    Read("one-to-one that is not there", missing_one_to_one),
    Read("generic foreign key", generic_objects),
    Read("generic relation", lambda db: list(db.book("Dune").notes.all())),
    Read(
        "filter by a generic relation",
        lambda db: list(by_name(Author, db).filter(notes__text__startswith="on")),
    ),
    Read(
        "a foreign key to itself",
        lambda db: list(
            by_name(Book, db).filter(sequel_to__name="Dune").select_related("sequel_to")
        ),
    ),
    Read("a foreign key to itself, backwards", lambda db: list(db.book("Dune").sequels.all())),
    Read(
        "FilteredRelation",
        lambda db: list(
            by_name(Author, db)
            .annotate(thick=FilteredRelation("books", condition=Q(books__pages__gt=200)))
            .annotate(n=Count("thick"))
        ),
    ),
    Read(
        "FilteredRelation over a join",
        lambda db: list(
            by_name(Author, db)
            .annotate(dry=FilteredRelation("books__tags", condition=Q(books__tags__name="desert")))
            .values("name", "dry__name")
            .order_by("name", "dry__name", "books__name")
        ),
    ),
    Read(
        "FilteredRelation with select_related",
        lambda db: list(
            by_name(Book, db)
            .annotate(ace=FilteredRelation("publisher", condition=Q(publisher__name="Ace")))
            .select_related("ace")
        ),
    ),
    Read(
        "select_related of a child", lambda db: list(by_name(Book, db).select_related("textbook"))
    ),
    Read("many-to-many of a child", lambda db: list(db.textbooks.get().tags.all())),
    Read("symmetrical many-to-many", lambda db: list(db.person("Ben").friends.all())),
    Read(
        "many-to-many to itself, both ways",
        lambda db: (
            list(db.person("Cy").follows.order_by("name")),
            list(by_name(Person, db).prefetch_related("followers__follows")),
        ),
    ),
    Read("content types", found_by_content_type),
    # Some columns
    Read("only", lambda db: list(by_name(Book, db).only("name", "author"))),
    Read(
        "only over a join",
        lambda db: list(by_name(Book, db).select_related("author").only("name", "author__name")),
    ),
    Read("defer", lambda db: list(by_name(Book, db).defer("extra", "cover"))),
    Read("a deferred field", deferred_then_loaded),
    # Two querysets
    Read(
        "union",
        lambda db: list(
            db.books.filter(pages__gt=300).union(db.books.filter(pages__lt=100)).order_by("name")
        ),
    ),
    Read(
        "union of values",
        lambda db: list(
            db.books.values("name", "pages")
            .union(db.books.values("name", "pages"))
            .order_by("-pages")
        ),
    ),
    Read(
        "union of two models",
        lambda db: list(
            db.tags.order_by()
            .values_list("name")
            .union(db.authors.values_list("name"))
            .order_by("name")
        ),
    ),
    Read(
        "union of values in another order",
        lambda db: list(
            db.tags.order_by().union(db.tags.order_by()).order_by("name").values("name")
        ),
    ),
    Read(
        "union all",
        lambda db: list(
            db.tags.order_by()
            .values("name")
            .union(db.tags.order_by().values("name"), all=True)
            .order_by("name")
        ),
    ),
    Read(
        "union ordered by what is not selected",
        lambda db: list(
            db.books.union(db.books.all()).order_by("-pages").values_list("name", "pk")
        ),
    ),
    Read(
        "intersection",
        lambda db: list(db.books.intersection(db.books.filter(pages__gt=200)).order_by("name")),
        needs="supports_select_intersection",
    ),
    Read(
        "difference",
        lambda db: list(db.books.difference(db.books.filter(pages__gt=200)).order_by("name")),
        needs="supports_select_difference",
    ),
    Read(
        "union of a union with a subquery",
        lambda db: list(
            db.books.filter(author__in=db.authors.filter(name="Le Guin"))
            .union(db.books.filter(pages=99), db.books.filter(Exists(DESERT), pages__lt=300))
            .order_by("name")
        ),
    ),
    Read(
        "difference of an intersection with a subquery",
        lambda db: list(
            db.books.intersection(db.books.filter(Exists(DESERT)))
            .difference(db.books.filter(author__in=db.authors.filter(name="Le Guin")))
            .order_by("name")
        ),
        needs="supports_select_difference",
    ),
    Read(
        "or of two querysets",
        lambda db: list((db.books.filter(pages=412) | db.books.filter(pages=183)).order_by("name")),
    ),
    Read(
        "and of two querysets",
        lambda db: list(
            (db.books.filter(pages__gt=100) & db.books.filter(pages__lt=300)).order_by("name")
        ),
    ),
    # Kinds of models
    Read("a child", lambda db: list(db.textbooks.select_related("author"))),
    Read(
        "a child by its parent's column",
        lambda db: db.textbooks.filter(name="Ecology").values("subject", "pages")[0],
    ),
    Read("the child of a parent", lambda db: db.book("Ecology").textbook),
    Read("the parent of a child", lambda db: db.textbooks.get().book_ptr),
    Read("only of a child", lambda db: list(db.textbooks.only("subject"))),
    Read("a proxy", lambda db: list(db.cheap_books.order_by("name"))),
    Read("a proxy's own manager", lambda db: CheapBook.objects.using(db.using).count()),
    Read("two columns as key", lambda db: list(db.seats.order_by("number"))),
    Read("get by two columns", lambda db: db.seats.get(pk=(7, 2))),
    Read(
        "values of the key of two columns",
        lambda db: list(db.seats.order_by("number").values_list("pk", "guest")),
    ),
    Read(
        "in a list of keys of two columns",
        lambda db: list(db.seats.filter(pk__in=[(7, 1), (7, 3)]).order_by("pk")),
    ),
    Read("a key of two columns after another", lambda db: list(db.seats.filter(pk__gt=(7, 1)))),
    Read(
        "a subquery of two columns",
        lambda db: list(
            db.seats.filter(pk__in=db.seats.filter(guest="guest 2").values("pk")).order_by("pk")
        ),
    ),
    Read(
        "filter by what the database computes",
        lambda db: list(db.computed.filter(lower_name="mixed").order_by("lower_name")),
    ),
    Read("a value of the project's own", lambda db: list(by_name(Person, db))),
    Read(
        "a value of the project's own in values",
        lambda db: list(by_name(Person, db).values_list("initials", Max("initials"))),
    ),
    Read("a condition of such a value", lambda db: db.people.get(initials=Initials("AB"))),
    Read("a queryset of one's own", lambda db: list(by_name(Person, db).popular())),
    Read("a natural key", lambda db: Person.objects.db_manager(db.using).get_by_natural_key("Ann")),
    Read("what a manager defers", lambda db: db.person("Ann").motto),
    Read("columns that the database computes", lambda db: list(db.computed.all())),
    Read("an odd table", lambda db: list(by_name(db.odd.model, db).select_related("parent"))),
    Read("an odd table's children", lambda db: list(db.odd.get(name="parent").children.all())),
    Read("a quoted table", lambda db: list(db.quoted.all())),
    Read("a UUID as key", lambda db: db.publishers.get(pk=ACE)),
    Read(
        "a one-to-one as key",
        lambda db: Biography.objects.using(db.using).get(pk=db.author("Herbert").pk),
    ),
    # What was asked for
    Read("cached()", lambda db: list(cached(by_name(Tag, db), ttl=5))),
    Read("cache()", lambda db: list(db.books.cache(ttl=5).order_by("name"))),
    # Asynchronous
    Read("aget", lambda db: twin(db.books.aget, name="Dune")),
    Read("afirst", lambda db: twin(db.books.order_by("name").afirst)),
    Read("alast", lambda db: twin(db.books.order_by("name").alast)),
    Read("alatest", lambda db: twin(db.books.exclude(published_on=None).alatest, "published_on")),
    Read("acount", lambda db: twin(db.books.acount)),
    Read("aexists", lambda db: twin(db.books.aexists)),
    Read("acontains", lambda db: twin(db.books.acontains, db.book("Dune"))),
    Read("aaggregate", lambda db: twin(db.books.aaggregate, Sum("pages"))),
    Read("ain_bulk", lambda db: twin(db.books.ain_bulk)),
    Read("async for", lambda db: alist(by_name(Book, db))),
    Read("async for over values", lambda db: alist(by_name(Book, db).values("name", "price"))),
    Read(
        "async for with prefetch_related",
        lambda db: alist(by_name(Author, db).prefetch_related("books")),
    ),
    Read(
        "async for over a related manager",
        lambda db: alist(db.author("Herbert").books.order_by("name")),
    ),
]

if hasattr(models, "StringAgg"):  # Django 6.0
    CACHEABLE += [
        Read(
            "StringAgg",
            lambda db: list(
                by_name(Author, db).values(
                    n=StringAgg("books__name", Value(", "), order_by="books__pk")
                )
            ),
            needs="supports_aggregate_order_by_clause",
        ),
        Read(
            "AnyValue",
            lambda db: list(by_name(Author, db).values(n=AnyValue("books__author__name"))),
            needs="supports_any_value",
        ),
    ]

if hasattr(models, "FETCH_PEERS"):  # Django 6.1
    CACHEABLE += [Read("FETCH_PEERS", peers), Read("FETCH_RAISE", fetch_refused)]

WORDS = SearchVector("name", "author__name", config="english")
CACHEABLE += [
    replace(read, on=POSTGRESQL)
    for read in [
        Read("an array", lambda db: list(by_name(Reading, db))),
        Read("array contains", lambda db: list(db.readings.filter(chapters__contains=[2, 3]))),
        Read("array overlap", lambda db: list(db.readings.filter(chapters__overlap=[3, 4]))),
        Read("array index", lambda db: list(db.readings.filter(chapters__0=1))),
        Read(
            "array slice and length",
            lambda db: list(db.readings.filter(chapters__0_2=[1, 2], chapters__len=3)),
        ),
        Read("array in values", lambda db: list(by_name(Reading, db).values("chapters__1"))),
        Read("range contains", lambda db: list(db.readings.filter(pages__contains=7))),
        Read(
            "range overlap",
            lambda db: list(db.readings.filter(pages__overlap=NumericRange(30, 50))),
        ),
        Read(
            "range of days",
            lambda db: list(
                db.readings.filter(days__startswith__lte=MOMENT.date(), days__isempty=False)
            ),
        ),
        Read(
            "ArrayAgg",
            lambda db: list(
                by_name(Author, db).values(n=ArrayAgg("books__name", distinct=True, default=[]))
            ),
        ),
        Read(
            "ArraySubquery",
            lambda db: list(
                by_name(Author, db).values(n=ArraySubquery(BEST_OF_AUTHOR.values("name")))
            ),
        ),
        Read(
            "JSONBAgg and BoolOr",
            lambda db: db.books.aggregate(
                n=JSONBAgg("pages", filter=Q(pages=99)), m=BoolOr("in_print")
            ),
        ),
        Read(
            "full text",
            lambda db: list(
                db.books.annotate(
                    words=WORDS, rank=SearchRank(WORDS, SearchQuery("herbert", config="english"))
                )
                .filter(words=SearchQuery("herbert dune", config="english"))
                .order_by("-rank")
            ),
        ),
        Read(
            "full text with a headline",
            lambda db: list(
                by_name(Book, db).values(
                    h=SearchHeadline("name", SearchQuery("dune"), config="english")
                )
            ),
        ),
    ]
]

# Not cached as yet, as the word before a parenthesis is taken for a function.
CACHEABLE += [
    Read("JSON in order", lambda db: list(db.books.order_by(KT("extra__prize"), "name"))),
    Read(
        "order by RawSQL", lambda db: list(db.books.order_by(RawSQL("pages / %s", [100]), "name"))
    ),
    Read(
        "functions of JSON",
        lambda db: list(by_name(Book, db).values(o=JSONObject(name="name", prize="extra__prize"))),
        needs="has_json_object_function",
    ),
]

NOT_CACHEABLE = [
    Read(
        "a random order",
        lambda db: set(db.tags.order_by("?").values_list("name")),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Now",
        lambda db: list(db.books.filter(published_at__lt=Now()).order_by("name")),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Random",
        lambda db: set(db.tags.alias(r=Random()).filter(r__lt=2).values_list("name")),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Now deep in a Case",
        lambda db: list(by_name(Author, db).annotate(n=CLOCK)),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Now in the filter of an aggregate",
        lambda db: db.books.aggregate(n=Count("pk", filter=Q(published_at__lt=Now()))),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Now in an order",
        lambda db: list(db.tags.order_by(Now(), "name")),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "Random in a subquery of a union",
        lambda db: list(
            db.books.filter(pk__in=db.books.alias(r=Random()).filter(r__lt=2).values("pk"))
            .union(db.books.none(), db.books.all())
            .order_by("name")
        ),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "the clock in RawSQL",
        lambda db: list(by_name(Tag, db).annotate(n=RawSQL("CURRENT_TIMESTAMP IS NULL", []))),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "the clock in extra()",
        lambda db: list(by_name(Tag, db).extra(where=["CURRENT_DATE > '2000-01-01'"])),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "the session's user",
        lambda db: list(by_name(Tag, db).annotate(n=RawSQL("CURRENT_USER", []))),
        on=frozenset({"postgresql", "mysql"}),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "a setting of the session",
        lambda db: list(by_name(Tag, db).annotate(n=RawSQL("@@sql_mode", []))),
        on=frozenset({"mysql"}),
        reason=Reason.UNKNOWN_SQL,
    ),
    Read(
        "a comment that is executed",
        lambda db: list(by_name(Tag, db).annotate(n=RawSQL("1 /*! + 0 * RAND() */", []))),
        on=frozenset({"mysql"}),
        reason=Reason.UNKNOWN_SQL,
    ),
    Read(
        "a sequence",
        lambda db: list(
            by_name(Tag, db).extra(where=["nextval('testapp_tag_id_seq') > 0"]).values("name")
        ),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "RandomUUID",
        lambda db: list(by_name(Tag, db).alias(r=RandomUUID()).exclude(r=ACE)),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "TransactionNow",
        lambda db: list(by_name(Book, db).filter(published_at__lt=TransactionNow())),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "a parameter that stands for a moment",
        lambda db: list(
            by_name(Book, db).filter(published_at__lt=Cast(Value(" Today 10:00"), DATE_AND_TIME))
        ),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "moments in an array",
        lambda db: list(
            by_name(Book, db).extra(
                where=["published_at <> ALL(%s::timestamptz[])"], params=[["now", "1990-01-01"]]
            )
        ),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "a time as a moment of today",
        lambda db: list(
            by_name(Book, db).filter(published_at__lt=Cast(Value(datetime.time(8)), DATE_AND_TIME))
        ),
        on=frozenset({"mysql"}),
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read(
        "an operator of a schema",
        lambda db: list(by_name(Tag, db).extra(where=["id OPERATOR(pg_catalog.>) 0"])),
        on=POSTGRESQL,
        reason=Reason.UNKNOWN_FUNCTION,
    ),
    Read("a function nobody knows", strange, reason=Reason.UNKNOWN_FUNCTION),
    Read(
        "iterator",
        lambda db: list(by_name(Book, db).iterator(chunk_size=2)),
        reason=Reason.ITERATOR,
    ),
    Read(
        "aiterator",
        lambda db: alist(by_name(Book, db).aiterator(chunk_size=2)),
        reason=Reason.ITERATOR,
    ),
    Read("select_for_update", locked, needs="has_select_for_update", reason=Reason.LOCKING),
    Read(
        "iterator with prefetch_related",
        lambda db: list(by_name(Author, db).prefetch_related("books").iterator(chunk_size=2)),
        reason=Reason.ITERATOR,
    ),
    *(
        Read(
            f"select_for_update with {option}",
            locked_with(**{option: ("self",) if option == "of" else True}),
            needs=flag,
            reason=Reason.LOCKING,
        )
        for option, flag in [
            ("nowait", "has_select_for_update_nowait"),
            ("skip_locked", "has_select_for_update_skip_locked"),
            ("of", "has_select_for_update_of"),
            ("no_key", "has_select_for_no_key_update"),
        ]
    ),
    Read(
        "select_for_update in a subquery",
        locked_within,
        needs="has_select_for_update",
        reason=Reason.LOCKING,
    ),
    Read("explain", lambda db: type(db.books.explain()), reason=Reason.EXPLAIN),
    Read("uncached()", lambda db: list(uncached(by_name(Tag, db))), reason=Reason.UNCACHED),
    Read("nocache()", lambda db: list(by_name(Book, db).nocache()), reason=Reason.UNCACHED),
    Read("a model that is not opted in", lambda db: list(db.secrets.all()), reason="raw"),
    Read(
        "a join to it",
        lambda db: list(db.authors.filter(secrets__text="spice")),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "an order by it",
        lambda db: list(db.authors.order_by("secrets__text", "name")),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "a FilteredRelation to it",
        lambda db: list(
            by_name(Author, db)
            .annotate(own=FilteredRelation("secrets", condition=Q(secrets__text="spice")))
            .values("own__text")
        ),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "select_related to it",
        lambda db: list(Secret.objects.using(db.using).select_related("author")),
        reason="raw",
    ),
    Read("a view of the database", lambda db: list(by_name(Founding, db)), reason="raw"),
    Read(
        "a subquery on a view",
        lambda db: list(by_name(Tag, db).filter(name__in=db.foundings.values("name"))),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "a subquery on it",
        lambda db: list(
            by_name(Author, db).annotate(n=Exists(Secret.objects.filter(author=OuterRef("pk"))))
        ),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "a subquery on it in an aggregate",
        lambda db: (
            db.authors.alias(n=Exists(Secret.objects.filter(author=OuterRef("pk"))))
            .filter(n=True)
            .aggregate(m=Count("pk"))
        ),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "a union with it",
        lambda db: list(
            db.tags.order_by().values("name").union(db.secrets.values("text")).order_by("name")
        ),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "RawSQL on it",
        lambda db: list(
            by_name(Tag, db).annotate(n=RawSQL("SELECT COUNT(*) FROM testapp_secret", []))
        ),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "extra() with its table",
        lambda db: list(db.tags.extra(tables=["testapp_secret"]).values("name")),
        reason=Reason.NOT_OPTED_IN,
    ),
    Read(
        "raw()",
        lambda db: list(db.tags.raw("SELECT * FROM testapp_tag ORDER BY name")),
        reason="raw",
    ),
]
