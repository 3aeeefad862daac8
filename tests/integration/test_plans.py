"""A query that was answered from the cache is not compiled again, and all else is."""

import datetime
import logging
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connections, models, transaction
from django.db.models import F, Func, Max, Value
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone, translation

from querycache import bypass, cached, planning, recall
from querycache.memory import Memory
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book, CheapBook

ONE_HOUR_EAST = datetime.timezone(datetime.timedelta(hours=1))


@pytest.fixture(autouse=True)
def forgotten(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": False}
    recall.forget_plans()


@pytest.fixture
def author(using, store):
    return Author.objects.using(using).create(name="a")


@pytest.fixture
def compilations(monkeypatch):
    """Count the queries that are compiled."""
    compiled = []
    original = planning.compile_once

    def compile_once(compiler):
        compiled.append(compiler.query)
        return original(compiler)

    for module in (planning, recall):
        monkeypatch.setattr(module, "compile_once", compile_once)
    return compiled


def outcomes(read, times):
    with record_reads() as found:
        results = [read() for _ in range(times)]
    assert all(result == results[0] for result in results)
    return [one.outcome for one in found]


class Suffixed(Func):
    suffix = "x"

    def as_sql(self, compiler, connection, **context):
        return "%s", [self.suffix]


READS = {
    "get": lambda using: Author.objects.using(using).get(name="a"),
    "list": lambda using: list(Author.objects.using(using).order_by("name")[:5]),
    "values": lambda using: list(Author.objects.using(using).values("name", n=F("pk"))),
    "values_list": lambda using: list(Author.objects.using(using).values_list("pk", flat=True)),
    "count": lambda using: Author.objects.using(using).count(),
    "exists": lambda using: Author.objects.using(using).filter(name="a").exists(),
    "aggregate": lambda using: Author.objects.using(using).aggregate(Max("pk")),
    "aggregate over a slice": lambda using: Author.objects.using(using)[:2].aggregate(Max("pk")),
    "select_related": lambda using: list(Book.objects.using(using).select_related("author")),
    "extra": lambda using: list(Author.objects.using(using).extra(select={"one": "1"})),
    "cached": lambda using: list(cached(Author.objects.using(using).all(), ttl=9)),
    "annotate": lambda using: list(Author.objects.using(using).annotate(v=Value(3)).defer("name")),
}


@pytest.mark.parametrize("store_alias", ["redis"], indirect=True)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_the_second_time_a_read_is_not_compiled(author, using, read, compilations):
    Book.objects.using(using).create(name="b", author=author)
    assert outcomes(lambda: read(using), 4) == ["miss", "hit", "hit", "hit"]
    assert len(compilations) == 1


@pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)
class TestOn:
    """Cases that do not depend on the store."""

    def test_what_was_remembered_is_compiled_when_it_has_to_be_loaded(
        self, author, using, compilations
    ):
        read = lambda: Author.objects.using(using).get(name="a").name  # noqa: E731
        assert outcomes(read, 3) == ["miss", "hit", "hit"]
        Author.objects.using(using).filter(pk=author.pk).update(name="a")
        del compilations[:]
        assert outcomes(read, 2) == ["miss", "hit"]
        assert len(compilations) == 1

    def test_what_is_never_asked_again_does_not_drive_out_what_is(
        self, author, using, compilations, monkeypatch
    ):
        monkeypatch.setattr(recall, "_remembered", Memory(10))
        read = lambda: Author.objects.using(using).filter(pk=author.pk).exists()  # noqa: E731
        assert read()
        for _ in range(5):
            del compilations[:]
            assert read()
            assert compilations == []
            for _ in range(8):
                Author.objects.using(using).filter(name=str(uuid4())).exists()

    def test_plans_of_one_text_share_the_columns_that_are_alike(self, author, using):
        for number in range(5):
            for _ in range(2):
                list(Author.objects.using(using).filter(pk=number))
                list(Author.objects.using(using).filter(pk=number).values_list("pk", "name"))
                Author.objects.using(using).filter(pk=number).aggregate(Max("born"))
        remembered = recall._remembered._values.values()
        assert len(remembered) == 15
        # An aggregate is an expression of its own each time.
        assert len({id(one.columns) for one in remembered}) == 2 + 5

    def test_queries_of_one_text_that_make_something_else_of_it_share_nothing(self, author, using):
        Book.objects.using(using).create(name="b", author=author)
        reads = [
            lambda: list(Author.objects.using(using).values("id")),
            lambda: [vars(one)["id"] for one in Author.objects.using(using).only("id")],
            lambda: [type(one) for one in models.QuerySet(Book, using=using)],
            lambda: [type(one) for one in models.QuerySet(CheapBook, using=using)],  # a proxy
            lambda: list(Author.objects.using(using).values_list("id", flat=True)),
            lambda: list(Author.objects.using(using).values_list("id", named=True)),
            lambda: list(Author.objects.using(using).annotate(n=F("id")).values_list("n")),
            lambda: [
                vars(one) and one.author.name
                for one in Book.objects.using(using).select_related("author")
            ],
            lambda: [
                vars(one) and one.publisher
                for one in Book.objects.using(using).select_related("author", "publisher")
            ],
        ]
        with bypass():
            expected = [read() for read in reads]
        for _ in range(4):
            assert [read() for read in reads] == expected

    def test_a_union_is_compiled_each_time(self, author, using, compilations):
        def read():
            names = Author.objects.using(using).values("name")
            return list(names.union(names.filter(name="a"), all=True).order_by("name"))

        assert outcomes(read, 4) == ["miss", "hit", "hit", "hit"]
        assert len(compilations) == 4

    def test_code_of_others_is_run_each_time(self, author, using):
        Suffixed.suffix = "x"

        def read():
            text = models.CharField()
            return Author.objects.using(using).annotate(s=Suffixed(output_field=text)).get().s

        assert [read() for _ in range(4)] == ["x"] * 4
        Suffixed.suffix = "y"
        assert read() == "y"

    def test_a_content_type_that_is_another_row_counts(self, author, using, compilations):
        """A relation to any model looks its content type up as it is compiled."""
        read = lambda: Author.objects.using(using).filter(notes__isnull=True).count()  # noqa: E731
        assert outcomes(read, 4)[-1] == "hit"
        del compilations[:]
        read()
        assert len(compilations) == 1

    def test_the_time_zone_of_the_moment_counts(self, using, author):
        if connections[using].vendor == "mysql":
            pytest.skip("its tables of time zones are empty")

        def hours():
            books = Book.objects.using(using).filter(published_at__hour=1)
            return list(books.values_list("name", flat=True))

        Book.objects.using(using).create(
            name="b", author=author, published_at="2026-07-01T00:30:00Z"
        )
        for _ in range(4):
            with timezone.override(ONE_HOUR_EAST):
                assert hours() == ["b"]
            with timezone.override(datetime.UTC):
                assert hours() == []

    def test_a_text_that_is_translated_when_it_is_used_counts(self, using, author):
        def read():
            authors = Author.objects.using(using)
            words = authors.annotate(w=Value(translation.gettext_lazy("Yes"), models.CharField()))
            return words.get().w

        for _ in range(4):
            with translation.override("de"):
                assert read() == "Ja"
            with translation.override("fr"):
                assert read() == "Oui"

    def test_what_the_session_is_told_counts(self, using, author):
        if connections[using].vendor != "postgresql":
            pytest.skip("SET search_path is PostgreSQL's")
        read = lambda: Author.objects.using(using).count()  # noqa: E731
        assert outcomes(read, 3) == ["miss", "hit", "hit"]
        with connections[using].cursor() as cursor:
            cursor.execute("SET search_path TO public, pg_temp")
        assert outcomes(read, 1) == ["miss"]
        connections[using].close()

    def test_settings_that_change_are_read_again(self, using, author, settings, compilations):
        read = lambda: Author.objects.using(using).count()  # noqa: E731
        outcomes(read, 3)
        settings.USE_THOUSAND_SEPARATOR = True
        del compilations[:]
        outcomes(read, 1)
        assert len(compilations) == 1

    def test_what_the_transaction_has_written_is_not_answered_by_a_remembered_plan(
        self, using, author
    ):
        if connections[using].vendor != "postgresql":
            pytest.skip("a transaction of this database reads a snapshot, and is not answered")
        read = lambda: Author.objects.using(using).get(pk=author.pk).name  # noqa: E731
        assert outcomes(read, 3) == ["miss", "hit", "hit"]
        with transaction.atomic(using=using):
            Author.objects.using(using).filter(pk=author.pk).update(name="b")
            assert read() == "b"
        assert read() == "b"

    @pytest.mark.a_plan_differs
    def test_a_plan_that_differs_is_reported_and_its_rows_are_the_databases(
        self, using, author, caplog, monkeypatch
    ):
        monkeypatch.setattr(recall, "fingerprint_of", lambda query: b"the same for all")
        assert Author.objects.using(using).filter(name="a").count() == 1
        assert Author.objects.using(using).filter(name="a").count() == 1
        Author.objects.using(using).create(name="b")
        with caplog.at_level(logging.ERROR, "querycache"):
            assert Author.objects.using(using).filter(name="c").count() == 0
        assert "compiles to" in caplog.text

    @pytest.mark.a_plan_differs
    def test_each_plan_is_checked_where_the_settings_say_so(
        self, using, author, caplog, monkeypatch, settings
    ):
        settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": True}
        monkeypatch.setattr(recall, "fingerprint_of", lambda query: b"the same for all")
        for _ in range(3):
            assert Author.objects.using(using).filter(name="a").count() == 1
        assert caplog.text == ""
        with caplog.at_level(logging.ERROR, "querycache"):
            assert Author.objects.using(using).filter(name="c").count() == 0
        assert "compiles to" in caplog.text


@pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)
class TestWhatIsAskedForOnce:
    def test_converters_are_asked_for_once_on_each_connection(self, using, author, monkeypatch):
        asked = []
        original = SQLCompiler.get_converters
        monkeypatch.setattr(
            SQLCompiler,
            "get_converters",
            lambda compiler, columns: (
                asked.append(compiler.connection) or original(compiler, columns)
            ),
        )

        def read():
            return list(Book.objects.using(using).values_list("price", "author__born"))

        Book.objects.using(using).create(name="b", author=author, price="1.50")
        assert outcomes(read, 3) == ["miss", "hit", "hit"]
        asked.clear()
        assert read() == [(Decimal("1.50"), None)]
        assert asked == []

        def there():
            assert read() == [(Decimal("1.50"), None)]
            assert set(asked) == {connections[using]}
            asked.clear()
            assert read() == [(Decimal("1.50"), None)]
            connections.close_all()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(there).result()
        assert asked == []
