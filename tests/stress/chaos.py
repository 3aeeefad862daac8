"""
What goes wrong in a run, one thing after the other.

A fence may be lost in what is an *incident* for the register; everything else is checked to the
letter.
"""

import random
from collections.abc import Callable

import redis

from tests.stress.register import (
    BEFORE_FENCE,
    COMMITTED,
    EVERYBODY,
    FENCED,
    NOBODY,
    RELEASED,
    STEPS,
    WRITERS,
)
from tests.stress.run import STORE_TIMEOUT, Run

CHAOS: dict[str, Callable[[Run], None]] = {}


def kind(event: Callable[[Run], None]) -> Callable[[Run], None]:
    CHAOS[event.__name__] = event
    return event


def a_while() -> float:
    return random.uniform(0.3, 1.2)


# Writers that die ---------------------------------------------------------------------------------


@kind
def writer_killed(run: Run) -> None:
    number = random.randrange(WRITERS)
    run.writer(number).process.kill()
    run.replace_writer(number)


def writer_killed_at(step: str) -> Callable[[Run], None]:
    def event(run: Run) -> None:
        number = random.randrange(WRITERS)
        kill_at(step, run, number)
        run.replace_writer(number)

    return event


def kill_at(step: str, run: Run, number: int) -> None:
    run.register.die_at[number] = STEPS.index(step)
    process = run.writer(number).process
    run.wait_until(lambda: process.poll() is not None, f"the death of a writer, {step}")


for step in BEFORE_FENCE, FENCED, COMMITTED, RELEASED:
    CHAOS[f"writer_killed_at_{step.replace(' ', '_')}"] = writer_killed_at(step)


@kind
def only_writer_killed(run: Run) -> None:
    """
    Between commit and release; and nobody else makes stale in its place what its fence covers.
    """
    number = random.randrange(WRITERS)
    run.register.let_write(NOBODY)
    run.go_on_for(1.0)  # meanwhile everything is read and filled
    run.register.let_write(number)
    kill_at(COMMITTED, run, number)
    run.register.let_write(NOBODY)
    with store_of(run) as store:
        run.wait_until(lambda: not has_fences(store), "its fence to fall")
    run.go_on_for(1.0)  # and read again
    run.replace_writer(number)
    run.register.let_write(EVERYBODY)


def has_fences(store: redis.Redis) -> bool:
    values = [store.get(name) for name in store.keys("*querycache:g:*")]
    return any(value is not None and value.startswith(b"!") for value in values)


@kind
def sessions_lost(run: Run) -> None:
    """By the database, whatever they are at; a COMMIT may take place and not be answered."""
    before = run.count("lost_sessions")
    for _ in range(10):
        run.wait_until(run.database.end_a_session, "a session of a writer")
        run.go_on_for(random.uniform(0, 0.1))
    run.wait_until(lambda: run.count("lost_sessions") > before, "a worker to notice")


# A store that loses -------------------------------------------------------------------------------


@kind
def store_restarted(run: Run) -> None:
    """It comes back with nothing in it: every fence is lost."""
    run.register.begin_incident()
    run.valkey.kill()
    run.valkey.start()
    run.register.end_incident()


@kind
def store_down(run: Run) -> None:
    """As above, but it takes its time."""
    run.register.begin_incident()
    run.valkey.kill()
    run.go_on_for(a_while())
    run.valkey.start()
    run.register.end_incident()


@kind
def store_evicting(run: Run) -> None:
    """It has no room for all that it holds, and does not spare fences."""
    with store_of(run) as store:

        def has_evicted() -> bool:
            store.config_set("maxmemory", store.info("memory")["used_memory"] - 20_000)
            return store.info("stats")["evicted_keys"] > before

        run.register.begin_incident()
        before = store.info("stats")["evicted_keys"]
        store.config_set("maxmemory-policy", "allkeys-lru")
        run.wait_until(has_evicted, "the store to evict")
        run.go_on_for(a_while())
        store.config_set("maxmemory", 0)
        run.register.end_incident()


@kind
def anything_but_fences_evicted(run: Run) -> None:
    """Entries and generations go, at random: to lose these is always safe."""
    with store_of(run) as store:
        delete = store.register_script(DELETE_UNLESS_FENCE)
        for _ in range(10):
            for key in store.scan_iter("*querycache:[eg]:*"):
                if random.random() < 0.3:
                    delete([key])
            run.go_on_for(random.uniform(0, 0.1))


DELETE_UNLESS_FENCE = """
if string.sub(redis.call('GET', KEYS[1]) or '', 1, 1) ~= '!' then
    return redis.call('DEL', KEYS[1])
end
"""


@kind
def flushed(run: Run) -> None:
    run.register.flushes_wanted[0] += 1
    wanted = run.register.flushes_wanted[0]
    run.wait_until(lambda: run.register.flushes[0] >= wanted, "a reader to flush")


# A store that fails and loses nothing -------------------------------------------------------------


@kind
def store_cut_off(run: Run) -> None:
    run.proxy.cut()
    run.go_on_for(a_while())
    run.proxy.mend()


@kind
def store_cut_off_with_one_writer(run: Run) -> None:
    """As above, and nobody else makes stale in its place what it owes."""
    run.register.let_write(random.randrange(WRITERS))
    store_cut_off(run)
    run.go_on_for(a_while())
    run.register.let_write(EVERYBODY)


@kind
def connections_broken(run: Run) -> None:
    for _ in range(5):
        run.proxy.cut()
        run.proxy.mend()
        run.go_on_for(random.uniform(0, 0.1))


@kind
def store_slow(run: Run) -> None:
    run.proxy.delay = STORE_TIMEOUT / 10
    run.go_on_for(a_while())
    run.proxy.delay = 0.0


@kind
def store_too_slow(run: Run) -> None:
    """
    Its answers come when nobody waits for them any more; what it was told is done, and late.
    """
    run.proxy.delay = STORE_TIMEOUT * random.uniform(0.5, 1.5)
    run.go_on_for(a_while())
    run.proxy.delay = 0.0


@kind
def store_full(run: Run) -> None:
    """Out of memory, and not allowed to evict: it goes on answering reads, and refuses fences."""
    with store_of(run) as store:
        store.config_set("maxmemory-policy", "noeviction")
        store.config_set("maxmemory", 1)
        run.go_on_for(a_while())
        store.config_set("maxmemory", 0)


def store_of(run: Run) -> redis.Redis:
    """A client for the test itself, past the proxy."""
    return redis.Redis(port=run.valkey.port)
