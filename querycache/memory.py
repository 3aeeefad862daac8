"""A bounded memory of what was worked out once."""

import threading
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Forgets the oldest first. Reading takes no lock: ``get`` is that of the dict itself."""

    def __init__(self, size: int, values: Mapping[K, V] | None = None) -> None:
        self._size = size
        self._values: dict[K, V] = dict(values or {})
        self._lock = threading.Lock()
        self.get = self._values.get

    def copy(self) -> "Memory[K, V]":
        """Return another that remembers the same, whoever may hold the lock of this one."""
        return Memory(self._size, self._values)

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        with self._lock:
            if len(self._values) >= self._size:
                del self._values[next(iter(self._values))]
            self._values[key] = value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
