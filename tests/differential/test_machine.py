"""
Whatever several users do, in whatever order, every read is that of the database.

A state machine chooses the order: reads, writes, transactions, savepoints, lost connections, and a
cache that forgets, fails and lags. It is the same order on every run. QUERYCACHE_TEST_EXAMPLES is a
number of examples to try instead, and then each run tries other ones:

    QUERYCACHE_TEST_EXAMPLES=1000 uv run pytest tests/differential/test_machine.py
"""

import functools
import logging
import os
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

import querycache
from querycache import breaker, counts, debts, generations, loads, local, singleflight
from querycache.counting import statistics
from querycache.exceptions import StoreFailed
from querycache.stores import get_store
from querycache.stores.base import FENCE_SECONDS
from tests.differential.machine import (
    ALL_WRITES,
    DEPTH,
    ENDS,
    INNER,
    METHODS,
    OFTEN,
    OUTER,
    READS,
    WATCHED,
    Actor,
    Clock,
    Unreliable,
    World,
)
from tests.differential.shelf import Copy, Library

EXAMPLES = int(os.environ.get("QUERYCACHE_TEST_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 15,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
PAIRS = [
    ("default", "locmem"),
    ("default", "redis"),
    ("postgresql", "redis"),
    ("mariadb", "locmem"),
]
"""Each database and each store that is strict about fences, and not all of their product."""


class Users(RuleBasedStateMachine):
    """What three users, the database and the cache may do next."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.begin()
        self.reads: list[str] = []

    # So few that what one user reads, another has read before. The first two are about the tables
    # that most writes change.
    @initialize(
        watches=st.lists(st.sampled_from(list(WATCHED)[2:]), min_size=1, max_size=2, unique=True),
        reads=st.lists(st.sampled_from(list(READS)), min_size=1, max_size=2, unique=True),
    )
    def choose(self, watches, reads):
        self.reads = [*list(WATCHED)[:2], *watches, *reads]

    ACTOR = st.integers(0, 2)
    NUMBER = st.integers(0, 20)
    WRITE = st.runner().flatmap(
        lambda machine: (
            st.sampled_from(machine.world.writes) | st.sampled_from(machine.world.often_written)
        )
    )
    LEVEL = st.tuples(st.sampled_from(list(OUTER)), st.sampled_from(list(INNER)))
    END = st.sampled_from(OFTEN) | st.sampled_from(ENDS)
    POINT = st.sampled_from(["after a look", "before a fill", "after a fence", "before a release"])
    FAILING = st.just(METHODS) | st.sampled_from([(method,) for method in METHODS])
    FAILURE = st.sampled_from(Unreliable.FAILURES)

    def do(self, number: int, step: Callable[..., None], *args: Any) -> None:
        """Let one of the users do something, and see what was read meanwhile, by anybody."""
        actor = self.world.actors[number]
        actor.do(step, actor, *args)
        assert not self.world.differences, self.world.differences[0]

    def read_all(self, number: int) -> None:
        self.do(number, self.world.compare, self.reads)

    def write_one(self, number: int, write: str, *, is_atomic: bool = False) -> None:
        self.do(number, Actor.write, ALL_WRITES[write], self.world.db, is_atomic)

    # Users

    @rule(actor=ACTOR)
    def read(self, actor):
        self.read_all(actor)

    @rule(actor=ACTOR)
    def read_on_commit(self, actor):
        self.do(actor, Actor.on_commit, self.world.compare, self.reads)

    @rule(actor=ACTOR, write=WRITE, is_atomic=st.booleans(), reader=ACTOR)
    def write(self, actor, write, is_atomic, reader):
        self.write_one(actor, write, is_atomic=is_atomic)
        self.read_all(reader)

    @rule(
        actor=ACTOR,
        level=LEVEL,
        writes=st.lists(WRITE, min_size=1, max_size=3),
        how=END,
        reader=ACTOR,
    )
    def write_in_transaction(self, actor, level, writes, how, reader):
        self.do(actor, Actor.begin, level)
        for write in writes:
            self.write_one(actor, write)
        self.read_all(actor)
        self.read_all(reader)
        self.do(actor, Actor.end, how)
        self.read_all(reader)

    @rule(actor=ACTOR, goes_deeper=st.booleans(), level=LEVEL, how=END, reader=ACTOR)
    def begin_or_end(self, actor, goes_deeper, level, how, reader):
        levels = self.world.actors[actor].levels
        if not levels or (goes_deeper and len(levels) < DEPTH):
            self.do(actor, Actor.begin, level)
        else:
            self.do(actor, Actor.end, how)
        self.read_all(reader)

    @rule(actor=ACTOR, how=st.sampled_from([Actor.close, Actor.close_and_fail, Actor.lose]))
    def disconnect(self, actor, how):
        self.do(actor, how)

    @rule(acts=st.dictionaries(POINT, st.tuples(ACTOR, st.none() | WRITE), min_size=1, max_size=2))
    def interrupt(self, acts):
        """In the middle of what somebody does next, let another one write or read."""

        def act(number: int, write: str | None) -> None:
            actor = self.world.actors[number]
            if actor.is_busy:
                return
            if write is not None:
                actor.do(Actor.write, actor, ALL_WRITES[write], self.world.db, False)
            actor.do(self.world.compare, actor, self.reads)

        for point, arguments in acts.items():
            self.world.store.interruptions[point] = functools.partial(act, *arguments)

    # The cache

    @rule(
        what=st.sampled_from(["evict", "evict", "spoil", "exchange", "everything", "flush()"]),
        kind=st.sampled_from("eg"),
        number=NUMBER,
    )
    def forget(self, what, kind, number):
        store = self.world.store
        if what == "evict":
            store.forget(kind, number)
        elif what == "spoil":
            store.spoil(kind, number)
        elif what == "exchange":
            store.exchange(number)
        elif what == "everything":
            store.forget_everything()
        else:
            with suppress(StoreFailed):
                querycache.flush()

    @rule(actor=ACTOR, methods=FAILING, failure=FAILURE, write=WRITE, reader=ACTOR)
    def write_while_it_fails(self, actor, methods, failure, write, reader):
        self.fail(methods, failure)
        self.write_one(actor, write)
        self.read_all(reader)
        self.answer_again()
        self.read_all(reader)

    @rule(methods=FAILING, failure=FAILURE)
    def fail(self, methods, failure):
        self.world.store.failing = frozenset(methods)
        self.world.store.failure = failure

    @rule()
    def answer_again(self):
        self.world.store.failing = frozenset()
        self.pass_time(breaker.RETRY_SECONDS)

    @rule(seconds=st.sampled_from([breaker.RETRY_SECONDS, FENCE_SECONDS]))
    def pass_time(self, seconds):
        """Let reads ask the store again that has failed, be it in order or not."""
        self.world.clock.now += seconds

    @rule(what=st.sampled_from(["lag", "deliver", "lose", "catch up"]), number=NUMBER)
    def lag(self, what, number):
        store = self.world.store
        store.is_late = what == "lag" or (store.is_late and what != "catch up")
        if what == "catch up":
            store.deliver_all()
        else:
            store.deliver(number, is_lost=what == "lose")

    def teardown(self):
        self.world.calm_down()
        if self.world.differences:
            return
        for number in range(len(self.world.actors)):
            self.read_all(number)
        assert not debts.owed
        assert not debts.unfenced


@pytest.fixture
def world(using, store, monkeypatch):
    clock = Clock()
    unreliable = Unreliable(get_store(), store)
    for module in (generations, breaker, debts, local):
        monkeypatch.setattr(module, "monotonic", clock)
    # Whoever interrupts a load and waits for it would wait that long.
    for module in (singleflight, loads):
        monkeypatch.setattr(module, "MAX_WAIT", 0.001)
    monkeypatch.setattr(breaker, "_failed_at", None)
    monkeypatch.setattr(debts, "_MANY_DEBTS", 3)
    for module in (generations, breaker, debts, counts):
        monkeypatch.setattr(module, "get_store", lambda: unreliable)
    # Its thread asks the store whenever it likes.
    monkeypatch.setattr(statistics, "_sink", None)
    monkeypatch.setattr(logging.getLogger("querycache"), "disabled", True)
    library = Library(using)
    library.build()
    with Copy(using) as copy, ExitStack() as stack:
        world = World(library, copy, unreliable, clock)
        for actor in world.actors:
            stack.enter_context(actor)
        yield world
        world.begin()


def run(world, options=SETTINGS):
    class Machine(Users):
        pass

    Machine.world = world
    if not EXAMPLES:  # another order for each pair
        seed(zlib.crc32(f"{world.db.using} {world.store.alias}".encode()))(Machine)
    run_state_machine_as_test(Machine, settings=options)


@pytest.mark.parametrize(("using", "store_alias"), PAIRS, indirect=True)
def test_every_read_is_that_of_the_database(world):
    run(world)
    assert min(world.counts[outcome] for outcome in ("hit", "miss", "bypass")) > 100
    assert world.store.done["fill"] > 100


QUIETLY = settings(
    SETTINGS, max_examples=100, phases=[Phase.generate], verbosity=Verbosity.quiet, print_blob=False
)


@pytest.mark.parametrize(("using", "store_alias"), PAIRS[:1], indirect=True)
def test_a_write_that_is_not_published_is_found(world, monkeypatch):
    monkeypatch.setattr(generations, "fence", lambda dependencies: "")
    monkeypatch.setattr(generations, "release", lambda dependencies, writer: None)
    monkeypatch.setattr(generations, "renew", lambda dependencies: None)
    with pytest.raises(AssertionError, match="while in the database"):
        run(world, QUIETLY)
