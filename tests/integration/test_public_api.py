"""cached(), uncached(), CacheQuerySet, bypass(), invalidate(), flush() and explain()."""

import asyncio
import pickle
from contextlib import closing

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, models, transaction
from django.db.models import Count, Q

import querycache
from querycache import (
    CacheQuerySet,
    ainvalidate,
    bypass,
    cached,
    explain,
    generations,
    invalidate,
    uncached,
)
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from querycache.statements import Change
from querycache.stores import get_store
from querycache.transactions import state_of
from tests.plainapp.models import Plain
from tests.testapp.models import Author, Book, Secret, Tag

pytestmark = pytest.mark.django_db(transaction=True)


def outcomes(function, *arguments):
    with record_reads() as reads:
        function(*arguments)
    return [read.outcome for read in reads]


@pytest.fixture
def ttls(monkeypatch):
    """The TTL of each fill, in seconds, without its jitter."""
    monkeypatch.setattr(generations, "random", lambda: 0.0)
    seen = []
    store = type(get_store())
    original = store.fill

    def fill(self, key, entry, ttl, **options):
        seen.append(ttl)
        original(self, key, entry, ttl, **options)

    monkeypatch.setattr(store, "fill", fill)
    return seen


def test_the_smallest_ttl_of_the_models_of_a_query_counts(settings, ttls):
    models_ = {**settings.QUERYCACHE["MODELS"], "testapp.Author": {"TTL": 7}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models_}
    list(Book.objects.all())
    list(Author.objects.all())
    list(Book.objects.filter(author__name="x"))
    list(Book.objects.filter(author__in=Author.objects.filter(name="x")))
    assert ttls == [300, 7, 7, 7]


def test_cached_sets_the_ttl_of_a_query_and_of_what_is_made_of_it(ttls):
    authors = cached(Author.objects.all(), ttl=11)
    list(authors)
    authors.filter(name="x").count()
    authors.order_by("name").first()
    authors.all().exists()
    authors.distinct()[:3].aggregate(Count("pk"))
    assert ttls == [11] * 5


def test_a_hint_does_not_change_the_queryset_that_it_is_given(ttls):
    authors = Author.objects.all()
    cached(authors, ttl=11)
    uncached(authors)
    list(authors)
    assert ttls == [300]


def test_cached_does_not_opt_in():
    explanation = explain(cached(Plain.objects.all(), ttl=5))
    assert explanation.reason is Reason.NOT_OPTED_IN


def test_uncached_reads_from_the_database():
    def read():
        list(uncached(Author.objects.all()))

    assert outcomes(read) == ["bypass"]
    assert outcomes(read) == ["bypass"]


def test_hints_survive_pickling():
    authors = Author.objects.all()
    authors.query = pickle.loads(pickle.dumps(uncached(Author.objects.all()).query))
    assert explain(authors).reason is Reason.UNCACHED


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan"), "5", True, 10**10], ids=repr)
def test_a_ttl_that_is_none_is_refused(ttl):
    with pytest.raises(ValueError, match="ttl must be"):
        cached(Author.objects.all(), ttl=ttl)


@pytest.mark.parametrize("value", [None, Author, [1], "testapp.Author"], ids=repr)
def test_what_is_not_a_queryset_is_refused(value):
    for function in (cached, uncached, explain):
        with pytest.raises(TypeError, match="expected a QuerySet"):
            function(value)


@pytest.mark.parametrize("max_stale", [-1, float("inf"), float("nan"), "5", True], ids=repr)
def test_a_max_stale_that_is_none_is_refused(max_stale):
    with pytest.raises(ValueError, match="max_stale must be"):
        cached(Author.objects.all(), max_stale=max_stale)


def test_a_cache_queryset_has_both_as_methods(ttls):
    class CacheAuthor(Author):
        objects = CacheQuerySet.as_manager()

        class Meta:
            proxy = True
            app_label = "testapp"

    queryset = CacheQuerySet(Author)
    list(queryset.filter(name="x").cache(ttl=13).order_by("name"))
    assert ttls == [13]
    assert outcomes(lambda: list(queryset.nocache())) == ["bypass"]
    assert isinstance(CacheAuthor.objects.cache(), CacheQuerySet)


def test_bypass_as_a_block_a_function_and_a_coroutine():
    def read():
        list(Author.objects.all())

    read()
    assert outcomes(read) == ["hit"]
    with bypass():
        assert outcomes(read) == ["bypass"]
        with bypass():
            assert outcomes(read) == ["bypass"]
        assert outcomes(read) == ["bypass"]
    assert outcomes(bypass()(read)) == ["bypass"]
    assert outcomes(read) == ["hit"]

    @bypass()
    async def aread():
        await sync_to_async(read)()

    assert asyncio.iscoroutinefunction(aread)
    assert outcomes(lambda: asyncio.run(aread())) == ["bypass"]
    assert outcomes(read) == ["hit"]


def test_bypass_ends_also_with_an_exception():
    with pytest.raises(ZeroDivisionError), bypass():
        raise ZeroDivisionError
    list(Author.objects.all())
    assert outcomes(lambda: list(Author.objects.all())) == ["hit"]


def test_writes_inside_bypass_invalidate():
    author = Author.objects.create(name="before")
    Author.objects.get(pk=author.pk)
    with bypass():
        Author.objects.update(name="after")
    assert Author.objects.get(pk=author.pk).name == "after"


def warm_all():
    for _ in range(2):
        list(Author.objects.all())
        list(Tag.objects.all())


def read_all():
    list(Author.objects.all())
    list(Tag.objects.all())


@pytest.mark.parametrize(
    "target",
    [
        lambda: Author,
        lambda: "testapp.Author",
        lambda: "testapp.author",
        lambda: Author(pk=1),
        lambda: Author.objects.filter(pk=1),
        Author.objects.all,
    ],
    ids=["model", "label", "lower-case label", "instance", "queryset", "queryset of all"],
)
def test_invalidate_takes_models_names_instances_and_querysets(target):
    warm_all()
    assert outcomes(read_all) == ["hit", "hit"]
    invalidate(target())
    assert outcomes(read_all) == ["miss", "hit"]


def test_invalidate_makes_up_for_a_change_outside_of_django():
    import sqlite3

    author = Author.objects.create(name="before")
    Author.objects.get(pk=author.pk)
    with sqlite3.connect(connection.settings_dict["NAME"]) as elsewhere:
        elsewhere.execute("UPDATE testapp_author SET name = 'after'")
    elsewhere.close()
    invalidate(Author, using="default")
    assert Author.objects.get(pk=author.pk).name == "after"


def test_invalidate_is_done_also_for_what_was_just_written():
    """update() and then a change outside Django: two changes of one table."""
    author = Author.objects.create(name="before")
    Author.objects.update(name="by Django")
    assert Author.objects.get(pk=author.pk).name == "by Django"
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("UPDATE testapp_author SET name = 'outside'")
    invalidate(Author)
    assert Author.objects.get(pk=author.pk).name == "outside"


def test_invalidate_in_a_transaction_takes_place_with_its_commit():
    warm_all()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        invalidate(Author)
        raise ZeroDivisionError
    assert outcomes(read_all) == ["hit", "hit"]
    with transaction.atomic():
        invalidate(Author)
    assert outcomes(read_all) == ["miss", "hit"]


def test_ainvalidate():
    warm_all()
    asyncio.run(ainvalidate(Author, Tag))
    assert outcomes(read_all) == ["miss", "miss"]


def test_a_signal_that_is_sent_by_hand_invalidates():
    warm_all()
    models.signals.post_save.send(Author, instance=Author(pk=1), created=False, using="default")
    assert outcomes(read_all) == ["miss", "hit"]
    signal = models.signals.m2m_changed
    signal.send(Book.tags.through, action="pre_add", using="default")
    assert outcomes(read_all) == ["hit", "hit"]


@pytest.mark.parametrize(
    ("target", "error"),
    [("nosuch.Model", LookupError), ("x", LookupError), (5, TypeError), (None, TypeError)],
)
def test_a_target_that_is_none_is_refused(target, error):
    with pytest.raises(error):
        invalidate(target)


def test_invalidating_nothing_is_a_mistake():
    with pytest.raises(TypeError):
        invalidate()


def test_invalidating_a_model_that_is_not_opted_in_does_nothing():
    warm_all()
    invalidate(Plain, Secret)
    assert outcomes(read_all) == ["hit", "hit"]


def test_flush_forgets_everything():
    warm_all()
    querycache.flush()
    assert outcomes(read_all) == ["miss", "miss"]


def test_explain_tells_what_will_happen_and_does_not_do_it(count_sql):
    queryset = Author.objects.filter(name='it\'s "quoted" 😀')
    with count_sql() as statements:
        before = explain(queryset)
    assert statements == []
    assert before.cacheable
    assert before.cached is False
    assert before.tables == ("testapp_author",)
    assert (before.ttl, before.ttl_source) == (300, "testapp.*")
    assert outcomes(lambda: list(queryset)) == ["miss"]
    after = explain(queryset)
    assert after.key == before.key
    assert after.cached is True
    assert "in the cache  yes" in str(after)
    assert explain(cached(queryset, ttl=5)).ttl_source == "cached()"


def died(queryset):
    explanation = explain(queryset)
    assert explanation.cached is False
    assert explanation.age is None
    return explanation.died


def test_explain_tells_what_is_in_the_cache_and_of_what_the_last_entry_died():
    queryset = Book.objects.filter(author__name="Herbert")
    assert died(queryset) == ""  # there was none
    list(queryset.all())
    explanation = explain(queryset)
    assert 0 <= explanation.age < 60
    assert explanation.size > 100
    assert f"{explanation.size:,} bytes" in str(explanation)
    Author.objects.create(name="Le Guin")
    assert died(queryset) == "a write to testapp_author"
    assert "no, the last entry died of a write to testapp_author" in str(explain(queryset))
    Book.objects.update(pages=1)
    assert died(queryset) == "a write to testapp_author, a write to testapp_book"
    list(queryset.all())
    querycache.flush()
    assert died(queryset) == "a flush"
    list(queryset.all())
    with connections["default"].cursor() as cursor:
        cursor.execute("EXPLAIN SELECT 1")
    assert died(queryset) == "a write that may have changed any table"


@pytest.mark.parametrize("store_alias", ["redis", "locmem"], indirect=True)
def test_explain_tells_of_a_write_that_is_not_over(store):
    list(Author.objects.all())
    dependencies = state_of(connections["default"]).database(connections["default"]).changed
    change = Change(frozenset({"testapp_author"}))
    writer = generations.fence(dependencies(change))
    assert died(Author.objects.all()) == "a write to testapp_author that is not over"
    generations.release(dependencies(change), writer)
    assert died(Author.objects.all()) == "a write to testapp_author"


@pytest.mark.parametrize(
    ("queryset", "reason"),
    [
        (Plain.objects.all, Reason.NOT_OPTED_IN),
        (lambda: Book.objects.filter(author__in=Secret.objects.values("pk")), Reason.NOT_OPTED_IN),
        (lambda: Author.objects.order_by("?"), Reason.UNKNOWN_FUNCTION),
        (Author.objects.select_for_update, Reason.LOCKING),
        (Author.objects.none, Reason.EMPTY),
        (lambda: Author.objects.filter(Q(pk__in=[])), Reason.EMPTY),
    ],
    ids=["not opted in", "in a subquery", "volatile", "locking", "none", "empty"],
)
def test_explain_gives_the_reason(queryset, reason):
    explanation = explain(queryset())
    assert not explanation.cacheable
    assert explanation.reason is reason
    assert reason.explanation in str(explanation)


def test_every_reason_has_an_explanation():
    assert all(reason.explanation for reason in Reason)


class ReplicaRouter:
    def db_for_read(self, model, **hints):
        return "postgresql"

    def db_for_write(self, model, **hints):
        return "default"


def test_an_alias_that_the_router_does_not_write_to_is_not_cached(settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter"]
    assert explain(Author.objects.using("default")).cacheable
    if "postgresql" in settings.DATABASES:
        assert explain(Author.objects.all()).reason is Reason.WRITTEN_ELSEWHERE


def tenant():
    return tenant.name


tenant.name = "one"


def test_namespaces_share_no_answers_and_all_invalidations(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "NAMESPACE": f"{__name__}.tenant"}
    author = Author.objects.create(name="before")

    def read():
        Author.objects.get(pk=author.pk)

    assert outcomes(read) == ["miss"]
    tenant.name = "two"
    assert outcomes(read) == ["miss"]
    assert outcomes(read) == ["hit"]
    tenant.name = "one"
    assert outcomes(read) == ["hit"]
    author.save()
    tenant.name = "two"
    assert outcomes(read) == ["miss"]


def test_a_namespace_that_cannot_be_imported_means_no_cache_and_no_error(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "NAMESPACE": "no.such.thing"}
    assert outcomes(lambda: list(Author.objects.all())) == ["bypass"]
