"""Whether the rows of a hit are those that the database has."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from math import isclose, isnan
from typing import Any, Final

from django.db import DatabaseError

from querycache import generations
from querycache._django.queries import Query, is_ordered
from querycache.counting import statistics
from querycache.entries import Loaded
from querycache.exceptions import StoreFailed
from querycache.generations import Look
from querycache.loads import Load, fill
from querycache.plans import Plan

logger = logging.getLogger("querycache")

DIFFERENCE: Final = "A hit differs from the database: key %s, %.1f seconds old: %s"
"""What is logged then: of the key, the age of the entry, and the SQL."""


def verified(
    load: Load, query: Query, plan: Plan, cached: Loaded, look: Look, label: str
) -> Loaded:
    """
    Ask the database after a hit, report a difference, and return what the database says.

    A write that was published since the look explains one. Nothing else does: what was committed
    before the look has made the entry stale before.
    """
    try:
        loaded = load()
    except DatabaseError:  # a hit needs no database
        return cached
    statistics.count(label, "verified")
    if is_same_answer(query, cached.rows, loaded.rows):
        return loaded
    with suppress(StoreFailed):
        if look.tokens and generations.look(plan.key, plan.dependencies).tokens == look.tokens:
            statistics.count(label, "mismatches")
            age = loaded.at - cached.at
            told = {"querycache_event": "hit-differs", "model": label, "key": plan.key, "age": age}
            logger.error(DIFFERENCE, plan.key, age, plan.statement, extra=told)
            fill(label, plan, look, loaded)
    return loaded


def is_same_answer(query: Query, cached: Any, fresh: Any) -> bool:
    """Say whether the rows of a hit may be those of the database, for all that the query says."""
    return is_same(cached, fresh) or _chooses(query, cached, fresh)


def _chooses(query: Query, cached: Any, fresh: Any) -> bool:
    """Say whether the database had a choice: a LIMIT that cut rows off, without an ORDER BY."""
    if not query.is_sliced or is_ordered(query):
        return False
    if query.low_mark or query.high_mark is None:
        return True
    return len(cached) == len(fresh) == query.high_mark


def is_same(cached: Any, fresh: Any) -> bool:
    """
    Compare the rows of a hit with those of the database, or one row, or none.

    In any order: an ORDER BY may leave ties, whose order the database chooses each time.
    """
    if _is_same_value(cached, fresh):
        return True
    if not isinstance(cached, list) or not isinstance(fresh, list) or len(cached) != len(fresh):
        return False
    pairs = zip(sorted(cached, key=repr), sorted(fresh, key=repr), strict=True)
    return all(_is_same_value(*pair) for pair in pairs)


def _is_same_value(cached: Any, fresh: Any) -> bool:
    if isinstance(cached, Sequence) and isinstance(fresh, Sequence):
        if isinstance(cached, str | bytes):
            return cached == fresh
        return len(cached) == len(fresh) and all(map(_is_same_value, cached, fresh))
    if isinstance(cached, float) and isinstance(fresh, float):
        # The sum of floats depends on their order; and NaN is not equal to itself.
        return isclose(cached, fresh, rel_tol=1e-9) or (isnan(cached) and isnan(fresh))
    return bool(cached == fresh)
