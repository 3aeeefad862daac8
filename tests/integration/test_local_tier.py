"""What this process holds itself: fewer bytes over the wire, and never anything older."""

import os

import pytest
from django.db import connections, transaction

import querycache
from querycache import generations, reads
from querycache import local as local_module
from querycache.local import local
from querycache.recorder import record_reads
from tests.testapp.models import Author
from tests.threads import elsewhere

pytestmark = pytest.mark.parametrize("store_alias", ["locmem", "db", "redis"], indirect=True)


@pytest.fixture(autouse=True)
def nothing_held():
    local.clear()


@pytest.fixture
def author(using, store):
    return Author.objects.using(using).create(name="before")


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def outcome(author):
    with record_reads() as found:
        seen = name(author)
    return seen, found[-1].outcome


def rename(author, new):
    Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


def held(author):
    for _ in range(3):
        name(author)
    assert len(local) == 1


def test_what_was_read_once_is_not_held_and_what_was_read_again_is(author):
    assert outcome(author) == ("before", "miss")
    assert len(local) == 0
    assert outcome(author) == ("before", "hit")
    assert len(local) == 1


def test_a_write_of_this_process_is_seen_at_once(author):
    held(author)
    rename(author, "after")
    assert outcome(author) == ("after", "miss")
    assert outcome(author) == ("after", "hit")


def test_a_write_that_this_process_hears_of_by_the_store_alone_is_seen(author, monkeypatch):
    held(author)
    monkeypatch.setattr(type(local), "note_written", lambda *args: None)
    rename(author, "after")
    assert outcome(author) == ("after", "miss")


def test_what_another_process_has_filled_since_is_found(author, monkeypatch):
    held(author)
    rename(author, "after")
    kept = local._entries, local._oldest, local._newest, local.size
    local.clear()
    assert outcome(author) == ("after", "miss")
    local._entries, local._oldest, local._newest, local.size = kept
    monkeypatch.setattr(local, "_written", {})
    assert outcome(author) == ("after", "hit")


def test_a_rollback_leaves_the_old_rows_and_no_others(author, using):
    held(author)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        rename(author, "after")
        assert name(author) == "after"
        1 / 0  # noqa: B018
    assert name(author) == "before"


def test_a_flush_makes_what_is_held_stale(author):
    held(author)
    querycache.flush()
    assert outcome(author) == ("before", "miss")


def test_a_reader_that_changes_its_rows_changes_nobody_elses(author, using):
    held(author)
    rows = reads.as_result(next(iter(local._entries.values())).loaded.rows, "multi")
    rows[0].clear()
    assert name(author) == "before"


def test_rows_with_values_that_can_be_changed_are_not_held(using, store):
    if connections[using].vendor != "postgresql":
        pytest.skip("only PostgreSQL has arrays")
    from django.contrib.postgres.aggregates import ArrayAgg

    Author.objects.using(using).create(name="a")
    for _ in range(4):
        found = Author.objects.using(using).aggregate(names=ArrayAgg("name"))["names"]
        assert found == ["a"]
        found.append("mine")
    assert len(local) == 0


class TestWhatIsSent:
    """And by whom."""

    def test_the_payload_comes_over_the_wire_once(self, author, monkeypatch):
        asked = []
        store = generations.get_store()
        look = store.look
        monkeypatch.setattr(
            type(store), "look", lambda self, key, names: asked.append(key) or look(key, names)
        )
        for _ in range(5):
            name(author)
        assert [key is None for key in asked] == [False, False, True, True, True]

    def test_a_fence_that_is_met_sends_a_reader_to_the_database(self, author, using):
        held(author)
        seen = []
        release = generations.release

        def look_before(*args):
            seen.append(elsewhere(outcome, author))
            release(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generations, "release", look_before)
            rename(author, "after")
        assert seen == [("after", "miss")]

    def test_a_child_begins_with_nothing(self, author):
        held(author)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, str(len(local)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 10) == b"0"
        assert len(local) == 1

    def test_nothing_is_held_longer_than_its_ttl(self, author, monkeypatch):
        held(author)
        now = local_module.time()
        monkeypatch.setattr(local_module, "time", lambda: now + 301)
        name(author)
        assert next(iter(local._entries.values())).confirmed

    def test_no_limit_of_zero_bytes_is_passed(self, author, settings):
        settings.QUERYCACHE = {**settings.QUERYCACHE, "LOCAL": {"MAX_BYTES": 0}}
        for _ in range(4):
            assert name(author) == "before"
        assert len(local) == 0
