"""Readers that miss the same key at once: one of them asks the database."""

import sys
import threading
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from querycache import generations, loads, plans, reads
from querycache.recorder import record_reads
from querycache.singleflight import Flight, flights
from querycache.stores.base import LEASE_SECONDS
from tests.testapp.models import Author
from tests.threads import elsewhere

READERS = 12

pytestmark = pytest.mark.parametrize("store_alias", ["locmem", "redis"], indirect=True)


@pytest.fixture
def author(using, store):
    return Author.objects.using(using).create(name="before")


@pytest.fixture
def selects(monkeypatch):
    """Count what is loaded, in all threads."""
    seen = []
    load_rows = reads.load_rows

    def counted(*args):
        seen.append(threading.get_ident())
        return load_rows(*args)

    monkeypatch.setattr(reads, "load_rows", counted)
    return seen


@contextmanager
def held_back(monkeypatch, owner, method, until):
    """Let the first call of a method wait for an event, after it has told that it is there."""
    original, is_there = getattr(owner, method), threading.Event()

    def waiting(*args, **options):
        if not is_there.is_set():
            is_there.set()
            assert until.wait(20)
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, waiting)
        yield is_there


def name(author):
    with record_reads() as found:
        authors = Author.objects.using(author._state.db).values_list("name", flat=True)
        seen = authors.get(pk=author.pk)
    return seen, found[-1].outcome


class Readers:
    """Threads that read at once."""

    def __init__(self, author, number):
        self.seen = []
        self._threads = [threading.Thread(target=self._read, args=[author]) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _read(self, author):
        try:
            self.seen.append(name(author))
        finally:
            connections.close_all()

    def join(self):
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.seen


def wait_for(condition):
    """Wait until other threads have come so far."""
    event = threading.Event()
    for _ in range(2000):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("they never came so far")


def waiting_readers():
    flying = list(flights._flights.values())
    return sum(len(flight._landed._cond._waiters) for flight in flying)


def test_of_many_readers_of_a_cold_query_one_asks_the_database(author, selects, monkeypatch):
    go = threading.Event()
    with held_back(monkeypatch, reads, "load_rows", go) as is_loading:
        first = Readers(author, 1)
        assert is_loading.wait(10)
        others = Readers(author, READERS)
        wait_for(lambda: waiting_readers() == READERS)
        go.set()
        assert first.join() == [("before", "miss")]
        assert others.join() == [("before", "hit")] * READERS
    assert len(selects) == 1
    assert flights._flights == {}


def test_a_reader_that_began_after_a_write_does_not_share_what_was_read_before_it(
    author, selects, monkeypatch
):
    """look(leader) SELECT(leader) UPDATE COMMIT look(reader): it must not be given the old row."""
    go, has_loaded = threading.Event(), threading.Event()
    original = generations.fill

    def fill_later(*args, **options):
        has_loaded.set()
        assert go.wait(20)
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(generations, "fill", fill_later)
        leader = Readers(author, 1)
        assert has_loaded.wait(10)
        patch.setattr(generations, "fill", original)
        Author.objects.using(author._state.db).filter(pk=author.pk).update(name="after")
        later = Readers(author, 1)
        wait_for(lambda: later.seen or waiting_readers())
        go.set()
        assert leader.join() == [("before", "miss")]
        assert later.join() == [("after", "miss")]
    assert name(author)[0] == "after"


def test_a_load_that_fails_leaves_the_others_to_ask_themselves(author, selects, monkeypatch):
    go = threading.Event()
    load_rows = reads.load_rows

    def failing_once(*args):
        if not go.is_set():
            is_loading.set()
            assert go.wait(20)
            raise ZeroDivisionError
        return load_rows(*args)

    is_loading = threading.Event()
    monkeypatch.setattr(reads, "load_rows", failing_once)
    failures = []

    def fail():
        try:
            name(author)
        except ZeroDivisionError as error:
            failures.append(error)
        finally:
            connections.close_all()

    first = threading.Thread(target=fail)
    first.start()
    assert is_loading.wait(10)
    others = Readers(author, 3)
    wait_for(lambda: waiting_readers() == 3)
    go.set()
    first.join()
    assert [seen for seen, _ in others.join()] == ["before"] * 3
    assert len(failures) == 1
    assert flights._flights == {}
    assert name(author) == ("before", "hit")


def test_a_reader_in_a_transaction_waits_for_nobody(author, using, selects, monkeypatch):
    if connections[using].vendor != "postgresql":
        pytest.skip("a transaction of this database reads a snapshot, and is not answered here")
    go = threading.Event()
    with held_back(monkeypatch, reads, "load_rows", go) as is_loading:
        first = Readers(author, 1)
        assert is_loading.wait(10)
        with transaction.atomic(using=using), monkeypatch.context() as patch:
            patch.setattr(Flight, "wait", lambda flight: pytest.fail("it waits"))
            assert name(author) == ("before", "miss")
        go.set()
        first.join()
    assert len(selects) == 2


def test_a_leader_that_reads_the_same_again_does_not_wait_for_itself(author, monkeypatch):
    """A handler of logs that reads, for example."""
    nested = []
    original = generations.fill

    def fill(*args, **options):
        monkeypatch.setattr(generations, "fill", original)
        nested.append(name(author))
        return original(*args, **options)

    monkeypatch.setattr(generations, "fill", fill)
    monkeypatch.setattr(threading.Event, "wait", lambda *args: pytest.fail("it waits"))
    assert name(author) == ("before", "miss")
    assert nested == [("before", "miss")]


def test_a_process_that_finds_another_loading_waits_and_looks_again(author, selects, monkeypatch):
    """lease(another process) … look(reader) lease refused … fill(the other) look(reader)."""
    key = key_of_name(author)
    assert generations.lease(key)
    pauses = []

    def load_meanwhile(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:  # what the other process does
            with monkeypatch.context() as patch:
                patch.setattr(generations, "lease", lambda key: True)
                assert elsewhere(as_another_process, author) == ("before", "miss")

    monkeypatch.setattr(loads, "sleep", load_meanwhile)
    assert name(author) == ("before", "hit")
    assert len(selects) == 1
    assert pauses == sorted(pauses)


def as_another_process(author):
    """Read without the flights of this process."""
    kept, flights._flights = flights._flights, {}
    try:
        return name(author)
    finally:
        flights._flights = kept


def key_of_name(author):
    from querycache import explain

    names = Author.objects.using(author._state.db).values_list("name", flat=True)
    return explain(names.filter(pk=author.pk)[:21]).key


def test_a_lease_that_its_holder_took_to_the_grave_ends_by_itself(author, selects, monkeypatch):
    key = key_of_name(author)
    assert generations.lease(key)
    passed = []

    def pass_time(seconds):
        passed.append(seconds)
        if len(passed) == 3:  # LEASE_SECONDS later
            generations.end_lease(key)

    monkeypatch.setattr(loads, "sleep", pass_time)
    assert name(author) == ("before", "miss")
    assert len(passed) == 3
    assert generations.lease(key)  # it was given back with the fill


def test_nobody_waits_for_another_process_for_ever(author, selects, monkeypatch):
    key = key_of_name(author)
    assert generations.lease(key)
    now = [0.0]
    monkeypatch.setattr(loads, "monotonic", lambda: now[0])
    monkeypatch.setattr(loads, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    assert name(author) == ("before", "miss")
    assert now[0] <= loads.MAX_WAIT + 1


def test_what_is_known_to_be_quick_is_not_leased(author, using, monkeypatch):
    for _ in range(2):
        name(author)
        Author.objects.using(using).filter(pk=author.pk).update(name="before")
    monkeypatch.setattr(generations, "lease", lambda key: pytest.fail("leased"))
    assert name(author) == ("before", "miss")


def test_a_lease_is_given_back_if_the_load_fails(author, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(reads, "load_rows", fail)
        with pytest.raises(ZeroDivisionError):
            name(author)
    assert generations.lease(key_of_name(author))


def test_a_lease_lasts_for_seconds(store):
    assert generations.lease("key")
    assert not generations.lease("key")
    generations.end_lease("key")
    assert generations.lease("key")
    assert 1 <= LEASE_SECONDS <= 30


def test_what_is_filled_at_once_does_not_expire_at_once(author, using, monkeypatch):
    seen = []
    store = type(generations.get_store())
    fill = store.fill

    def noting_fill(self, key, entry, ttl, **options):
        seen.append(ttl)
        fill(self, key, entry, ttl, **options)

    monkeypatch.setattr(store, "fill", noting_fill)
    for number in range(20):
        Author.objects.using(using).filter(pk=number).first()
    assert len(set(seen)) == 20
    assert 270 <= min(seen) < max(seen) <= 300


def test_an_entry_that_is_due_is_loaded_by_one_reader_while_others_have_it(
    author, selects, monkeypatch
):
    assert name(author) == ("before", "miss")
    go = threading.Event()
    with held_back(monkeypatch, reads, "load_rows", go) as is_loading, monkeypatch.context() as due:
        due.setattr(reads, "is_due", lambda loaded, ttl: True)
        first = Readers(author, 1)
        assert is_loading.wait(10)
        due.setattr(reads, "is_due", lambda loaded, ttl: False)
        assert name(author) == ("before", "hit")
        go.set()
        assert first.join() == [("before", "miss")]
    assert len(selects) == 2


def test_of_many_threads_one_parses_the_sql(author, monkeypatch):
    parsed = []
    make = plans._make_shape

    def counted(*args):
        parsed.append(args)
        return make(*args)

    monkeypatch.setattr(plans, "_make_shape", counted)
    plans.forget_plans()
    with plans._lock.making:
        readers = Readers(author, READERS)
        wait_for(lambda: len(threads_at(plans.shape_of)) == READERS)
    readers.join()
    assert len(parsed) == 1


def threads_at(function):
    """Return the threads that are in a function, and call nothing of ours from there."""
    frames = sys._current_frames().values()
    return [frame for frame in frames if frame.f_code is function.__code__]
