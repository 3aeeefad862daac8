"""What is kept beside the totals: queries, what their entries die of, events, and charts."""

import os
import shutil
import subprocess
import sys

import pytest
from django.core.cache import caches
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

import querycache
from querycache import counts, get_stats, loads, reports, stores
from querycache.counting import Batch, Group, statistics
from querycache.series import Resolution
from querycache.stats import QUERIES, ModelStats, Stats
from tests.counted import forget_queries
from tests.testapp.models import Author, Secret, Tag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_counted(request):
    """Forget what was counted before of queries, and what happened."""
    if "store" in request.fixturenames:
        request.getfixturevalue("store")
    forget_queries()


def the_query(part):
    """The counts of the one query whose SQL has this in it, and its text."""
    found = {query.name: query for query in reports.queries()}
    texts = reports.texts_of(found)
    (name,) = [name for name, text in texts.items() if part in text.sql]
    return found[name], texts[name]


BY_EMAIL = '"email" DESC'


def by_email():
    return list(Author.objects.filter(email="a@example.org").order_by("-email"))


def test_a_query_is_counted_with_its_sql_and_without_its_values(store):
    for _ in range(4):
        by_email()
    counted, text = the_query(BY_EMAIL)
    assert (counted.hits, counted.misses, counted.fills, counted.reads) == (3, 1, 1, 4)
    assert counted.hit_us > 0
    assert counted.mean_bytes > 0
    assert (text.model, text.tables, text.ttl) == ("testapp.Author", ["testapp_author"], 300)
    assert text.pattern == "testapp.*"
    assert "a@example.org" not in text.sql
    assert text.parameters is None


def test_another_store_is_told_what_a_query_is(settings):
    by_email()
    assert the_query(BY_EMAIL)[1].sql
    caches["file"].clear()
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "file"}
    by_email()
    assert the_query(BY_EMAIL)[1].sql


def test_long_lists_of_all_lengths_are_one_query():
    for keys in (range(9), range(10), range(30)):
        list(Tag.objects.filter(pk__in=keys).values("name"))
    counted, _ = the_query('"testapp_tag"."id" IN')
    assert counted.misses == 3


def test_a_query_that_is_never_cached_is_counted_with_its_reason():
    for _ in range(3):
        list(Author.objects.filter(born__lt=Now()))
    counted, text = the_query("born")
    assert counted.reasons == {"unknown-function": 3}
    assert text.reason == "unknown-function"


def test_a_query_keeps_what_its_last_entry_died_of(store):
    author = Author.objects.create(name="a", email="a@example.org")
    by_email()
    Author.objects.update(name="b")
    by_email()
    first, text = the_query(BY_EMAIL)
    assert text.died_of == "a write to testapp_author"
    querycache.flush()
    by_email()
    counted, text = the_query(BY_EMAIL)
    assert (counted.deaths - first.deaths, text.died_of) == (1, "a flush")
    assert text.died_at is not None
    author.delete()


def test_a_query_whose_entries_die_again_and_again_says_when_the_last_one_did(store, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(loads, "monotonic", lambda: now[0])

    def died_at():
        Author.objects.update(name="a")
        by_email()
        return the_query(BY_EMAIL)[1].died_at

    Author.objects.create(name="a", email="a@example.org")
    by_email()
    first = died_at()
    assert died_at() == first  # the store is not told of each
    now[0] += 10
    assert died_at() > first


def test_parameters_are_kept_where_the_settings_allow_it(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "SHOW_PARAMETERS": True}
    list(Author.objects.filter(email="it's <b>📚</b>").order_by("-email"))
    _, text = the_query(BY_EMAIL)
    assert text.parameters == [repr("it's <b>📚</b>")]


def test_a_hit_within_max_stale_is_counted_as_unasked(settings):
    settings.QUERYCACHE = {
        **settings.QUERYCACHE, "MODELS": {"testapp.*": {"TTL": 300, "MAX_STALE": 100}}
    }  # fmt: skip
    before = get_stats().models["testapp.Author"]
    for _ in range(4):
        by_email()
    after = get_stats().models["testapp.Author"]
    assert (after.hits - before.hits, after.unasked - before.unasked) == (3, 2)


def test_reads_of_what_is_not_opted_in_are_counted():
    before = get_stats().not_opted_in.get("testapp.Secret", 0)
    for _ in range(3):
        list(Secret.objects.all())
    assert get_stats().not_opted_in["testapp.Secret"] - before == 3
    assert "testapp.Secret" not in get_stats().models


def test_a_query_of_no_model_is_none_of_them(using):
    """By such a query Django validates constraints."""
    assert Q(pages__gt=5).check({"pages": 6}, using=using)
    assert not Q(pages__gt=5).check({"pages": 5}, using=using)


def test_of_too_many_queries_those_that_were_read_least_are_forgotten(store):
    kept = stores.get_store()
    rare = {f"rare{number}:misses": 1 for number in range(kept.most_counters)}
    often = {f"often{number}:hits": 9 for number in range(50)}
    texts = {"rare1": b"{}", "rare1:died": b"{}", "often1": b"{}"}
    counts.publish(Batch([Group(QUERIES, rare | often, 60)], texts, []))
    (found,) = counts.read_counts(QUERIES)
    assert len(found) < kept.most_counters * 0.6
    assert often.items() <= found.items()
    assert counts.read_texts(list(texts)).keys() <= {"often1", "rare1", "rare1:died"}
    assert ("rare1:misses" in found) == ("rare1" in counts.read_texts(list(texts)))


# Events -------------------------------------------------------------------------------------------


def last_events(number):
    return [(event.tables, event.rows, event.causes) for event in reports.events()[:number]]


def test_each_kind_of_write_is_an_event_with_its_cause(using, store):
    author = Author.objects.using(using).create(name="a")
    Author.objects.using(using).filter(pk=author.pk).update(name="b")
    Author.objects.using(using).update(name="c")
    querycache.invalidate(Tag, using=using)
    author.delete()
    table = ["testapp_author"]
    found = last_events(30)
    assert (["testapp_tag"], None, ["call"]) in found
    assert (table, 1, ["insert"]) in found
    assert (table, 1, ["update"]) in found
    assert (table, None, ["update"]) in found
    assert any(tables == table and causes == ["delete"] for tables, _, causes in found)
    assert {event.using for event in reports.events()[:5]} == {using}


def test_a_transaction_is_one_event_and_each_table_has_its_own_cause():
    before = get_stats().models
    with transaction.atomic():
        author = Author.objects.create(name="a")
        Tag.objects.create(name="t")
        Tag.objects.update(name="u")
    assert last_events(1) == [(["testapp_author", "testapp_tag"], None, ["insert", "update"])]
    after = get_stats().models

    def causes(label):
        found = after[label].causes
        return {name: found[name] - before[label].causes.get(name, 0) for name in found}

    assert {name for name, number in causes("testapp.Author").items() if number} == {"insert"}
    assert {name for name, number in causes("testapp.Tag").items() if number} == {
        "insert", "update"
    }  # fmt: skip
    author.delete()


def test_raw_sql_is_an_event():
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_tag SET name = 'x'")
    assert last_events(1) == [(["testapp_tag"], None, ["sql"])]


def test_where_in_the_code_it_was_is_told_while_debug_is_on(settings):
    Tag.objects.update(name="x")
    assert reports.events()[0].site == ""
    settings.DEBUG = True
    Tag.objects.update(name="y")
    assert reports.events()[0].site.startswith(f"{__file__}:")


def test_what_is_rolled_back_is_no_event():
    Tag.objects.update(name="x")
    before = reports.events()[0]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Author.objects.create(name="a")
        1 / 0  # noqa: B018
    assert reports.events()[0] == before


def test_foreign_texts_and_events_do_no_harm(store):
    counts.publish(Batch([], {"q": b"\xff no JSON", "r": b"[1]"}, [b"nonsense", b"3"]))
    texts = reports.texts_of(["q", "r", "s"])
    assert {text.sql for text in texts.values()} == {""}
    assert len(reports.events()) >= 2


# Charts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", Resolution)
def test_a_chart_shows_what_was_counted(resolution, store):
    before = sum(step.hits for step in reports.series(resolution))
    for _ in range(4):
        by_email()
    steps = reports.series(resolution)
    assert len(steps) == resolution.steps
    assert sum(step.hits for step in steps) - before == 3


# Advice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "says"),
    [
        (ModelStats(hits=99), ""),
        (ModelStats(hits=1_000, hit_us=1, load_us=2), ""),
        (ModelStats(hits=10, misses=990, invalidations=4_000), "not worth caching"),
        (ModelStats(hits=500, hit_us=9, load_us=3), "longer than the database"),
        (ModelStats(hits=10, reasons={"iterator": 990}), "990 of 1,000 reads went past the cache"),
        (ModelStats(hits=200, misses=800, deaths=700, load_us=1), "made stale before"),
        (ModelStats(mismatches=1), "differed from the database"),
    ],
)
def test_advice_says_what_to_change(counted, says):
    found = list(reports.advice(Stats({"a.B": counted})))
    if not says:
        assert found == []
    else:
        (advice,) = found
        assert advice.label == "a.B"
        assert says in advice.text


def test_advice_names_what_could_be_opted_in():
    stats = Stats({}, not_opted_in={"shop.Tag": 8_000, "shop.Rare": 99})
    (advice,) = reports.advice(stats)
    assert (advice.label, advice.text) == (
        "shop.Tag", "8,000 reads went to the database because it is not opted in."
    )  # fmt: skip


# Over processes -----------------------------------------------------------------------------------

LOAD = """
import sys
import django; django.setup()
from django.conf import settings
settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": sys.argv[1]}
settings.DATABASES["default"]["NAME"] = sys.argv[2]
from querycache import conf, stores, bypass
conf.forget_config(); stores.forget_store()
from tests.testapp.models import Author, Secret
own = Author.objects.filter(email="a@example.org").order_by("-email")
for _ in range(11):
    list(own.all())                            # 1 miss, 1 fill, 10 hits
list(own.iterator())                           # 1 bypass
with bypass():
    list(own.all()); list(own.all())           # 2 bypasses
for number in range(3):
    own.update(name="x")                       # 3 invalidations
list(Secret.objects.all())                     # not opted in
"""


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """Four databases with tables."""
    folder = tmp_path_factory.mktemp("databases")
    script = (
        "import sys, django; django.setup()\n"
        "from django.conf import settings\n"
        "settings.QUERYCACHE = {}\n"
        "settings.DATABASES['default']['NAME'] = sys.argv[1]\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', run_syncdb=True, verbosity=0)\n"
    )
    paths = [folder / f"{number}.sqlite3" for number in range(4)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script, paths[0]], env=environment, check=True)
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    return paths


@pytest.mark.parametrize("store_alias", ["redis", "memcached"], indirect=True)
def test_what_four_processes_do_at_once_is_counted_exactly(store, databases):
    """Each has a database of its own, since the writes of one make what others have read stale."""
    before = get_stats()
    statistics.publish()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", LOAD, store, database], env=environment
        )
        for database in databases
    ]
    assert [process.wait() for process in processes] == [0] * 4
    after = get_stats()
    one, two = before.models["testapp.Author"], after.models["testapp.Author"]
    grown = {
        name: getattr(two, name) - getattr(one, name)
        for name in ("reads", "hits", "misses", "fills", "bypasses", "invalidations", "deaths")
    }
    assert grown == {
        "reads": 56, "hits": 40, "misses": 4, "fills": 4, "bypasses": 12, "invalidations": 12,
        "deaths": 0,
    }  # fmt: skip
    assert two.causes["update"] - one.causes.get("update", 0) == 12
    assert two.reasons["iterator"] - one.reasons.get("iterator", 0) == 4
    secret = "testapp.Secret"
    assert after.not_opted_in[secret] - before.not_opted_in.get(secret, 0) == 4
    counted, _ = the_query(BY_EMAIL)
    assert (counted.hits, counted.misses, counted.fills) == (40, 4, 4)
