"""
A server that comes back with what it knew before: old generations, and old entries with them.

Real dumps, real replication, a real failover by Sentinel.
"""

import contextlib

import pytest
import redis
from django.core.cache import caches

from querycache import breaker, debts, stores
from querycache.counting import statistics
from querycache.recorder import record_reads
from querycache.stores import connections
from tests import servers
from tests.stores.wire import Wire
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


def name(author):
    return Author.objects.values_list("name", flat=True).get(pk=author.pk)


def read(author):
    with record_reads() as reads:
        value = name(author)
    return value, reads[0].outcome


@pytest.fixture(params=["valkey", "redis"])
def kind(request):
    """The class of each server in turn."""
    if reason := servers.missing(request.param):
        pytest.skip(reason)
    return servers.SERVERS[request.param]


@pytest.fixture
def use(use_cache, monkeypatch):
    """The same as ``use_cache``, for servers that come and go."""
    monkeypatch.setattr(breaker, "_failed_at", None)
    monkeypatch.setattr(breaker, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(statistics, "_sink", None)
    yield use_cache
    debts.settle()
    debts.owed.clear()
    debts.unfenced.clear()
    caches["own"].close()


def client_of(server):
    return redis.Redis.from_url(server.address, protocol=2)


def test_a_server_restarted_from_an_old_dump_is_not_believed(kind, use):
    with kind() as server:
        use(f"{server.address}/0")
        author = Author.objects.create(name="before")
        name(author)
        assert read(author) == ("before", "hit")
        client_of(server).save()
        Author.objects.update(name="after")
        assert read(author) == ("after", "miss")
        server.kill()
        server.start()
        assert client_of(server).dbsize() > 0  # the entry of before is there, and so is its token
        assert read(author) == ("after", "miss")
        assert read(author) == ("after", "hit")


def test_without_the_incarnation_it_would_be_believed(use, monkeypatch):
    """The control: what the test above sees is not seen by chance."""
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    monkeypatch.setattr(connections, "incarnation_from", lambda info: b"")
    with servers.Valkey() as server:
        use(f"{server.address}/0")
        author = Author.objects.create(name="before")
        name(author)
        client_of(server).save()
        Author.objects.update(name="after")
        name(author)
        server.kill()
        server.start()
        assert read(author) == ("before", "hit")


@contextlib.contextmanager
def primary_and_replica(kind):
    with kind() as primary, kind() as replica:
        follow(replica, primary)
        yield primary, replica


def follow(replica, primary):
    """Make a server a replica of another, and wait until it is in step."""
    with client_of(replica) as client, client_of(primary) as leader:
        client.replicaof("127.0.0.1", primary.port)
        while client.info("replication")["master_link_status"] != "up":
            pass
        leader.set("last", "write")
        assert leader.wait(1, 10_000) == 1


def test_a_replica_that_missed_writes_is_not_believed_when_it_is_promoted_nor_is_the_old_primary(
    kind, use
):
    """
    fill(A) copied to B; B promoted; release(A) missed by B; failover to B; later back to A, which
    has become a copy of B: the same process, and the same old entry.
    """
    with primary_and_replica(kind) as (first, second), Wire("127.0.0.1", first.port) as wire:
        use(f"redis://127.0.0.1:{wire.port}/0")
        author, other = (Author.objects.create(name="before") for _ in range(2))
        for each in (author, other):
            name(each)
            assert read(each) == ("before", "hit")
        with client_of(first) as leader:
            assert leader.wait(1, 10_000) == 1
        promote(second)
        Author.objects.update(name="after")
        assert read(author) == ("after", "miss")

        wire.lead_to("127.0.0.1", second.port)
        assert read(other) == ("after", "miss")
        assert read(other) == ("after", "hit")

        follow(first, second)
        promote(first)
        wire.lead_to("127.0.0.1", first.port)
        assert read(author) == ("after", "miss")


def promote(server):
    with client_of(server) as client:
        client.replicaof("NO", "ONE")


def test_a_replica_is_not_asked(kind, use):
    """It may not have heard of a release that its primary has answered."""
    with primary_and_replica(kind) as (primary, replica):
        use(f"{primary.address}/0")
        author = Author.objects.create(name="before")
        assert read(author) == ("before", "miss")
        with client_of(primary) as leader:
            assert leader.wait(1, 10_000) == 1
        use(f"{replica.address}/0")
        assert read(author) == ("before", "bypass")


def test_a_user_who_may_not_ask_who_the_server_is_is_served_all_the_same(use, caplog):
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    with servers.Valkey() as server, client_of(server) as client:
        client.execute_command(
            *("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", "-info", "-@admin")
        )
        use(f"redis://shop:secret@127.0.0.1:{server.port}/0")
        author = Author.objects.create(name="before")
        assert read(author) == ("before", "miss")
        assert read(author) == ("before", "hit")
        Author.objects.update(name="after")
        assert read(author) == ("after", "miss")
    assert "does not say who it is" in caplog.text


def test_each_life_of_a_server_has_an_incarnation_of_its_own():
    def info(**fields):
        return "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()

    lives = [
        info(run_id="a", role="master", master_replid="x"),
        info(run_id="b", role="master", master_replid="x"),  # the same data, another process
        info(run_id="a", role="master", master_replid="y"),  # promoted again
        info(run_id="", master_replid="ax"),
    ]
    assert len({connections.incarnation_from(life) for life in lives}) == len(lives)
    assert connections.incarnation_from(lives[0]) == connections.incarnation_from(lives[0])
    assert connections.incarnation_from(info(something="else")) == b""
    with pytest.raises(ConnectionError):
        connections.incarnation_from(info(run_id="a", role="slave"))


def test_all_connections_of_a_pool_know_the_same_incarnation(use):
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    with servers.Valkey() as server:
        use(f"{server.address}/0")
        store = stores.get_store()
        first = store.look("key", ["dependency"]).incarnation
        assert len(first) == 16
        busy = store._connections.send(("PING",))  # so that another one is opened
        assert store.look("key", ["dependency"]).incarnation == first
        store._connections.discard(busy)
        server.kill()
        server.start()
        second = store.look("key", ["dependency"]).incarnation
        assert second != first


class Sentinel(servers.Valkey):
    """Watches over a primary, and promotes its replica when it is told to."""

    name = "sentinel"

    def __init__(self, kind, primary):
        super().__init__()
        self._kind, self._primary = kind, primary
        self.service = f"shop{self.port}"  # django-redis keeps a pool for each name, for ever

    def prepare(self):
        config = (
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self._primary.port} 1\n"
            f"sentinel failover-timeout {self.service} 10000\n"
        )
        path = self.folder / "sentinel.conf"
        path.write_text(config)
        path.chmod(0o666)  # it writes down what it learns

    def command(self):
        binary, *_ = self._kind.command(self)
        return [binary, self.folder / "sentinel.conf", "--sentinel"]

    def ping(self):
        """Wait until it knows its servers, too."""
        if not super().ping():
            return False
        with client_of(self) as client:
            replicas = client.sentinel_slaves(self.service)
            return client.sentinel_master(self.service)["flags"] == "master" and bool(replicas)

    def primary_port(self):
        with client_of(self) as client:
            return client.sentinel_get_master_addr_by_name(self.service)[1]

    def fail_over(self):
        with client_of(self) as client:
            while self.primary_port() == self._primary.port:
                with contextlib.suppress(redis.ResponseError):  # not ready yet, or doing so
                    client.execute_command("SENTINEL", "FAILOVER", self.service)


def test_a_failover_by_sentinel_is_followed_and_nothing_from_before_is_believed(kind, use):
    with primary_and_replica(kind) as (primary, replica), Sentinel(kind, primary) as sentinel:
        use(
            f"redis://{sentinel.service}/0",
            OPTIONS={
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
                "SENTINELS": [("127.0.0.1", sentinel.port)],
            },
        )
        author = Author.objects.create(name="before")
        name(author)
        assert read(author) == ("before", "hit")
        assert isinstance(stores.get_store(), stores.RedisStore)
        sentinel.fail_over()
        assert sentinel.primary_port() == replica.port
        assert read(author)[0] == "before"
        Author.objects.update(name="after")
        assert read(author)[0] == "after"
        assert client_of(replica).info("replication")["role"] == "master"
        assert read(author)[0] == "after"
        assert read(author) == ("after", "hit")
