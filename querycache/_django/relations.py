"""
How instances are connected with each other, and what a relation does beside that.

``select_related`` and related managers know the other side of an instance before anybody asks for
it, and a relation may have the database delete rows that no statement names.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import django
from django.db.models import Model, QuerySet
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.query import RelatedPopulator

try:
    from django.db.models.deletion import DatabaseOnDelete  # Django 6.1
except ImportError:
    DatabaseOnDelete = None  # type: ignore[misc,assignment]

from querycache._django.instances import attribute

__all__ = [
    "KNOWN_RELATED",
    "LEAVES_DEFERRED_KEYS",
    "KnownRelated",
    "PlainKey",
    "cached_under",
    "deletes_in_database",
    "known_related",
    "plain_key",
    "related_populator",
]


def related_populator(
    info: dict[str, Any], select: Sequence[Any], db: str, fetch_mode: Any
) -> Callable[[Sequence[Any], Any], None]:
    """Return Django's own function that makes and connects an instance of select_related."""
    modes = () if fetch_mode is None else (fetch_mode,)
    populate: Callable[[Sequence[Any], Any], None]
    populate = RelatedPopulator(info, select, db, *modes).populate
    return populate


def cached_under(setter: Any) -> str | None:
    """
    Return under which name a setter of select_related puts an instance into ``fields_cache``.

    None if it does something else.
    """
    if getattr(setter, "__func__", None) is not FieldCacheMixin.set_cached_value:
        return None
    name: str = setter.__self__.cache_name
    return name


class KnownRelated(NamedTuple):
    """
    Instances that those of a query are to be connected with, by key.

    ``names`` are the attributes that the key of an instance is made of, by ``key_of``.
    """

    field: Any
    objects: Mapping[Any, Any]
    names: list[str]
    key_of: Callable[[Any], Any]


LEAVES_DEFERRED_KEYS: Final = django.VERSION >= (6, 1)
"""Whether an instance whose key is deferred is not connected, where Django 5.2 and 6.0 load it."""


KNOWN_RELATED: Final = "_known_related_objects"
"""The attribute of a queryset that says what a related manager knows, empty for all others."""


def known_related(queryset: "QuerySet[Any]") -> list[KnownRelated]:
    """What a related manager has told its queryset of the other side."""
    known: dict[Any, Any] = getattr(queryset, KNOWN_RELATED)
    return [_known_related(queryset.model, *item) for item in known.items()]


def _known_related(model: type[Model], field: Any, objects: Mapping[Any, Any]) -> KnownRelated:
    names = [
        field.attname if name == "self" else model._meta.get_field(name).attname  # type: ignore[union-attr]
        for name in field.from_fields
    ]
    return KnownRelated(field, objects, names, attrgetter(*names))


class PlainKey(NamedTuple):
    """
    An ordinary foreign key: to set it is to write two items.

    ``here`` of the instance's ``__dict__`` becomes the attribute ``there`` of the related one,
    which must be an instance of ``model``; and that is kept in ``fields_cache`` under ``name``.
    """

    name: str
    here: str
    there: str
    model: type[Model]


def plain_key(model: type[Model], field: Any) -> PlainKey | None:
    """Return how a foreign key is set; None if that is not as simple."""
    descriptor = attribute(model, field.name)
    if type(descriptor) is not ForwardManyToOneDescriptor or descriptor.field is not field:
        return None
    kind = type(field)
    is_own = (
        kind.is_cached is FieldCacheMixin.is_cached
        and kind.set_cached_value is FieldCacheMixin.set_cached_value
    )
    if not is_own or len(field.related_fields) != 1 or not field.remote_field.multiple:
        return None
    here, there = field.related_fields[0]
    related_model = field.remote_field.model._meta.concrete_model
    return PlainKey(field.cache_name, here.attname, there.attname, related_model)


def deletes_in_database(model: type[Model]) -> Iterator[type[Model]]:
    """The models whose rows the database deletes or changes by itself with rows of ``model``."""
    if DatabaseOnDelete is None:
        return
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(getattr(relation, "on_delete", None), DatabaseOnDelete):
            related: type[Model] = relation.related_model  # type: ignore[assignment]
            yield related
