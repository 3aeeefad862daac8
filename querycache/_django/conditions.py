"""
Conditions of queries: names with plain values before they are resolved, and lookups afterwards.

Of names and values it can be said whether they are the same. Of lookups it is known what they do if
they compare a column with a plain value, and no code of others takes part.
"""

import datetime
import decimal
import functools
import uuid
from copy import copy
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model, OneToOneField, Q
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql.where import WhereNode

__all__ = [
    "COMPARED",
    "PLAIN",
    "Conditions",
    "Model",
    "Q",
    "WhereNode",
    "compares_plainly",
    "conditions_of",
    "forget_arguments",
    "forget_targets",
    "is_plain",
]

Conditions = tuple[Any, ...]
"""What compares the ways to make a query of another."""
PLAIN: Final = frozenset({int, str, bool, uuid.UUID, datetime.date, type(None)})
"""Types of values that are the same whenever they are equal, and that nobody changes."""
_WRITTEN: Final = frozenset({float, decimal.Decimal})
"""Types of values that are the same whenever they are written alike: 1.0 and 1.00 are equal."""
COMPARED: Final = PLAIN | _WRITTEN | {datetime.datetime, datetime.time, datetime.timedelta}
"""Types of what Django makes of them."""
_LONG: Final = 200
"""Characters or items of what is not worth keeping."""


def conditions_of(model: type[Model], condition: Any) -> Conditions | None:
    """Return what compares a ``Q``, None if it is more than names, each with a plain value."""
    if type(condition) is not Q:
        return None
    found: list[Any] = [condition.connector, condition.negated]
    for item in condition.children:
        if type(item) is not tuple:
            nested = conditions_of(model, item)
            if nested is None:
                return None
            found.append(nested)
            continue
        name, value = item
        kind: Any = type(value)
        if kind in _WRITTEN:
            value = str(value)
        elif kind not in PLAIN:
            # Django compares with the key of an instance.
            attribute = _target_of(model, name) if issubclass(kind, Model) else None
            if attribute is None or attribute not in vars(value):
                return None
            found.append(kind)
            value = vars(value)[attribute]
            kind = type(value)
            if kind not in PLAIN:
                return None
        if kind is str and len(value) > _LONG:
            return None
        found += (name, kind, value)
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _target_of(model: type[Model], name: str) -> str | None:
    """Return the attribute of an instance that a foreign key to it refers to, if it is the key."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    if type(field) not in {ForeignKey, OneToOneField}:
        return None
    target: Any = field.target_field  # type: ignore[union-attr]
    return target.attname if target.primary_key else None


def forget_targets() -> None:
    """Forget what foreign keys refer to."""
    _target_of.cache_clear()


def is_plain(value: Any) -> bool:
    """Say whether a lookup compares with a plain value, or a short list of them."""
    if type(value) in (list, tuple):
        return len(value) <= _LONG and all(map(is_plain, value))
    return type(value) in COMPARED and not (type(value) is str and len(value) > _LONG)


def compares_plainly(where: WhereNode) -> bool:
    """Say whether all conditions compare a column with plain values."""
    for node in where.children:
        if type(node) is WhereNode:
            if not compares_plainly(node):
                return False
        elif not isinstance(node, Lookup) or type(node.lhs) is not Col or not is_plain(node.rhs):
            return False
    return True


def forget_arguments(where: WhereNode) -> None:
    """
    Have the conditions of a query, which ``compares_plainly()``, refer to nothing but their sides.

    A lookup keeps what it was made of: an instance, say, that somebody has filtered by.
    """
    children: list[Any] = where.children
    for place, node in enumerate(children):
        if type(node) is WhereNode:
            forget_arguments(node)
        else:
            children[place] = lookup = copy(node)
            lookup._constructor_args = (node.lhs, node.rhs), {}
