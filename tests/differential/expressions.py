"""
Expressions, conditions and subqueries over any model of the test app, as Python source.

What there is to choose from comes from ``_meta``: columns of every kind, over relations of every
kind, forwards and backwards. Whatever the database would be free to choose is settled.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from hypothesis import strategies as st

from tests.differential.kinds import (
    FIELDS,
    FILTERS_OF_AGGREGATES,
    FUNCTIONS,
    KEY_LOOKUPS,
    LITERALS,
    LOOKUPS,
    OF_ANY_KIND,
    kind_of,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

_SUBQUERIES = 2
"""How deep they may be nested."""
_HOPS = [0, 0, 0, 0, 1, 1, 2, 3]
"""Over how many relations a column is taken."""


# What there is ------------------------------------------------------------------------------------


@functools.cache
def all_models() -> dict[str, type[Model]]:
    """The models whose tables are in every database, by name."""
    testapp = apps.get_app_config("testapp")
    found = [*testapp.get_models(include_auto_created=True), ContentType]
    return {model.__name__: model for model in found if is_everywhere(model._meta)}


def is_everywhere(options: Any) -> bool:
    return options.managed and not (options.required_db_vendor or options.required_db_features)


@functools.cache
def relations(model: type[Model], is_single: bool) -> list[tuple[str, type[Model]]]:
    """The relations that a lookup can follow; ``is_single``: only those to one row at most."""
    return [
        (relation.name, relation.related_model)
        for relation in model._meta.get_fields()
        if relation.is_relation
        and relation.related_model in all_models().values()
        and not (is_single and (relation.one_to_many or relation.many_to_many))
    ]


@functools.cache
def columns(model: type[Model]) -> list[tuple[str, str]]:
    """The columns of a model, each with its kind."""
    found = []
    for column in model._meta.concrete_fields:
        kind = kind_of(column.target_field if column.is_relation else column)
        if column.is_relation and kind is None:  # of a primary key that is a foreign key itself
            kind = "int"
        if kind is not None:
            found.append((column.attname, kind))
    return found


@functools.cache
def accessors(model: type[Model]) -> list[tuple[str, type[Model] | None, bool]]:
    """
    The attributes of an instance that lead to others: name, model if known, and if it is a manager.
    """
    found: list[tuple[str, type[Model] | None, bool]] = []
    for relation in model._meta.get_fields():
        if relation.is_relation and relation.related_model in {*all_models().values(), None}:
            is_reverse = relation.auto_created and not relation.concrete
            name = relation.get_accessor_name() if is_reverse else relation.name
            is_manager = bool(relation.one_to_many or relation.many_to_many)
            found.append((name, relation.related_model, is_manager))
    return found


# Scopes -------------------------------------------------------------------------------------------


@dataclass
class Scope:
    """
    Where an expression stands.

    ``names`` are annotations that may stand in others, ``late`` those that only a filter or an
    order may use (aggregates, windows), each with its kind. ``is_single``: no relation to many
    rows may be followed, so that a row stays one.
    """

    model: type[Model]
    names: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    is_single: bool = False
    outer: "Scope | None" = None
    subqueries: int = _SUBQUERIES

    def new_name(self) -> str:
        return f"a{len(self.names) + len(self.late) + 1}"


def one_of(draw: Draw, options: Any) -> Any:
    return draw(st.sampled_from(list(options)))


def maybe(draw: Draw, in_how_many: int) -> bool:
    """True once in so many times; the smallest example has none of it."""
    return draw(st.integers(0, in_how_many - 1)) == in_how_many - 1


def manager(model: type[Model]) -> str:
    return f"{model.__name__}.objects.using(using)"


# Columns and values -------------------------------------------------------------------------------


def walk(draw: Draw, scope: Scope, hops: int) -> tuple[str, type[Model]]:
    """Follow some relations; return the path, with ``__`` after each, and where it leads."""
    path, model = "", scope.model
    for _ in range(hops):
        ways = relations(model, scope.is_single)
        if not ways:
            break
        name, model = one_of(draw, ways)
        path += f"{name}__"
    return path, model


def column(draw: Draw, scope: Scope, kind: str) -> str | None:
    """The path of a column of the kind, or an annotation of it; None if there is none there."""
    own = [name for name, its_kind in scope.names.items() if its_kind == kind]
    if own and maybe(draw, 3):
        return one_of(draw, own)
    path, model = walk(draw, scope, one_of(draw, _HOPS))
    found = [name for name, its_kind in columns(model) if its_kind == kind]
    return path + one_of(draw, found) if found else None


def any_column(draw: Draw, scope: Scope) -> tuple[str, str, list[str]]:
    """Return a path, its kind, and sources of some values that it has."""
    path, model = walk(draw, scope, one_of(draw, _HOPS))
    own = [] if path else list(scope.names.items())
    if own and maybe(draw, 3):
        return *one_of(draw, own), []
    name, kind = one_of(draw, columns(model))
    return path + name, kind, [f"row({model.__name__}, {number}).{name}" for number in range(4)]


def literal(draw: Draw, kind: str) -> str:
    """Source of a value of the kind; ``list int`` and ``pair int`` are kinds too."""
    container, _, of = kind.rpartition(" ")
    if container == "list":
        items = draw(st.lists(st.sampled_from(LITERALS[of]), max_size=3))
        return f"[{', '.join(items)}]"
    if container == "pair":
        return f"({literal(draw, of)}, {literal(draw, of)})"
    return one_of(draw, LITERALS[kind])


# Expressions --------------------------------------------------------------------------------------


def expression(draw: Draw, scope: Scope, kind: str, depth: int) -> str:
    if depth > 0 and maybe(draw, 2):
        return fill(draw, one_of(draw, FUNCTIONS[kind] + OF_ANY_KIND), scope, kind, depth - 1)
    return operand(draw, scope, kind)


def operand(draw: Draw, scope: Scope, kind: str) -> str:
    if scope.outer is not None and maybe(draw, 3):
        path = column(draw, replace(scope.outer, is_single=True), kind)
        if path is not None:
            return f"OuterRef({path!r})"
    path = None if maybe(draw, 4) else column(draw, scope, kind)
    if path is not None:
        return f"F({path!r})"
    if maybe(draw, 6):
        return f"Value(None, output_field={FIELDS[kind]})"
    return f"Value({literal(draw, kind)}, output_field={FIELDS[kind]})"


def fill(draw: Draw, template: str, scope: Scope, kind: str = "", depth: int = 1) -> str:
    """Put expressions in the place of the names in braces."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name == "q":
            return condition(draw, scope, depth)
        if name == "exists":
            return exists(draw, scope)
        if name == "kind subquery":
            return subquery(draw, scope, kind)
        if name == "filter":
            return fill(draw, one_of(draw, FILTERS_OF_AGGREGATES), scope, depth=0)
        if name == "partition":
            return "None" if maybe(draw, 3) else operand(draw, scope, "int")
        return expression(draw, scope, kind if name == "kind" else name, depth)

    return re.sub(r"\{(\w+(?: \w+)?)\}", part, template)


# Conditions ---------------------------------------------------------------------------------------


def condition(draw: Draw, scope: Scope, depth: int = 1) -> str:
    if depth > 0 and maybe(draw, 3):
        one, other = (condition(draw, scope, depth - 1) for _ in range(2))
        return one_of(draw, [f"({one} | {other})", f"({one} & {other})", f"({one} ^ {other})"])
    if maybe(draw, 5):
        return f"~{condition(draw, scope, depth)}"
    kinds = [of_column, of_column, of_column, of_relation, of_expression, of_exists]
    return one_of(draw, kinds)(draw, scope)


def of_column(draw: Draw, scope: Scope) -> str:
    path, kind, values = any_column(draw, scope)
    is_key = path.endswith("_id")
    lookup = one_of(draw, KEY_LOOKUPS if is_key else LOOKUPS[kind])
    right = LOOKUPS[kind].get(lookup, kind)
    if lookup == "in" and scope.subqueries and maybe(draw, 4):
        value = subquery(draw, replace(scope, is_single=True), kind, "")
    elif right == kind and maybe(draw, 4):
        value = expression(draw, scope, kind, 1)
    elif lookup == "exact" and maybe(draw, 8):
        value = "None"
    elif values and right == kind and not maybe(draw, 3):
        value = one_of(draw, values)
    elif values and lookup == "in" and not maybe(draw, 3):
        value = f"[{one_of(draw, values)}, {one_of(draw, values)}]"
    else:
        value = literal(draw, right)
    name = path if lookup == "exact" and maybe(draw, 2) else f"{path}__{lookup}"
    return q(name, value)


def q(name: str, value: str) -> str:
    return f"Q({name}={value})" if name.isidentifier() else f"Q(({name!r}, {value}))"


def of_relation(draw: Draw, scope: Scope) -> str:
    path, model = walk(draw, scope, one_of(draw, _HOPS))
    ways = relations(model, scope.is_single)
    if not ways:
        return of_column(draw, scope)
    name, target = one_of(draw, ways)
    one, other = (f"nth({target.__name__}, {number})" for number in (0, draw(st.integers(0, 4))))
    options = {
        "": [other, f"row({target.__name__}, 0)", "None"],
        "__pk": [other],
        "__isnull": LITERALS["flag"],
        "__in": [f"[{one}, {other}]", "[]", manager(target), f"{manager(target)}.order_by('pk')"],
    }
    ending = one_of(draw, options)
    return q(f"{path}{name}{ending}", one_of(draw, options[ending]))


def of_expression(draw: Draw, scope: Scope) -> str:
    lookup = one_of(draw, ["GreaterThan", "LessThanOrEqual", "Exact"])
    kind = one_of(draw, ["int", "text", "decimal", "datetime", "float", "date", "duration"])
    return f"Q({lookup}({expression(draw, scope, kind, 1)}, {expression(draw, scope, kind, 1)}))"


def of_exists(draw: Draw, scope: Scope) -> str:
    found = exists(draw, scope)
    return f"Q({found})"


# Subqueries ---------------------------------------------------------------------------------------


def inner(draw: Draw, scope: Scope) -> tuple[str, Scope]:
    """A queryset that refers, more often than not, to the row of the query around it."""
    model = one_of(draw, all_models().values())
    inner_scope = Scope(model, outer=scope, subqueries=scope.subqueries - 1)
    ways = [
        name
        for name, target in relations(model, is_single=False)
        if target._meta.concrete_model is scope.model._meta.concrete_model
    ]
    source = manager(model)
    if ways:
        source += f".filter({one_of(draw, ways)}=OuterRef('pk'))"
    if maybe(draw, 2):
        source += f".filter({condition(draw, inner_scope, 1)})"
    return source, inner_scope


def exists(draw: Draw, scope: Scope) -> str:
    if scope.subqueries == 0:
        return "Exists(Shelf.objects.filter(name='first'))"
    source, _ = inner(draw, scope)
    return f"Exists({source})"


def subquery(draw: Draw, scope: Scope, kind: str, ending: str = "[:1]") -> str:
    if scope.subqueries == 0:
        return f"Shelf.objects.values_list(Value(None, output_field={FIELDS[kind]}))[:1]"
    source, inner_scope = inner(draw, scope)
    selected = expression(draw, replace(inner_scope, is_single=True), kind, 0)
    return f"{source}.order_by('pk').values(v={selected}){ending}"
