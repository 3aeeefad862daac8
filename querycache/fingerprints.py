"""
Fingerprints: what a query is, without compiling it.

Of what ``filters`` has made of another query it is known how: that is its fingerprint. That of any
other is the hash of its pickle, which holds all that compiling it reads of the query: its tree, its
values and their types. That is so as long as the code that compiles is Django's own, and depends on
nothing else: a query with a class of somebody else in it, that brings code along, has no
fingerprint and is compiled each time. So is one with a text that is translated only when it is
used, and one that joins by a GenericRelation, which looks up a content type as it is compiled.
"""

import pickle
from collections.abc import Callable
from copyreg import __newobj__  # type: ignore[attr-defined]
from enum import Enum
from functools import cache, partial
from hashlib import blake2b
from io import BytesIO
from operator import methodcaller
from typing import Any, Final
from weakref import ref

from django.db.models import Lookup, Model, QuerySet
from django.db.models.expressions import Col
from django.utils.functional import Promise

from querycache._django import filters
from querycache._django.filters import MADE_AS, apart_from, is_as_it_was, without_the_rest
from querycache._django.queries import Query, restricts_joins
from querycache.memory import Kept

_SIZE: Final = 16
"""Bytes. Two queries of one fingerprint would share a result: as unlikely as for a key."""
_KNOWN: Final = frozenset(
    {
        "builtins", "collections", "copyreg", "datetime", "decimal", "django", "enum", "fractions",
        "functools", "ipaddress", "pathlib", "psycopg", "querycache", "types", "typing", "uuid",
        "zoneinfo",
    }
)  # fmt: skip
"""Packages whose classes do nothing but what is known."""
_NOT_COMPILED: Final = frozenset(
    {
        "__class_getitem__", "__dict__", "__hash__", "__init__", "__init_subclass__", "__repr__",
        "__weakref__", "check", "clean", "contribute_to_class", "deconstruct", "formfield",
        "from_db_value", "pre_save", "validate", "value_from_object", "value_to_string",
    }
)  # fmt: skip
"""Methods of a field or an expression that compiling a query does not call."""


BROUGHT: Final = "_querycache_fingerprint"
"""
The attribute of a ``Query`` that nobody changes any more: its fingerprint, and a weak reference to
itself, since its copies, which somebody may change, have the attribute, too.
"""


class Made(Kept):
    """
    A query that nobody runs or changes, but makes copies of, and its fingerprint.

    If it ``joins``, what a filter makes of it depends on what the filters before have joined.
    """

    __slots__ = ("fingerprint", "joins", "query")

    def __init__(self, query: Query, fingerprint: "Fingerprint", *, joins: bool = False) -> None:
        super().__init__()
        self.query, self.fingerprint, self.joins = query, fingerprint, joins

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # whoever pickles a query that was made as this shall not have it


class Origin:
    """
    A query of a model as its managers make it, and as Django makes other queries of it now.

    It is the fingerprint of one, and a part of that of each query that was made of it. When Django
    may make them otherwise another takes its place, which is not equal.
    """

    __slots__ = ("model",)

    def __init__(self, model: type[Model]) -> None:
        self.model = model


Fingerprint = bytes | type[Model] | Origin | tuple[Any, ...]
"""Of what was made of another query, that of the other, and how it was made."""


@cache
def new_query_of(model: type[Model], columns: int) -> Made:
    """
    Return a query of a model of which nothing was asked yet.

    Another one where the class was given another field: it has so many ``columns``.
    """
    return Made(without_the_rest(Query(model)), Origin(model))


def forget_origins() -> None:
    """Begin anew: something has changed that Django reads when it makes a query."""
    new_query_of.cache_clear()


def fingerprint_of(query: Query) -> Fingerprint | None:
    """Return the fingerprint of a query that is not compiled yet, None if it has none."""
    own = query.__dict__
    brought: tuple[Fingerprint, ref[Query]] | None = own.get(BROUGHT)
    if brought is not None:
        fingerprint, owner = brought
        if owner() is query:
            return fingerprint
    # The query is left as it is: another thread may ask the same at once.
    made: Made | None = own.get(MADE_AS)
    if made is None and not query.where.children:
        model: Any = query.model
        made = new_query_of(model, len(model._meta.concrete_fields))
    if made is not None and is_as_it_was(query, made.query):
        apart = apart_from(query)
        if apart is not None:
            return made.fingerprint, apart
    buffer = BytesIO()
    try:
        _Pickler(buffer, 5).dump(query)
    except Exception:  # noqa: BLE001  of whatever is in a query; it is compiled then
        return None
    return blake2b(buffer.getbuffer(), digest_size=_SIZE).digest()


Reduce = Callable[[Any], Any]


class _Reducers(dict[type, Reduce]):
    """How an instance of each class is pickled; a class is looked at once."""

    def __missing__(self, kind: type) -> Reduce:
        if issubclass(kind, type):
            raise KeyError(kind)  # a class stands for itself, by its name
        reduce: Reduce
        if issubclass(kind, QuerySet):
            reduce = _reduce_queryset
        elif issubclass(kind, Query) and is_plain(kind):
            reduce = _reduce_query
        elif issubclass(kind, Lookup | Col) and is_plain(kind):
            output = ("output_field",) if issubclass(kind, Lookup) else ()  # a condition: a truth
            reduce = partial(_reduce_without, (*WORKED_OUT, *output))
        elif is_plain(kind):
            reduce = methodcaller("__reduce_ex__", 5)
        else:
            reduce = _refuse
        self[kind] = reduce
        return reduce


class _Pickler(pickle.Pickler):
    dispatch_table = _Reducers()


def forget_classes() -> None:
    """Forget how classes are pickled, so that none is kept alive."""
    _Pickler.dispatch_table.clear()


def _reduce_queryset(queryset: "QuerySet[Any]") -> tuple[Any, ...]:
    # Django would run it. What an expression was made of is a part of its state.
    return type, (queryset.query,)


def _reduce_query(query: Query) -> tuple[Any, ...]:
    """In one order, whoever has set the attributes, and without what was worked out or is ours."""
    state = query.__dict__
    names = sorted(state.keys() - _NOT_OF_A_QUERY)
    return __newobj__, (type(query),), {name: state[name] for name in names}


_NOT_OF_A_QUERY: Final = filters.WORKED_OUT | {BROUGHT}


def _reduce_without(names: tuple[str, ...], expression: "Lookup[Any] | Col") -> tuple[Any, ...]:
    """Leave out what a condition was made of, an instance say, and what follows from the rest."""
    reduced: tuple[Any, ...] = expression.__reduce_ex__(5)  # type: ignore[assignment]
    state = reduced[2]  # a copy, made by BaseExpression
    for name in names:
        state.pop(name, None)
    return reduced


WORKED_OUT: Final = (
    "_constructor_args", "_output_field_or_none", "allowed_default", "contains_aggregate",
    "contains_column_references", "contains_over_clause", "contains_subquery", "identity",
)  # fmt: skip
"""Attributes of a lookup or a column that are there once somebody has asked for them."""


def _refuse(value: object) -> Any:
    raise pickle.PicklingError(f"{type(value)} may compile to anything")


def is_known(kind: type) -> bool:
    """Say of a class that is no metaclass what ``is_plain()`` does, which takes longer."""
    return _Pickler.dispatch_table[kind] is not _refuse


def is_plain(kind: type) -> bool:
    """Say whether no code but what is known has to do with how an instance is compiled."""
    if issubclass(kind, Promise) or restricts_joins(kind):
        return False
    if issubclass(kind, Enum):  # a constant
        return True
    return not any(
        callable(attribute) or hasattr(attribute, "__get__")
        for base in kind.__mro__
        if base.__module__.partition(".")[0] not in _KNOWN
        for name, attribute in vars(base).items()
        if name not in _NOT_COMPILED
    )
