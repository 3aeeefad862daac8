"""The numbers are true: also over threads and processes, and in every kind of store."""

import os
import subprocess
import sys
import threading

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections

import querycache
from querycache import counting
from querycache.counting import statistics
from querycache.recorder import record_reads
from tests.testapp.models import Author, Secret

pytestmark = pytest.mark.django_db(transaction=True)


def counted(label="testapp.Author"):
    return querycache.get_stats().models[label]


def difference(after, before):
    return {
        name: getattr(after, name) - getattr(before, name)
        for name in ("hits", "misses", "fills", "bypasses", "invalidations")
    }


def test_each_outcome_is_counted_once(store):
    before = counted()
    author = Author.objects.create(name="a")  # 1 invalidation
    for _ in range(3):
        Author.objects.get(pk=author.pk)  # 1 miss, 1 fill, 2 hits
    with querycache.bypass():
        Author.objects.get(pk=author.pk)  # 1 bypass
    list(Author.objects.iterator())  # 1 bypass
    Author.objects.update(name="b")  # 1 invalidation
    Author.objects.get(pk=author.pk)  # 1 miss, 1 fill
    author.delete()  # 1 invalidation
    assert difference(counted(), before) == {
        "hits": 2,
        "misses": 2,
        "fills": 2,
        "bypasses": 2,
        "invalidations": 3,
    }


def test_time_is_counted_for_hits_only():
    author = Author.objects.create(name="a")
    Author.objects.get(pk=author.pk)
    before = counted()
    Author.objects.get(pk=author.pk)
    after = counted()
    assert after.hit_us > before.hit_us
    assert after.load_us > before.load_us
    Author.objects.count()
    assert counted().load_us == after.load_us


def test_threads_lose_no_count():
    author = Author.objects.create(name="a")
    Author.objects.get(pk=author.pk)
    before = counted()

    def read():
        from django.db import connections

        for _ in range(50):
            Author.objects.get(pk=author.pk)
        connections.close_all()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert difference(counted(), before)["hits"] == 200


@pytest.mark.parametrize("store_alias", ["redis", "redis_builtin", "memcached"], indirect=True)
def test_processes_add_up(store):
    before = counted()
    script = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        f"settings.QUERYCACHE = {{**settings.QUERYCACHE, 'CACHE': {store!r}}}\n"
        "from querycache import conf, stores\n"
        "conf.forget_config(); stores.forget_store()\n"
        "from querycache.counting import statistics\n"
        "for _ in range(1000): statistics.count('testapp.Author', 'uncached')\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert difference(counted(), before)["bypasses"] == 3000


def test_a_forked_child_counts_for_itself():
    statistics.publish()
    before = counted()
    statistics.count("testapp.Author", "uncached")
    child = os.fork()
    if child == 0:
        statistics.connect(None)
        statistics.count("testapp.Author", "uncached")
        os._exit(0 if [amounts[0] for amounts in statistics._sums.values()] == [1] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert difference(counted(), before)["bypasses"] == 1


def test_a_forked_child_knows_what_the_queries_of_its_parent_are():
    own = counting.Statistics()
    own.describe("q", {"sql": "SELECT 1"})
    child = os.fork()
    if child == 0:
        batches = []
        own.connect(batches.append)
        own.count("testapp.Author", "misses", "q")
        own.publish()
        os._exit(0 if batches[0].texts == {"q": b'{"sql": "SELECT 1"}'} else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_not_opted_in_is_not_counted():
    with record_reads() as reads:
        list(Secret.objects.all())
    assert reads == []
    assert "testapp.Secret" not in querycache.get_stats().models


def test_a_store_that_is_a_table_is_written_only_when_a_request_has_finished(settings, monkeypatch):
    """On SQLite, a write of the thread would make a transaction fail that is about to write."""
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "db"}
    before = counted()
    statistics.count("testapp.Author", "uncached")
    assert not statistics._in_background()
    now = counting.time.monotonic() + counting.PUBLISH_SECONDS
    monkeypatch.setattr(counting.time, "monotonic", lambda: now)
    request_finished.disconnect(close_old_connections)
    try:
        request_finished.send(None)
        assert not statistics.queue
        assert not statistics._sums
        statistics.count("testapp.Author", "uncached")
        request_finished.send(None)  # within a second
        assert len(statistics.queue) == 1
    finally:
        request_finished.connect(close_old_connections)
    statistics.queue.clear()
    assert difference(counted(), before)["bypasses"] == 1
