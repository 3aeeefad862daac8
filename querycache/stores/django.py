"""A store over any backend of Django's cache framework."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import router

from querycache.counting import KEPT_SECONDS, Batch
from querycache.exceptions import StoreFailed
from querycache.stats import MOST_EVENTS, QUERIES
from querycache.stores.base import (
    FENCE_SECONDS,
    LEASE_SECONDS,
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

    def __init__(self, alias: str) -> None:
        self._alias = alias
        in_this_process = isinstance(self._cache, LocMemCache)
        self._in_this_process = self.supports_atomic_fence = in_this_process
        self.supports_atomic_count = in_this_process or _adds_atomically(self._cache)
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
        with _locks.of_fences:
            before = self._generations(dependencies)
            now = time.time()
            for name, value in before.items():
                self._cache.set(name, fenced(value, writer, now), FENCE_SECONDS)
            for name, value in self._generations(dependencies).items():
                self._insist(is_held(value, writer), name)

    def release(self, dependencies: Sequence[str], writer: str) -> int:
        lost = 0
        with _locks.of_fences:
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

    def publish(self, batch: Batch) -> int:
        names = [group.name for group in batch.groups]
        with self._counting():
            *found, texts = self._dicts(*names, _TEXTS)
            for group, counts in zip(batch.groups, found, strict=True):
                for name, amount in group.counts.items():
                    counts[name] = counts.get(name, 0) + amount
                self._cache.set(_STATISTICS + group.name, counts, group.ttl)
            if batch.texts:
                self._cache.set(_STATISTICS + _TEXTS, texts | batch.texts, KEPT_SECONDS)
            if batch.events:
                events = [*reversed(batch.events), *self.read_events()][:MOST_EVENTS]
                self._cache.set(_STATISTICS + _EVENTS, events, KEPT_SECONDS)
        return len(dict(zip(names, found, strict=True)).get(QUERIES, ()))

    def read_counts(self, *groups: str) -> list[dict[str, int]]:
        return self._dicts(*groups)

    def read_texts(self, names: Sequence[str]) -> dict[str, bytes]:
        (texts,) = self._dicts(_TEXTS)
        return {name: texts[name] for name in names if name in texts}

    def read_events(self) -> list[bytes]:
        events = self._cache.get(_STATISTICS + _EVENTS)
        return events if isinstance(events, list) else []

    def drop(self, counters: Sequence[str], texts: Sequence[str]) -> None:
        with self._counting():
            for group, names in ((QUERIES, counters), (_TEXTS, texts)):
                (left,) = self._dicts(group)
                for name in names:
                    left.pop(name, None)
                self._cache.set(_STATISTICS + group, left, KEPT_SECONDS)

    def _dicts(self, *names: str) -> list[dict[str, Any]]:
        found = self._cache.get_many([_STATISTICS + name for name in names])
        values = [found.get(_STATISTICS + name) for name in names]
        return [value if isinstance(value, dict) else {} for value in values]

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Keep others from counting meanwhile: other processes too, where ``add()`` is atomic."""
        with _locks.of_counts:
            if self._in_this_process:
                yield
                return
            cache, until = self._cache, time.monotonic() + _LOCK_SECONDS
            while not cache.add(_LOCK, b"", _LOCK_SECONDS) and time.monotonic() < until:
                time.sleep(_PAUSE)
            try:
                yield
            finally:
                cache.delete(_LOCK)


_STATISTICS: Final = "querycache:s:"
_TEXTS: Final = "texts"
_EVENTS: Final = "events"
_LOCK: Final = "querycache:s:lock"
_LOCK_SECONDS: Final = 2
"""Seconds after which others go on, if a process has died while it counted."""
_PAUSE: Final = 0.005


class _Locks:
    """
    One of each for all stores: each may be another's cache under another alias.

    Others in a child, where nobody would release those of its parent.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.of_fences = threading.Lock()
        self.of_counts = threading.Lock()


_locks: Final = _Locks()


def _adds_atomically(cache: BaseCache) -> bool:
    """Say whether the backend has an ``incr()`` of its own, as one that adds atomically has."""
    return type(cache).incr is not BaseCache.incr
