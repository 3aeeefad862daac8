"""A bounded memory of what was worked out once."""

from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept:
    """A value that is not the next to be forgotten if it was used: who finds it says so."""

    __slots__ = ("was_used",)

    def __init__(self) -> None:
        self.was_used = False


class Memory(Generic[K, V]):
    """
    Forgets the oldest first, except what is ``Kept`` and was used since it came up last.

    So what is never asked for again drives out nothing that is (second chance, or CLOCK: Corbató,
    "A Paging Experiment with the Multics System", 1968).

    There is no lock, which a fork could leave held for ever: each step is one of the dict itself,
    and ``get`` is that of the dict. As many as there are threads may be remembered beyond the size.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[K, V] = {}
        self.get = self._values.get

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        values = self._values
        while len(values) >= self._size:
            # Another thread may have come before.
            with suppress(StopIteration, RuntimeError):
                oldest = next(iter(values))
                forgotten = values.pop(oldest, None)
                if isinstance(forgotten, Kept) and forgotten.was_used:
                    forgotten.was_used = False
                    values[oldest] = forgotten
        values[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
