"""
One loader for each key in a process: whoever else misses it waits, and shares what was read.

    leader: look(tokens)   SELECT begins …                 … SELECT ends
    other:                               look(same tokens)   joins

What is shared is not older than the joining read. A commit between the leader's SELECT and the
other's look would have been fenced before, and the other's tokens would not be the leader's.
"""

import os
import threading
from typing import Final

from querycache.entries import Loaded

MAX_WAIT: Final = 10.0
"""Seconds after which a reader that waits for another asks the database itself."""


class Flight:
    """A load that is under way under these generations."""

    __slots__ = ("_landed", "_leader", "loaded", "tokens")

    def __init__(self, tokens: bytes) -> None:
        self.tokens = tokens
        self._leader = threading.get_ident()
        self._landed = threading.Event()
        self.loaded: Loaded | None = None

    def wait(self) -> Loaded | None:
        """Return what the leader has read, None if it has failed or takes too long."""
        if self._leader != threading.get_ident():  # a handler of its logs may read, too
            self._landed.wait(MAX_WAIT)
        return self.loaded

    def land(self) -> None:
        """Let go on whoever waits."""
        self._landed.set()


class Flights:
    """The loads of this process, by key."""

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with no load under way: also in a child, where no leader of its parent lives."""
        self._flights: dict[str, Flight] = {}

    def lead(self, key: str, tokens: bytes) -> tuple[Flight, bool]:
        """Return the load of a key, and whether the caller is to do it, and then to ``land``."""
        mine = Flight(tokens)
        flight = self._flights.setdefault(key, mine)
        return flight, flight is mine

    def land(self, key: str, flight: Flight) -> None:
        """End a load, whether or not it was successful."""
        self._flights.pop(key, None)
        flight.land()


flights: Final = Flights()
