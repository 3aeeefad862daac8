"""Whether the rows of a hit are those that the database has."""

from collections.abc import Sequence
from math import isclose, isnan
from typing import Any, Final

from querycache._django import Query, is_ordered

DIFFERENCE: Final = "A hit differs from the database: key %s, %.1f seconds old: %s"
"""What is logged then: of the key, the age of the entry, and the SQL."""


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
