"""The public ways to ask for a query to be cached or not, and to make cached ones stale."""

import functools
import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet

from querycache import changes, counts, debts, generations, invalidation
from querycache.conf import get_config
from querycache.counting import statistics
from querycache.dependencies import tables_in_tree
from querycache.hints import HINT, Hint, bypassed
from querycache.raw import cached_raw
from querycache.readers import is_valid_max_stale, is_valid_ttl
from querycache.signals import flushed
from querycache.statements import Change
from querycache.stats import TOTALS, Cause, Stats, stats_from

Q = TypeVar("Q", bound="QuerySet[Any, Any] | RawQuerySet[Any]")
P = ParamSpec("P")
T = TypeVar("T")


def cached(queryset: Q, *, ttl: float | None = None, max_stale: float | None = None) -> Q:
    """
    Return a copy of a queryset whose answer is kept for ``ttl`` seconds.

    It may be ``max_stale`` seconds old. Without either it is what its models say, which must be
    opted in all the same. A raw queryset (``Model.objects.raw()``) is cached in this way only.
    Raises ``TypeError`` for what is not a queryset, ``ValueError`` for a TTL that is not above 0 or
    longer than a year, or for a ``max_stale`` below 0 or longer than that.
    """
    if ttl is not None and not is_valid_ttl(ttl):
        raise ValueError(f"ttl must be seconds, above 0 and at most a year, not {ttl!r}")
    if max_stale is not None and not is_valid_max_stale(max_stale):
        raise ValueError(f"max_stale must be seconds, from 0 to a year, not {max_stale!r}")
    hint = Hint(cache=True, ttl=ttl, max_stale=max_stale)
    if isinstance(queryset, RawQuerySet):
        return cast("Q", cached_raw(queryset, hint))
    return _with_hint(queryset, hint)


def uncached(queryset: Q) -> Q:
    """
    Return a copy of a queryset that is answered by the database.

    Raises ``TypeError`` for what is not a queryset.
    """
    return _with_hint(queryset, Hint(cache=False))


def _with_hint(queryset: Q, hint: Hint) -> Q:
    if not isinstance(queryset, QuerySet):
        raise TypeError(f"expected a QuerySet, not {type(queryset).__name__}")
    copy = queryset.all()
    setattr(copy.query, HINT, hint)
    return copy


class CacheQuerySet(QuerySet[Any, Any]):
    """A ``QuerySet`` with ``cache()`` and ``nocache()``; use ``CacheQuerySet.as_manager()``."""

    def cache(self, *, ttl: float | None = None, max_stale: float | None = None) -> "CacheQuerySet":
        """Return a copy whose answer is kept for ``ttl`` seconds. See ``cached()``."""
        return cached(self, ttl=ttl, max_stale=max_stale)

    def nocache(self) -> "CacheQuerySet":
        """Return a copy that is answered by the database. See ``uncached()``."""
        return uncached(self)


class bypass:  # noqa: N801  (used like a function)
    """
    Send the reads of a block or a function to the database, and fill nothing.

    For use as ``with bypass():`` or ``@bypass()``, also on ``async def``. Writes go on to
    invalidate.
    """

    def __init__(self) -> None:
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(bypassed.set(True))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        bypassed.reset(self._tokens.pop())

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def bypassing_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with bypass():
                    return await function(*args, **kwargs)

            return cast("Callable[P, T]", bypassing_coroutine)

        @functools.wraps(function)
        def bypassing_function(*args: P.args, **kwargs: P.kwargs) -> T:
            with bypass():
                return function(*args, **kwargs)

        return bypassing_function


Target = type[Model] | Model | QuerySet[Any, Any] | str


def invalidate(*targets: Target, using: str | None = None) -> None:
    """
    Make stale whatever was read of these: models, instances, querysets, or names like
    "shop.Product".

    For changes that do not go through Django. In a transaction it takes place with its commit.
    Of an instance it is what depends on its row: not what was read of other rows by their keys.
    ``using`` is the alias of the database that changed; without it, it is that of an instance or a
    queryset, and every database for a model. Raises ``TypeError`` or ``LookupError`` for a target
    that is none, ``StoreFailed`` if the store does not answer (then it is made up for as soon as it
    does).
    """
    if not targets:
        raise TypeError("invalidate() needs something to invalidate; flush() forgets everything")
    changed: defaultdict[str, Change] = defaultdict(lambda: Change(causes=_BY_CALL))
    for target in targets:
        aliases, change = _change_of_target(target)
        for alias in [using] if using is not None else aliases:
            known = changed[alias]
            changed[alias] = replace(
                known, tables=known.tables | change.tables, scopes=known.scopes | change.scopes
            )
    for alias, change in changed.items():
        invalidation.invalidate_change(change, alias)


_BY_CALL: Final = frozenset([("", Cause.CALL)])

ainvalidate = sync_to_async(invalidate)
"""The asynchronous twin of ``invalidate()``."""


def _change_of_target(target: Target) -> tuple[list[str], Change]:
    """Return the aliases of the databases in which a target lies, and what of them has changed."""
    if isinstance(target, str):
        try:
            target = apps.get_model(target)
        except ValueError:  # no dot in it
            raise LookupError(f"expected a name like 'shop.Product', not {target!r}") from None
    if isinstance(target, QuerySet):
        # Before it is compiled, a query may not have joined even its own table.
        own = changes.change_of_models([target.model])
        return [target.db], own.also(tables_in_tree(target.query))
    if isinstance(target, Model):
        alias = target._state.db
        return [alias] if alias else list(connections), changes.change_of_instance(target)
    if isinstance(target, type) and issubclass(target, Model):  # type: ignore[redundant-expr]
        return list(connections), changes.change_of_models([target])
    raise TypeError(f"expected a model, an instance, a queryset or a name, not {target!r}")


def flush() -> None:
    """
    Forget everything that is in the store, of all projects and databases that share its prefix.

    Raises ``StoreFailed`` if the store does not answer.
    """
    generations.renew_everything()
    flushed.send_robust(None)


def get_stats() -> Stats:
    """
    Return the counts of all processes, by model.

    Raises ``StoreFailed`` if the store does not answer.
    """
    debts.settle()
    statistics.publish()
    labels = sorted({table.label for table in get_config().tables.values()})
    (found,) = counts.read_counts(TOTALS)
    return stats_from(labels, found)
