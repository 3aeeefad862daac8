"""
Whether a replica has caught up with the generations that a read of it would be stored under.

A token is made after the commit that it stands for:

    COMMIT on the primary, release: a token, this process sees it, MAX_LAG, SELECT on the replica

The replica lags by at most MAX_LAG, so that this SELECT finds what was committed. The time is
counted from when this process first saw the token, by its own clock: clocks of two machines
disagree.
"""

from time import monotonic
from typing import Final

from querycache.memory import Memory

_SIGHTINGS: Final = 4096
_sightings: Memory[tuple[str, ...], tuple[bytes, float]] = Memory(_SIGHTINGS)
"""The last tokens of these dependencies, and when this process saw them first."""


def has_caught_up(dependencies: tuple[str, ...], tokens: bytes, max_lag: float) -> bool:
    """Say whether a SELECT that begins now finds what was committed before these tokens."""
    now = monotonic()
    sighting = _sightings.get(dependencies)
    if sighting is None or sighting[0] != tokens:
        _sightings.put(dependencies, (tokens, now))
        return False
    return now - sighting[1] >= max_lag


def forget_sightings() -> None:
    """Forget what was seen: the settings have changed."""
    _sightings.clear()
