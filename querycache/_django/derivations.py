"""
The queries that ``count()``, ``exists()`` and ``aggregate()`` make of another.

Django makes each of them in the method that also runs it. Here it is made by that method, and not
run.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

from django.core.exceptions import EmptyResultSet
from django.db.models import Model
from django.db.models.query_utils import RegisterLookupMixin, class_or_instance_method
from django.db.models.sql import Query
from django.db.models.sql import query as django_sql_query
from django.db.models.sql.constants import SINGLE

from querycache._django.conditions import (
    PLAIN,
    Conditions,
    compares_plainly,
    forget_arguments,
)

__all__ = [
    "Conditions",
    "Model",
    "Query",
    "RegisterLookupMixin",
    "aggregates_of",
    "aggregation_of",
    "as_managers_make_it",
    "forget_arguments",
    "is_djangos",
    "is_simple",
    "on_registration",
    "query_asked",
    "sql_of",
]


class _Asked(Exception):
    """Instead of a query that is run."""

    def __init__(self, query: Query) -> None:
        self.query = query


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


def query_asked(ask: Callable[..., Any], query: Query, *args: Any) -> Query:
    """
    Return what a method of ``Query`` would run for one that ``is_simple()``.

    Raises what that raises of its arguments.
    """
    asking = query.clone()
    asking.__class__ = _AskedQuery
    try:
        ask(asking, *args)
    except _Asked as asked:
        asked.query.__class__ = Query
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
    """Say whether a method of a query is that which Django has defined."""
    return getattr(method, "__globals__", None) is vars(django_sql_query)


def sql_of(query: Query) -> tuple[str, Any] | None:
    """Return what a query compiles to, None if that is known to find nothing."""
    try:
        return cast("tuple[str, Any]", query.clone().sql_with_params())
    except EmptyResultSet:
        return None


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
