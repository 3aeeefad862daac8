"""
What happens, for those who want to know: signals of Django.

They are sent where it happens, in the thread of the read or the write, which waits for the
receivers. One that raises breaks neither: Django logs it, under ``django.dispatch``.
"""

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal

__all__ = ["flushed", "invalidated", "read_done", "store_failed", "store_recovered"]


class _Signal(Signal):
    """A signal whose receivers are plain functions."""

    def connect(self, receiver: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Connect a receiver. Raises ``TypeError`` for a coroutine function."""
        # Django would begin an event loop for it, and fail in a thread that runs one already.
        if iscoroutinefunction(receiver):
            raise TypeError(f"a receiver must be a plain function, not a coroutine: {receiver!r}")
        super().connect(receiver, *args, **kwargs)


read_done: Final = _Signal(use_caching=True)
"""
A model that is opted in was read, by ``sender``, the class of the model.

``outcome`` is "hit", "miss" or "bypass"; ``reason``, a ``Reason``, says why a bypass was one, and
is None otherwise; ``microseconds`` is what the read took, of a bypass what it took to see that it
is one.
"""
invalidated: Final = _Signal()
"""
A write was published, or ``invalidate()``. ``sender`` is None.

``labels`` are those of the opted-in models whose tables it touched, a frozenset; ``dependencies``
the names, in the store, of what it made stale, a tuple; ``using`` the alias of the database.
"""
flushed: Final = _Signal()
"""Everything was forgotten, by ``flush()``. ``sender`` is None."""
store_failed: Final = _Signal()
"""
The store does not answer; sent once, and not for each query. ``sender`` is None.

``cache`` is its alias in CACHES, ``error`` what its client raised.
"""
store_recovered: Final = _Signal()
"""The store answers again. ``sender`` is None, ``cache`` its alias in CACHES."""
