"""
What Django's compilers do and know: the SQL that runs, the columns of its rows, what is inserted.

A compiler belongs to one query of one connection, and what is done to it here ends with it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_, itemgetter
from typing import Any, Final

from django.db.models.constants import OnConflict
from django.db.models.expressions import Col
from django.db.models.sql.compiler import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI, SINGLE

__all__ = [
    "GET_ITERATOR_CHUNK_SIZE",
    "MULTI",
    "SINGLE",
    "Columns",
    "Converters",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
    "are_alike",
    "columns_of",
    "compiled_as",
    "compiles_anew",
    "converters_of",
    "is_selected_plainly",
    "result_width",
    "set_columns",
    "updates_on_conflict",
    "values_prepared",
]


def compiled_as(compiler: SQLCompiler, result: tuple[str, tuple[Any, ...]] | Exception) -> None:
    """
    Make the compiler's next ``execute_sql`` run the SQL that it has already compiled.

    A query is compiled once: compiling changes it (``Query.selected`` of an ordered union), so that
    a second compilation may return other columns.
    """

    def as_sql(*args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...]]:
        compiles_anew(compiler)
        if isinstance(result, Exception):
            raise result
        return result

    compiler.as_sql = as_sql  # type: ignore[method-assign]


def compiles_anew(compiler: SQLCompiler) -> None:
    """Take back ``compiled_as``, unless that has happened."""
    compiler.__dict__.pop("as_sql", None)


@contextmanager
def values_prepared(compiler: SQLCompiler) -> Iterator[dict[str, list[Any]]]:
    """Return, by column, the values that an INSERT compiles in the block, as they are sent."""
    values: defaultdict[str, list[Any]] = defaultdict(list)
    if not isinstance(compiler, SQLInsertCompiler):
        yield values
        return
    prepare = compiler.prepare_value

    def prepare_value(field: Any, value: Any) -> Any:
        prepared = prepare(field, value)
        values[field.column].append(prepared)
        return prepared

    compiler.prepare_value = prepare_value  # type: ignore[method-assign]
    try:
        yield values
    finally:
        del compiler.prepare_value


def updates_on_conflict(compiler: SQLInsertCompiler) -> bool:
    """Say whether an INSERT may change rows that are there already."""
    on_conflict = compiler.query.on_conflict  # type: ignore[attr-defined]
    return on_conflict not in {None, OnConflict.IGNORE}


class Columns:
    """What a compiler knows, once it has compiled, of the columns of its rows."""

    __slots__ = ("known",)

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known


_COLUMNS: Final = (
    "select",
    "klass_info",
    "annotation_col_map",
    "col_count",
    "has_extra_select",  # not of an aggregate over a subquery
)


def columns_of(compiler: SQLCompiler) -> Columns:
    """Return what ``execute_sql`` leaves behind for those who make something of its rows."""
    known = compiler.__dict__
    return Columns({name: known[name] for name in _COLUMNS if name in known})


def are_alike(some: Columns, others: Columns) -> bool:
    """Say whether these are the same columns of tables, and nothing else."""
    one, other = some.known.copy(), others.known.copy()
    selected, others_selected = one.pop("select") or (), other.pop("select") or ()
    # An instance of a related model is connected by functions, of which no two are equal.
    if one != other or len(selected) != len(others_selected):
        return False
    # Most queries share the columns of a model.
    if all(map(is_, map(_COLUMN, selected), map(_COLUMN, others_selected))):
        return selected == others_selected
    return all(map(_is_alike, selected, others_selected))


_COLUMN: Final = itemgetter(0)
"""Of what is selected: a column, what it compiles to, and its alias."""


def _is_alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    column, same = one[0], other[0]
    return (
        type(column) is type(same) is Col
        and column.target is same.target
        and column.output_field is same.output_field
        and column.alias == same.alias
        and one[1:] == other[1:]
    )


Converters = dict[int, Any]
"""What Django converts the columns of a row with, by their place."""


def converters_of(compiler: SQLCompiler) -> Converters:
    """Ask each column of a compiler, which takes a while; they may belong to its connection."""
    return compiler.get_converters(
        [column for column, _, _ in compiler.select[: compiler.col_count]]
    )


def set_columns(compiler: SQLCompiler, columns: Columns, converters: Converters | None) -> None:
    """
    Have a compiler that has not compiled know the columns all the same.

    And their converters, unless they are None: then it asks each column.
    """
    compiler.__dict__.update(columns.known)
    if converters is not None:
        compiler.get_converters = lambda expressions: converters  # type: ignore[method-assign]


def is_selected_plainly(compiler: SQLCompiler, is_plain: Callable[[type], bool]) -> bool:
    """
    Say whether no field or expression of another's brings code along for its column.

    Those of the model's default columns are no part of the query before it is compiled.
    """
    for expression, _, _ in compiler.select or ():
        target = getattr(expression, "target", None)
        if not is_plain(type(expression)) or not (target is None or _is_plain_column(target)):
            return False
    return True


def _is_plain_column(field: Any) -> bool:
    methods = (field.select_format, field.get_col, field.db_parameters)
    return all(method.__func__.__module__.startswith("django.") for method in methods)


def result_width(compiler: SQLCompiler, result_type: str) -> int | None:
    """
    How many columns of a row ``execute_sql`` returns, where it may return fewer than it selects.
    """
    if result_type == SINGLE or compiler.has_extra_select:
        return compiler.col_count
    return None
