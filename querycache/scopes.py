"""
Scopes: the rows of a table in which a column has a value.

A read that asks for such rows only depends on their scopes and not on the table; a write that knows
its rows touches their scopes. Both name a scope by what is made of a parameter here: parameters
that the database takes for equal must give the same scope.
"""

import re
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from django.db import models
from django.db.models import Field, Model

MOST_VALUES: Final = 50
"""Values of a column. A read that asks for more, or a write of more, is one of the whole table."""

ANY: Final = "any"
"""Stands for all values of a column: a change of rows whose values of it are not known."""
NEW: Final = "new"
"""Stands for the primary keys of rows that are inserted."""


class Scope(NamedTuple):
    """Rows of a table, by what a column of theirs has: a value, ``ANY``, or ``NEW``."""

    table: str
    column: str
    value: int | str


class Column(NamedTuple):
    """
    A column whose values the database compares exactly: of whole numbers, or of UUIDs.

    Numbers within ``limits`` are stored as they are; beyond, MySQL may store another one, and so it
    may for NULL in a column that does not take it. A column of UUIDs has no limits.
    """

    name: str
    limits: tuple[int, int] | None
    takes_null: bool = False

    def value(self, parameter: Any) -> int | str | None:
        """Return what names the value of a parameter, None if its type is not the expected one."""
        kind = type(parameter)
        if self.limits is None:
            if kind is uuid.UUID:
                return str(parameter.hex)
            is_hex = kind is str and _HEX.fullmatch(parameter)
            return str(parameter) if is_hex else None
        if issubclass(kind, int) and kind.__module__ == "psycopg.types.numeric":
            NUMBERS.add(kind)
        return int.__int__(parameter) if kind in NUMBERS else None

    def stored(self, parameters: Iterable[Any]) -> set[int | str] | None:
        """
        Return what names the values that are stored for parameters, None if nobody knows.

        Without NULL: it is equal to nothing, and in the scope of no value.
        """
        values: set[int | str] = set()
        for parameter in parameters:
            if parameter is None and self.takes_null:
                continue
            value = self.value(parameter)
            if value is None or not self._has_room_for(value):
                return None
            values.add(value)
        return values

    def _has_room_for(self, value: int | str) -> bool:
        if self.limits is None or isinstance(value, str):
            return True
        least, most = self.limits
        return least <= value <= most


NUMBERS: Final[set[type]] = {int}
"""Types of parameters that are whole numbers and nothing else: not so a bool."""
_HEX = re.compile(r"[0-9a-f]{32}")
"""How Django writes a UUID where the database has no type for it."""


def column_of(field: "Field[Any, Any]") -> Column | None:
    """
    Return the column of a field, None if its values may be equal to the database and not to us.

    Of Django's own fields only: a subclass may have a column of any type.
    """
    target: Any = field
    while type(target) in (models.ForeignKey, models.OneToOneField):
        target = target.target_field
    if type(target) not in _LIMITS or field.column is None:
        return None
    return Column(field.column, _LIMITS[type(target)], field.null)


_SMALL, _PLAIN, _BIG = (-(2**15), 2**15 - 1), (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
_LIMITS: Final[dict[type, tuple[int, int] | None]] = {
    models.SmallAutoField: _SMALL,
    models.AutoField: _PLAIN,
    models.BigAutoField: _BIG,
    models.SmallIntegerField: _SMALL,
    models.IntegerField: _PLAIN,
    models.BigIntegerField: _BIG,
    models.PositiveSmallIntegerField: (0, _SMALL[1]),
    models.PositiveIntegerField: (0, _PLAIN[1]),
    models.PositiveBigIntegerField: (0, _BIG[1]),
    models.UUIDField: None,
}
"""The numbers that a column of each kind has room for on every database."""


def key_of_model(model: type[Model]) -> Column | None:
    """Return the primary key of a model as a column of its table, if it can be one of scopes."""
    if not model._meta.managed or model._meta.pk is None:
        return None
    return column_of(model._meta.pk)


def merged(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Return scopes with ``ANY`` for a column in place of many values, or of any if it is there."""
    found = frozenset(scopes)
    counts = Counter((scope.table, scope.column) for scope in found)
    anyhow = {
        (table, column)
        for (table, column), count in counts.items()
        if count > MOST_VALUES or Scope(table, column, ANY) in found
    }
    if not anyhow:
        return found
    kept = (scope for scope in found if (scope.table, scope.column) not in anyhow)
    return frozenset(kept).union(Scope(table, column, ANY) for table, column in anyhow)
