"""Looks at the store: which it is, whether it answers and how fast, and what it promises."""

import uuid
from collections.abc import Generator, Iterator
from statistics import median
from time import perf_counter
from typing import Any, Final

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

from querycache import breaker, generations
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.management.diagnosis import server
from querycache.management.diagnosis.findings import Finding, ok, problem, warning
from querycache.management.secrets import masked, reason_of
from querycache.stores import RedisStore, Store, get_store

_TRIES: Final = 25
_SLOW_SECONDS: Final = 0.005
_FEW_ENTRIES: Final = 1_000


def findings() -> Generator[Finding, None, bool]:
    """Yield what there is to say of the store; return whether it can be tried further."""
    alias = get_config().cache
    if alias not in settings.CACHES:  # the checks have said so
        return False
    given = settings.CACHES[alias]
    where = f" at {masked(given['LOCATION'])}" if given.get("LOCATION") else ""
    yield ok("store", f"CACHES[{alias!r}] is {given['BACKEND']}{where}.")
    try:
        cache, store = caches[alias], get_store()
    except Exception as error:  # noqa: BLE001  a backend raises what it likes for its options
        yield problem(
            "store",
            f"It cannot be used: {reason_of(error)}.",
            "Nothing is cached until it can. Is its client installed, and is LOCATION right?",
        )
        return False
    if isinstance(cache, DummyCache):  # the checks have said what that means
        return False
    seconds = _seconds_of_a_look()
    if isinstance(seconds, StoreFailed):
        yield from _failure(alias, store, seconds.__cause__ or seconds)
        return False
    yield _speed(seconds)
    yield _fences(store, is_of_this_process=isinstance(cache, LocMemCache))
    yield _counts(store)
    if isinstance(cache, LocMemCache | FileBasedCache | DatabaseCache):
        yield from _capacity(given)
    if isinstance(store, RedisStore):
        yield from server.findings(alias)
    return True


def is_of_this_process() -> bool:
    """Say whether what this process puts into the store is there for no other process."""
    try:
        return isinstance(caches[get_config().cache], LocMemCache | DummyCache)
    except Exception:  # noqa: BLE001  as above; whoever asks the store will be told
        return False


def name_of_a_dependency() -> str:
    """Return the name of a dependency that is no table's, and is kept for a day."""
    return f"doctor-{uuid.uuid4().hex}:0"


def _seconds_of_a_look() -> float | StoreFailed:
    """Return what a look takes, the median of some tries, or why it fails."""
    breaker.forget_failure()
    dependency, tries = name_of_a_dependency(), []
    try:
        for _ in range(_TRIES):
            began = perf_counter()
            generations.look("doctor", [dependency])
            tries.append(perf_counter() - began)
    except StoreFailed as error:
        return error
    return median(tries)


def _failure(alias: str, store: Store, error: BaseException) -> Iterator[Finding]:
    if isinstance(store, RedisStore) and server.has_answered(error):
        yield problem(
            "store",
            f"It refuses a look: {reason_of(error)}.",
            "Until it does not, queries go to the database. See what is found of the server.",
        )
        yield from server.findings(alias)
        return
    yield problem(
        "store",
        f"It does not answer: {reason_of(error)}.",
        "Until it does, queries go to the database. Is the server running, and is LOCATION right?",
    )


def _speed(seconds: float) -> Finding:
    text = f"It answers a look in {seconds * 1000:.2g} ms, the median of {_TRIES}."
    if seconds <= _SLOW_SECONDS:
        return ok("store", text)
    return warning(
        "store",
        f"{text} Queries that the database answers sooner gain nothing.",
        "Bring the cache nearer: the same machine, or the same network.",
    )


def _fences(store: Store, *, is_of_this_process: bool) -> Finding:
    if is_of_this_process:
        return ok("store", "Entries and fences are this process's own.")
    if store.supports_atomic_fence:
        return ok("store", "All processes share it, and fences are strict.")
    return warning(
        "store",
        "Fences are not strict: of two processes that write one table at the same moment, one may "
        "lift the fence of the other, and a reader may then store what is no longer true.",
        "Use Redis or Valkey where that must not be.",
    )


def _counts(store: Store) -> Finding:
    if store.supports_atomic_count:
        return ok("store", "Counts are exact.")
    return ok("store", "Counts may lose some, where two processes add at once; nothing else does.")


def _capacity(given: dict[str, Any]) -> Iterator[Finding]:
    """Look at how many values a backend keeps that counts them: 300 unless it is told."""
    options = given.get("OPTIONS") or {}
    number = options.get("MAX_ENTRIES", given.get("MAX_ENTRIES", 300))
    if int(number) < _FEW_ENTRIES:
        yield warning(
            "store",
            f"It keeps {number} values, entries and generations together, and throws away the "
            "rest.",
            'Raise it in CACHES: "OPTIONS": {"MAX_ENTRIES": 10_000}.',
        )
