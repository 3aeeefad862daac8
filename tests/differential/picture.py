"""What a read returned, as plain values that are equal only if everything about it is."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Model, QuerySet


class Picture:
    """
    Describes values down to types, model state and which objects are the same one.

    An object that is met again is described as the one met before, so that two results differ if
    one of them has one object in two places and the other has two alike.
    """

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given twice

    def of(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Model):
            return self._once(value, self._instance)
        if isinstance(value, QuerySet):
            return self._once(value, self._queryset)
        return (kind.__name__, kind.__module__, self._value(value))

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return [(self.of(key), self.of(item)) for key, item in value.items()]
        if isinstance(value, list | tuple):
            return getattr(value, "_fields", None), [self.of(item) for item in value]
        if isinstance(value, set):
            return sorted(repr(self.of(item)) for item in value)
        if isinstance(value, memoryview):
            return value.tobytes()
        return repr(value)

    def _once(self, value: Any, describe: Any) -> Any:
        number = self._met.get(id(value))
        if number is not None:
            return ("the same as", number)
        number = self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return (number, *describe(value))

    def _instance(self, instance: Model) -> tuple[Any, ...]:
        attributes = {
            name: self.of(value)
            for name, value in sorted(vars(instance).items())
            if name not in {"_state", "_prefetched_objects_cache"}
        }
        state = instance._state
        return (
            type(instance),
            (state.db, state.adding),
            sorted(instance.get_deferred_fields()),
            attributes,
            {name: self.of(value) for name, value in sorted(state.fields_cache.items())},
            self.of(getattr(instance, "_prefetched_objects_cache", {})),
        )

    def _queryset(self, queryset: QuerySet[Any]) -> tuple[Any, ...]:
        loaded = queryset._result_cache is not None
        return (type(queryset).__name__, queryset.model, loaded, self.of(list(queryset)))


def picture(value: Any) -> Any:
    return Picture().of(value)
