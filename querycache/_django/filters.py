"""
What ``filter()``, ``exclude()`` and ``values()`` do to a query, and how it is known afterwards.

A query that was filtered is in the hands of whoever has asked for it, and may be changed in any
way. So what is known of it holds only as long as all of its attributes are as they were.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode

from querycache._django.conditions import COMPARED
from querycache._django.queries import HINT

__all__ = [
    "MADE_AS",
    "WORKED_OUT",
    "Query",
    "apart_from",
    "become",
    "is_as_it_was",
    "is_filtered_plainly",
    "reads_others",
    "without_the_rest",
]

MADE_AS: Final = "_querycache_made_as"
"""The attribute of a query that says what it was made as, if it was not changed since."""
_ORDER: Final = (
    "order_by", "extra_order_by", "default_ordering", "standard_ordering", "low_mark", "high_mark",
    "select_related",
)  # fmt: skip
"""Attributes of a query that filters neither read nor write; nor does values(), but the last."""
WORKED_OUT: Final = frozenset(
    {"_annotation_select_cache", "_extra_select_cache", "_lookup_joins", "base_table", MADE_AS}
)
"""Attributes of a query that follow from the others."""
_OF_FILTERS: Final = ("_lookup_joins", "used_aliases")
"""Attributes that a filter leaves to the next one."""
_REST: Final = WORKED_OUT.union(_ORDER, _OF_FILTERS, [HINT, "filter_is_sticky"])
"""Attributes that do not matter to what a query becomes, or are told apart by themselves."""
_DROPPED: Final = _REST.difference(_OF_FILTERS)


def is_filtered_plainly(query: Query, is_known: Callable[[type], bool]) -> bool:
    """
    Say whether a query compares columns with what nobody changes.

    And no class but what ``is_known`` has to do with it.
    """
    kinds: set[type] = set()
    columns: list[Any] = [*query.select]
    for source in query.alias_map.values():
        if type(source) is Join:
            field: Any = source.join_field
            kinds |= {type(field), type(getattr(field, "field", field))}  # where it comes from
        elif type(source) is not BaseTable:
            return False
    for node in _conditions_in(query.where):
        # No list, which somebody may change.
        if not isinstance(node, Lookup) or type(node.rhs) not in COMPARED:
            return False
        kinds.add(type(node))
        columns.append(node.lhs)
    for column in columns:
        if type(column) is not Col:
            return False
        kinds |= {type(column.target), type(column.output_field)}
    return all(map(is_known, kinds))


def reads_others(query: Query) -> bool:
    """Say whether a query reads more than one table: then the next filter may join it again."""
    # A foreign key is joined to see that it need not be.
    return len(query.alias_refcount) > 1 and sum(map(bool, query.alias_refcount.values())) > 1


def _conditions_in(where: WhereNode) -> Iterator[Any]:
    for node in where.children:
        if type(node) is WhereNode:
            yield from _conditions_in(node)
        else:
            yield node


def without_the_rest(query: Query) -> Query:
    """Return a copy of a query that is in no order and not sliced."""
    copy = object.__new__(Query)
    copy.used_aliases = set()
    become(copy, query)
    for name in _DROPPED:
        copy.__dict__.pop(name, None)
    for name in _OF_FILTERS:
        copy.__dict__.setdefault(name, [])
    return copy


def apart_from(query: Query) -> tuple[Any, ...] | None:
    """
    Return in what order a query is, how it is sliced, what comes along with its rows, and its hint.

    None if that is not told by words.
    """
    own = query.__dict__
    order_by = own.get("order_by", ())
    if own.get("extra_order_by") or not {*map(type, order_by)} <= {str}:
        return None
    is_usual = own.get("default_ordering", True), own.get("standard_ordering", True)
    limits = own.get("low_mark", 0), own.get("high_mark")
    return order_by, is_usual, limits, str(own.get("select_related", False)), own.get(HINT)


def is_as_it_was(query: Query, before: Query) -> bool:  # noqa: C901  a call less
    """Say whether nothing about a query has changed but what ``apart_from()`` it says."""
    own, known = query.__dict__, before.__dict__
    left = len(known) - len(_OF_FILTERS)
    for name, value in [*own.items()]:  # another thread may be compiling it
        if name in _REST:
            continue
        other = known.get(name, _MISSING)
        left -= 1
        if value is other:
            continue
        if name == "where":
            if not _are_equal(value, other):
                return False
        elif name == "alias_map":
            if value.keys() != other.keys():
                return False
            for alias, source in value.items():  # joins that are equal may be of different types
                if vars(source) != vars(other[alias]) or type(source) is not type(other[alias]):
                    return False
        elif type(value) not in _CONTAINERS or value != other:
            return False
    return left == 0 and type(query) is Query


_MISSING: Final = object()
_CONTAINERS: Final = frozenset({dict, list, set})
"""Of names."""


def _are_equal(one: Any, other: Any) -> bool:
    """Say whether conditions are the same: equal is ``1``, too, if the other is ``True``."""
    if one.negated is not other.negated or one.connector != other.connector:
        return False
    if len(one.children) != len(other.children):
        return False
    for node, same in zip(one.children, other.children, strict=True):
        if type(node) is not type(same):
            return False
        if type(node) is WhereNode:
            if not _are_equal(node, same):
                return False
        elif node.lhs is not same.lhs or node.rhs is not same.rhs:
            return False
    return True


def become(query: Query, other: Query) -> None:
    """Make of a query a copy of another that shares nothing with it that can be changed."""
    own, copy = query.__dict__, other.clone().__dict__
    # Copies that Django makes share some of them: ``selected``, and the lists in ``table_map``.
    for name, value in copy.items():
        if type(value) in _CONTAINERS:
            copy[name] = value.copy()
    for table, aliases in other.table_map.items():
        copy["table_map"][table] = aliases[:]
    for alias, source in other.alias_map.items():
        copy["alias_map"][alias] = twin = object.__new__(type(source))
        vars(twin).update(vars(source))
    copy["where"] = _copy_of(other.where)
    copy["used_aliases"] |= own["used_aliases"]
    own.pop("base_table", None)  # a query that had no table yet
    own.update(copy)


def _copy_of(where: WhereNode) -> WhereNode:
    children: list[Any] = []
    for node in where.children:
        if type(node) is WhereNode:
            children.append(_copy_of(node))
        else:
            child: Any = object.__new__(type(node))
            vars(child).update(vars(node))
            children.append(child)
    return WhereNode.create(children, where.connector, where.negated)
