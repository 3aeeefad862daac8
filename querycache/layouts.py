"""
Layouts: what is in the ``__dict__`` of a model's instances, and how a row is written into it.

They are made once for each model and kept; only for models of which nobody would notice that
``__init__`` was not called.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, overload
from weakref import ref

from django.db.models import Model

from querycache._django.instances import (
    ModelState,
    fills_dict,
    is_built_by_django,
    is_set_by_writing,
    sets_fields_cache,
)

Row = Sequence[Any]
Make = Callable[[Row], Any]
Bind = Callable[[type[Model], str, Any], Make]

_MAX_SHAPES: Final = 100
"""How many ways to select from a model are remembered at a time."""


class Shape(NamedTuple):
    """
    How instances are made of the rows of certain queries.

    ``bind`` takes the model, the alias of the database and the fetch mode, and returns a function
    that makes an instance of a row. ``pk`` is the place of the primary key.
    """

    bind: Bind
    pk: int | None


class Layout(NamedTuple):
    """
    What is in the ``__dict__`` of a model's instances: ``names``, in the order of their columns.

    To set one of ``foreign`` is to ask for ``_state.fields_cache``, which is there from then on. A
    layout is kept for as long as its model, so that it must refer neither to that nor to a field.
    """

    names: tuple[str, ...]
    foreign: frozenset[str]
    pk: str
    shapes: dict[tuple[Any, ...], Shape | None]


_layouts: Final[dict["ref[type[Model]]", Layout | None]] = {}
"""By weak references, as in a ``WeakKeyDictionary``, which takes three times as long to ask."""


def layout_of(model: type[Model]) -> Layout | None:
    """Return how to make instances of rows; None if that has to be left to Django."""
    if not is_built_by_django(model):
        return None
    try:
        layout = _layouts[ref(model)]
    except KeyError:
        return _find_layout(model)
    if layout is not None and len(layout.names) != len(model._meta.concrete_fields):
        return _find_layout(model)  # the class was given another field
    return layout


def _find_layout(model: type[Model]) -> Layout | None:
    names = tuple(field.attname for field in model._meta.concrete_fields)
    layout = None
    if fills_dict(model) and all(is_set_by_writing(model, name) for name in names):
        layout = Layout(
            names=names,
            foreign=frozenset(name for name in names if sets_fields_cache(model, name)),
            pk=model._meta.pk_fields[0].attname,
            shapes={},
        )
    _layouts[ref(model, _forget)] = layout
    return layout


def _forget(model: "ref[type[Model]]") -> None:
    _layouts.pop(model, None)


def forget_layouts() -> None:
    """Forget what was found out about models."""
    _layouts.clear()


@overload
def shape_of(
    model: type[Model], layout: Layout, select: Sequence[Any], fields: Sequence[int]
) -> Shape: ...
@overload
def shape_of(
    model: type[Model],
    layout: Layout,
    select: Sequence[Any],
    fields: Sequence[int],
    annotations: tuple[str, ...],
) -> Shape | None: ...
def shape_of(
    model: type[Model],
    layout: Layout,
    select: Sequence[Any],
    fields: Sequence[int],
    annotations: tuple[str, ...] = (),
) -> Shape | None:
    """
    Return how to make instances of these columns, and of the annotations that come after them.

    None if an annotation has to be set, and cannot be written as fields are.
    """
    start, end = fields[0], fields[-1] + 1
    selected = None
    if end - start != len(layout.names):
        selected = tuple(column[0].target.attname for column in select[start:end])
    key = (start, selected, annotations)
    try:
        return layout.shapes[key]
    except KeyError:
        names = [name for name in layout.names if selected is None or name in selected]
        columns = dict(zip(names, range(start, end), strict=False))
        shape = None
        if not any(name in layout.names for name in annotations) and all(
            is_set_by_writing(model, name) for name in annotations
        ):
            columns |= zip(annotations, range(end, end + len(annotations)), strict=True)
            shape = new_shape(layout, columns)
        if len(layout.shapes) >= _MAX_SHAPES:
            layout.shapes.clear()
        layout.shapes[key] = shape
        return shape


def new_shape(layout: Layout, columns: dict[str, int]) -> Shape:
    """Return how to make instances whose attributes stand in these places of a row."""
    foreign = tuple(place for name, place in columns.items() if name in layout.foreign)
    return Shape(_bind_of(tuple(columns.items()), foreign), columns.get(layout.pk))


_BIND: Final = """
def bind(model, db, fetch_mode):
    peers = [] if getattr(fetch_mode, "track_peers", False) else None

    def make(row):
        instance = new(model)
        # As Django does, in this order: what _state has, it has from when it is set.
        instance._state = state = ModelState()
        if {has_foreign}:
            state.fields_cache = {{}}
        state.adding = False
        state.db = db
        if fetch_mode is not None:
            state.fetch_mode = fetch_mode
            if peers is not None:
                peers.append(ref(instance))
                state.peers = peers
        data = instance.__dict__
        {columns}
        return instance

    return make
"""
"""
What fills an instance, as code: names and places written out take three quarters of the time of
closures that hold them, and half of that of a loop.
"""


@lru_cache(maxsize=1000)
def _bind_of(columns: tuple[tuple[str, int], ...], foreign: tuple[int, ...]) -> Bind:
    """Return the ``bind`` of a shape: ``foreign`` are the places of foreign keys."""
    source = _BIND.format(
        has_foreign=" or ".join(f"row[{place}] is not None" for place in foreign) or "False",
        columns="; ".join(f"data[{name!r}] = row[{place}]" for name, place in columns),
    )
    defined: dict[str, Any] = {
        "__name__": __name__, "ModelState": ModelState, "new": object.__new__, "ref": ref,
    }  # fmt: skip
    exec(source, defined)  # noqa: S102  of names, in quotes, and numbers
    bind: Bind = defined["bind"]
    return bind
