"""Whether the rows of a hit are those that the database has."""

from collections.abc import Sequence
from math import isclose, isnan
from typing import Any

from querycache._django import Query, is_ordered


def is_comparable(query: Query) -> bool:
    """Say whether two runs of a query must return the same rows, in any order."""
    # A LIMIT without an ORDER BY may choose others each time.
    return not query.is_sliced or is_ordered(query)


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
