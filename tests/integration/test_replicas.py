"""Reads of a replica that lags: SQLite files, and a replication that is a copy of the file."""

import shutil
import threading

import pytest
from django.core import checks
from django.db import connections, transaction

from querycache import explain, replicas
from querycache.checks import check_settings
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.testapp.models import Tag

MAX_LAG = 5


class Router:
    def db_for_read(self, model, **hints):
        return "replica" if model._meta.app_label == "testapp" else None

    def db_for_write(self, model, **hints):
        return "primary" if model._meta.app_label == "testapp" else None


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    seconds = [1000.0]
    monkeypatch.setattr(replicas, "monotonic", lambda: seconds[0])

    def forward(by):
        seconds[0] += by

    return forward


@pytest.fixture
def replicate(new_alias, tmp_path, settings, clock):
    """Make a primary with one row and a replica; return what brings the replica up to date."""
    primary, replica = tmp_path / "primary.sqlite3", tmp_path / "replica.sqlite3"
    new_alias("primary", ENGINE="django.db.backends.sqlite3", NAME=primary)
    with connections["primary"].schema_editor() as editor:
        editor.create_model(Tag)
    Tag.objects.using("primary").create(name="before")
    shutil.copy(primary, replica)
    new_alias("replica", ENGINE="django.db.backends.sqlite3", NAME=replica)
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    settings.QUERYCACHE = {
        **settings.QUERYCACHE,
        "CACHE": "locmem",
        "REPLICAS": {"replica": {"OF": "primary", "MAX_LAG": MAX_LAG}},
    }

    def copy():
        connections["replica"].close()
        shutil.copy(primary, replica)

    return copy


def read(using="replica"):
    with record_reads() as reads:
        names = [tag.name for tag in Tag.objects.using(using)]
    return names, reads[0].outcome, reads[0].reason


def test_a_read_of_a_replica_is_stored_once_it_must_have_caught_up(replicate, clock):
    assert read() == (["before"], "bypass", Reason.REPLICA_LAG)
    clock(MAX_LAG - 0.1)
    assert read() == (["before"], "bypass", Reason.REPLICA_LAG)
    clock(0.1)
    assert read() == (["before"], "miss", None)
    assert read() == (["before"], "hit", None)


def test_what_a_lagging_replica_says_is_never_stored(replicate, clock):
    """COMMIT(primary) release look(replica) SELECT(replica): the row before the commit."""
    clock(MAX_LAG)
    Tag.objects.using("primary").update(name="after")
    assert read() == (["before"], "bypass", Reason.REPLICA_LAG)
    assert read("primary") == (["after"], "miss", None)
    assert read() == (["after"], "hit", None)


def test_every_change_begins_the_wait_anew(replicate, clock):
    read()
    clock(MAX_LAG)
    assert read() == (["before"], "miss", None)
    Tag.objects.using("primary").update(name="after")
    assert read() == (["before"], "bypass", Reason.REPLICA_LAG)
    replicate()
    clock(MAX_LAG)
    assert read() == (["after"], "miss", None)
    assert read("primary") == (["after"], "hit", None)


def test_a_replica_shares_the_entries_of_its_primary(replicate):
    read("primary")
    assert read() == (["before"], "hit", None)


def test_what_the_primary_has_not_committed_is_not_seen_through_the_replica(replicate):
    read("primary")
    with transaction.atomic("primary"):
        Tag.objects.using("primary").update(name="after")
        assert read() == (["before"], "hit", None)


def test_a_write_through_the_alias_of_the_replica_is_heard_of_by_the_primary(replicate):
    read("primary")
    Tag.objects.using("replica").update(name="elsewhere")
    assert read("primary") == (["before"], "miss", None)


def test_another_life_of_the_server_begins_the_wait_anew(clock):
    """The same token out of an old dump: a change may have come after it, and be forgotten."""
    dependencies = ("another life",)
    assert not replicas.has_caught_up(dependencies, b"first life, token", MAX_LAG)
    clock(MAX_LAG)
    assert replicas.has_caught_up(dependencies, b"first life, token", MAX_LAG)
    assert not replicas.has_caught_up(dependencies, b"second life, token", MAX_LAG)


def test_the_wait_is_each_dependencys_own(clock):
    assert not replicas.has_caught_up(("one",), b"token", MAX_LAG)
    clock(MAX_LAG)
    assert not replicas.has_caught_up(("other",), b"token", MAX_LAG)
    assert replicas.has_caught_up(("one",), b"token", MAX_LAG)


def test_a_replica_whose_setting_is_wrong_is_not_cached(replicate, settings):
    wrong = {"replica": {"OF": "primary", "MAX_LAG": "5"}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "REPLICAS": wrong}
    settings.DATABASE_ROUTERS = []
    assert read() == (["before"], "bypass", Reason.MISCONFIGURED)
    assert explain(Tag.objects.using("replica")).reason is Reason.MISCONFIGURED


def test_an_undeclared_replica_is_not_cached_and_check_says_so(replicate, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "REPLICAS": {}}
    assert read() == (["before"], "bypass", Reason.WRITTEN_ELSEWHERE)
    (message,) = [found for found in check_settings() if found.id == "querycache.W004"]
    assert isinstance(message, checks.Warning)
    assert "from 'replica' and writes to 'primary'" in message.msg
    assert '{"replica": {"OF": "primary", "MAX_LAG": 5}}' in message.hint


def test_check_has_nothing_to_say_of_a_declared_replica(replicate):
    assert not [found for found in check_settings() if found.id == "querycache.W004"]


def test_a_replica_of_another_primary_is_undeclared(replicate, settings):
    settings.QUERYCACHE = {
        **settings.QUERYCACHE,
        "REPLICAS": {"replica": {"OF": "default", "MAX_LAG": MAX_LAG}},
    }
    assert read()[1:] == ("bypass", Reason.WRITTEN_ELSEWHERE)
    assert [found for found in check_settings() if found.id == "querycache.W004"]


def test_threads_wait_together(replicate, clock):
    """What one thread has seen long ago, all have: the clock is the process's."""
    read()
    clock(MAX_LAG)
    seen = []

    def look():
        seen.append(read())
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(["before"], "miss", None)]
