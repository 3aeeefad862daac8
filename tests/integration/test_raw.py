"""``Model.objects.raw()`` is cached where ``cached()`` asks for it."""

import asyncio
from decimal import Decimal

import pytest
from django.db import transaction

import querycache
from querycache import cached
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.differential.picture import picture
from tests.testapp.models import Author, Book, Tag
from tests.threads import elsewhere


def outcome(raw, *, ttl=None):
    with record_reads() as reads:
        found = picture(list(cached(raw, ttl=ttl)))
    return found, [(read.outcome, read.reason) for read in reads]


@pytest.fixture
def author(using):
    author = Author.objects.using(using).create(name='it\'s "quoted" 😀')
    Book.objects.using(using).create(name="Dune", author=author, pages=412)
    return author


BOOKS_OF_EACH = (
    "SELECT a.id, a.name, COUNT(b.id) AS number FROM testapp_author a"
    " LEFT JOIN testapp_book b ON b.author_id = a.id GROUP BY a.id, a.name"
)
SELECTS = {
    "all columns": ("SELECT * FROM testapp_author", None),
    "no parameters": ("SELECT * FROM testapp_author WHERE name LIKE 'it%%'", ()),
    "positional": ("SELECT * FROM testapp_author WHERE id > %s", [0]),
    "by name": ("SELECT * FROM testapp_author WHERE id > %(least)s", {"least": 0}),
    "deferred columns": ("SELECT id FROM testapp_author", None),
    "an annotation": (BOOKS_OF_EACH, None),
    "a comment": ("-- all of them\nSELECT * FROM testapp_author /* now */", None),
}


@pytest.mark.parametrize("select", SELECTS)
def test_a_raw_queryset_is_answered_from_the_cache(using, author, select, count_sql):
    sql, params = SELECTS[select]
    raw = Author.objects.raw(sql, params, using=using)
    truth = picture(list(raw))
    assert outcome(raw) == (truth, [("miss", None)])
    with count_sql(using) as statements:
        assert outcome(raw) == (truth, [("hit", None)])
    assert statements == []
    elsewhere(Author.objects.using(using).update, name="itself")
    assert outcome(raw)[1] == [("miss", None)]
    assert outcome(raw) == (picture(list(raw._clone())), [("hit", None)])


def test_it_is_not_cached_by_itself(using, author):
    raw = Author.objects.raw("SELECT * FROM testapp_author", using=using)
    with record_reads() as reads:
        list(raw)
    assert not reads


def test_every_table_counts(using, author):
    sql = "SELECT a.id FROM testapp_author a JOIN testapp_book b ON b.author_id = a.id"
    raw = Author.objects.raw(sql, using=using)
    outcome(raw)
    assert outcome(raw)[1] == [("hit", None)]
    Book.objects.using(using).update(pages=1)
    assert outcome(raw)[1] == [("miss", None)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT a.id FROM testapp_author a, testapp_secret s", Reason.NOT_OPTED_IN),
        ("SELECT id, RANDOM() AS r FROM testapp_author", Reason.UNKNOWN_FUNCTION),
        ("SELECT 1 AS id", Reason.UNKNOWN_SQL),
    ],
)
def test_it_is_not_cached_with_a_reason(using, author, sql, reason):
    sql = sql.replace("RANDOM", "RAND") if using == "mariadb" else sql
    raw = Author.objects.raw(sql, using=using)
    assert [outcome(raw)[1] for _ in range(2)] == [[("bypass", reason)]] * 2


def test_a_lock_is_taken(using, author):
    if using == "default":
        pytest.skip("SQLite has no FOR UPDATE")
    raw = Author.objects.raw("SELECT * FROM testapp_author FOR UPDATE", using=using)
    with transaction.atomic(using=using):
        assert outcome(raw)[1] == [("bypass", Reason.LOCKING)]


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_raw_write_with_returning_is_run_each_time(using, author):
    list(Tag.objects.using(using))
    sql = "INSERT INTO testapp_tag (name) VALUES ('raw') RETURNING *"
    raw = Tag.objects.raw(sql, using=using)
    for number in (1, 2):
        assert outcome(raw)[1] == [("bypass", Reason.UNKNOWN_SQL)]
        assert Tag.objects.using(using).count() == number


def test_parameters_of_other_types_and_ways_share_nothing(using, author):
    sql = "SELECT * FROM testapp_author WHERE id >= %s"
    for params in ([1], ["1"], [1.0], [Decimal(1)]):
        assert outcome(Author.objects.raw(sql, params, using=using))[1] == [("miss", None)]
    assert outcome(Author.objects.raw(sql, (1,), using=using))[1] == [("hit", None)]


def test_its_own_ttl_and_other_aliases(using, author, monkeypatch):
    seen = []
    fill = querycache.generations.fill
    monkeypatch.setattr(
        querycache.generations,
        "fill",
        lambda plan, *rest, **options: seen.append(plan.ttl) or fill(plan, *rest, **options),
    )
    outcome(Author.objects.raw("SELECT * FROM testapp_author", using=using), ttl=5)
    assert seen == [5]
    raw = cached(Author.objects.raw("SELECT * FROM testapp_author")).using(using)
    with record_reads() as reads:
        assert len(raw) == 1
        assert [found.pk for found in raw.prefetch_related("books")] == [author.pk]
    assert [read.outcome for read in reads] == ["hit", "hit", "miss"]
    assert all(read.label in {"testapp.Author", "testapp.Book"} for read in reads)


def test_in_a_transaction_it_sees_what_that_has_written(using, author):
    raw = Author.objects.raw("SELECT * FROM testapp_author", using=using)
    outcome(raw)
    with transaction.atomic(using=using):
        Author.objects.using(using).update(name="after")
        assert [found.name for found in cached(raw)] == ["after"]
    assert [found.name for found in cached(raw)] == ["after"]


@pytest.mark.django_db(transaction=True)
def test_async_and_errors():
    Author.objects.create(name="one")

    async def names():
        raw = cached(Author.objects.raw("SELECT * FROM testapp_author"))
        return [author.name async for author in raw]

    assert asyncio.run(names()) == ["one"]
    with pytest.raises(ValueError, match="ttl must be seconds"):
        cached(Author.objects.raw("SELECT 1"), ttl=0)
    with pytest.raises(Exception, match="no_such_table"):
        list(cached(Author.objects.raw("SELECT * FROM no_such_table")))


@pytest.mark.django_db(transaction=True)
def test_too_many_rows_are_not_stored(settings):
    models = {**settings.QUERYCACHE["MODELS"], "testapp.Tag": {"MAX_ROWS": 3}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    Tag.objects.bulk_create(Tag(name=str(number)) for number in range(5))
    assert outcome(Tag.objects.raw("SELECT * FROM testapp_tag"))[1][0][1] == Reason.TOO_LARGE
