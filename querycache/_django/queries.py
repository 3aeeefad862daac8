"""
What a query consists of, and what it says of itself before anybody runs it.

What an answer depends on is found among these parts: none may be missing.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django.db.models import ForeignObject
from django.db.models.query import RawQuerySet
from django.db.models.sql import Query, RawQuery
from django.db.models.sql.where import WhereNode

__all__ = [
    "HINT",
    "Query",
    "RawQuery",
    "copy_of_raw",
    "is_ordered",
    "nodes_of",
    "parts_of",
    "restricts_joins",
    "table_names",
]

HINT: Final = "querycache_hint"
"""The attribute of a query that holds what ``cached()`` or ``uncached()`` asked for."""


def nodes_of(query: Query) -> Iterator[Any]:
    """Everything that a query consists of: expressions, conditions and other queries."""
    yield from query.select
    yield from query.annotations.values()
    yield from query.combined_queries
    yield from (node for node in query.order_by if not isinstance(node, str))
    yield query.where
    if isinstance(query.group_by, tuple):
        yield from query.group_by
    inner = getattr(query, "inner_query", None)
    if inner is not None:
        yield inner
    for join in query.alias_map.values():
        condition = getattr(join, "filtered_relation", None)
        if condition is not None:
            yield getattr(condition, "resolved_condition", None)


def parts_of(node: Any) -> Iterator[Any]:
    """What an expression or a condition is made of."""
    if isinstance(node, WhereNode):
        yield from node.children
        return
    sources: Callable[[], list[Any]] | None = getattr(node, "get_source_expressions", None)
    if sources is not None:
        yield from sources()
    for name in ("lhs", "rhs", "query"):
        part = getattr(node, name, None)
        if part is not None:
            yield part


def table_names(query: Query) -> Iterator[str]:
    """
    The tables that a compiled query has joined, by name; subqueries not included.

    Also those that it has trimmed again: compiling ends with the counts of references as they were
    before, so that what it has joined itself (an ordering, select_related) counts nothing.
    """
    yield from (source.table_name for source in query.alias_map.values())
    yield from query.extra_tables


def is_ordered(query: Query) -> bool:
    """Say whether a query is ordered, as ``QuerySet.ordered`` says it of a queryset."""
    if query.extra_order_by or query.order_by:
        return True
    return bool(query.default_ordering and query.get_meta().ordering and not query.group_by)


def restricts_joins(kind: type) -> bool:
    """Say whether a field of this class adds a condition to its joins as they are compiled."""
    return (
        issubclass(kind, ForeignObject)
        and kind.get_extra_restriction is not ForeignObject.get_extra_restriction
    )


def copy_of_raw(queryset: "RawQuerySet[Any]") -> "RawQuerySet[Any]":
    """Return a copy of a raw queryset, which is not evaluated yet."""
    copy: RawQuerySet[Any] = queryset._clone()  # type: ignore[attr-defined]
    if hasattr(queryset, "_fetch_mode"):  # Django 6.1 leaves it out
        copy._fetch_mode = queryset._fetch_mode  # type: ignore[attr-defined]
    return copy
