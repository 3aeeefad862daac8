"""Redis and Valkey, through django-redis and through Django's own cache."""

import os
import pickle
import signal
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.db import transaction

from querycache import debts, generations, stores
from querycache.counting import Batch, Group, statistics
from querycache.recorder import record_reads
from querycache.stores import RedisStore
from querycache.stores.base import FENCE_SECONDS, GENERATION_TTL, ROW_TTL
from tests import servers
from tests.stores.conformance import StoreConformance, is_token
from tests.stores.wire import Wire
from tests.testapp.models import Secret, Tag
from tests.threads import elsewhere

pytestmark = pytest.mark.skipif(
    bool(servers.missing("valkey")), reason=str(servers.missing("valkey"))
)


def client_of(alias):
    return redis.Redis.from_url(settings.CACHES[alias]["LOCATION"], protocol=2)


def name_of(alias, kind, name):
    return f"{caches[alias].make_key('querycache')}:{kind}:{name}"


class RedisConformance(StoreConformance):
    @pytest.fixture
    def client(self, alias):
        with client_of(alias) as client:
            yield client

    def put(self, alias, kind, name, value):
        with client_of(alias) as client:
            plain = value if isinstance(value, bytes) else pickle.dumps(value)
            client.set(name_of(alias, kind, name), plain, ex=60)

    def found(self, alias, kind, name):
        with client_of(alias) as client:
            return client.get(name_of(alias, kind, name))

    def evict(self, alias, kind, name):
        with client_of(alias) as client:
            client.delete(name_of(alias, kind, name))

    def test_it_is_a_redis_store_and_strict(self, store):
        assert isinstance(store, RedisStore)
        assert store.supports_atomic_fence
        assert store.supports_atomic_count
        assert store.using is None

    def test_every_key_has_the_prefix_and_expires(self, store, alias, client, key):
        client.flushdb()
        store.look(key, ["a", "b"])
        store.fill(key, b"entry", 30)
        store.fence(["b", "c"], "writer")
        store.fence(["c"], "another")
        store.release(["b", "c"], "writer")
        store.release(["d"], "nobody")
        store.publish(Batch([Group("group", {"count": 1}, 60)], {"a": b"text"}, [b"event"]))
        prefix = caches[alias].make_key("querycache").encode()
        names = client.keys()
        assert len(names) == 8
        for name in names:
            assert name.startswith(prefix + b":")
            assert client.pttl(name) > 0

    @pytest.mark.parametrize(
        ("kind", "seconds"),
        [("", GENERATION_TTL), (":5", ROW_TTL), (":any", GENERATION_TTL), (":new", GENERATION_TTL)],
    )
    def test_what_is_written_lives_as_long_as_it_should(
        self, store, alias, client, key, dependency, kind, seconds
    ):
        dependency += kind
        store.look(key, [dependency])
        store.fill(key, b"entry", 1.5)
        assert 0 < client.pttl(name_of(alias, "e", key)) <= 1500
        generation = name_of(alias, "g", dependency)
        assert seconds - 60 < client.ttl(generation) <= seconds
        store.fence([dependency], "writer")
        store.fence([dependency], "another")
        assert 0 < client.ttl(generation) <= FENCE_SECONDS
        store.release([dependency], "writer")
        assert 0 < client.ttl(generation) <= FENCE_SECONDS
        store.release([dependency], "another")
        assert seconds - 60 < client.ttl(generation) <= seconds

    def test_a_deadline_is_that_of_the_servers_clock(
        self, store, alias, client, key, dependency, monkeypatch
    ):
        monkeypatch.setattr(time, "time", lambda: 5.0)
        store.fence([dependency], "writer")
        _, deadline = self.found(alias, "g", dependency)[1:].rstrip(b";").split(b":")
        seconds, _ = client.time()
        assert seconds < float(deadline) <= seconds + FENCE_SECONDS + 1

    def test_a_generation_of_another_type_does_not_pass_for_a_token(
        self, store, alias, client, key, dependency
    ):
        client.rpush(name_of(alias, "g", dependency), "a list")
        # As MGET does: what is no string is not there.
        entry, [token], _ = store.look(key, [dependency])
        assert entry is None
        assert not is_token(token)

    def test_the_scripts_survive_script_flush(self, store, client, key, dependency):
        store.fence([dependency], "writer")
        client.script_flush()
        assert store.release([dependency], "writer") == 0
        client.script_flush()
        store.fence([dependency, "other"], "writer")
        assert store.release([dependency, "other"], "writer") == 0

    def test_a_release_whose_script_was_lost_is_known_not_to_be_done(
        self, store, client, key, dependency
    ):
        store.fence([dependency], "writer")
        client.script_flush()
        answers = []
        store.release_unwaited([dependency], "writer", answers.append)
        store.settle()
        assert answers == [None]
        _, [mark], _ = store.look(key, [dependency])
        assert not is_token(mark)

    def test_what_is_not_answered_is_not_held_for_ever(self, store, key, dependency):
        """Each release keeps a connection until it is settled."""
        for _ in range(3):
            store.fence([dependency], "writer")
            store.release_unwaited([dependency], "writer", lambda lost: None)
        connections = {id(sent.connection) for sent in store.unsettled}
        assert len(connections) == 3
        store.settle()
        assert not store.unsettled

    def test_a_forked_process_leaves_the_answer_to_its_parent(self, store, key, dependency):
        store.fence([dependency], "writer")
        answers = []
        store.release_unwaited([dependency], "writer", answers.append)
        child = os.fork()
        if child == 0:
            store.settle()
            _, [token], _ = store.look(key, [dependency])
            os._exit(0 if not answers and is_token(token) else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert not answers
        store.settle()
        assert answers == [0]

    def test_a_process_forked_while_an_answer_is_awaited_waits_for_nothing(
        self, store, key, dependency, monkeypatch
    ):
        store.fence([dependency], "writer")
        store.release_unwaited([dependency], "writer", lambda lost: None)
        with settling_elsewhere(store, monkeypatch):
            child = os.fork()
            if child == 0:
                signal.alarm(10)  # ends the child if it waits for a thread that it has not
                store.settle()
                store.look(key, [dependency])
                os._exit(0)
            _, status = os.waitpid(child, 0)
        assert status == 0

    def test_a_release_is_unsettled_until_its_answer_is_known(self, store, dependency, monkeypatch):
        """Who looks meanwhile must see that there is something to wait for."""
        store.fence([dependency], "writer")
        answers = []
        store.release_unwaited([dependency], "writer", answers.append)
        with settling_elsewhere(store, monkeypatch):
            assert store.unsettled
            assert not answers
        assert not store.unsettled
        assert answers == [0]

    def test_an_answer_is_read_by_one_of_two_threads(self, store, dependency, monkeypatch):
        store.fence([dependency], "writer")
        answers = []
        store.release_unwaited([dependency], "writer", answers.append)
        with settling_elsewhere(store, monkeypatch) as may_come:
            lock, comes_to_it = store._settling, threading.Event()

            @contextmanager
            def noticed():
                comes_to_it.set()
                with lock:
                    yield

            def read_twice(connection, count):
                raise AssertionError("the answer is read already")

            second = threading.Thread(target=store.settle)
            with monkeypatch.context() as patch:
                patch.setattr(store, "_settling", noticed())
                patch.setattr(store._connections, "receive", read_twice)
                second.start()
                assert comes_to_it.wait(10)
                may_come.set()
                second.join()
        assert answers == [0]

    def test_a_thread_that_is_told_to_end_leaves_no_half_read_connection(
        self, store, key, dependency, monkeypatch
    ):
        store.fence([dependency], "writer")
        answers = []
        store.release_unwaited([dependency], "writer", answers.append)
        connection = store.unsettled[0].connection

        def end(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(store._connections, "receive", end)
        with pytest.raises(KeyboardInterrupt):
            store.settle()
        monkeypatch.undo()
        assert answers == [None]
        assert not store.unsettled
        assert connection._sock is None
        store.look(key, [dependency])


@contextmanager
def settling_elsewhere(store, monkeypatch):
    """Let another thread wait for the answer to a release; yield what lets the answer come."""
    awaited, may_come = threading.Event(), threading.Event()
    receive = store._connections.receive

    def receive_later(connection, count):
        awaited.set()
        assert may_come.wait(10)
        return receive(connection, count)

    thread = threading.Thread(target=store.settle)
    with monkeypatch.context() as patch:
        patch.setattr(store._connections, "receive", receive_later)
        thread.start()
        assert awaited.wait(10)
    try:
        yield may_come
    finally:
        may_come.set()
        thread.join()


class TestDjangoRedis(RedisConformance):
    @pytest.fixture
    def alias(self):
        return "redis"


class TestBuiltin(RedisConformance):
    @pytest.fixture
    def alias(self):
        return "redis_builtin"


@pytest.mark.skipif(bool(servers.missing("redis")), reason=str(servers.missing("redis")))
class TestRedisServer(RedisConformance):
    """What the others do on Valkey, on Redis."""

    @pytest.fixture
    def alias(self):
        return "redis_server"

    def test_the_server_is_not_valkey(self, client):
        assert "valkey_version" not in client.info("server")


def test_threads_that_ask_first_at_once_are_given_one_store(settings, monkeypatch):
    """What one of them has sent and not settled, the other must see."""
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "redis"}
    found, both_ask = [], threading.Barrier(2)
    client_of = stores.client_of

    def client_of_at_once(alias):
        if threading.current_thread() in threads:  # and not the one that publishes counts
            both_ask.wait(10)
        return client_of(alias)

    monkeypatch.setattr(stores, "client_of", client_of_at_once)
    threads = [threading.Thread(target=lambda: found.append(stores.get_store())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [stores.get_store()] * 2


def test_what_cannot_be_sent_keeps_no_connection(use_cache):
    one_connection = {"CONNECTION_POOL_KWARGS": {"max_connections": 1}}
    use_cache(f"{servers.address('valkey')}/2", OPTIONS=one_connection)
    store = stores.get_store()
    with pytest.raises(redis.DataError):
        store.fill("key", object(), 30)
    store.look("key", ["dependency"])


def test_scripts_and_fences_survive_a_server_that_starts_again(use_cache):
    with servers.Valkey() as server:
        use_cache(f"{server.address}/0")
        store = stores.get_store()
        _, [before], _ = store.look("key", ["dependency"])
        store.fence(["dependency"], "writer")
        server.kill()
        server.start()
        assert store.release(["dependency"], "writer") == 1
        _, [after], _ = store.look("key", ["dependency"])
        assert is_token(after)
        assert after != before
        caches["own"].close()


# At the wire --------------------------------------------------------------------------------------


@pytest.fixture(params=["django_redis.cache", "django.core.cache.backends.redis"])
def wire(request, settings, use_cache, monkeypatch):
    """Let querycache speak to the server through a proxy that counts."""
    address = urlsplit(servers.address("valkey"))
    with Wire(address.hostname, address.port) as wire:
        use_cache(
            f"redis://127.0.0.1:{wire.port}/2",
            backend=f"{request.param}.RedisCache",
            KEY_PREFIX=settings.KEY_PREFIX,
        )
        store = stores.get_store()
        # A connection says hello, and scripts are loaded, once.
        store.fence(["warm"], "writer")
        store.release(["warm"], "writer")
        # The thread that publishes counts would take the connection, and another would say hello.
        monkeypatch.setattr(statistics, "_sink", None)
        statistics.publish()  # waits for what is under way
        yield wire
        wire.may_answer.set()
        store.settle()
        stores.redis.client_of("own").connection_pool.disconnect()
        caches["own"].close()


def test_a_look_is_one_command_in_one_round_trip(wire):
    store = stores.get_store()
    names = [f"dependency {number}" for number in range(5)]
    store.look("key", names)
    with wire.traffic() as traffic:
        store.look("key", names)
    assert (traffic.round_trips, traffic.commands) == (1, ["MGET"])


def test_a_look_that_makes_generations_is_two_round_trips(wire):
    store = stores.get_store()
    stores.redis.client_of("own").flushdb()
    with wire.traffic() as traffic:
        store.look("key", ["one", "two"])
    assert traffic.round_trips == 2
    assert traffic.commands == ["MGET", "SET", "SET", "MGET"]


def test_a_fill_is_one_command_in_one_round_trip(wire):
    with wire.traffic() as traffic:
        stores.get_store().fill("key", b"entry" * 100_000, 30)
    assert (traffic.round_trips, traffic.commands) == (1, ["SET"])


@pytest.mark.parametrize("step", ["fence", "release"])
def test_a_fence_and_a_release_are_one_round_trip_each(wire, step):
    with wire.traffic() as traffic:
        getattr(stores.get_store(), step)(["one", "two", "three"], "writer")
    assert (traffic.round_trips, traffic.commands) == (1, ["EVALSHA"] * 3)


@pytest.mark.django_db(transaction=True)
def test_a_hit_is_one_round_trip_and_no_sql(wire, count_sql):
    Tag.objects.create(name="tag")
    list(Tag.objects.all())
    with wire.traffic() as traffic, count_sql() as statements:
        list(Tag.objects.all())
    assert (traffic.round_trips, traffic.commands, statements) == (1, ["MGET"], [])


@pytest.mark.django_db(transaction=True)
def test_a_miss_is_two_round_trips(wire):
    for name in ("one", "two"):
        list(Tag.objects.all())  # now it is known how long that takes
        Tag.objects.create(name=name)
    debts.settle()
    with wire.traffic() as traffic:
        list(Tag.objects.all())
    assert (traffic.round_trips, traffic.commands) == (2, ["MGET", "SET"])


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_writes_is_two_round_trips_however_much_it_writes(wire):
    with wire.traffic() as traffic:
        with transaction.atomic():
            for name in ("one", "two", "three"):
                Tag.objects.create(name=name)
            Tag.objects.update(name="same")
        debts.settle()
    assert (traffic.round_trips, set(traffic.commands)) == (2, {"EVALSHA"})


@pytest.mark.django_db(transaction=True)
def test_a_write_in_autocommit_is_two_round_trips(wire):
    with wire.traffic() as traffic:
        Tag.objects.create(name="one")
        debts.settle()
    assert (traffic.round_trips, set(traffic.commands)) == (2, {"EVALSHA"})
    with wire.traffic() as traffic:
        Tag.objects.update(name="two")
        debts.settle()
    assert (traffic.round_trips, set(traffic.commands)) == (2, {"EVALSHA"})


@pytest.mark.django_db(transaction=True)
def test_a_release_is_not_waited_for(wire, monkeypatch):
    list(Tag.objects.all())
    fence = generations.fence

    def fence_and_keep_answers_back(dependencies):
        writer = fence(dependencies)
        wire.may_answer.clear()
        return writer

    monkeypatch.setattr(generations, "fence", fence_and_keep_answers_back)
    Tag.objects.create(name="one")  # comes to its end although nobody answers
    assert len(stores.get_store().unsettled) == 1
    wire.may_answer.set()
    assert [tag.name for tag in Tag.objects.all()] == ["one"]
    assert not stores.get_store().unsettled
    with record_reads() as reads:
        list(Tag.objects.all())
    assert [read.outcome for read in reads] == ["hit"]


@pytest.mark.django_db(transaction=True)
def test_a_writer_whose_fence_was_lost_reads_what_it_wrote(wire, monkeypatch):
    """fence, lost, look SELECT fill(reader) COMMIT release settle(another thread) look(writer)"""
    Tag.objects.create(name="before")
    store, fence = stores.get_store(), generations.fence

    def names():
        return [tag.name for tag in Tag.objects.all()]

    def fence_and_lose(dependencies):
        writer = fence(dependencies)
        stores.redis.client_of("own").flushdb()
        assert elsewhere(names) == ["before"]
        wire.may_release.clear()
        return writer

    with monkeypatch.context() as patch, transaction.atomic():
        patch.setattr(generations, "fence", fence_and_lose)
        Tag.objects.update(name="after")
        transaction.on_commit(patch.undo)
    with settling_elsewhere(store, monkeypatch) as may_come:
        settle = store.settle

        def settle_here_too():
            wire.may_release.set()
            may_come.set()
            settle()

        with monkeypatch.context() as patch:
            patch.setattr(store, "settle", settle_here_too)
            seen = names()
        wire.may_release.set()
    assert seen == ["after"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_rolled_back_is_no_round_trip(wire):
    with wire.traffic() as traffic, transaction.atomic():
        Tag.objects.create(name="one")
        transaction.set_rollback(True)
    assert traffic.round_trips == 0


@pytest.mark.django_db(transaction=True)
def test_a_model_that_is_not_opted_in_is_no_round_trip(wire):
    with wire.traffic() as traffic:
        secret = Secret.objects.create(text="mine")
        list(Secret.objects.all())
        secret.delete()
    assert traffic.round_trips == 0
