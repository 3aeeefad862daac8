"""
Instances made of rows: what happens instead of ``ModelIterable.__iter__``.

Django calls ``from_db`` for each row, which calls ``__init__``, which sets one attribute after the
other and sends two signals. For most models nothing comes of that but a filled ``__dict__``, which
can be filled at once, in a quarter of the time. Where more may come of it, Django does it.

Whether more may come of it is asked once for each query and model: a receiver of ``pre_init`` or
``post_init`` that is connected while somebody iterates over a queryset hears of the next one.

A value is put into an instance as it stands in the row. Nothing is copied: a list in a row belongs
to the instance that is made of it, as with Django.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, overload
from weakref import ref

from django.db import router
from django.db.models import Model

from querycache._django.instances import (
    ModelState,
    fetch_mode_of,
    fills_dict,
    is_built_by_django,
    is_set_by_writing,
    model_of,
    sets_fields_cache,
)
from querycache._django.relations import (
    LEAVES_DEFERRED_KEYS,
    KnownRelated,
    PlainKey,
    cached_under,
    known_related,
    plain_key,
    related_populator,
)
from querycache.conf import get_config

Row = Sequence[Any]
Make = Callable[[Row], Any]
Bind = Callable[[type[Model], str, Any], Make]
Step = Callable[[Row, Any], None]
"""Something that is done to an instance after it was made."""

_WRITTEN_OUT: Final = 12
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


def wrap_iter(iterate: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
    """Return what takes the place of ``ModelIterable.__iter__``."""

    @functools.wraps(iterate)
    def iterate_or_hydrate(iterable: Any) -> Iterator[Any]:
        model = model_of(iterable)
        if model in get_config().models:
            layout = layout_of(model)
            if layout is not None:
                return instances(iterable, layout)
        return iterate(iterable)

    return iterate_or_hydrate


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


def instances(iterable: Any, layout: Layout) -> Iterator[Any]:
    """Yield an instance for each row, in every respect as Django makes it."""
    queryset = iterable.queryset
    db = queryset.db
    compiler = queryset.query.get_compiler(using=db)
    fetch_mode = fetch_mode_of(queryset)
    results = compiler.execute_sql(
        chunked_fetch=iterable.chunked_fetch, chunk_size=iterable.chunk_size
    )
    select, info = compiler.select, compiler.klass_info
    model, fields = info["model"], info["select_fields"]
    related = info.get("related_klass_infos")
    steps = [_populator(each, select, db, fetch_mode) for each in related] if related else []
    annotations: dict[str, int] = compiler.annotation_col_map or {}
    shape = None
    if annotations and not steps and _follow(annotations, fields[-1]):
        shape = _shape(model, layout, select, fields, tuple(annotations))
    if shape is None:
        shape = _shape(model, layout, select, fields)
        if annotations:
            steps.append(_annotator(annotations))
    make = shape.bind(model, db, fetch_mode)
    steps += [_attacher(model, known, db) for known in known_related(queryset)]
    for row in compiler.results_iter(results):
        instance = make(row)
        for step in steps:
            step(row, instance)
        yield instance


def _follow(annotations: dict[str, int], last: int) -> bool:
    """Say whether the annotations are the columns that come after those of the model."""
    return list(annotations.values()) == list(range(last + 1, last + 1 + len(annotations)))


@overload
def _shape(
    model: type[Model], layout: Layout, select: Sequence[Any], fields: Sequence[int]
) -> Shape: ...
@overload
def _shape(
    model: type[Model],
    layout: Layout,
    select: Sequence[Any],
    fields: Sequence[int],
    annotations: tuple[str, ...],
) -> Shape | None: ...
def _shape(
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
            shape = _new_shape(layout, columns)
        if len(layout.shapes) >= _MAX_SHAPES:
            layout.shapes.clear()
        layout.shapes[key] = shape
        return shape


def _new_shape(layout: Layout, columns: dict[str, int]) -> Shape:
    """Return how to make instances whose attributes stand in these places of a row."""
    keys = [place for name, place in columns.items() if name in layout.foreign]
    key, others = (keys[0], keys[1:]) if keys else (None, [])
    others_of = itemgetter(*others) if others else None
    no_others = (None,) * len(others) if len(others) > 1 else None
    # Twelve statements written out take half as long as a loop over names and values. Where there
    # are fewer columns, the last one is written again, so that four at a time can be left out.
    items = list(columns.items())
    padded = items + items[-1:] * (_WRITTEN_OUT - len(items))
    (n1, p1), (n2, p2), (n3, p3), (n4, p4), (n5, p5), (n6, p6) = padded[:6]
    (n7, p7), (n8, p8), (n9, p9), (n10, p10), (n11, p11), (n12, p12) = padded[6:12]
    has_more_than_4, has_more_than_8 = len(items) > 4, len(items) > 8
    rest = items[_WRITTEN_OUT:]

    def bind(model: type[Model], db: str, fetch_mode: Any) -> Make:
        peers: list[Any] | None = [] if getattr(fetch_mode, "track_peers", False) else None
        new = object.__new__

        def make(row: Row) -> Any:
            instance = new(model)
            # As Django does, in this order: what _state has, it has from when it is set.
            instance._state = state = ModelState()
            if key is not None and (
                row[key] is not None or (others_of is not None and others_of(row) != no_others)
            ):
                state.fields_cache = {}
            state.adding = False
            state.db = db
            if fetch_mode is not None:
                state.fetch_mode = fetch_mode
                if peers is not None:
                    peers.append(ref(instance))
                    state.peers = peers
            data = instance.__dict__
            data[n1] = row[p1]
            data[n2] = row[p2]
            data[n3] = row[p3]
            data[n4] = row[p4]
            if has_more_than_4:
                data[n5] = row[p5]
                data[n6] = row[p6]
                data[n7] = row[p7]
                data[n8] = row[p8]
                if has_more_than_8:
                    data[n9] = row[p9]
                    data[n10] = row[p10]
                    data[n11] = row[p11]
                    data[n12] = row[p12]
                    for name, place in rest:
                        data[name] = row[place]
            return instance

        return make

    return Shape(bind, columns.get(layout.pk))


def _populator(info: dict[str, Any], select: Any, db: str, fetch_mode: Any) -> Step:
    """Return a function that makes and connects a related instance (``select_related``)."""
    layout = layout_of(info["model"])
    if layout is None:
        return related_populator(info, select, db, fetch_mode)
    fields = info["select_fields"]
    if info["from_parent"]:  # some of its columns are those of the parent, which stand elsewhere
        found = {select[place][0].target.attname: place for place in fields}
        columns = {name: found[name] for name in layout.names if name in found}
        shape = _new_shape(layout, columns)
    else:
        shape = _shape(info["model"], layout, select, fields)
    if shape.pk is None:
        return related_populator(info, select, db, fetch_mode)
    pk = shape.pk
    make = shape.bind(info["model"], db, fetch_mode)
    related = info.get("related_klass_infos")
    steps = [_populator(each, select, db, fetch_mode) for each in related] if related else []
    set_here, set_there = info["local_setter"], info["remote_setter"]
    here, there = cached_under(set_here), cached_under(set_there)

    def populate(row: Row, instance: Any) -> None:
        other = None
        if row[pk] is not None:
            other = make(row)
            for step in steps:
                step(row, other)
        if here is None:
            set_here(instance, other)
        else:
            instance._state.fields_cache[here] = other
        if other is None:
            return
        if there is None:
            set_there(other, instance)
        else:
            other._state.fields_cache[there] = instance

    return populate


def _annotator(annotations: dict[str, int]) -> Step:
    """Return a function that sets annotations."""
    places = tuple(annotations.items())

    def annotate(row: Row, instance: Any) -> None:
        for name, place in places:
            setattr(instance, name, row[place])

    return annotate


def _attacher(model: type[Model], known: KnownRelated, db: str) -> Step:
    """
    Return a function that connects an instance with one that is there already.

    ``author.books.all()`` gives books whose author is that very ``author``.
    """
    field, objects, names, key_of = known

    def attach(row: Row, instance: Any) -> None:
        if field.is_cached(instance):  # by select_related
            return
        if LEAVES_DEFERRED_KEYS and not all(name in instance.__dict__ for name in names):
            return
        try:
            related = objects[key_of(instance)]
        except KeyError:  # of querysets combined with |
            return
        setattr(instance, field.name, related)

    plain = plain_key(model, field)
    return attach if plain is None else _plain_attacher(known, plain, db, attach)


def _plain_attacher(known: KnownRelated, plain: PlainKey, db: str, attach: Step) -> Step:
    """Return what does the same for an ordinary foreign key, and leaves the rest to ``attach``."""
    objects = known.objects
    name, here, there, related_model = plain

    def attach_plain(row: Row, instance: Any) -> None:
        data = instance.__dict__
        cache = instance._state.fields_cache
        if here in data and name not in cache:
            related = objects.get(data[here])
            is_allowed = isinstance(related, related_model) and related._state.db == db
            if is_allowed and not router.routers:
                data[here] = getattr(related, there)
                cache[name] = related
                return
        attach(row, instance)

    return attach_plain
