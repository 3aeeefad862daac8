"""What was read in the current context: for a page's footer, for tests, for tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

from querycache.exceptions import Reason

Outcome = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class Read:
    """
    A read of an opted-in model.

    ``microseconds`` is what it took here; ``reason`` says why a bypass was one; ``dependencies``
    are the names, in the store, of what its answer depends on, where those were looked up.
    """

    label: str
    outcome: Outcome
    microseconds: int
    reason: Reason | None = None
    dependencies: tuple[str, ...] = ()


_current: ContextVar[tuple[list[Read], ...]] = ContextVar("querycache_recorders", default=())


@contextmanager
def record_reads() -> Iterator[list[Read]]:
    """
    Return a list that is given each read of an opted-in model in this context.

    A context is a thread or an asyncio task, with what it awaits or runs by ``sync_to_async``.
    """
    reads: list[Read] = []
    token = _current.set((*_current.get(), reads))
    try:
        yield reads
    finally:
        _current.reset(token)


recorders: Final = _current.get
"""Returns the lists that want to know of a read."""
