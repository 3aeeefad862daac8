"""
Queries that ``count()``, ``exists()`` and ``aggregate()`` derive from another, remembered.

To add an aggregate takes Django longer than all else that it does about a hit. Of one query always
the same comes: it is made once and copied from then on, together with its fingerprint.

The copy is seen by its compiler alone, so that nobody changes it but by running it. It is compiled,
answered and counted like any other.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

from querycache._django.compilers import SINGLE
from querycache._django.conditions import Conditions
from querycache._django.derivations import (
    Query,
    aggregates_of,
    aggregation_of,
    as_managers_make_it,
    forget_arguments,
    is_djangos,
    is_simple,
    query_asked,
    sql_of,
)
from querycache.conf import get_config
from querycache.fingerprints import BROUGHT, Fingerprint, Made, fingerprint_of
from querycache.hints import bypassed
from querycache.memory import Memory

logger = logging.getLogger("querycache")


_QUERIES: Final = 1024
_remembered: Memory[tuple[Fingerprint, Conditions], Made] = Memory(_QUERIES)
"""What was derived, by what it was derived from, a model or a fingerprint, and how."""


def forget_derivations() -> None:
    """Forget every query: something has changed that Django reads when it makes one."""
    _remembered.clear()


def origin_of(query: Query) -> Fingerprint | None:
    """Return what tells a query from all others, None if what is derived from it may differ."""
    if query.model not in get_config().models or bypassed.get() or type(query) is not Query:
        return None
    if query.__dict__ in as_managers_make_it(query.model):
        return query.model
    return fingerprint_of(query) if is_simple(query) else None


def derived(origin: Fingerprint, how: Conditions, derive: Callable[[], Query]) -> Query:
    """
    Return what ``derive()`` makes of a query, or has made of another of the same origin.

    ``how`` tells what is derived from one query apart.
    """
    known = _remembered.get((origin, how))
    if known is not None and get_config().checks_plans and not is_made_again(known, derive()):
        known = None
    if known is None:
        made = derive()
        fingerprint = fingerprint_of(made)
        if fingerprint is None:
            return made
        forget_arguments(made.where)
        known = Made(made, fingerprint)
        _remembered.put((origin, how), known)
    known.was_used = True
    copy = known.query.clone()
    copy.__dict__[BROUGHT] = known.fingerprint, ref(copy)
    return copy


def is_made_again(known: Made, made: Query) -> bool:
    """Say whether a query that was remembered is what Django makes now; log it if it is not."""
    # Another fingerprint may come of a column that all queries share, and one of them has marked.
    if fingerprint_of(known.query) == fingerprint_of(made) or sql_of(known.query) == sql_of(made):
        return True
    label = made.get_meta().label
    told = {"querycache_event": "query-differs", "model": label}
    logger.error(ANOTHER_QUERY, label, extra=told)
    return False


ANOTHER_QUERY: Final = "A query of %s was remembered, and is made otherwise now: please report it"
"""What is logged then."""


def wrap_get_count(get_count: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.get_count``, that of others excepted."""

    def count(query: Query, using: str) -> int:
        row = query.get_compiler(using).execute_sql(SINGLE)
        return 0 if row is None else int(row[0])

    return _by_memory(get_count, lambda: ("count",), count)


def wrap_has_results(has_results: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.has_results``, that of others excepted."""

    def find(query: Query, using: str) -> bool:
        return bool(query.get_compiler(using).has_results())

    return _by_memory(has_results, lambda: ("exists",), find)


def wrap_get_aggregation(get_aggregation: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.get_aggregation``, that of others excepted."""
    return _by_memory(get_aggregation, aggregates_of, aggregation_of)


def _by_memory(
    method: Callable[..., Any],
    how_of: Callable[..., Conditions | None],
    run: Callable[[Query, str], Any],
) -> Callable[..., Any]:
    """Return what asks a query that was remembered, and ``run()`` for what Django makes of it."""
    if not is_djangos(method):
        return method

    @functools.wraps(method)
    def by_memory(query: Query, using: str, *args: Any) -> Any:
        how = how_of(*args)
        origin = None if how is None else origin_of(query)
        if how is None or origin is None:
            return method(query, using, *args)
        derive = functools.partial(query_asked, method, query, using, *args)
        return run(derived(origin, how, derive), using)

    return by_memory
