"""
How Django makes an instance of a row, and whether anybody would notice if it were made otherwise.

Models may replace whatever is called on the way, and signals tell of it. Then the instances are for
Django to make.
"""

import sys
from collections.abc import Callable
from operator import attrgetter
from types import FunctionType, GetSetDescriptorType
from typing import Any, Final

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import ModelIterable
from django.db.models.signals import post_init, pre_init

__all__ = [
    "FETCH_MODE",
    "ModelIterable",
    "ModelState",
    "attribute",
    "fills_dict",
    "is_built_by_django",
    "is_set_by_writing",
    "model_of",
    "sets_fields_cache",
]


model_of: Final[Callable[[Any], type[Model]]] = attrgetter("queryset._query.model")
"""
The model that a ``ModelIterable`` makes instances of.

Not ``queryset.query``: that is where Django 5.2 to 6.1 apply the filter of a related manager, which
may fail, and must not do so before the first instance is asked for.
"""


FETCH_MODE: Final = "_fetch_mode"
"""The attribute of a queryset that becomes ``_state.fetch_mode``; Django 6.1 has it."""


_OWN_INIT: Final[Any] = Model.__init__
_OWN_FROM_DB: Final[Any] = Model.from_db.__func__  # type: ignore[attr-defined]
_IS_PATCHED: Final = not all(
    isinstance(method, FunctionType) and method.__globals__ is vars(sys.modules[Model.__module__])
    for method in (_OWN_INIT, _OWN_FROM_DB)
)
"""Whether somebody has put something in the place of Django's methods before this is imported."""


def is_built_by_django(model: type[Model]) -> bool:
    """
    Say whether ``from_db`` and all that it calls are Django's own, and nobody hears of it.

    It is asked for each query: tests replace methods for a while, and receivers of signals come and
    go.
    """
    return (
        model.__init__ is _OWN_INIT
        and getattr(model.from_db, "__func__", None) is _OWN_FROM_DB
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and model.__getattribute__ is object.__getattribute__
        and not _IS_PATCHED
        # has_listeners() takes 1 µs, and most projects have no receiver at all.
        and not (pre_init.receivers and pre_init.has_listeners(model))
        and not (post_init.receivers and post_init.has_listeners(model))
    )


def fills_dict(model: type[Model]) -> bool:
    """Say whether to call the class does nothing beside what ``Model.__init__`` does."""
    # Model.__init__ goes on to that of the bases behind it.
    inits = [base for base in model.__mro__ if "__init__" in vars(base)]
    return (
        set(inits) == {Model, object}
        and type(model).__call__ is type.__call__
        and type(attribute(model, "__dict__")) is GetSetDescriptorType
        and attribute(model, "_state") is None
    )


def is_set_by_writing(model: type[Model], name: str) -> bool:
    """
    Say whether ``setattr`` on a new instance amounts to an item of its ``__dict__``.

    It does for all that is no data descriptor (``DeferredAttribute`` is none), and for those of
    Django 5.2 to 6.1 that only look for what a new instance does not have.
    """
    kind = type(attribute(model, name))
    return kind in _WRITTEN or not (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))


_WRITTEN: Final = frozenset({ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor})


def sets_fields_cache(model: type[Model], name: str) -> bool:
    """Say whether to set this is to look into ``_state.fields_cache``, unless it is None."""
    return type(attribute(model, name)) is ForeignKeyDeferredAttribute


def attribute(model: type[Model], name: str) -> Any:
    """Return what ``setattr`` finds in the class, as it stands there."""
    return next((vars(base)[name] for base in model.__mro__ if name in vars(base)), None)
