"""
The one place where reads and writes meet: generations, and the fence around a commit.

    writer                                      reader
    1. UPDATE … (not visible to others)         a. look: entry and generations, no fence met
    2. fence(dependencies)                      b. SELECT
    3. COMMIT                                   c. fill under the generations of the look
    4. release(dependencies): new generations

An entry is fresh if it was read under the current generations. Wherever b falls before 3, c falls
under a generation that 2 has replaced, and its entry is stale for ever. A look between 2 and 4
meets the fence: it goes to the database and does not fill, since whether its SELECT came before or
after 3 nobody can tell.

A store that fails stops neither reads nor writes. What a write could not fence or release is a debt
of this process: until it is paid, nothing is read from the store.
"""

import atexit
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from random import random
from time import monotonic
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db import connections

from querycache._django import BaseDatabaseWrapper
from querycache.conf import get_config
from querycache.databases import EPOCH, OF_INSERTS
from querycache.entries import TOKEN_SIZE, WILDCARD, Loaded, decode, encode, is_fresh, tokens_of
from querycache.exceptions import Reason, StoreFailed, Uncacheable, WriteRefused
from querycache.local import Held, local
from querycache.plans import Plan, is_complete
from querycache.signals import store_failed, store_recovered
from querycache.stats import statistics
from querycache.stores import Found, get_store
from querycache.stores.base import FENCE_SECONDS, is_mark
from querycache.transactions import state_of

logger = logging.getLogger("querycache")


class Look(NamedTuple):
    """
    What a look found.

    ``loaded`` is there if a fresh entry was. ``tokens`` are the generations to fill under, empty
    where a fence was met, or where the store keeps none. ``sent`` is when they were asked for, the
    time of ``monotonic()``.
    """

    loaded: Loaded | None
    tokens: bytes
    sent: float = 0.0


def look(key: str, dependencies: Sequence[str], ttl: float = 0.0, max_stale: float = 0.0) -> Look:
    """
    Look for a fresh entry, or for one that was fresh ``max_stale`` seconds ago.

    ``ttl`` is for how many seconds after its SELECT this process may hold it; 0 to hold nothing.
    Raises ``StoreFailed``.
    """
    held = local.get(key)
    if held is None or local.was_written(dependencies, held.confirmed):
        return _look_in_store(key, dependencies, ttl)
    if max_stale:
        age = monotonic() - held.confirmed
        if age < max_stale:
            # In the second half one reader asks, so that the others need not wait for it later.
            if age < max_stale / 2 or not held.refreshing.acquire(blocking=False):
                return Look(held.loaded, held.seen, held.confirmed)
            try:
                return _look_for(held, dependencies, ttl)
            finally:
                held.refreshing.release()
    return _look_for(held, dependencies, ttl)


def _look_for(held: Held, dependencies: Sequence[str], ttl: float) -> Look:
    """Ask whether what this process holds is fresh; if it is not, for what the store has."""
    answer = _ask_store(None, dependencies)
    if held.tokens in answer.fresh:
        held.confirmed, held.seen = answer.sent, answer.tokens
        return Look(held.loaded, answer.tokens, answer.sent)
    if not answer.tokens:
        return Look(None, b"", answer.sent)
    return _look_in_store(held.key, dependencies, ttl)


def _look_in_store(key: str, dependencies: Sequence[str], ttl: float = 0.0) -> Look:
    answer = _ask_store(key, dependencies)
    if answer.entry is not None:
        for tokens in answer.fresh:
            if is_fresh(answer.entry, tokens):
                loaded = decode(key, answer.entry, tokens)
                if loaded is not None and ttl:
                    held = Held(key, tokens, loaded, ttl, answer.sent, answer.tokens)
                    local.put(held, len(answer.entry))
                return Look(loaded, answer.tokens, answer.sent)
    return Look(None, answer.tokens, answer.sent)


class _Answer(NamedTuple):
    """
    What the store has said.

    ``tokens`` are as in a ``Look``; ``fresh`` are those under one of which a fresh entry was read.
    """

    entry: bytes | None
    tokens: bytes
    fresh: tuple[bytes, ...]
    sent: float


def _ask_store(key: str | None, dependencies: Sequence[str]) -> _Answer:
    if get_store().unsettled:
        settle()
    if _debts or _unfenced:
        pay_debts()
    sent = monotonic()
    found: Found = _ask_unless_failing("look", key, dependencies)
    # The incarnation of the server is one more generation: what it knew in another life is stale.
    tokens = found.incarnation + b"".join(found.tokens)
    # A mark, nothing, or foreign bytes: no list of those is taken for a list of tokens.
    is_whole = set(map(len, found.tokens)) == _OF_TOKENS
    fresh: tuple[bytes, ...] = (tokens,) if is_whole else ()
    if dependencies[-1].endswith(OF_INSERTS) and set(map(len, found.tokens[:-1])) == _OF_TOKENS:
        # An INSERT cannot change an answer that has all the rows it asks for, nor can its fence.
        fresh += (found.incarnation + b"".join(found.tokens[:-1]) + WILDCARD,)
    return _Answer(found.entry, tokens if is_whole else b"", fresh, sent)


_OF_TOKENS: Final = {TOKEN_SIZE}


class Inspection(NamedTuple):
    """
    What is in the store under a key, fresh or not; ``size`` is in bytes, 0 if nothing is.

    ``changed`` are the dependencies that made it stale, None for a server that was restarted from a
    dump or replaced; ``fenced`` are those that are just being written.
    """

    loaded: Loaded | None
    size: int
    changed: list[str | None]
    fenced: list[str]


def inspect(key: str, dependencies: Sequence[str]) -> Inspection:
    """Say what is in the store, and why it is stale if it is. Raises ``StoreFailed``."""
    loaded = _look_in_store(key, dependencies).loaded
    found: Found = _ask_unless_failing("look", key, dependencies)
    fenced = [
        name for name, token in zip(dependencies, found.tokens, strict=True) if is_mark(token)
    ]
    entry = found.entry or b""
    if loaded is not None:
        return Inspection(loaded, len(entry), [], fenced)
    names: list[str | None] = [None] * bool(found.incarnation) + list(dependencies)
    now = [found.incarnation] * bool(found.incarnation) + found.tokens
    changed = [
        name
        for name, then, token in zip(names, tokens_of(entry), now, strict=False)
        if then != token and not (then == WILDCARD and name and name.endswith(OF_INSERTS))
    ]
    return Inspection(None, len(entry), changed, fenced)


def fill(plan: Plan, look: Look, loaded: Loaded, *, is_leased: bool = False) -> None:
    """
    Store rows under the generations of the look that came before their SELECT.

    Ends the lease of the key with it, if there is one. Raises ``StoreFailed``, or ``Uncacheable``
    for rows that cannot be stored.
    """
    key, ttl, tokens = plan.key, plan.ttl, look.tokens
    if plan.scopes and is_complete(plan.shape, plan.scopes, loaded.rows):
        tokens = tokens[:-TOKEN_SIZE] + WILDCARD
    entry = encode(key, tokens, loaded)
    if len(entry) > plan.shape.max_bytes:
        raise Uncacheable(Reason.TOO_LARGE)
    # What was filled in one moment does not expire in one moment.
    jittered = ttl * (1 - _JITTER * random())  # noqa: S311  no secret
    try:
        _call("fill", key, entry, jittered, is_leased=is_leased)
    except Exception as error:
        # Too large for this store, perhaps: that is no outage. If it is one, the next look says so.
        raise StoreFailed(str(error)) from error
    if local.get(key) is not None:
        local.put(Held(key, tokens, loaded, ttl, look.sent, look.tokens), len(entry))


_JITTER: Final = 0.1
"""The share of its TTL by which an entry may expire sooner."""


def lease(key: str) -> bool:
    """
    Say whether the caller is to load this key, of all processes. Raises ``StoreFailed``.

    Where the store is a table of a database, everybody is: that would be a write for each miss.
    """
    return get_store().using is not None or bool(_ask_unless_failing("lease", key))


def end_lease(key: str) -> None:
    """Let others load the key; nothing is lost if the store does not answer."""
    with suppress(StoreFailed):
        _ask_unless_failing("end_lease", key)


def fence(dependencies: Sequence[str]) -> str:
    """
    Step 2: keep readers from filling, and make stale what they filled. Return the writer's name.

    If the store fails the write goes on, and this process reads nothing from the store before the
    release; or it does not go on, if ``ON_STORE_FAILURE`` says so: then this raises
    ``WriteRefused``.
    """
    settle()
    writer = uuid.uuid4().hex
    try:
        _ask("fence", dependencies, writer)
    except StoreFailed as failure:
        if get_config().refuses_writes:
            raise WriteRefused(str(failure)) from failure
        with _lock:
            _unfenced[writer] = inf, ()
    return writer


def release(dependencies: Sequence[str], writer: str) -> None:
    """
    Step 4, after commit and rollback alike: new generations.

    It is not waited for: the fence keeps readers away from what was there before.
    """

    local.note_written(dependencies)

    def done(lost: int | None) -> None:
        if lost is None:
            _owe(dependencies, writer)
        elif lost and writer not in _unfenced:
            # Evicted, flushed or beyond its deadline: since then a reader may have filled.
            statistics.count("", "incidents")
            _lost_fences.append((lost, len(dependencies)))
        with _lock:
            _unfenced.pop(writer, None)

    try:
        _ask("release_unwaited", dependencies, writer, done)
    except StoreFailed:
        done(None)
    if writer in _unfenced:  # until this is known, the process reads nothing from the store
        settle()


_lost_fences: deque[tuple[int, int]] = deque()
"""What is to be logged of writers: of how many fences, how many were lost."""


def settle() -> None:
    """Learn what has become of the releases that were not waited for."""
    with suppress(StoreFailed):  # there is no store
        get_store().settle()
    # Not in there: a handler that logs into a database would wait for this thread, and it for that.
    while _lost_fences:
        with suppress(IndexError):  # another thread was quicker
            lost, fences = _lost_fences.popleft()
            message = "%d of %d fences were lost before their release"
            told = {"querycache_event": "fences-lost", "lost": lost, "fences": fences}
            logger.warning(message, lost, fences, extra=told)


def leave_fenced(dependencies: Sequence[str], writer: str) -> None:
    """
    Instead of step 4, where nobody can tell when, or if, step 3 is done.

    The deadline ends the fence: then the generations are missing, and what is older is stale.
    """
    local.note_written(dependencies)
    with _lock:
        if writer in _unfenced:
            _unfenced[writer] = monotonic() + FENCE_SECONDS, tuple(dependencies)


def renew(dependencies: Sequence[str]) -> None:
    """
    Make everything stale that depends on one of these.

    Raises ``StoreFailed``, and makes up for it as soon as the store answers.
    """
    writer = uuid.uuid4().hex
    local.note_written(dependencies)
    try:
        _ask("release", dependencies, writer)
    except StoreFailed:
        _owe(dependencies, writer)
        raise


def renew_everything() -> None:
    """Begin a new epoch, in which no older entry is fresh. Raises ``StoreFailed``."""
    renew([EPOCH])


_lock = threading.Lock()
_debts: dict[str, tuple[str, ...]] = {}
"""
What each writer has changed and could not release. Its fence may be in the store all the same.
"""
_MANY_DEBTS: Final = 100
"""Writers. More of them are paid by a new epoch, in one request."""
_unfenced: dict[str, tuple[float, tuple[str, ...]]] = {}
"""
Writers that could not fence and may commit any moment; until when, and what they then owe.

What they change is stale at a moment that nobody knows. The time is that of ``monotonic()``.
"""


def _begin_in_child() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # a thread of the parent may have held the other
    _unfenced.clear()  # these writers go on in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _owe(dependencies: Sequence[str], writer: str) -> None:
    with _lock:
        _debts[writer] = tuple(dependencies)
    # To be published, as soon as the store answers, by whoever publishes counts: after the debts.
    statistics.count("", "late_writes")


def pay_debts() -> None:
    """Release what could not be released. Raises ``StoreFailed`` if it still cannot be."""
    for writer, (until, dependencies) in list(_unfenced.items()):
        if until <= monotonic():
            _owe(dependencies, writer)
            with _lock:
                _unfenced.pop(writer, None)
    if _unfenced:
        raise StoreFailed("a write of this process could not be fenced")
    with _lock:
        owed = dict(_debts)
    if len(owed) > _MANY_DEBTS:
        _ask_unless_failing("release", [EPOCH], uuid.uuid4().hex)
    else:
        for writer, dependencies in owed.items():
            _ask_unless_failing("release", dependencies, writer)
    with _lock:
        for writer in owed:
            _debts.pop(writer, None)
    told = {"querycache_event": "writes-late", "writes": len(owed)}
    logger.warning("%d writes were published late", len(owed), extra=told)


@atexit.register
def _pay_debts_at_exit() -> None:
    if not apps.ready:  # imported, and not used
        return
    forget_failure()  # there is no later
    settle()
    if _debts:
        try:
            pay_debts()
        except StoreFailed:
            message = "%d writes were never published: flush the cache"
            told = {"querycache_event": "writes-lost", "writes": len(_debts)}
            logger.error(message, len(_debts), extra=told)  # noqa: TRY400


RETRY_SECONDS: Final = 1.0
"""
How long a store that failed is not asked again by reads, so that an outage delays few of them.
"""
_failed_at: float | None = None


def forget_failure() -> None:
    """Ask again at once: another store may have taken the place of the one that failed."""
    global _failed_at  # noqa: PLW0603
    _failed_at = None


def _ask_unless_failing(method: str, *args: Any) -> Any:
    """Ask the store what can be done without; fail at once if it has just failed."""
    if _failed_at is not None and monotonic() < _failed_at + RETRY_SECONDS:
        raise StoreFailed("the cache has just failed")
    return _ask(method, *args)


def _ask(method: str, *args: Any) -> Any:
    """Ask the store; any error of its client becomes ``StoreFailed``, and the first is logged."""
    global _failed_at  # noqa: PLW0603
    try:
        answer = _call(method, *args)
    except _InTransactionError:
        raise
    except Exception as error:
        is_first, _failed_at = _failed_at is None, monotonic()
        if is_first:
            cache = get_config().cache
            logger.error(  # noqa: TRY400  a stack trace of each client says less than its error
                "The cache %r does not answer, queries go to the database: %r",
                cache,
                error,
                extra={"querycache_event": "store-failed", "cache": cache, "error": repr(error)},
            )
            store_failed.send_robust(None, cache=cache, error=error)
        raise StoreFailed(str(error)) from error
    if _failed_at is not None:
        _failed_at = None
        cache = get_config().cache
        told = {"querycache_event": "store-recovered", "cache": cache}
        logger.warning("The cache answers again", extra=told)
        store_recovered.send_robust(None, cache=cache)
    return answer


class _InTransactionError(StoreFailed):
    """The store is a table, and would take part in a transaction: nothing is wrong with it."""


def _call(method: str, *args: Any, **options: Any) -> Any:
    store = get_store()
    if store.using is None:
        return getattr(store, method)(*args, **options)
    connection = connections[store.using]
    state = state_of(connection)
    # In a transaction it might look at a snapshot, and what it writes nobody would see before the
    # commit, or ever. But one that is about to commit, or just has, takes its own fence with it.
    if state.in_transaction(connection) and not state.publishing:
        raise _InTransactionError(f"the cache is in {store.using!r}, which has an open transaction")
    # The statements of a store that is a table must not themselves be fenced and released.
    return state.cover(getattr(store, method), *args, **options)


def is_stored_in(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the store is a table of this database."""
    try:
        return get_store().using == connection.alias
    except StoreFailed:
        return False


def add_counts(counts: Mapping[str, int]) -> None:
    """
    Add to the statistics in the store. Raises ``StoreFailed``.

    Since this is tried again and again while there is something to add, it is also what pays debts
    of a process that reads nothing.
    """
    settle()
    if _debts or _unfenced:
        pay_debts()
    _ask_unless_failing("add_counts", counts)


def counts_in_background() -> bool:
    """
    Say whether statistics may be published at any time.

    Not where the store is a table of a database: on SQLite, the write of another connection makes a
    transaction fail that has read and is about to write. There a request publishes as it finishes.
    """
    try:
        return get_store().using is None
    except StoreFailed:
        return False


def read_counts(names: Sequence[str]) -> dict[str, int]:
    """Return statistics from the store. Raises ``StoreFailed``."""
    counts: dict[str, int] = _ask("read_counts", names)
    return counts
