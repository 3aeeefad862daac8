"""A store over any backend of Django's cache framework."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import router

from querycache.exceptions import StoreFailed
from querycache.stores.base import (
    FENCE_SECONDS,
    LEASE_SECONDS,
    STATISTICS_TTL,
    Found,
    Store,
    fenced,
    is_held,
    is_mark,
    kept_for,
    new_token,
    released,
)

_GENERATION: Final = "querycache:g:"


class DjangoStore(Store):
    """
    Entries and generations as values of a Django cache.

    The framework has no compare-and-set, so that a fence is read, changed and written back: under a
    lock within this process, which makes it strict on LocMem; two processes that fence one
    dependency at the same moment may lose one mark.
    """

    # One lock for all instances: each of them may be another's cache under another alias.
    _lock = threading.Lock()

    def __init__(self, alias: str) -> None:
        self._alias = alias
        in_this_process = isinstance(self._cache, LocMemCache)
        self.supports_atomic_fence = in_this_process
        self.supports_atomic_count = in_this_process or _counts_atomically(self._cache)
        if isinstance(self._cache, DatabaseCache):
            self.using = router.db_for_write(self._cache.cache_model_class)

    @property
    def _cache(self) -> BaseCache:
        return caches[self._alias]  # one instance a thread

    def look(self, key: str | None, dependencies: Sequence[str]) -> Found:
        names = [f"{_GENERATION}{name}" for name in dependencies]
        entry_name = f"querycache:e:{key}"
        cache = self._cache
        found = cache.get_many(names if key is None else [entry_name, *names])
        missing = [name for name in names if name not in found]
        if missing:
            for name in missing:
                cache.add(name, new_token(), kept_for(name.removeprefix(_GENERATION)))
            # Read back: of two that create it at once, one has it, and both must know which.
            found |= cache.get_many(missing)
        entry = found.get(entry_name)
        tokens = [found.get(name, b"") for name in names]
        return Found(
            entry if isinstance(entry, bytes) else None,
            [token if isinstance(token, bytes) else b"" for token in tokens],
        )

    def fill(self, key: str, entry: bytes, ttl: float, *, is_leased: bool = False) -> None:
        self._cache.set(f"querycache:e:{key}", entry, ttl)
        if is_leased:
            self.end_lease(key)

    def lease(self, key: str) -> bool:
        return self._cache.add(f"querycache:l:{key}", b"", LEASE_SECONDS)

    def end_lease(self, key: str) -> None:
        self._cache.delete(f"querycache:l:{key}")

    def fence(self, dependencies: Sequence[str], writer: str) -> None:
        with self._lock:
            before = self._generations(dependencies)
            now = time.time()
            for name, value in before.items():
                self._cache.set(name, fenced(value, writer, now), FENCE_SECONDS)
            for name, value in self._generations(dependencies).items():
                self._insist(is_held(value, writer), name)

    def release(self, dependencies: Sequence[str], writer: str) -> int:
        lost = 0
        with self._lock:
            before = self._generations(dependencies)
            now = time.time()
            for name, value in before.items():
                kept = kept_for(name.removeprefix(_GENERATION))
                after, seconds, was_there = released(value, writer, now, kept)
                self._cache.set(name, after, seconds)
                lost += not was_there
            for name, value in self._generations(dependencies).items():
                is_old_token = value == before[name] and not is_mark(value)
                self._insist(
                    not is_held(value, writer) and (value is None or not is_old_token), name
                )
        return lost

    def _generations(self, dependencies: Sequence[str]) -> dict[str, object]:
        names = [f"{_GENERATION}{name}" for name in dependencies]
        found = self._cache.get_many(names)
        return {name: found.get(name) for name in names}

    def _insist(self, is_done: bool, name: str) -> None:
        """Raise if a ``set()`` has failed without a word, as that of DatabaseCache may."""
        if not is_done:
            raise StoreFailed(f"{type(self._cache).__name__} did not set {name}")

    def add_counts(self, counts: Mapping[str, int]) -> None:
        cache = self._cache
        for name, amount in counts.items():
            name = f"querycache:s:{name}"
            if not self.supports_atomic_count:
                cache.set(name, cache.get(name, 0) + amount, STATISTICS_TTL)
                continue
            # add() does nothing where a count stands, and lets incr() find one where none does.
            cache.add(name, 0, STATISTICS_TTL)
            try:
                cache.incr(name, amount)
            except ValueError:  # evicted since
                cache.set(name, amount, STATISTICS_TTL)
            cache.touch(name, STATISTICS_TTL)

    def read_counts(self, names: Sequence[str]) -> dict[str, int]:
        found = self._cache.get_many([f"querycache:s:{name}" for name in names])
        return {name.removeprefix("querycache:s:"): int(value) for name, value in found.items()}


def _counts_atomically(cache: BaseCache) -> bool:
    """
    Say whether the backend has an ``incr()`` of its own; the base class reads and writes back.
    """
    return type(cache).incr is not BaseCache.incr
