"""
Loads: what happens when a look has found nothing.

One reader runs the SELECT, whoever else misses the same key meanwhile is given its rows. In a
process they wait for each other; between processes a lease in the store says who loads, and the
others look again until it is there. Nobody waits for long, or while its own transaction may be what
the loader waits for.
"""

import logging
from collections.abc import Callable
from math import log
from random import random
from time import monotonic, perf_counter_ns, sleep, time
from typing import Final

from django.apps import apps

from querycache import generations, replicas
from querycache._django.connections import BaseDatabaseWrapper, has_open_statement
from querycache.conf import get_config
from querycache.counting import statistics
from querycache.entries import TOKEN_SIZE, Loaded, first_changed
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.generations import Look
from querycache.local import size_of
from querycache.plans import ANOTHER_SERVER, Plan, causes_of
from querycache.recorder import Outcome, Read, recorders
from querycache.signals import read_done
from querycache.singleflight import MAX_WAIT, Flight, flights
from querycache.transactions import state_of

logger = logging.getLogger("querycache")

Load = Callable[[], Loaded]
"""Runs the SELECT."""


def is_due(loaded: Loaded, ttl: float) -> bool:
    """
    Choose the reader that loads an entry anew before it expires, so that none has to wait for it.

    The nearer the end, and the longer its SELECT takes, the likelier: XFetch (Vattani et al.,
    "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015), with a beta of 1.
    """
    age = time() - loaded.at
    if age < ttl / 2:
        return False
    return age - loaded.cost / 1e6 * log(1 - random()) >= ttl  # noqa: S311  no secret


def answered(
    connection: BaseDatabaseWrapper, label: str, plan: Plan, look: Look, load: Load, began: int
) -> Loaded:
    """Return what a look has not found: loaded here, or by whoever is loading it already."""
    if look.stale is not None:
        _note_death(label, plan, look.stale, look.tokens)
    # A fence that was met leaves no generations to fill under.
    reason = too_old(connection, plan, look.tokens) if look.tokens else None
    if not look.tokens or reason is not None:
        loaded = load()
        note(label, "bypass" if reason else "miss", began, reason, plan)
        return loaded
    flight, leads = flights.lead(plan.key, look.tokens)
    may_wait = not state_of(connection).in_transaction(connection)
    if leads:
        try:
            flight.loaded = _lead(connection, label, plan, look, load, began, may_wait=may_wait)
            return flight.loaded
        finally:
            flights.land(plan.key, flight)
    shared = _shared(plan, look, flight) if may_wait else None
    if shared is None:
        return _load_and_fill(label, plan, look, load, began)
    note(label, "hit", began, None, plan, shared)
    return shared


def _lead(
    connection: BaseDatabaseWrapper,
    label: str,
    plan: Plan,
    look: Look,
    load: Load,
    began: int,
    *,
    may_wait: bool,
) -> Loaded:
    """Load for all of this process; for all processes, if that may take long."""
    if not may_wait or not plan.shape.costs.may_be_slow:
        return _load_and_fill(label, plan, look, load, began)
    later, is_leased = _lease_or_wait(plan, look)
    if later.loaded is not None:
        note(label, "hit", began, None, plan, later.loaded)
        return later.loaded
    if later is not look and too_old(connection, plan, later.tokens):
        later = later._replace(tokens=b"")
    try:
        return _load_and_fill(label, plan, later, load, began, is_leased=is_leased)
    except BaseException:
        if is_leased:
            generations.end_lease(plan.key)
        raise


def _shared(plan: Plan, look: Look, flight: Flight) -> Loaded | None:
    """Return what another thread has loaded, None if that is of no use here."""
    if flight.tokens != look.tokens:
        return None
    loaded = flight.wait()
    if loaded is None or size_of(loaded.rows) is not None:
        return loaded
    # Somebody may change the rows in place: each has to have its own.
    try:
        return generations.look(plan.key, plan.dependencies).loaded
    except StoreFailed:
        return None


_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1
"""Seconds between looks for what another process loads."""


def _lease_or_wait(plan: Plan, look: Look) -> tuple[Look, bool]:
    """
    Become the one loader of all processes, or wait for it and look again.

    Return the last look, and whether the lease was taken.
    """
    pause, until = _FIRST_PAUSE, monotonic() + MAX_WAIT
    try:
        while not generations.lease(plan.key):
            if monotonic() > until:
                return look, False
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            look = generations.look(plan.key, plan.dependencies)
            if look.loaded is not None or not look.tokens:
                return look, False
    except StoreFailed:
        return look, False
    return look, True


def too_old(connection: BaseDatabaseWrapper, plan: Plan, tokens: bytes) -> Reason | None:
    """Say why a SELECT that begins now may not see what was committed before these tokens."""
    if has_open_statement(connection):
        return Reason.SNAPSHOT
    replica = get_config().replicas.get(connection.alias)
    if replica is None or replicas.has_caught_up(plan.dependencies, tokens, replica.max_lag):
        return None
    return Reason.REPLICA_LAG


def _load_and_fill(
    label: str, plan: Plan, look: Look, load: Load, began: int, *, is_leased: bool = False
) -> Loaded:
    loaded = load()
    plan.shape.costs.note_load(loaded.cost)
    reason = None
    if look.tokens:
        reason = fill(label, plan, look, loaded, is_leased=is_leased)
    elif is_leased:
        generations.end_lease(plan.key)
    note(label, "bypass" if reason else "miss", began, reason, plan)
    return loaded


def fill(
    label: str, plan: Plan, look: Look, loaded: Loaded, *, is_leased: bool = False
) -> Reason | None:
    """Store what was read. If it never can be, return why; the read is none the worse for it."""
    try:
        if isinstance(loaded.rows, list) and len(loaded.rows) > plan.shape.max_rows:
            raise Uncacheable(Reason.TOO_LARGE)
        size = generations.fill(plan, look, loaded, is_leased=is_leased)
    except Uncacheable as refusal:
        if is_leased:
            generations.end_lease(plan.key)
        return refusal.reason
    except StoreFailed as failure:
        told = {
            "querycache_event": "not-stored",
            "model": label,
            "key": plan.key,
            "error": str(failure),
        }
        logger.warning("A read of %s was not stored: %s", label, failure, extra=told)
    else:
        statistics.count_fill(label, plan.shape.name, loaded.cost, size)
    return None


_TELL_OF_DEATHS: Final = 10.0
"""Seconds after which the store is told once more of a death like the one before."""


def _note_death(label: str, plan: Plan, stale: bytes, tokens: bytes) -> None:
    """Count an entry that was found stale, and keep what made it so."""
    statistics.count(label, "deaths", plan.shape.name)
    changed, costs, now = first_changed(stale, tokens), plan.shape.costs, monotonic()
    if changed != costs.died_of or now - costs.death_told >= _TELL_OF_DEATHS:
        costs.died_of, costs.death_told = changed, now
        # The incarnation of the server comes first, where there is one.
        causes = causes_of(plan)
        causes = [*[ANOTHER_SERVER] * (len(tokens) // TOKEN_SIZE - len(causes)), *causes]
        statistics.note_death(plan.shape.name, causes[changed])


def note(
    label: str,
    outcome: Outcome,
    began: int,
    reason: Reason | None = None,
    plan: Plan | None = None,
    loaded: Loaded | None = None,
    query: str = "",
    *,
    is_unasked: bool = False,
) -> None:
    """
    Count a read, and tell those who record reads or listen.

    Of a query that has no plan, ``query`` is the name of its shape, if that is known.
    """
    took = (perf_counter_ns() - began) // 1000
    query = plan.shape.name if plan is not None else query
    if loaded is not None:
        counted = "unasked" if is_unasked else "hits"
        statistics.count_hit(label, counted, query, took, loaded.cost)
    else:
        statistics.count(label, "misses" if reason is None else str(reason), query)
    if recorders() or read_done.receivers:
        tell(Read(label, outcome, took, reason, plan.dependencies if plan else ()))


def tell(read: Read) -> None:
    """Tell those who record reads, or listen, of one that is counted."""
    for reads in recorders():
        reads.append(read)
    if read_done.receivers:
        told = {"outcome": read.outcome, "reason": read.reason, "microseconds": read.microseconds}
        read_done.send_robust(apps.get_model(read.label), **told)
