"""An entry is loaded anew before it expires, by one reader and not by all at once."""

import pytest

from querycache import loads
from querycache.entries import Loaded
from querycache.loads import is_due

NOW = 1_000_000.0
TTL = 100.0
SECOND = 1_000_000
"""Microseconds, in which the cost of a SELECT is told."""


@pytest.fixture
def chance(monkeypatch):
    """Return a function that says what ``random()`` gives, at this moment."""
    monkeypatch.setattr(loads, "time", lambda: NOW)

    def set_to(value):
        monkeypatch.setattr(loads, "random", lambda: value)

    return set_to


def due(age, cost):
    return is_due(Loaded([], NOW - age, cost), TTL)


def test_no_entry_is_due_in_the_first_half_of_its_ttl(chance):
    chance(1 - 1e-12)
    assert not due(TTL * 0.49, 100 * SECOND)


def test_every_entry_is_due_at_the_end_of_its_ttl(chance):
    chance(0.0)
    assert due(TTL, 1)


@pytest.mark.parametrize(
    ("before", "cost", "value", "expected"),
    [
        # A reader reloads early if  cost * -ln(1 - random)  reaches to the end.
        (2.0, 1 * SECOND, 0.87, True),  # 2.04 seconds
        (2.0, 1 * SECOND, 0.86, False),  # 1.97
        (2.0, 0.001 * SECOND, 0.99, False),
        (20.0, 10 * SECOND, 0.87, True),
    ],
)
def test_the_dearer_the_load_the_earlier_it_is_due(chance, before, cost, value, expected):
    chance(value)
    assert due(TTL - before, cost) is expected


def test_few_of_many_readers_find_it_due_so_that_few_load(monkeypatch):
    monkeypatch.setattr(loads, "time", lambda: NOW)
    found = sum(due(TTL - 3, SECOND) for _ in range(2000))
    assert 20 < found < 250  # exp(-3) of them: 100


def test_an_entry_of_a_clock_that_is_ahead_is_not_due(chance):
    chance(0.5)
    assert not due(-50, SECOND)
