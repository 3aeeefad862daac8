"""Any write that Django's ORM can express, of any model of the test app, as Python source."""

import re
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import Field, Model
from hypothesis import strategies as st

from tests.differential.expressions import (
    Draw,
    Scope,
    accessors,
    all_models,
    condition,
    fill,
    literal,
    manager,
    maybe,
    one_of,
    relations,
)
from tests.differential.kinds import FIELDS, FUNCTIONS, LITERALS, OF_ANY_KIND, kind_of
from tests.differential.querysets import Read, reads
from tests.differential.shelf import Library
from tests.differential.writes import MODES, WRITES, changed
from tests.testapp.models import Book

READY_MADE = {
    write.name: write
    for write in WRITES
    # On SQLite, a raw RETURNING keeps its table from being cached for a minute.
    if not write.is_ddl and "RETURNING" not in write.name
}


@dataclass(frozen=True)
class Write:
    """The source of a write, and the name of the mode that it runs in."""

    source: str
    mode: str = "in autocommit"

    def run(self, names: dict[str, Any]) -> Any:
        return eval(self.source, names)


def names_for_writes(names: dict[str, Any], library: Library) -> dict[str, Any]:
    """Add to the globals of reads those of writes."""
    return {
        **names,
        "changed": changed,
        "ready_made": lambda name: READY_MADE[name].run(library),
    }


# Values -------------------------------------------------------------------------------------------


def writable(model: type[Model], *, is_local: bool = False) -> list[Field]:
    fields = model._meta.local_concrete_fields if is_local else model._meta.concrete_fields
    return [field for field in fields if not (field.generated or field.primary_key)]


def value_for(draw: Draw, field: Field) -> str:
    """A value that the column may take, more often than not."""
    if field.null and maybe(draw, 5):
        return "None"
    if field.is_relation:
        return f"row({field.related_model.__name__}, {draw(st.integers(0, 3))})"
    kind = kind_of(field)
    if kind == "text":
        return one_of(draw, LITERALS["text"][:12])
    return literal(draw, kind)


def some_values(draw: Draw, model: type[Model], *, is_new: bool = False) -> str:
    """Keyword arguments; of a new row all those that it must have."""
    fields = writable(model)
    if not fields:
        return ""
    chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique=True))
    if is_new:
        chosen += [
            field
            for field in fields
            if not (field.null or field.has_default() or field.has_db_default() or field in chosen)
        ]
        if not model._meta.pk.has_default() and "AutoField" not in type(model._meta.pk).__name__:
            chosen += [field for field in model._meta.pk_fields if field not in chosen]
    return ", ".join(f"{field.name}={value_for(draw, field)}" for field in chosen)


# Writes -------------------------------------------------------------------------------------------


def some_rows(draw: Draw, model: type[Model]) -> str:
    if maybe(draw, 2):
        return manager(model)
    if maybe(draw, 2):
        return f"{manager(model)}.filter({condition(draw, Scope(model))})"
    return f"{manager(model)}.filter(pk=nth({model.__name__}, {draw(st.integers(0, 3))}))"


def a_row(draw: Draw, model: type[Model]) -> str:
    return f"row({model.__name__}, {draw(st.integers(0, 3))})"


def update(draw: Draw, model: type[Model]) -> str:
    fields = writable(model)
    if not fields:
        return f"{manager(model)}.update()"
    field = one_of(draw, fields)
    scope = Scope(model, is_single=True, subqueries=1)
    kind = kind_of(field)
    if kind in FIELDS and maybe(draw, 2):
        value = fill(draw, one_of(draw, FUNCTIONS[kind] + OF_ANY_KIND), scope, kind)
    else:
        value = value_for(draw, field)
    order = ".order_by('pk')" if maybe(draw, 6) else ""
    return f"{some_rows(draw, model)}{order}.update({field.name}={value})"


def delete(draw: Draw, model: type[Model]) -> str:
    if maybe(draw, 2):
        return f"{a_row(draw, model)}.delete()"
    return f"{some_rows(draw, model)}.delete()"


def create(draw: Draw, model: type[Model]) -> str:
    return f"{manager(model)}.create({some_values(draw, model, is_new=True)})"


def save(draw: Draw, model: type[Model]) -> str:
    values = some_values(draw, model)
    options = ["", "force_update=True"]
    if values:
        options.append(f"update_fields=[{values.split('=')[0]!r}]")
    return f"changed({a_row(draw, model)}, {values}).save({one_of(draw, options)})"


def get_or_create(draw: Draw, model: type[Model]) -> str:
    method = one_of(draw, ["get_or_create", "update_or_create"])
    pk = one_of(draw, [f"pk=nth({model.__name__}, 1)", some_values(draw, model)])
    defaults = some_values(draw, model, is_new=True)
    return f"{manager(model)}.{method}({pk}, defaults=dict({defaults}))"


def bulk_create(draw: Draw, model: type[Model]) -> str:
    name = model.__name__
    rows = [f"{name}({some_values(draw, model, is_new=True)})" for _ in range(2)]
    rows.append(f"changed({a_row(draw, model)}, {some_values(draw, model)})")
    fields = writable(model)
    options = ["", ", ignore_conflicts=True", ", batch_size=1"]
    if fields:
        updated = f"update_conflicts=True, update_fields=[{one_of(draw, fields).name!r}]"
        options += [f", {updated}", f", {updated}, unique_fields=['pk']"]
    chosen = one_of(draw, ["", *options])
    return f"{manager(model)}.bulk_create([{', '.join(rows[: 3 if chosen else 2])}]{chosen})"


def bulk_update(draw: Draw, model: type[Model]) -> str:
    fields = writable(model)
    if not fields:
        return create(draw, model)
    field = one_of(draw, fields)
    rows = ", ".join(
        f"changed(row({model.__name__}, {number}), {field.name}={value_for(draw, field)})"
        for number in range(2)
    )
    return f"{manager(model)}.bulk_update([{rows}], [{field.name!r}])"


def relate(draw: Draw, model: type[Model]) -> str:
    ways = [(name, target) for name, target, is_manager in accessors(model) if is_manager]
    if not ways:
        return create(draw, model)
    name, target = one_of(draw, ways)
    one, other = a_row(draw, target), a_row(draw, target)
    calls = [
        f"add({one}, {other})",
        f"remove({one})",
        f"set([{one}])",
        f"set([{one}, {other}], clear=True)",
        "clear()",
        f"create({some_values(draw, target, is_new=True)})",
        "all().delete()",
        f"update({some_values(draw, target)})",
    ]
    return f"{a_row(draw, model)}.{name}.{one_of(draw, calls)}"


KINDS = [update, update, delete, create, save, get_or_create, bulk_create, bulk_update, relate]


@st.composite
def stories(draw: Draw, using: str) -> tuple[list[Read], list[Write]]:
    """Some reads, and some writes of the models that they name."""
    chosen = draw(st.lists(reads(), min_size=1, max_size=2))
    words = {word for read in chosen for word in re.findall(r"[A-Za-z]+", read.source)}
    named = [model for name, model in all_models().items() if name in words]
    models = [
        *named,
        *(target for model in named for name, target in relations(model, False) if name in words),
    ]
    # What is chosen may not see the rows that are written. These do.
    watches = [
        Read(f"list({manager(model)}.order_by('pk').values_list())")
        for model in dict.fromkeys(models)
    ]
    return chosen + watches, [a_write(draw, using, models) for _ in range(one_of(draw, [1, 2, 3]))]


@st.composite
def writes(draw: Draw, using: str) -> Write:
    """Any write of any model."""
    return a_write(draw, using, list(all_models().values()))


def a_write(draw: Draw, using: str, models: list[type[Model]]) -> Write:
    """A write that changes one of the models, or a ready-made one that may."""
    vendor = connections[using].vendor
    # Where a write fails, Django leaves a transaction behind that ends by set_autocommit().
    modes = {
        name: mode
        for name, mode in MODES.items()
        if vendor in mode.on and name != "committed by set_autocommit()"
    }
    mode = one_of(draw, ["in autocommit", "in atomic()"] * 8 + list(modes))
    if maybe(draw, 6):
        write = one_of(draw, [write for write in READY_MADE.values() if vendor in write.on])
        if write.is_one_statement or not modes[mode].is_by_hand:
            return Write(f"ready_made({write.name!r})", mode)
    # Django keeps content types in memory, and would not hear that one is another now.
    own = [model for model in models if model is not ContentType]
    model = one_of(draw, own or [Book])
    if modes[mode].is_by_hand:
        mode = "in atomic()"
    return Write(one_of(draw, KINDS)(draw, model), mode)
