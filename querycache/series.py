"""
What is counted over time, for charts: in steps of a minute, a quarter of an hour, two hours.

Each step is a group of counters of its own in the store, which forgets those that are too old.
"""

import enum
from dataclasses import dataclass
from typing import Final

from querycache.stats import REASONS


class Resolution(enum.Enum):
    """
    How finely something is counted over time: in steps of so many seconds, of which so many are
    shown.
    """

    HOUR = ("minute", 60, 60)
    DAY = ("quarter", 900, 96)
    WEEK = ("hours", 7200, 84)

    def __init__(self, group: str, seconds: int, steps: int) -> None:
        self.group, self.seconds, self.steps = group, seconds, steps
        self.kept = seconds * (steps + 2)


_SUMMED: Final = (
    "hits", "unasked", "misses", "fills", "invalidations", "mismatches", "incidents", "hit_us",
    "load_us",
)  # fmt: skip
SERIES: Final = {name: name for name in _SUMMED} | dict.fromkeys(REASONS, "bypasses")
"""What is counted over time, and under which name; for all models together."""


def group_of(resolution: Resolution, now: float) -> str:
    """Return the group of the step that a Unix time falls into."""
    return f"{resolution.group}:{int(now) // resolution.seconds}"


def steps_until(resolution: Resolution, now: float) -> list[int]:
    """Return the Unix times at which the steps begin that are shown, the last one that of now."""
    last = int(now) // resolution.seconds
    first = last - resolution.steps + 1
    return [step * resolution.seconds for step in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Step:
    """
    What was counted from a Unix time on, for as many seconds as ``resolution`` says.
    """

    at: int
    hits: int = 0
    unasked: int = 0
    misses: int = 0
    bypasses: int = 0
    fills: int = 0
    invalidations: int = 0
    mismatches: int = 0
    incidents: int = 0
    hit_us: int = 0
    load_us: int = 0

    @property
    def reads(self) -> int:
        """How many reads there were."""
        return self.hits + self.misses + self.bypasses

    @property
    def hit_rate(self) -> float | None:
        """The share of reads that the cache answered, None if there was none."""
        return self.hits / self.reads if self.reads else None

    @property
    def saved_seconds(self) -> float:
        """Seconds of database time saved."""
        return (self.load_us - self.hit_us) / 1_000_000
