"""
The local tier: entries that this process has seen, so that a look needs their generations only.

Bounded in bytes. What to drop is chosen by SIEVE (Zhang et al., NSDI 2024): a hand goes from the
oldest entry to the newest and drops the first that was not read since it came by last. Reading an
entry therefore moves nothing and takes no lock.
"""

import datetime
import decimal
import os
import threading
import uuid
from collections.abc import Iterable, Sequence
from sys import getsizeof
from time import monotonic, time
from typing import Any, Final

from querycache.conf import get_config
from querycache.entries import Loaded

_IMMUTABLE: Final = frozenset(
    {
        type(None), bool, int, float, str, bytes, decimal.Decimal, uuid.UUID,
        datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
    }
)  # fmt: skip
"""What one reader cannot change under another's hands."""
_OVERHEAD: Final = 700
"""Bytes that an entry takes beside its rows, about."""


class Held:
    """
    An entry of this process, read under ``tokens``.

    ``seen`` are the generations that were current when it was last known to be fresh.
    ``confirmed`` is when its generations were last known to be the current ones: the time of
    ``monotonic()`` at which the request was sent whose answer said so. It expires ``ttl`` seconds
    after its SELECT, at the Unix time ``until``.
    """

    __slots__ = (
        "confirmed",
        "key",
        "loaded",
        "newer",
        "older",
        "refreshing",
        "seen",
        "size",
        "tokens",
        "until",
        "was_read",
    )

    def __init__(
        self,
        key: str,
        tokens: bytes,
        loaded: Loaded,
        ttl: float,
        confirmed: float,
        seen: bytes,
    ) -> None:
        self.key, self.tokens, self.loaded, self.seen = key, tokens, loaded, seen
        self.until = min(loaded.at, time()) + ttl  # its clock may be another machine's
        self.confirmed = confirmed
        self.size = 0
        self.was_read = False
        self.refreshing = threading.Lock()
        """Held by the one reader that asks the store, while others may go on with this entry."""
        self.older: Held | None = None
        self.newer: Held | None = None


class Local:
    """The entries, by key, and in a list from the oldest to the newest."""

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with nothing: also in a child, whose parent may have been changing the list."""
        self._lock = threading.Lock()
        self._empty()

    def _empty(self) -> None:
        self._entries: dict[str, Held] = {}
        self._oldest: Held | None = None
        self._newest: Held | None = None
        self._hand: Held | None = None
        self.size = 0
        self._written: dict[str, float] = {}
        self._all_written = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Held | None:
        """Return the entry under a key, fresh or not, unless its TTL has passed."""
        held = self._entries.get(key)
        if held is None:
            return None
        if held.until < time():
            self._drop(held)
            return None
        held.was_read = True
        return held

    def put(self, held: Held, entry_size: int) -> None:
        """
        Hold an entry, instead of another of its key; ``entry_size`` is its size in the store.

        Rows with a value that can be changed in place are not held: each reader needs its own.
        """
        limit = get_config().local_bytes
        if entry_size > limit // 8:  # one would drop many
            return
        size = size_of(held.loaded.rows)
        if size is None:
            return
        held.size = size + _OVERHEAD
        with self._lock:
            before = self._entries.get(held.key)
            if before is not None:
                held.was_read = before.was_read
                self._unlink(before)
            self._entries[held.key] = held
            held.older, self._newest = self._newest, held
            if held.older is None:
                self._oldest = held
            else:
                held.older.newer = held
            self.size += held.size
            while self.size > limit and self._entries:
                self._evict()

    def _drop(self, held: Held) -> None:
        with self._lock:
            if self._entries.get(held.key) is held:
                self._unlink(held)

    def clear(self) -> None:
        """Hold nothing."""
        with self._lock:
            self._empty()

    def _evict(self) -> None:
        hand = self._hand or self._oldest
        while hand is not None and hand.was_read:
            hand.was_read = False
            hand = hand.newer or self._oldest
        if hand is not None:
            self._hand = hand
            self._unlink(hand)

    def _unlink(self, held: Held) -> None:
        if self._hand is held:
            self._hand = held.newer
        if held.older is None:
            self._oldest = held.newer
        else:
            held.older.newer = held.newer
        if held.newer is None:
            self._newest = held.older
        else:
            held.newer.older = held.older
        del self._entries[held.key]
        self.size -= held.size

    # What this process has written itself ---------------------------------------------------------

    def note_written(self, dependencies: Iterable[str]) -> None:
        """Have nothing answered without asking that was confirmed before now: it was changed."""
        now = monotonic()
        with self._lock:
            if len(self._written) > _MANY_WRITTEN:
                self._written.clear()
                self._all_written = now
            self._written.update(dict.fromkeys(dependencies, now))

    def was_written(self, dependencies: Sequence[str], since: float) -> bool:
        """Say whether this process has changed one of them since a time of ``monotonic()``."""
        if self._all_written >= since:
            return True
        written = self._written
        if not written or written.keys().isdisjoint(dependencies):
            return False
        for name in dependencies:  # noqa: SIM110  on the path of a hit
            if written.get(name, 0.0) >= since:
                return True
        return False


_MANY_WRITTEN: Final = 10_000
"""Dependencies. Beyond them it is only known that some were written."""


def size_of(rows: Any) -> int | None:
    """Return the bytes that rows take in memory, None if a value of theirs can be changed."""
    if rows is None:
        return 0
    if isinstance(rows, tuple):
        rows = [rows]
    size = getsizeof(rows)
    for row in rows:
        if not _IMMUTABLE.issuperset(map(type, row)):
            return None
        size += getsizeof(row) + sum(map(getsizeof, row))
    return size


local: Final = Local()
