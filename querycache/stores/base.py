"""The interface of a store, and the fence as the bytes that every store keeps."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from querycache.counting import Batch
from querycache.entries import TOKEN_SIZE, WILDCARD
from querycache.scopes import ANY, NEW

GENERATION_TTL: Final = 30 * 24 * 3600
"""Seconds that a generation nobody changes is kept. Losing one costs misses, never a stale read."""
ROW_TTL: Final = 24 * 3600
"""The same for that of some rows of a table: there may be as many of these as there are rows."""
FENCE_SECONDS: Final = 60
"""Seconds after which a fence falls whose writer died."""
LEASE_SECONDS: Final = 5
"""Seconds after which another process may load what one has begun to load."""
_MARK: Final = b"!"


Done = Callable[[int | None], None]
"""Is told how many marks were lost before their release, None if nobody knows of the release."""


class Found(NamedTuple):
    """
    What a look found: the entry, and the token or mark of each dependency.

    ``incarnation`` tells this life of the server from any other, before a restart from a dump or on
    another machine after a failover; empty where the store has no way to know.
    """

    entry: bytes | None
    tokens: list[bytes]
    incarnation: bytes = b""


class Store(ABC):
    """
    Where entries and generations are kept.

    Every method may raise whatever the client of the store raises; ``breaker`` turns that into
    ``StoreFailed``. The names given are short and ASCII; the store adds the prefix of its cache.
    """

    supports_atomic_fence: bool = False
    """Can two processes fence one dependency at once, neither of them losing the other's mark?"""
    supports_atomic_count: bool = False
    """Do counts added by two processes at once always add up?"""
    most_counters: int = 2_000
    """How many counters of queries may stand before those that were read least are dropped."""
    using: str | None = None
    """The alias of the database of which the store is a table, and so part of its transactions."""
    unsettled: Sequence[object] = ()
    """Releases that were sent and whose answers were not read yet."""

    @abstractmethod
    def look(self, key: str | None, dependencies: Sequence[str]) -> Found:
        """
        Return the entry under ``key``, if one is given, and the token or mark of each dependency.

        A dependency that has none gets a new token. A token that could not be made is empty.
        """

    @abstractmethod
    def fill(self, key: str, entry: bytes, ttl: float, *, is_leased: bool = False) -> None:
        """Store an entry for ``ttl`` seconds, and end the lease of its key if there is one."""

    @abstractmethod
    def lease(self, key: str) -> bool:
        """Say whether the caller is the one to load a key, for at most ``LEASE_SECONDS``."""

    @abstractmethod
    def end_lease(self, key: str) -> None:
        """Let another load the key."""

    @abstractmethod
    def fence(self, dependencies: Sequence[str], writer: str) -> None:
        """Mark each dependency as being written, until ``writer`` releases it or the deadline."""

    @abstractmethod
    def release(self, dependencies: Sequence[str], writer: str) -> int:
        """
        Take this writer's mark from each dependency; where it was the last, give a new token.

        A dependency without this writer's mark gets a new token too, unless another writer holds
        it. Return how many were without.
        """

    def release_unwaited(self, dependencies: Sequence[str], writer: str, done: Done) -> None:
        """
        Release without waiting for the answer, where that is possible.

        ``done`` is called with the answer, now or by ``settle()``, which lets other threads wait
        meanwhile: it must not wait for any of them. Only then the store has done it for certain,
        and before anything that is asked of it afterwards.
        """
        done(self.release(dependencies, writer))

    def settle(self) -> None:  # noqa: B027  where nothing is unsettled
        """Return when all ``unsettled`` releases are done; never raises what the client raises."""

    @abstractmethod
    def publish(self, batch: Batch) -> int:
        """
        Add to counters, creating those that are not there; keep texts, and the newest events.

        Return how many counters of queries there are, 0 if none was added to.
        """

    @abstractmethod
    def read_counts(self, *groups: str) -> list[dict[str, int]]:
        """Return the counters of each group by name."""

    @abstractmethod
    def read_texts(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the texts by name, without those that are not there."""

    @abstractmethod
    def read_events(self) -> list[bytes]:
        """Return the events that are kept, the newest first."""

    @abstractmethod
    def drop(self, counters: Sequence[str], texts: Sequence[str]) -> None:
        """Forget counters of queries, and texts."""


def new_token() -> bytes:
    """Return a generation that was never there before."""
    while True:
        token = os.urandom(TOKEN_SIZE)
        if not token.startswith(_MARK) and token != WILDCARD:
            return token


def fenced(value: object, writer: str, now: float) -> bytes:
    """
    Return the mark of all writers in ``value`` that have not passed their deadline, and this one.

    A mark is ``!`` and, for each writer, ``name:deadline;`` with the deadline in Unix seconds. It
    is never as long as a token, so that no list of marks and tokens is taken for a list of tokens.
    """
    writers = _writers(value, now)
    writers[writer] = now + FENCE_SECONDS
    return _mark(writers)


def kept_for(dependency: str) -> int:
    """Return for how many seconds the generation of a dependency is kept."""
    is_of_rows = ":" in dependency and not dependency.endswith(_OF_A_COLUMN)
    return ROW_TTL if is_of_rows else GENERATION_TTL


_OF_A_COLUMN: Final = (f":{ANY}", f":{NEW}")


def released(value: object, writer: str, now: float, seconds: int) -> tuple[bytes, int, bool]:
    """
    Return what stands after ``writer`` is gone, for how many seconds, and whether it was there.

    A generation stands for the seconds given.
    """
    writers = _writers(value, now)
    was_there = writers.pop(writer, None) is not None
    if writers:
        return _mark(writers), FENCE_SECONDS, was_there
    return new_token(), seconds, was_there


def is_mark(value: object) -> bool:
    """Say whether this stands for writers, and not for a generation."""
    return isinstance(value, bytes) and value.startswith(_MARK)


def is_held(value: object, writer: str) -> bool:
    """Say whether this is a mark that holds a writer."""
    return writer in _writers(value, now=0.0)


def _writers(value: object, now: float) -> dict[str, float]:
    if not isinstance(value, bytes) or not is_mark(value):
        return {}
    try:
        pairs = [item.split(":") for item in value[1:].decode("ascii").split(";") if item]
        return {name: float(until) for name, until in pairs if float(until) > now}
    except ValueError:  # not a mark of ours
        return {}


def _mark(writers: Mapping[str, float]) -> bytes:
    text = "".join(f"{name}:{until:.3f};" for name, until in writers.items())
    return _MARK + text.encode("ascii")
