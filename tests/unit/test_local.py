"""The local tier: bounded, and fair to what is read."""

import datetime
import threading
import uuid
from decimal import Decimal

import pytest

from querycache import local as module
from querycache.entries import Loaded
from querycache.local import Held, Local, size_of

NOW = 1_000_000.0


@pytest.fixture
def clock(monkeypatch):
    """Return a list of one item: the time, for ``time()`` and ``monotonic()``."""
    now = [NOW]
    monkeypatch.setattr(module, "time", lambda: now[0])
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def limit(settings):
    def limit(size):
        settings.QUERYCACHE = {**settings.QUERYCACHE, "LOCAL": {"MAX_BYTES": size}}

    limit(1_000_000)
    return limit


@pytest.fixture
def tier(clock, limit):
    return Local()


def put(tier, key, rows=((1,),), ttl=60.0, at=NOW, size=100):
    held = Held(key, b"t" * 16, Loaded(list(rows), at, 5), ttl, at, b"t" * 16)
    tier.put(held, size)
    return held


def test_what_was_put_is_there(tier):
    held = put(tier, "a")
    assert tier.get("a") is held
    assert tier.get("b") is None
    assert len(tier) == 1


def test_it_is_gone_when_its_ttl_has_passed(tier, clock):
    put(tier, "a", ttl=60)
    clock[0] += 59
    assert tier.get("a") is not None
    clock[0] += 2
    assert tier.get("a") is None
    assert len(tier) == tier.size == 0


def test_a_clock_that_is_ahead_makes_no_entry_live_longer(tier, clock):
    put(tier, "a", ttl=60, at=NOW + 1000)
    clock[0] += 61
    assert tier.get("a") is None


def test_another_entry_of_a_key_takes_the_place_of_the_first(tier):
    put(tier, "a", rows=[(1,)] * 100)
    second = put(tier, "a")
    assert tier.get("a") is second
    assert len(tier) == 1
    assert tier.size == second.size


def test_it_never_holds_more_than_its_limit(tier, limit):
    limit(20_000)
    for number in range(1000):
        put(tier, str(number), rows=[(number, "x" * (number % 300))])
        assert tier.size <= 20_000
    assert 10 < len(tier) < 30
    assert tier.size == sum(held.size for held in held_in(tier))


def held_in(tier):
    """Go through the list, both ways."""
    forward, held = [], tier._oldest
    while held is not None:
        forward.append(held)
        held = held.newer
    backward, held = [], tier._newest
    while held is not None:
        backward.append(held)
        held = held.older
    assert forward == backward[::-1]
    assert {held.key: held for held in forward} == tier._entries
    return forward


def test_an_entry_that_is_read_outlives_those_that_are_not(tier, limit):
    limit(20_000)
    put(tier, "popular")
    for number in range(200):
        assert tier.get("popular") is not None
        put(tier, str(number))
    assert tier.get("popular") is not None
    held_in(tier)


def test_an_entry_that_is_read_no_more_goes(tier, limit):
    limit(20_000)
    put(tier, "once popular")
    tier.get("once popular")
    for number in range(200):
        put(tier, str(number))
        tier.get(str(number))
    assert tier.get("once popular") is None


def test_nothing_is_held_that_is_large_for_its_limit_or_if_there_is_none(tier, limit):
    put(tier, "large", size=200_000)
    assert len(tier) == 0
    limit(0)
    put(tier, "small")
    assert len(tier) == 0


@pytest.mark.parametrize(
    "value",
    [
        None, True, 5, 1.5, "text", b"bytes", Decimal("1.5"), uuid.UUID(int=1),
        datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), datetime.time(1),
        datetime.timedelta(1),
    ],
)  # fmt: skip
def test_values_that_nobody_can_change_may_be_held(value):
    assert size_of([(value, 1)]) > 0
    assert size_of((value, 1)) > 0


@pytest.mark.parametrize("value", [[1], {"a": 1}, bytearray(b"x"), memoryview(b"x"), object()])
def test_values_that_somebody_may_change_are_not_held(tier, value):
    assert size_of([(1, value)]) is None
    put(tier, "a", rows=[(1, value)])
    assert len(tier) == 0


def test_what_this_process_has_written_is_known_since(tier, clock):
    assert not tier.was_written(["a"], NOW)
    clock[0] += 1
    tier.note_written(["a", "b"])
    assert tier.was_written(["x", "a"], NOW)
    assert not tier.was_written(["x"], NOW)
    assert not tier.was_written(["a"], NOW + 2)


def test_what_was_written_is_remembered_within_bounds(tier, clock):
    for number in range(module._MANY_WRITTEN * 2):
        tier.note_written([str(number)])
    assert len(tier._written) <= module._MANY_WRITTEN + 1
    assert tier.was_written(["0"], NOW)  # forgotten, and so taken for written
    clock[0] += 1
    assert not tier.was_written(["0"], NOW + 1)


def test_threads_may_put_read_and_clear_at_once(tier, limit):
    limit(10_000)
    failures = []

    def work(seed):
        try:
            for number in range(2000):
                put(tier, str((number * seed) % 50))
                tier.get(str(number % 50))
                if number % 500 == 0:
                    tier.clear()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=[seed]) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert tier.size == sum(held.size for held in held_in(tier)) <= 10_000
