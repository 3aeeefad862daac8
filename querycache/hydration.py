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
from collections.abc import Callable, Iterator
from typing import Any

from django.db import router
from django.db.models import Model

from querycache._django.instances import FETCH_MODE, model_of
from querycache._django.relations import (
    KNOWN_RELATED,
    LEAVES_DEFERRED_KEYS,
    KnownRelated,
    PlainKey,
    cached_under,
    known_related,
    plain_key,
    related_populator,
)
from querycache.conf import current, get_config
from querycache.layouts import Layout, Row, layout_of, new_shape, shape_of

Step = Callable[[Row, Any], None]
"""Something that is done to an instance after it was made."""


def wrap_iter(iterate: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
    """Return what takes the place of ``ModelIterable.__iter__``."""

    @functools.wraps(iterate)
    def iterate_or_hydrate(iterable: Any) -> Iterator[Any]:
        model = model_of(iterable)
        if model in (current.config or get_config()).models:  # a call less
            layout = layout_of(model)
            if layout is not None:
                return instances(iterable, layout)
        return iterate(iterable)

    return iterate_or_hydrate


def instances(iterable: Any, layout: Layout) -> Iterator[Any]:
    """Yield an instance for each row, in every respect as Django makes it."""
    queryset = iterable.queryset
    db = queryset.db
    compiler = queryset.query.get_compiler(using=db)
    fetch_mode = queryset.__dict__.get(FETCH_MODE)
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
        shape = shape_of(model, layout, select, fields, tuple(annotations))
    if shape is None:
        shape = shape_of(model, layout, select, fields)
        if annotations:
            steps.append(_annotator(annotations))
    make = shape.bind(model, db, fetch_mode)
    if queryset.__dict__[KNOWN_RELATED]:
        steps += [_attacher(model, known, db) for known in known_related(queryset)]
    rows = compiler.results_iter(results)
    if not steps:
        yield from map(make, rows)
        return
    for row in rows:
        instance = make(row)
        for step in steps:
            step(row, instance)
        yield instance


def _follow(annotations: dict[str, int], last: int) -> bool:
    """Say whether the annotations are the columns that come after those of the model."""
    return list(annotations.values()) == list(range(last + 1, last + 1 + len(annotations)))


def _populator(info: dict[str, Any], select: Any, db: str, fetch_mode: Any) -> Step:
    """Return a function that makes and connects a related instance (``select_related``)."""
    layout = layout_of(info["model"])
    if layout is None:
        return related_populator(info, select, db, fetch_mode)
    fields = info["select_fields"]
    if info["from_parent"]:  # some of its columns are those of the parent, which stand elsewhere
        found = {select[place][0].target.attname: place for place in fields}
        columns = {name: found[name] for name in layout.names if name in found}
        shape = new_shape(layout, columns)
    else:
        shape = shape_of(info["model"], layout, select, fields)
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
