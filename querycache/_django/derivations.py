"""
The queries that ``get()``, ``count()``, ``exists()`` and ``aggregate()`` make of a queryset's.

Django makes each of them in the method that also runs it. Here it is made by that method, and not
run.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, QuerySet
from django.db.models import query as django_query
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.query_utils import RegisterLookupMixin, class_or_instance_method
from django.db.models.sql import Query
from django.db.models.sql import query as django_sql_query
from django.db.models.sql.constants import SINGLE

from querycache._django.conditions import (
    PLAIN,
    Conditions,
    compares_plainly,
    conditions_of,
    forget_arguments,
)

__all__ = [
    "Conditions",
    "Model",
    "Query",
    "QuerySet",
    "RegisterLookupMixin",
    "aggregates_of",
    "aggregation_of",
    "as_managers_make_it",
    "compares_plainly",
    "conditions_of_get",
    "forget_arguments",
    "is_djangos",
    "is_djangos_own",
    "is_ready",
    "is_simple",
    "on_registration",
    "query_asked",
    "query_of_get",
    "rows_of",
    "sql_of",
]


class _Asked(Exception):
    """Instead of a query that is run."""

    def __init__(self, query: Query) -> None:
        self.query = query


class _AskedQuerySet(QuerySet[Any]):
    def __len__(self) -> NoReturn:
        raise _Asked(self.query)


class _AskedQuery(Query):
    def get_compiler(self, *args: Any, **kwargs: Any) -> Any:
        if self.subquery:  # of what is asked
            return super().get_compiler(*args, **kwargs)
        raise _Asked(self)


def on_registration(name: str, tell: Callable[[], None]) -> Any:
    """Return what takes the place of a method of ``RegisterLookupMixin``, and tells of calls."""

    def told(register: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(register)
        def register_and_tell(*args: Any, **kwargs: Any) -> Any:
            try:
                return register(*args, **kwargs)
            finally:
                tell()

        return register_and_tell

    method = RegisterLookupMixin.__dict__[name]
    return class_or_instance_method(told(method.class_method), told(method.instance_method))


def query_of_get(
    get: Callable[..., Any], queryset: "QuerySet[Any]", args: Any, kwargs: Any
) -> Query:
    """Return what ``get()`` would run. Raises what that raises of its conditions."""
    asked = _AskedQuerySet.__new__(_AskedQuerySet)
    asked.__dict__.update(queryset.__dict__)
    return _asked_by(get, asked, *args, **kwargs)


def query_asked(ask: Callable[..., Any], query: Query, *args: Any) -> Query:
    """
    Return what a method of ``Query`` would run for one that ``is_simple()``.

    Raises what that raises of its arguments.
    """
    asked = query.clone()
    asked.__class__ = _AskedQuery
    found = _asked_by(ask, asked, *args)
    found.__class__ = Query
    return found


def _asked_by(ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Query:
    try:
        ask(*args, **kwargs)
    except _Asked as asked:
        return asked.query
    raise RuntimeError(f"{ask} has run a query of its own")


def aggregates_of(expressions: dict[str, Any]) -> Conditions | None:
    """Return what compares aggregates, None if they are not made of plain words."""
    found: list[Any] = []
    for name, expression in expressions.items():
        args, named = getattr(expression, "_constructor_args", ((expression,), {}))
        types = tuple(map(type, (*args, *named.values())))
        if not PLAIN.issuperset(types):
            return None
        made: tuple[Any, ...] = type(expression), args, tuple(named.items()), types
        # What it is made of says what it is, unless somebody has changed it since.
        if expression.__dict__ != _as_its_class_makes_it(*made):
            return None
        found.append((name, made))
    return tuple(found) or None  # of none, nothing is asked


@functools.lru_cache(maxsize=256)
def _as_its_class_makes_it(
    kind: type[Any], args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], types: Any
) -> dict[str, Any]:
    made: dict[str, Any] = vars(kind(*args, **dict(named)))
    return made


def aggregation_of(query: Query, using: str) -> dict[str, Any]:
    """Return what ``Query.get_aggregation()`` makes of the row that this query finds."""
    aggregates = query.annotation_select
    empty = [aggregate.empty_result_set_value for aggregate in aggregates.values()]
    compiler = query.get_compiler(using, elide_empty=NotImplemented not in empty)
    row = compiler.execute_sql(SINGLE)
    if row is None:
        row = empty
    else:
        converters = compiler.get_converters(aggregates.values())
        row = next(compiler.apply_converters((row,), converters))
    return dict(zip(aggregates, row, strict=False))


def is_djangos(method: Callable[..., Any]) -> bool:
    """Say whether a method of a queryset or a query is that which Django has defined."""
    own: Any = getattr(method, "__globals__", None)
    return own is vars(django_query) or own is vars(django_sql_query)


_CALLED: Final = (
    "__init__", "__len__", "_chain", "_clone", "_fetch_all", "_filter_or_exclude",
    "_filter_or_exclude_inplace", "filter", "order_by",
)  # fmt: skip
"""What ``get()`` calls of a queryset."""
_ITERABLES: Final = frozenset(
    {
        ModelIterable,
        ValuesIterable,
        ValuesListIterable,
        NamedValuesListIterable,
        FlatValuesListIterable,
    }
)
_ATTRIBUTES: Final = frozenset(vars(QuerySet()))


def is_djangos_own(kind: type["QuerySet[Any]"]) -> bool:
    """Say whether ``get()`` of this class makes and runs its query by Django's code alone."""
    return all(is_djangos(getattr(kind, name)) for name in _CALLED)


def is_ready(queryset: "QuerySet[Any]") -> bool:
    """Say whether what the next filter does depends on the query alone, which nobody else sees."""
    own = queryset.__dict__
    return (
        own.keys() == _ATTRIBUTES
        and own["_iterable_class"] in _ITERABLES
        and not own["_sticky_filter"]
        and own.get("_cloning_enabled", True)  # Django 6.1
    )


def rows_of(queryset: "QuerySet[Any]", query: Query) -> list[Any]:
    """Return the result of a copy of a queryset with another query, as ``get()`` asks for it."""
    other = object.__new__(type(queryset))
    other.__dict__.update(queryset.__dict__)
    other.__dict__.update(_query=query, _result_cache=None, _prefetch_done=False)
    len(other)
    return cast("list[Any]", other._result_cache)


def sql_of(query: Query) -> tuple[str, Any] | None:
    """Return what a query compiles to, None if that is known to find nothing."""
    try:
        return cast("tuple[str, Any]", query.clone().sql_with_params())
    except EmptyResultSet:
        return None


def conditions_of_get(
    model: type[Model], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Conditions | None:
    """Return what compares the conditions of a ``get()``, None if not all values are plain."""
    found = [conditions_of(model, one) for one in (kwargs, *args)]
    return None if None in found else tuple(found)


@functools.lru_cache(maxsize=256)
def as_managers_make_it(model: type[Model]) -> tuple[dict[str, Any], ...]:
    """Return what is in a query as a manager makes it, and as ``all()`` copies that."""
    query = Query(model)
    return query.__dict__, query.chain().__dict__


def is_simple(query: Query) -> bool:
    """
    Say whether a query does nothing but compare columns with plain values.

    Whatever Django makes of one stays as it is when it is compiled, and may be shared by copies.
    """
    return (
        type(query) is Query
        and not (query.annotations or query.extra)
        and not query._filtered_relations  # type: ignore[attr-defined]
        and not (query.combinator or query.distinct or query.is_sliced)
        and not query.select_for_update
        and query.group_by is None
        and compares_plainly(query.where)
    )
