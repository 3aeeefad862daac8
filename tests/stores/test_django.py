"""Every backend of Django's cache framework is a store."""

import time
from itertools import chain, repeat

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection, connections

import querycache
from querycache.counting import Batch, Group
from querycache.exceptions import StoreFailed
from querycache.stores import DjangoStore
from querycache.stores.base import FENCE_SECONDS
from tests import servers
from tests.stores.conformance import StoreConformance, add, is_token


class DjangoConformance(StoreConformance):
    @pytest.fixture
    def clock(self, monkeypatch):
        """Return a function that moves the clock of this process on by some seconds."""
        began, passed = time.time(), 0.0
        monkeypatch.setattr(time, "time", lambda: began + passed)

        def move(seconds: float) -> None:
            nonlocal passed
            passed += seconds

        return move

    def test_it_is_a_django_store(self, store):
        assert isinstance(store, DjangoStore)

    def test_a_mark_falls_at_its_deadline_and_not_before(self, store, clock, key, dependency):
        store.fence([dependency], "dies")
        clock(FENCE_SECONDS - 2)
        store.fence([dependency], "lives")
        clock(1)
        store.release([dependency], "lives")
        assert not is_token(store.look(key, [dependency])[1][0])
        store.fence([dependency], "lives")
        clock(1.1)
        store.release([dependency], "lives")
        assert is_token(store.look(key, [dependency])[1][0])

    def test_a_clock_that_went_on_too_far_makes_a_lost_mark(self, store, clock, key, dependency):
        store.fence([dependency], "writer")
        clock(FENCE_SECONDS + 1)
        assert store.release([dependency], "writer") == 1
        assert is_token(store.look(key, [dependency])[1][0])

    def test_everything_that_is_written_has_a_finite_timeout(self, store, alias, key, monkeypatch):
        timeouts = []
        backend = type(caches[alias])

        def spied(method):
            def call(cache, key, value, timeout=None, version=None):
                timeouts.append(timeout)
                return method(cache, key, value, timeout, version)

            return call

        for name in ("add", "set"):
            monkeypatch.setattr(backend, name, spied(getattr(backend, name)))
        store.look(key, ["a", "b"])
        store.fill(key, b"entry", 30)
        store.fence(["a", "b"], "writer")
        store.release(["a", "b"], "writer")
        store.publish(Batch([Group("group", {"count": 1}, 60)], {"a": b"text"}, [b"event"]))
        assert len(timeouts) >= 7
        assert all(timeout and timeout > 0 for timeout in timeouts)


class TestLocMem(DjangoConformance):
    @pytest.fixture
    def alias(self):
        return "locmem"

    def test_it_says_that_it_is_strict(self, store):
        assert store.supports_atomic_fence
        assert store.supports_atomic_count
        assert store.using is None

    def test_all_keys_have_the_prefix(self, store, alias, key):
        cache = caches[alias]
        cache.clear()
        store.look(key, ["a"])
        store.fill(key, b"entry", 30)
        store.fence(["a"], "writer")
        store.publish(Batch([Group("group", {"count": 1}, 60)], {"a": b"text"}, [b"event"]))
        assert isinstance(cache, LocMemCache)
        assert cache._cache
        assert all(name.startswith(cache.make_key("querycache:")) for name in cache._cache)


class TestFile(DjangoConformance):
    @pytest.fixture
    def alias(self):
        return "file"

    def test_it_says_that_it_is_not_strict(self, store):
        assert not store.supports_atomic_fence
        assert not store.supports_atomic_count
        assert store.using is None


@pytest.mark.django_db(transaction=True)
class TestDatabase(DjangoConformance):
    @pytest.fixture
    def alias(self):
        return "db"

    def test_it_says_of_which_database_it_is_a_table(self, store):
        assert not store.supports_atomic_fence
        assert store.using == "default"

    @pytest.fixture
    def locked_database(self):
        """Keep everyone else from writing to the database, as a busy one does for a moment."""
        other = connections.create_connection("default")
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 0")
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
        yield
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
        other.close()
        connection.close()

    def test_a_fence_that_the_database_refused_is_an_error(
        self, store, dependency, locked_database
    ):
        # DatabaseCache.set() swallows the error, and nobody would know that there is no fence.
        with pytest.raises(Exception):  # noqa: B017  (each client has its own)
            store.fence([dependency], "writer")

    def test_a_release_that_the_database_refused_is_an_error(self, store, key, dependency, request):
        store.fence([dependency], "writer")
        request.getfixturevalue("locked_database")
        with pytest.raises(Exception):  # noqa: B017
            store.release([dependency], "writer")

    def test_a_flush_that_the_database_refused_is_an_error(self, store, locked_database):
        with pytest.raises(StoreFailed):
            querycache.flush()


@pytest.mark.skipif(bool(servers.missing("memcached")), reason=str(servers.missing("memcached")))
class TestMemcached(DjangoConformance):
    @pytest.fixture
    def alias(self):
        return "memcached"

    def test_it_says_that_it_counts_and_does_not_fence_strictly(self, store):
        assert store.supports_atomic_count
        assert not store.supports_atomic_fence

    def test_whoever_counts_waits_for_another_process_that_does(self, store, group, monkeypatch):
        cache, waited = caches["memcached"], []
        cache.set("querycache:s:lock", b"", 60)

        def sleep(seconds):
            waited.append(seconds)
            cache.delete("querycache:s:lock")

        monkeypatch.setattr(time, "sleep", sleep)
        add(store, group, hits=1)
        assert len(waited) == 1
        assert store.read_counts(group) == [{"hits": 1}]

    def test_a_process_that_died_while_it_counted_holds_nobody_up(self, store, group, monkeypatch):
        caches["memcached"].set("querycache:s:lock", b"", 60)
        now = time.monotonic()
        clock = chain([now, now + 1, now + 1], repeat(now + 3))
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        naps = iter(range(5))
        monkeypatch.setattr(time, "sleep", lambda seconds: next(naps))
        add(store, group, hits=1)
        assert store.read_counts(group) == [{"hits": 1}]
