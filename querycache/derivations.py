"""
Queries that ``get()``, ``count()`` and ``exists()`` derive from that of a queryset, remembered.

To resolve conditions, or to add an aggregate, takes Django longer than all else that it does about
a hit. Of one query and the same conditions always the same query comes: it is made once and copied
from then on, together with its fingerprint.

The copy is seen by its compiler alone, so that nobody changes it but by running it. It is compiled,
answered and counted like any other.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from querycache._django.compilers import SINGLE
from querycache._django.derivations import (
    Conditions,
    Model,
    Query,
    QuerySet,
    compares_plainly,
    conditions_of,
    copy_with,
    forget_arguments,
    is_djangos,
    is_djangos_own,
    is_ready,
    is_simple,
    is_untouched,
    query_of_count,
    query_of_get,
    rows_of,
    sql_of,
)
from querycache.conf import get_config
from querycache.fingerprints import bring_along, fingerprint_of
from querycache.hints import bypassed
from querycache.memory import Memory

logger = logging.getLogger("querycache")


class Derived(NamedTuple):
    """A query that nobody runs, only copies of it, and its fingerprint."""

    query: Query
    fingerprint: bytes


_QUERIES: Final = 1024
_remembered: Memory[tuple["Origin", Conditions], Derived] = Memory(_QUERIES)
"""What was derived, by what it was derived from, a model or a fingerprint, and how."""


def forget_derivations() -> None:
    """Forget every query: something has changed that Django reads when it makes one."""
    _remembered.clear()
    is_plain.cache_clear()


Origin = type[Model] | bytes


def origin_of(query: Query) -> Origin | None:
    """Return what tells a query from all others, None if what is derived from it may differ."""
    if query.model not in get_config().models or bypassed.get():
        return None
    if is_untouched(query):
        return query.model
    return fingerprint_of(query) if is_simple(query) else None


def derived(origin: Origin, how: Conditions, derive: Callable[[], Query]) -> Query:
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
        if fingerprint is None or not compares_plainly(made.where):
            return made
        forget_arguments(made.where)
        known = Derived(made, fingerprint)
        _remembered.put((origin, how), known)
    copy = known.query.clone()
    bring_along(copy, known.fingerprint)
    return copy


def is_made_again(known: Derived, made: Query) -> bool:
    """Say whether a query that was remembered is what Django makes now; log it if it is not."""
    # Another fingerprint may come of a column that all queries share, and one of them has marked.
    if known.fingerprint == fingerprint_of(made) or sql_of(known.query) == sql_of(made):
        return True
    label = made.get_meta().label
    told = {"querycache_event": "query-differs", "model": label}
    logger.error(ANOTHER_QUERY, label, extra=told)
    return False


ANOTHER_QUERY: Final = "A query of %s was remembered, and is made otherwise now: please report it"
"""What is logged then."""


def wrap_get(get: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``QuerySet.get``, that of others excepted."""
    if not is_djangos(get):
        return get

    @functools.wraps(get)
    def get_by_memory(queryset: "QuerySet[Any]", *args: Any, **kwargs: Any) -> Any:
        origin = conditions = None
        if queryset.model in get_config().models:  # a call less for all others
            origin = origin_of(queryset.query)
        if origin is not None and is_plain(type(queryset)) and is_ready(queryset):
            conditions = conditions_of(args, kwargs)
        if origin is None or conditions is None:
            return get(queryset, *args, **kwargs)
        derive = functools.partial(query_of_get, get, queryset, args, kwargs)
        result = copy_with(queryset, derived(origin, conditions, derive))
        rows = rows_of(result)
        if len(rows) == 1:
            return rows[0]
        # Django has the words for what is wrong.
        return get(queryset, *args, **kwargs) if rows else get(queryset.none())

    return get_by_memory


is_plain: Final = functools.lru_cache(maxsize=256)(is_djangos_own)


def wrap_get_count(get_count: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.get_count``, that of others excepted."""
    if not is_djangos(get_count):
        return get_count

    @functools.wraps(get_count)
    def count_by_memory(query: Query, using: str) -> Any:
        origin = origin_of(query)
        if origin is None:
            return get_count(query, using)
        derive = functools.partial(query_of_count, get_count, query, using)
        counting = derived(origin, _COUNT, derive)
        row = counting.get_compiler(using).execute_sql(SINGLE)
        return 0 if row is None else int(row[0])

    return count_by_memory


def wrap_has_results(has_results: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.has_results``, that of others excepted."""
    if not is_djangos(has_results):
        return has_results

    @functools.wraps(has_results)
    def find_by_memory(query: Query, using: str) -> Any:
        origin = origin_of(query)
        if origin is None:
            return has_results(query, using)
        finding = derived(origin, _EXISTS, query.exists)
        return finding.get_compiler(using).has_results()

    return find_by_memory


_COUNT: Final = ("count",)
_EXISTS: Final = ("exists",)
