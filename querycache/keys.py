"""
Keys: a hash over the structure of a query, never a string into which values are pasted.

What two queries must share to share an entry: format version, database, namespace, SQL, typed
parameters, shape of the result. A parameter is hashed with its type, since ``1``, ``"1"``, ``True``
and ``Decimal(1)`` may answer differently in the same SQL.
"""

import datetime
import decimal
import ipaddress
import marshal
import uuid
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from querycache.exceptions import Reason, Uncacheable

FORMAT = 3
"""Raise it whenever what an entry holds, or how it is found, changes."""


def key_of(
    database: bytes, namespace: str, sql: str, params: Sequence[Any], shape: tuple[Any, ...]
) -> str:
    """
    Return the key of a query, 40 hexadecimal digits.

    ``shape`` is a tuple of plain values. Raises ``Uncacheable`` for a parameter whose type cannot
    be told apart from others.
    """
    encoded: Any = tuple(params)
    if not _PLAIN.issuperset(map(type, encoded)):
        encoded = ("typed", _sequence(encoded))
    # Version 2 has no references, so that equal values give equal bytes.
    structure = marshal.dumps((FORMAT, database, namespace, sql, encoded, shape), 2)
    return blake2b(structure, digest_size=20).hexdigest()


_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""
Types that ``marshal`` tells apart. Not so a memoryview, a bytearray or a value of NumPy: whatever
is a buffer, it takes for bytes.
"""


def typed_value(value: Any) -> Any:
    """Turn a parameter into plain values that no parameter of another type or value turns into."""
    kind = type(value)
    encode = _ENCODERS.get(kind)
    if encode is None:
        encode = _encoder_of_subclass(kind)
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        return (name, encode(value))
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        # Not a value that the driver can send. Let it say so.
        raise Uncacheable(Reason.UNKNOWN_PARAMETER, name) from error


def _sequence(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(typed_value(value) for value in values)


def _mapping(values: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple((typed_value(key), typed_value(value)) for key, value in values.items())


def _moment(value: datetime.datetime | datetime.time) -> tuple[str, str, int]:
    return value.isoformat(), repr(value.tzinfo), value.fold


def _duration(value: datetime.timedelta) -> tuple[int, int, int]:
    return value.days, value.seconds, value.microseconds


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    type(None): bool,
    bool: bool,
    # Not int() and str(), which a subclass may have made to return itself.
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
    decimal.Decimal: str,
    uuid.UUID: str,
    ipaddress.IPv4Address: str,
    ipaddress.IPv6Address: str,
    datetime.date: datetime.date.isoformat,
    datetime.datetime: _moment,
    datetime.time: _moment,
    datetime.timedelta: _duration,
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
}


def _json_document(value: Any) -> Any:
    """Encode psycopg's ``Json``/``Jsonb``, which is the text that it sends."""
    if value.dumps is None:
        return _mapping({"": value.obj})
    return value.dumps(value.obj)


def _range(value: Any) -> Any:
    """Encode psycopg's ``Range`` and its subclasses."""
    bounds = value.lower_inc, value.upper_inc, value.isempty
    return (typed_value(value.lower), typed_value(value.upper), bounds)


def _binary(value: Any) -> tuple[Any, ...]:
    """
    Encode psycopg's ``Binary``, in which Django wraps the value of a BinaryField, whatever it is.
    """
    wrapped: tuple[Any, ...] = typed_value(value.obj)  # bytes(3) would be three zeros
    return wrapped


_ENCODERS_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "psycopg.dbapi20.Binary": _binary,
    "psycopg.types.json.Json": _json_document,
    "psycopg.types.json.Jsonb": _json_document,
    "psycopg.types.range.Range": _range,
}


def _encoder_of_subclass(kind: type) -> Callable[[Any], Any]:
    """
    Return the encoder of a type that is known by a base class, and remember it.

    A subclass of a plain type is sent to the database as that plain value (a psycopg ``Int4`` as
    an integer, an enum member of type str as its text), so that its type and value tell it apart.
    """
    for base in kind.__mro__:
        encode = _ENCODERS_BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if encode is None and base in _SUBCLASSED:
            encode = _ENCODERS[base]
        if encode is not None:
            _ENCODERS[kind] = encode
            return encode
    raise Uncacheable(Reason.UNKNOWN_PARAMETER, f"{kind.__module__}.{kind.__qualname__}")


_SUBCLASSED = frozenset({int, float, str, bytes, decimal.Decimal, datetime.datetime})
