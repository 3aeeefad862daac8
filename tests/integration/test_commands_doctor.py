"""``manage.py querycache doctor``: what it finds in settings, stores, servers and databases."""

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django_redis import get_redis_connection

from querycache import breaker
from querycache.management.commands.querycache import Command
from querycache.management.diagnosis import databases, protocol, server, store, versions
from querycache.management.secrets import masked, reason_of
from querycache.stores.base import new_token, released
from querycache.transactions import state_of
from tests import servers
from tests.commands import outcome_of_reading, run
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

PROTOCOL = (
    "ok       protocol: Look, fill, hit, fence of two writers, release, stale: as it should, over "
    "two connections."
)
SQLITE = r"SQLite [\d.]+, SERIALIZABLE: reads are cached, but not in transactions, since these "


def lines_about(about: str) -> list[str]:
    return [line for line in run("doctor").splitlines() if line[9:].startswith(about)]


def lines_in_spite_of_problems() -> list[str]:
    output = StringIO()
    with pytest.raises(CommandError):
        call_command("querycache", "doctor", stdout=output)
    return output.getvalue().splitlines()


def problems(message: str = "1 problem found") -> list[str]:
    """Return the problems that it finds, where it ends with the exit code of a problem."""
    output = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("querycache", "doctor", "--json", stdout=output)
    assert str(caught.value) == message
    assert caught.value.returncode == 1
    document = json.loads(output.getvalue())
    assert document["status"] == "problem"
    return [
        f"{one['about']}: {one['message']} {one['hint']}"
        for one in document["findings"]
        if one["status"] == "problem"
    ]


# What is as it should be --------------------------------------------------------------------------


def test_every_kind_of_store_plays_the_protocol(store):
    lines = run("doctor").splitlines()

    assert PROTOCOL in lines
    assert not [line for line in lines if line.startswith("problem")]
    assert all(re.match(r"(ok     |warning)  [a-z]+( \w+)?: .*\.$", line) for line in lines), lines
    is_strict = store not in {"file", "db", "memcached"}
    assert any("Fences are not strict" in line for line in lines) == (not is_strict)
    assert any("Counts may lose some" in line for line in lines) == (store in {"file", "db"})


def test_nothing_stays_that_does_not_expire_and_nothing_is_made_stale(settings, count_sql):
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "redis"}
    client = get_redis_connection("redis")
    outcome_of_reading(Author.objects)
    before = set(client.keys("*"))
    with count_sql() as statements:
        run("doctor")

    left = set(client.keys("*")) - before
    assert left
    assert all(0 < client.ttl(name) <= 24 * 3600 for name in left)
    assert statements == []
    assert outcome_of_reading(Author.objects) == "hit"


def test_json_has_the_same_findings():
    lines = run("doctor").splitlines()
    document = json.loads(run("doctor", "--json"))

    assert document["status"] in {"ok", "warning"}
    assert [finding["about"] for finding in document["findings"]] == [
        re.match(r"\w+ +([a-z]+( \w+)?): ", line)[1] for line in lines
    ]
    assert {*document["findings"][0]} == {"status", "about", "message", "hint"}


# Settings -----------------------------------------------------------------------------------------


def test_what_the_checks_say_is_found(settings):
    settings.QUERYCACHE = {"CACHE": "locmem", "MODELS": {"testapp.Auhtor": {}}, "VERIFI": 1}

    assert problems() == [
        "settings: QUERYCACHE has an unknown key 'VERIFI'. (querycache.E003) Did you mean 'VERIFY'?"
    ]
    settings.SILENCED_SYSTEM_CHECKS = ["querycache.E003", "querycache.W003"]
    (line,) = lines_about("settings")
    assert line == (
        "warning  settings: QUERYCACHE['MODELS']: no model matches 'testapp.Auhtor'. "
        "(querycache.W001) Did you mean 'testapp.Author'?"
    )
    (line,) = lines_about("models")
    assert line.startswith("warning  models: No model is opted in, so nothing is cached. Name ")


def test_no_setting_is_so_wrong_that_it_does_not_run(settings, capsys):
    settings.QUERYCACHE = {"CACHE": "defualt", "MODELS": {"testapp.Author": {}}}
    with pytest.raises(SystemExit) as caught:
        Command().run_from_argv(["manage.py", "querycache", "doctor"])

    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert printed.err == "CommandError: 1 problem found\n"
    assert (
        "problem  settings: QUERYCACHE['CACHE'] is 'defualt', which is not in CACHES. "
        "(querycache.E010) Did you mean 'default'?\n"
    ) in printed.out
    assert "store: " not in printed.out
    assert "database default: SQLite" in printed.out


def test_what_is_opted_in_is_named(settings):
    settings.QUERYCACHE = {
        "CACHE": "locmem",
        "MODELS": {"testapp.Author": {"TTL": 5, "MAX_STALE": 90}, "testapp.Tag": {"TTL": 5}},
    }
    assert lines_about("models") == [
        "ok       models: Opted in: testapp.Author, testapp.Tag.",
        "ok       models: May be older than the database, by MAX_STALE: testapp.Author (1.5 min).",
    ]


def test_of_many_models_some_are_named(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": {"*": {"TTL": 5}}}
    (line,) = lines_about("models")
    assert re.search(r": (\S+, ){7}\S+ and \d+ more\.$", line)


def test_versions_are_named(monkeypatch):
    (line,) = lines_about("versions")
    assert re.match(
        r"ok +versions: Python 3\.\d+\.\d+, Django [\d.]+, django-orm-querycache ", line
    )
    assert "hiredis" in line
    known = versions._version
    monkeypatch.setattr(versions, "_version", lambda name: name != "hiredis" and known(name))
    _, line = lines_about("versions")
    assert line.startswith("warning  versions: hiredis is not installed: ")


# The store ----------------------------------------------------------------------------------------


def test_a_dead_store_is_a_problem(settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    (found,) = problems()

    assert found.startswith("store: It does not answer: ")
    assert "Connection refused" in found
    assert found.endswith(" Is the server running, and is LOCATION right?")


def test_a_store_that_has_just_failed_is_asked_again(monkeypatch):
    monkeypatch.setattr(breaker, "_failed_at", monotonic())
    assert PROTOCOL in run("doctor").splitlines()


def test_a_store_that_cannot_be_made_is_a_problem(use_cache):
    use_cache("x", backend="tests.nothing.Cache")
    in_checks, in_store = problems("2 problems found")
    assert in_checks.startswith("settings: Could not find backend 'tests.nothing.Cache'")
    assert in_store.startswith("store: It cannot be used: Could not find backend 'tests.nothing.")


def test_a_dummy_cache_is_a_warning(use_cache):
    use_cache("", backend="django.core.cache.backends.dummy.DummyCache")
    lines = run("doctor").splitlines()

    assert any("CACHES['own'] is a DummyCache: nothing is ever cached" in line for line in lines)
    assert PROTOCOL not in lines


def test_a_locmem_cache_is_of_this_process_and_has_to_be_large_enough(use_cache):
    use_cache("few", backend="django.core.cache.backends.locmem.LocMemCache")
    lines = lines_about("store")

    assert "ok       store: Entries and fences are this process's own." in lines
    assert lines[-1].startswith("warning  store: It keeps 300 values, ")
    enough = {"MAX_ENTRIES": 10_000}
    use_cache("many", backend="django.core.cache.backends.locmem.LocMemCache", OPTIONS=enough)
    assert not [line for line in lines_about("store") if "values" in line]


def test_names_may_have_quotes_and_emoji(settings):
    alias, location = 'it\'s a "cache"', 'it\'s "here" 🩺'
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": location}
    settings.CACHES = {**settings.CACHES, alias: locmem}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": alias}
    lines = run("doctor").splitlines()

    assert lines_about("store")[0] == (
        f"ok       store: CACHES[{alias!r}] is django.core.cache.backends.locmem.LocMemCache at "
        f"{location}."
    )
    assert PROTOCOL in lines


def test_a_slow_store_is_a_warning(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(store, "perf_counter", lambda: next(ticks) * 0.0051)
    (line,) = [line for line in lines_about("store") if line.startswith("warning")]
    assert line.startswith("warning  store: It answers a look in 5.1 ms, the median of 25. Quer")


# The protocol -------------------------------------------------------------------------------------


class Keeping(LocMemCache):
    """Each thread keeps what it has read, and sees nothing of what others write afterwards."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept: dict[str, Any] = {}

    def get_many(self, keys: Any, version: Any = None) -> dict[str, Any]:
        missing = [key for key in keys if key not in self.kept]
        self.kept |= super().get_many(missing, version)
        return {key: self.kept[key] for key in keys if key in self.kept}

    def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        super().set(key, *args, **kwargs)
        self.kept.pop(key, None)


class Refusing(LocMemCache):
    """Keeps no entry."""

    def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        if ":e:" not in key:
            super().set(key, *args, **kwargs)


@pytest.mark.parametrize(
    ("backend", "difference"),
    [(Keeping, "A fence of another connection is not seen"), (Refusing, "What was filled is not")],
)
def test_a_store_that_does_not_keep_the_protocol_is_a_problem(use_cache, backend, difference):
    use_cache("own", backend=f"{__name__}.{backend.__name__}")
    (found,) = problems()

    assert found.startswith(f"protocol: {difference}")
    assert found.endswith("a proxy or a backend of your own?")


def released_at_once(value: object, writer: str, now: float, seconds: int) -> Any:
    """Release all writers, not this one alone."""
    return new_token(), seconds, True


def released_and_lost(value: object, writer: str, now: float, seconds: int) -> Any:
    return (*released(value, writer, now, seconds)[:2], False)


@pytest.mark.parametrize(
    ("release", "difference"),
    [
        (released_at_once, "One writer lifts the fence of another."),
        (released_and_lost, "A fence was lost."),
    ],
)
def test_a_fence_that_is_not_counted_or_gets_lost_is_a_problem(
    settings, monkeypatch, release, difference
):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    monkeypatch.setattr("querycache.stores.django.released", release)
    assert problems()[0].startswith(f"protocol: {difference}")


def test_a_store_that_fails_in_the_middle_is_a_problem(settings, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}

    def fail(*args: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("querycache.stores.django.fenced", fail)
    (found,) = problems()
    assert found.startswith("protocol: The store failed in the middle of it: the disk is full. ")


def test_the_writer_has_a_connection_of_its_own(settings, monkeypatch):
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "redis"}
    clients: dict[str, set[int]] = {"reader": set(), "writer": set()}

    def asked(store: Any) -> int:
        return store._connections.ask(("CLIENT", "ID"))[0][0]

    look, elsewhere = protocol._look, protocol._elsewhere
    monkeypatch.setattr(
        protocol,
        "_look",
        lambda plan: clients["reader"].add(asked(protocol.generations.get_store())) or look(plan),
    )
    monkeypatch.setattr(
        protocol,
        "_elsewhere",
        lambda store, work: clients["writer"].add(asked(store)) or elsewhere(store, work),
    )
    run("doctor")
    assert len(clients["writer"]) == 1
    assert clients["reader"].isdisjoint(clients["writer"])


def test_what_the_writer_writes_into_a_table_is_nobodys_change(settings, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "db"}
    elsewhere, covered = protocol._elsewhere, []

    def look_at(store: Any, work: Callable[[], int | None]) -> int | None:
        def run_and_look() -> int | None:
            covered.append(state_of(connections[store.using]).covered)
            return work()

        return elsewhere(store, run_and_look)

    monkeypatch.setattr(protocol, "_elsewhere", look_at)
    run("doctor")
    assert covered == [True] * 4


# The server ---------------------------------------------------------------------------------------


@pytest.fixture
def valkey(settings: Any) -> Iterator[Any]:
    """A client of the tests' own Valkey, which is the cache; its settings are put back."""
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "redis"}
    client = get_redis_connection("redis")
    names = ("maxmemory", "maxmemory-policy", "save", "appendonly")
    before = {name: client.config_get(name)[name] for name in names}
    yield client
    for name, value in before.items():
        client.config_set(name, value)


LARGE = 8 * 1024**3


def server_says(status: str) -> list[str]:
    return [line for line in lines_about("server") if line.startswith(status)]


@pytest.mark.parametrize(
    ("policy", "status", "about"),
    [
        ("noeviction", "warning", "It evicts nothing (noeviction): when its memory is full it ref"),
        ("volatile-ttl", "warning", "It evicts first what expires soonest (volatile-ttl), and a "),
        ("allkeys-random", "warning", "It evicts anything (allkeys-random), fences and popular"),
        ("volatile-random", "warning", "It evicts anything (volatile-random), fences and popular"),
        ("allkeys-lru", "ok", "It evicts any key used least recently (allkeys-lru), which is safe"),
        ("allkeys-lfu", "ok", "It evicts any key used most rarely (allkeys-lfu), which is safe"),
        (
            "volatile-lru",
            "ok",
            "It evicts only keys with a TTL, as all of querycache have, used least recently (vola",
        ),
    ],
)
def test_a_policy_of_eviction_is_judged(valkey, policy, status, about):
    valkey.config_set("maxmemory", LARGE)
    valkey.config_set("maxmemory-policy", policy)
    (line,) = [line for line in lines_about("server") if about in line]

    assert line.startswith(f"{status:7}  server: {about}")
    assert line.endswith(server._ADVICE) == (status == "warning")
    assert re.search(r"It uses \S+ \S+ of 8\.0 GB\.", "\n".join(server_says("ok")))


def test_a_server_that_is_full_and_evicts_nothing_is_a_problem_and_says_why(valkey):
    valkey.config_set("maxmemory-policy", "noeviction")
    valkey.config_set("maxmemory", 1)
    (found,) = problems()
    lines = lines_in_spite_of_problems()

    assert re.match(r"store: It refuses a look: .*maxmemory.* See what is found of the serv", found)
    assert [line for line in lines if "It evicts nothing (noeviction): when its memory is" in line]
    assert not [line for line in lines if "protocol: " in line]


def test_memory_without_end_is_a_warning(valkey):
    valkey.config_set("maxmemory", 0)
    valkey.config_set("maxmemory-policy", "noeviction")

    (line,) = server_says("warning")
    assert re.search(r"It uses \S+ \S+, and has no maxmemory: .* Set maxmemory to what", line)
    assert "matters with maxmemory only" in "\n".join(server_says("ok"))
    assert re.match(r"ok +server: (Valkey|Redis) \d+\.\d+\.\d+, master\.", server_says("ok")[0])


def test_what_is_kept_on_disk_is_not_believed(valkey):
    assert "It keeps nothing on disk, and querycache needs nothing kept." in server_says("ok")[-1]
    valkey.config_set("save", "3600 1")
    assert "It keeps dumps on disk; after a restart nothing of it is bel" in server_says("ok")[-1]


INFO = {"redis_version": "7.4", "run_id": "a", "role": "master", "maxmemory": 1, "used_memory": 1}


@pytest.mark.parametrize(
    ("finding", "status", "about"),
    [
        (server._version(INFO | {"cluster_enabled": 1}), "problem", "Redis 7.4, a node of a clust"),
        *(
            (next(server._persistence(info, saves)), status, about)
            for info, saves, status, about in [
                (INFO | {"rdb_last_bgsave_status": "err"}, True, "warning", "Its last dump has fa"),
                (INFO | {"rdb_last_bgsave_status": "err"}, False, "ok", "It keeps nothing on dis"),
                (INFO | {"aof_enabled": 1}, True, "ok", "It keeps AOF and dumps on disk; after"),
                (INFO | {"run_id": ""}, True, "warning", "It keeps dumps on disk and has no run"),
                (INFO, None, "ok", "It keeps nothing on disk as far as it tells, and querycache"),
            ]
        ),
        (server._eviction(INFO | {"maxmemory_policy": "cache"}), "ok", "Its policy of eviction is"),
    ],
)
def test_servers_that_the_tests_do_not_have(finding, status, about):
    assert finding.status == status
    assert finding.message.startswith(about)
    assert bool(finding.hint) == (status != "ok")


def test_a_user_who_may_not_ask_is_a_warning_and_his_password_is_not_shown(valkey, use_cache):
    valkey.acl_setuser(
        "doctor", enabled=True, passwords=["+s3/cr@t"], commands=["+@all", "-info"], keys=["*"]
    )
    address = servers.address("valkey").removeprefix("redis://")
    try:
        use_cache(f"redis://doctor:s3%2Fcr%40t@{address}/0")
        output = run("doctor")
    finally:
        valkey.acl_deluser("doctor")

    assert f"is django_redis.cache.RedisCache at redis://***@{address}/0." in output
    assert "warning  server: It does not tell about itself: " in output
    assert "Let its user run INFO, or flush after each restart." in output
    assert "s3" not in output


def test_time_outs_are_looked_at(valkey, use_cache):
    builtin = "django.core.cache.backends.redis.RedisCache"
    address = servers.address("valkey")
    use_cache(address, backend=builtin, OPTIONS={"socket_timeout": 0.5})
    assert "ok       store: A query waits at most 0.5 s for it." in lines_about("store")
    use_cache(address, backend=builtin, OPTIONS={"socket_timeout": None})
    (line,) = [line for line in lines_about("store") if line.startswith("warning")]
    assert line.startswith("warning  store: It has no time-out: when the server hangs, each query")


# Secrets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("redis://:secret@cache/0", "redis://***@cache/0"),
        ("rediss://me:se/cr@et@cache/0", "rediss://***@cache/0"),
        ("redis://cache/0?password=secret&db=1", "redis://cache/0?password=***&db=1"),
        ("redis://a:secret@b,redis://c:secret@d", "redis://***@d"),
        (["redis://a:secret@b", "redis://c"], "redis://***@b, redis://c"),
        ("127.0.0.1:11211", "127.0.0.1:11211"),
        ('it\'s a "folder" 🗂', 'it\'s a "folder" 🗂'),
    ],
)
def test_users_and_passwords_are_masked(location, shown):
    assert masked(location) == shown


def test_an_error_shows_no_password_of_the_settings(settings):
    settings.CACHES = {
        "default": {"BACKEND": "x", "OPTIONS": {"PASSWORD": "hush", "SENTINELS": [("a", 1)]}}
    }
    assert reason_of(OSError("hush is wrong at redis://u:p@h.")) == "*** is wrong at redis://***@h"
    assert reason_of(OSError()) == "OSError"
    assert reason_of(ValueError("Port could not be cast: 'hu'")) == "ValueError"


# Databases ----------------------------------------------------------------------------------------


@pytest.fixture
def routed(settings: Any) -> Callable[[str], None]:
    """Return a function that has all models read from and written to one database."""

    def route(alias: str) -> None:
        class Router:
            def db_for_read(self, model: object, **hints: object) -> str:
                return alias

            db_for_write = db_for_read

        settings.DATABASE_ROUTERS = [Router()]

    return route


IN_TRANSACTIONS = {
    "default": SQLITE + r"read a snapshot\.",
    "postgresql": r"PostgreSQL [\d.]+, READ COMMITTED: reads are cached, in transactions too\.",
    "mariadb": r"MariaDB [\d.]+, READ COMMITTED: reads are cached, in transactions too\.",
}


def test_databases_of_opted_in_models_are_looked_at_and_nothing_of_them_is_stale(using, routed):
    routed(using)
    outcome_of_reading(Author.objects)
    (line,) = lines_about("database")

    assert re.fullmatch(f"ok +database {using}: {IN_TRANSACTIONS[using]}", line)
    assert outcome_of_reading(Author.objects) == "hit"


def test_requests_in_transactions_that_are_not_cached_are_a_warning(monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    (line,) = lines_about("database")
    assert re.fullmatch(
        f"warning  database default: {SQLITE}read a snapshot. And ATOMIC_REQUESTS is on. Leave "
        "transactions to the views that write, so that reads of the others are cached.",
        line,
    )


def test_a_cache_in_the_database_is_no_use_in_its_transactions(
    settings, using, routed, monkeypatch
):
    if using == "default":
        pytest.skip("its transactions read a snapshot anyhow")
    routed(using)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "db"}
    monkeypatch.setattr(databases, "get_store", lambda: SimpleNamespace(using=using))
    (line,) = lines_about("database")
    assert line.endswith("not in transactions, since the cache is a table of it.")


def test_what_may_read_the_uncommitted_is_a_warning(monkeypatch):
    monkeypatch.setattr(databases, "reads_uncommitted", lambda connection: True)
    (line,) = lines_about("database")
    assert line.startswith("warning  database default: SQLite ")
    assert line.endswith('Set "OPTIONS": {"isolation_level": "read committed"}.')


def test_an_isolation_level_in_the_options_is_not_guessed(using, routed, monkeypatch):
    if using != "postgresql":
        pytest.skip("it has no such options")
    routed(using)
    connection, told = (
        connections[using],
        {"options": "-c default_transaction_isolation=serializable"},
    )
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "OPTIONS", told)
        (line,) = lines_about("database")
    connection.close()
    assert re.match(
        r"ok +database postgresql: PostgreSQL [\d.]+, the isolation level that it is told: reads "
        r"are cached, but not in transactions, since these read a snapshot\.",
        line,
    )


def test_a_database_that_does_not_answer_is_a_problem(monkeypatch):
    def refuse() -> None:
        raise OperationalError("it's gone 🩺\nfor ever")

    monkeypatch.setattr(connections["default"], "ensure_connection", refuse)
    (found,) = problems()
    assert found == (
        "database default: It does not answer: it's gone 🩺\nfor ever. Is it running, and is "
        "DATABASES['default'] right?"
    )


def test_replicas_say_what_they_follow(settings):
    settings.QUERYCACHE = {
        **settings.QUERYCACHE,
        "REPLICAS": {"default": {"OF": "nowhere", "MAX_LAG": 5}},
    }
    found = problems("2 problems found")
    assert found[0].startswith("settings: QUERYCACHE['REPLICAS']['default'] is OF 'nowhere'")
    assert found[1].startswith("database default: Nothing of it is cached: a setting is wrong")
    assert found[1].endswith("among the reasons: misconfigured.")


def test_a_replica_is_looked_at_too(settings, using):
    if using == "default":
        pytest.skip("it is the primary")
    replicas = {using: {"OF": "default", "MAX_LAG": 2.5}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "REPLICAS": replicas}
    assert f"ok       database {using}: It follows 'default', by at most 2.5 s." in lines_about(
        f"database {using}"
    )
