"""Log records say in fields what they say in words, and nothing of anybody's data."""

import json
import logging
from contextlib import closing

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Repeat
from django_redis import get_redis_connection

from querycache import breaker, debts, generations, recall
from querycache.counting import statistics
from tests import servers
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
SECRET = "somebody@example.com"


@pytest.fixture
def told(caplog):
    """Return what was logged: the fields of each record that are its own."""
    caplog.set_level(logging.DEBUG, "querycache")

    def fields():
        own = [
            {name: value for name, value in vars(record).items() if name not in STANDARD}
            for record in caplog.records
            if record.name == "querycache"
        ]
        assert SECRET not in json.dumps(own)
        return own

    return fields


@pytest.fixture
def valkey(use_cache, monkeypatch):
    reason = servers.missing("valkey")
    if reason:
        pytest.skip(reason)
    monkeypatch.setattr(breaker, "RETRY_SECONDS", 0.0)
    # Counts are published, and debts paid with them, when a test says so.
    monkeypatch.setattr(statistics, "_in_background", bool)
    with servers.Valkey() as server:
        use_cache(f"{server.address}/0")
        yield server
        statistics.publish()


def name(author):
    return Author.objects.values_list("name", flat=True).get(pk=author.pk, name=SECRET)


def test_an_outage_its_end_and_what_is_made_up_for(valkey, told):
    author = Author.objects.create(name=SECRET)
    name(author)
    valkey.stop()
    name(author)
    Author.objects.filter(name=SECRET).update(name=SECRET)
    name(author)
    failed, *others = told()
    assert "ConnectionError" in failed.pop("error")
    assert failed == {"querycache_event": "store-failed", "cache": "own"}
    assert others == []
    valkey.start()
    name(author)
    late, recovered = sorted(told()[1:], key=lambda own: own["querycache_event"], reverse=True)
    assert late == {"querycache_event": "writes-late", "writes": 1}
    assert recovered == {"querycache_event": "store-recovered", "cache": "own"}


def test_fences_that_were_lost(valkey, told):
    writer = generations.fence(["a", "b"])
    get_redis_connection("own").flushall()
    generations.release(["a", "b"], writer)
    debts.settle()
    assert told() == [{"querycache_event": "fences-lost", "lost": 2, "fences": 2}]


def test_writes_that_were_never_published(settings, monkeypatch, told):
    use_dead_store(settings, monkeypatch)
    Author.objects.create(name=SECRET)
    debts._pay_debts_at_exit()
    assert told()[-1] == {"querycache_event": "writes-lost", "writes": 1}


def test_a_hit_that_differs(settings, told):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem", "VERIFY": 1.0}
    author = Author.objects.create(name=SECRET)
    name(author)
    connection.ensure_connection()
    with closing(connection.connection.cursor()) as cursor:  # by the driver: nobody hears of it
        cursor.execute("UPDATE testapp_author SET name = 'else'")
    with pytest.raises(Author.DoesNotExist):
        name(author)
    (own,) = told()
    assert own.pop("age") >= 0
    assert len(own.pop("key")) == 40
    assert own == {"querycache_event": "hit-differs", "model": "testapp.Author"}


@pytest.mark.parametrize("store_alias", ["memcached"], indirect=True)
def test_an_answer_that_could_not_be_stored(store, settings, told):
    models = {**settings.QUERYCACHE["MODELS"], "testapp.Author": {"MAX_BYTES": 100_000_000}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    Author.objects.bulk_create([Author(name=SECRET) for _ in range(9)])
    list(Author.objects.filter(name=SECRET).annotate(long=Repeat(Value("x"), 500_000)))
    (own,) = told()
    assert len(own.pop("key")) == 40
    assert own.pop("error")
    assert own == {"querycache_event": "not-stored", "model": "testapp.Author"}


@pytest.mark.a_plan_differs
def test_a_query_that_was_taken_for_another(settings, told, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": True}
    author = Author.objects.create(name=SECRET)
    monkeypatch.setattr(recall, "fingerprint_of", lambda query: "the same")
    for _ in range(3):
        name(author)
    Author.objects.values_list("pk", flat=True).get(pk=author.pk)
    (own,) = told()
    assert len(own.pop("key")) == 40
    assert own == {"querycache_event": "plan-differs"}
