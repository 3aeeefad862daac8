"""
Any read that Django's ORM can express, of any model of the test app, as Python source.

Most of what is chosen is sound; the rest raises, which is an answer too. Whatever the database
would be free to choose is settled: an order ends with the primary key.
"""

import copy
import datetime
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Model, expressions, functions, lookups
from django.db.models.fields.json import KT
from django.utils import timezone
from hypothesis import strategies as st

from querycache import bypass, cached
from tests.differential.expressions import (
    Draw,
    Scope,
    accessors,
    all_models,
    any_column,
    column,
    columns,
    condition,
    expression,
    fill,
    literal,
    manager,
    maybe,
    one_of,
    relations,
)
from tests.differential.kinds import AGGREGATES, FIELDS, VOLATILE, WINDOWS

# Names that the source may use --------------------------------------------------------------------


def namespace(using: str) -> dict[str, Any]:
    """
    The globals of generated source.

    ``nth(Book, 0)`` is the primary key of the first book that there was when this was called, and
    ``row(Book, 0)`` that book as it was.
    """
    with bypass():
        rows = {
            model: list(model._base_manager.using(using).order_by("pk"))
            for model in all_models().values()
        }

    def row(model: type[Model], number: int) -> Any:
        return copy.deepcopy(rows[model][number % max(len(rows[model]), 1)])

    def again(queryset: Any) -> Any:
        """Ask more than once, for more than one thing: to compile a query may change it."""
        of_a_copy = [list(queryset.all()), queryset.count(), queryset.exists(), queryset.first()]
        return of_a_copy, list(queryset.all()), list(queryset), list(queryset.all()[:2])

    def in_zone(name: str, read: Callable[[], Any]) -> Any:
        with timezone.override(ZoneInfo(name)):
            return read()

    return {
        **vars(models),
        **vars(expressions),
        **vars(functions),
        **vars(lookups),
        **all_models(),
        "again": again,
        "in_zone": in_zone,
        "KT": KT,
        "Decimal": Decimal,
        "ZoneInfo": ZoneInfo,
        "cached": cached,
        "datetime": datetime,
        "uuid": uuid,
        "inf": float("inf"),
        "nan": float("nan"),
        "nth": lambda model, number: row(model, number).pk,
        "row": row,
        "using": using,
    }


@dataclass(frozen=True)
class Read:
    """The source of a read, and whether the order of its rows is settled."""

    source: str
    is_ordered: bool = True

    def run(self, names: dict[str, Any]) -> Any:
        return eval(self.source, names)


# Steps --------------------------------------------------------------------------------------------


def step_filter(draw: Draw, scope: Scope) -> str:
    if scope.late and maybe(draw, 2):
        name, kind = one_of(draw, scope.late.items())
        lookup = one_of(draw, ["gt", "lte", "exact", "in", "isnull"])
        value = literal(draw, {"in": f"list {kind}", "isnull": "flag"}.get(lookup, kind))
        return f".filter({name}__{lookup}={value})"
    method = one_of(draw, ["filter", "filter", "exclude"])
    return f".{method}({condition(draw, scope, 2)})"


def step_annotate(draw: Draw, scope: Scope) -> str:
    kind = one_of(draw, FIELDS)
    name = scope.new_name()
    source = expression(draw, replace(scope, is_single=True), kind, 2)
    method = one_of(draw, ["annotate", "annotate", "alias"])
    scope.names[name] = kind
    return f".{method}({name}={source})"


def _step_late(draw: Draw, scope: Scope, templates: dict[str, list[str]]) -> str:
    kind = one_of(draw, templates)
    name = scope.new_name()
    source = fill(draw, one_of(draw, templates[kind]), scope)
    scope.late[name] = kind
    return f".{one_of(draw, ['annotate', 'annotate', 'alias'])}({name}={source})"


def step_aggregate(draw: Draw, scope: Scope) -> str:
    return _step_late(draw, scope, AGGREGATES)


def step_window(draw: Draw, scope: Scope) -> str:
    scope.is_single, before = True, scope.is_single
    source = _step_late(draw, scope, WINDOWS)
    scope.is_single = before
    return source


def step_filtered_relation(draw: Draw, scope: Scope) -> str:
    ways = relations(scope.model, is_single=False)
    if not ways:
        return ""
    name, target = one_of(draw, ways)
    column_name, kind = one_of(draw, columns(target))
    alias, count = f"{scope.new_name()}r", scope.new_name()
    kept = f"Q({name}__{column_name}={literal(draw, kind)})"
    source = f".alias({alias}=FilteredRelation({name!r}, condition={kept}))"
    if maybe(draw, 2):
        return f"{source}.filter({alias}__{column_name}__isnull={literal(draw, 'flag')})"
    scope.late[count] = "int"
    return f"{source}.annotate({count}=Count('{alias}__{column_name}'))"


def step_raw(draw: Draw, scope: Scope) -> str:
    table = scope.model._meta.db_table
    if not table.isidentifier() or scope.model._meta.parents:
        return ""
    number = literal(draw, "part")
    name = scope.new_name()
    other = one_of(draw, [table, "testapp_author", "testapp_shelf", "testapp_secret"])
    options = [
        f".extra(select={{'{name}': 'SELECT COUNT(*) FROM {other}'}})",
        f".extra(where=['EXISTS (SELECT 1 FROM {other} u WHERE u.id > %s)'], params=[{number}])",
        f".extra(where=['1 < %s', \"'%%' <> '%%a'\"], params=[{number}])",
        f".annotate({name}=RawSQL('SELECT MAX(id) + %s FROM {other}', [{number}]))",
        f".filter(pk__in=RawSQL('SELECT id FROM {other} WHERE id <> %s', [{number}]))",
    ]
    if other != table:
        options.append(f".extra(tables=['{other}'], where=['{other}.id > %s'], params=[{number}])")
    return one_of(draw, options)


def step_volatile(draw: Draw, scope: Scope) -> str:
    source = fill(draw, one_of(draw, VOLATILE), replace(scope, is_single=True))
    return f".alias(volatile={source}).filter(volatile__isnull=False)"


STEPS = [
    *[step_filter] * 5,
    *[step_annotate] * 4,
    step_aggregate,
    step_aggregate,
    step_window,
    step_filtered_relation,
    step_raw,
]


def queryset(draw: Draw, scope: Scope) -> str:
    """A queryset without an order; what it annotates is added to the scope."""
    source = manager(scope.model)
    if maybe(draw, 12):
        operator = one_of(draw, "|&^")
        one, other = (f"{source}.filter({condition(draw, scope)})" for _ in range(2))
        source = f"({one} {operator} {other})"
    for _ in range(one_of(draw, [0, 1, 1, 2, 2, 3])):
        source += one_of(draw, STEPS)(draw, scope)
    if maybe(draw, 30):
        source += step_volatile(draw, scope)
    return source


def order(draw: Draw, scope: Scope) -> str:
    """An order that leaves the database no choice."""
    keys = [order_key(draw, scope) for _ in range(one_of(draw, [0, 0, 1, 1, 2]))]
    last = one_of(draw, ["pk", "pk", "-pk"])
    backwards = ".reverse()" if maybe(draw, 8) else ""
    return f".order_by({', '.join([*keys, repr(last)])}){backwards}"


def order_key(draw: Draw, scope: Scope) -> str:
    if maybe(draw, 8) and (ways := relations(scope.model, is_single=False)):
        return repr(one_of(draw, ways)[0])
    if scope.late and maybe(draw, 2):
        path = one_of(draw, scope.late)
    else:
        path, _, _ = any_column(draw, scope)
    minus = one_of(draw, ["", "-"])
    nulls = one_of(draw, ["desc(nulls_last=True)", "asc(nulls_first=True)", "desc()"])
    text = expression(draw, replace(scope, is_single=True), "text", 1)
    return one_of(draw, [repr(minus + path), repr(minus + path), f"F({path!r}).{nulls}", text])


# Rows ---------------------------------------------------------------------------------------------


def shape_related(draw: Draw, scope: Scope) -> str:
    path, model = "", scope.model
    for _ in range(one_of(draw, [1, 1, 2, 3])):
        ways = [
            (name, target)
            for name, target, is_manager in accessors(model)
            if target is not None and not is_manager and name != "notes"
        ]
        if not ways:
            break
        name, model = one_of(draw, ways)
        path += f"__{name}"
    return f".select_related({path[2:]!r})" if path else ""


def shape_prefetch(draw: Draw, scope: Scope) -> str:
    ways = accessors(scope.model)
    if not ways:
        return ""
    name, target, is_manager = one_of(draw, ways)
    if target is None or not (is_manager or maybe(draw, 3)):
        return f".prefetch_related({name!r})"
    inner_scope = Scope(target, subqueries=1)
    rows = f"{queryset(draw, inner_scope)}.order_by('pk')"
    if maybe(draw, 3):
        rows += shape(draw, inner_scope)
    rows += one_of(draw, ["", "", "", "[:1]"])
    attribute = one_of(draw, ["", "", ", to_attr='found'"])
    return f".prefetch_related(Prefetch({name!r}, queryset={rows}{attribute}))"


def shape_columns(draw: Draw, scope: Scope) -> str:
    names = [name for name, _ in columns(scope.model)]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return f".{one_of(draw, ['only', 'defer'])}({', '.join(map(repr, chosen))})"


SHAPES = [shape_related, shape_prefetch, shape_columns, lambda draw, scope: ".distinct()"]
if hasattr(models, "FETCH_PEERS"):  # Django 6.1
    SHAPES.append(lambda draw, scope: ".fetch_mode(FETCH_PEERS)")


def shape(draw: Draw, scope: Scope) -> str:
    return one_of(draw, SHAPES)(draw, scope)


def part_of(draw: Draw) -> str:
    return one_of(draw, ["", "", "", "[:2]", "[1:3]", "[1:]", "[::2]", "[5:9]"])


def read_rows(draw: Draw, scope: Scope) -> Read:
    source = queryset(draw, scope)
    if maybe(draw, 8):
        return Read(f"list({source}.order_by())", is_ordered=False)
    source += order(draw, scope)
    for _ in range(one_of(draw, [0, 0, 1, 1, 2])):
        source += shape(draw, scope)
    name, _ = one_of(draw, columns(scope.model))
    rare = [
        f"again({source})",
        f"again({source})",
        f"list(cached({source}, ttl=5))",
        f"list({source}.iterator(chunk_size=2))",
        f"list({source}.none())",
        f"list({source}.order_by({name!r}, 'pk').distinct({name!r}))",
    ]
    return Read(one_of(draw, rare) if maybe(draw, 5) else f"list({source}{part_of(draw)})")


def read_objects(draw: Draw, scope: Scope) -> Read:
    """Instances, and what they lead to."""
    source = queryset(draw, scope) + order(draw, scope)
    if maybe(draw, 2):
        source += shape(draw, scope)
    ways = [
        f"list(row.{name}.order_by('pk'))" if is_manager else f"getattr(row, {name!r}, None)"
        for name, _, is_manager in accessors(scope.model)
    ] + [f"row.{name}" for name, _ in columns(scope.model)]
    ways += ["row.refresh_from_db()"]
    return Read(f"[(row, {one_of(draw, ways)}) for row in {source}[:3]]")


def read_one(draw: Draw, scope: Scope) -> Read:
    model = scope.model.__name__
    number = draw(st.integers(0, 3))
    source = queryset(draw, scope)
    ordered = source + order(draw, scope)
    name, _ = one_of(draw, columns(scope.model))
    options = [
        f"{ordered}.first()",
        f"{ordered}.last()",
        f"{ordered}[{number}]",
        f"{ordered}{shape(draw, scope)}.first()",
        f"{source}.get(pk=nth({model}, {number}))",
        f"{source}.get({condition(draw, scope)})",
        f"{source}.earliest({name!r}, 'pk')",
        f"{source}.latest({name!r}, 'pk')",
        f"{source}.in_bulk([nth({model}, {number}), nth({model}, 0)])",
        f"{source}.contains(row({model}, {number}))",
        f"{source}.exists()",
        f"{source}.count()",
        f"{ordered}[1:3].count()",
        f"{ordered}[3:].exists()",
        f"{source}.distinct().count()",
    ]
    return Read(one_of(draw, options))


def read_aggregate(draw: Draw, scope: Scope) -> Read:
    source = queryset(draw, scope)
    aggregates = [
        f"n{number}={fill(draw, one_of(draw, AGGREGATES[one_of(draw, AGGREGATES)]), scope)}"
        for number in range(draw(st.integers(1, 2)))
    ]
    if scope.late and maybe(draw, 2):
        aggregates.append(f"m={one_of(draw, ['Max', 'Count'])}({one_of(draw, scope.late)!r})")
    before = one_of(draw, ["", "", ".order_by('pk')[:2]", ".distinct()"])
    return Read(f"{source}{before}.aggregate({', '.join(aggregates)})")


# Values -------------------------------------------------------------------------------------------


def read_values(draw: Draw, scope: Scope) -> Read:
    source = queryset(draw, scope)
    names = some_names(draw, scope)
    group, keys = "", list(names)
    if maybe(draw, 3):
        group = step_aggregate(draw, Scope(scope.model)).replace("(a1=", "(total=")
    elif maybe(draw, 3):
        group = ".distinct()"
    elif maybe(draw, 3):
        name = scope.new_name()
        kind = one_of(draw, FIELDS)
        keys.append(name)
        group = f".annotate({name}={expression(draw, replace(scope, is_single=True), kind, 1)})"
    chosen = ", ".join(map(repr, names))
    options = [f".values({chosen})", f".values_list({chosen})"]
    if not group:
        options += [
            f".values_list({chosen}, named=True)",
            f".values_list({names[0]!r}, flat=True)",
        ]
    method = one_of(draw, options)
    if "flat" in method:
        keys = names[:1]
    ordered = ", ".join(repr(one_of(draw, ["", "-"]) + name) for name in keys)
    ending = one_of(draw, ["", "", "", "first()", "count()", "exists()", "last()"])
    source += f"{method}{group}.order_by({ordered})"
    return Read(f"{source}.{ending}" if ending else f"list({source}{part_of(draw)})")


def some_names(draw: Draw, scope: Scope) -> list[str]:
    names = [any_column(draw, scope)[0] for _ in range(draw(st.integers(1, 3)))]
    if scope.late and maybe(draw, 2):
        names.append(one_of(draw, scope.late))
    return list(dict.fromkeys(names))


def read_dates(draw: Draw, scope: Scope) -> Read:
    kind = one_of(draw, ["date", "datetime"])
    path = column(draw, scope, kind)
    if path is None:
        return read_values(draw, scope)
    source = queryset(draw, scope)
    steps = {"date": ["year", "month", "week", "day"], "datetime": ["month", "day", "hour"]}
    arguments = f"{path!r}, {one_of(draw, steps[kind])!r}, order={one_of(draw, ['ASC', 'DESC'])!r}"
    return Read(f"list({source}.{kind}s({arguments}))")


def read_combined(draw: Draw, scope: Scope) -> Read:
    """Unions and the like, of the same columns of the same model or of names of any model."""
    others = [scope.model]
    names = [name for name, _ in columns(scope.model)]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    if "name" in names and maybe(draw, 2):
        chosen = ["name"]
        others = [model for model in all_models().values() if "name" in dict(columns(model))]
    listed = ", ".join(map(repr, chosen))
    values = one_of(draw, [f".values_list({listed})", f".values({listed})", ""])
    if len(others) > 1 and not values:
        values = f".values({listed})"
    parts = [
        f"{manager(model)}.filter({condition(draw, Scope(model))}).order_by(){values}"
        for model in (scope.model, one_of(draw, others))
    ]
    method = one_of(draw, ["union", "union", "intersection", "difference"])
    every = ", all=True" if method == "union" and maybe(draw, 2) else ""
    keys = chosen if values else [*chosen, "pk"]
    ordered = ", ".join(repr(one_of(draw, ["", "-"]) + name) for name in keys)
    source = f"{parts[0]}.{method}({parts[1]}{every})"
    other = f".values_list({one_of(draw, chosen)!r})"
    options = [
        f"list({source}.order_by({ordered}){part_of(draw)})",
        f"list({source}.order_by({ordered}){part_of(draw)})",
        f"{source}.order_by({ordered}).first()",
        f"{source}.count()",
        f"{source}.exists()",
        f"list({source}.order_by({ordered}){other})",
        f"again({source}.order_by({ordered}))",
    ]
    return Read(one_of(draw, options))


# Reads --------------------------------------------------------------------------------------------

READS = [
    *[read_rows] * 4,
    *[read_values] * 4,
    *[read_one] * 3,
    read_objects,
    read_objects,
    read_aggregate,
    read_aggregate,
    read_dates,
    read_combined,
    read_combined,
]
_OFTEN = ("Book", "Book", "Author", "Author", "Tag", "Textbook", "Edit")


@st.composite
def reads(draw: Draw) -> Read:
    """Any read of any model."""
    model = all_models()[one_of(draw, [*_OFTEN, *all_models()])]
    return one_of(draw, READS)(draw, Scope(model))


ALIKE = [
    ["1", "True", "1.0", "Decimal(1)", "'1'"],
    ["0", "False", "0.0", "-0.0", "''", "None"],
    ["412", "'412'", "412.0", "Decimal('412.00')"],
    ["Decimal('12.50')", "Decimal('12.5')", "12.5", "'12.50'"],
    [FIELDS["int"], FIELDS["float"], FIELDS["decimal"], FIELDS["text"], FIELDS["bool"]],
    [FIELDS["datetime"], FIELDS["date"], FIELDS["time"]],
    [FIELDS["json"], FIELDS["text"]],
    ["ZoneInfo('Asia/Tokyo')", "ZoneInfo('Europe/Berlin')", "datetime.UTC"],
    ["'day'", "'hour'", "'week'", "'month'"],
    ["Max(", "Min(", "Count(", "Sum(", "Avg("],
    [".values(", ".values_list("],
    [".first()", ".last()", ".exists()", ".count()"],
    [".filter(", ".exclude("],
    [".annotate(a", ".alias(a"],
    [".only(", ".defer("],
    ["Book", "CheapBook", "Textbook"],
    ["Shelf", "Tag", "Author"],
    ["[1:3]", "[:2]", "[1:]", "[::2]"],
    ["'pk'", "'-pk'"],
    ["flat=True", "named=True"],
]
"""What stands in the source of two reads that are easily taken for one."""


def twins(draw: Draw) -> list[Read]:
    """Two reads of the same SQL, of which one returns fewer rows or columns."""
    scope = Scope(all_models()[one_of(draw, _OFTEN)])
    source = f"{manager(scope.model)}.filter({condition(draw, scope)})"
    one, other = (one_of(draw, columns(scope.model))[0] for _ in range(2))
    ordered = f"{source}.order_by({other!r}, 'pk').distinct()"
    pairs = [
        [f"{source}.exists()", f"list({source}.annotate(a=Value(1)).values_list('a')[:1])"],
        [
            f"list({ordered}.values_list({one!r}))",
            f"list({ordered}.values_list({one!r}, {other!r}, 'pk'))",
        ],
    ]
    return [Read(source) for source in draw(st.permutations(one_of(draw, pairs)))]


@st.composite
def families(draw: Draw) -> list[Read]:
    """A read, and others that differ from it in a detail."""
    if maybe(draw, 12):
        return twins(draw)
    found = [draw(reads())]
    for _ in range(one_of(draw, [0, 1, 2])):
        source = found[0].source
        if maybe(draw, 6):
            found.append(replace(found[0], source=f"in_zone('Asia/Tokyo', lambda: {source})"))
            continue
        places = [
            (match.start(), match[0], group)
            for group in ALIKE
            for match in re.finditer("|".join(_as_pattern(text) for text in group), source)
        ]
        if places:
            start, old, group = one_of(draw, places)
            new = one_of(draw, [text for text in group if text != old])
            found.append(
                replace(found[0], source=source[:start] + new + source[start + len(old) :])
            )
    return found


def _as_pattern(text: str) -> str:
    """No part of a longer number, name or string."""
    before = r"(?<![\w.'-])" if re.match(r"[\w'-]", text) else ""
    return before + re.escape(text) + (r"(?![\w.'])" if re.search(r"[\w']$", text) else "")
