"""
What was asked for: by ``cached()`` and ``uncached()`` for one query, by ``bypass()`` for a block.

A hint goes with its query, and with the copies that Django makes of it.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from querycache._django.queries import HINT, Query

__all__ = ["HINT", "Hint", "bypassed", "hint_of"]


@dataclass(frozen=True, slots=True)
class Hint:
    """
    What was asked for one query: to be cached for ``ttl`` seconds, or not at all.

    Its answer may be ``max_stale`` seconds old. None stands for what its models say.
    """

    cache: bool
    ttl: float | None = None
    max_stale: float | None = None


def hint_of(query: Query) -> Hint | None:
    """Return what was asked for the query; for an aggregate over a subquery, for that."""
    hint: Hint | None = query.__dict__.get(HINT)
    inner = query.__dict__.get("inner_query")
    return hint_of(inner) if hint is None and inner is not None else hint


bypassed: Final[ContextVar[bool]] = ContextVar("querycache_bypassed", default=False)
"""Whether reads of the current context go to the database."""
