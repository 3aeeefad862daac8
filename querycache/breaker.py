"""
How the store is asked, so that one that fails stops neither reads nor writes.

Whatever its client raises becomes ``StoreFailed``, and whoever asks has another way to go on. What
can be done without is then not asked for a while: to wait for a store in vain takes its time.
"""

import logging
from time import monotonic, time
from typing import Any, Final

from django.db import connections

from querycache._django.connections import BaseDatabaseWrapper
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.signals import store_failed, store_recovered
from querycache.stores import get_store
from querycache.transactions import state_of

logger = logging.getLogger("querycache")

RETRY_SECONDS: Final = 1.0
"""
How long a store that failed is not asked again by reads, so that an outage delays few of them.
"""
_failed_at: float | None = None


def forget_failure() -> None:
    """Ask again at once: another store may have taken the place of the one that failed."""
    global _failed_at  # noqa: PLW0603
    _failed_at = None


def resting_since() -> float | None:
    """Return the Unix time at which the store last failed, None if it has answered since."""
    return None if _failed_at is None else time() - (monotonic() - _failed_at)


def ask_unless_failing(method: str, *args: Any) -> Any:
    """Ask the store what can be done without; fail at once if it has just failed."""
    if _failed_at is not None and monotonic() < _failed_at + RETRY_SECONDS:
        raise StoreFailed("the cache has just failed")
    return ask(method, *args)


def ask(method: str, *args: Any) -> Any:
    """Ask the store; any error of its client becomes ``StoreFailed``, and the first is logged."""
    global _failed_at  # noqa: PLW0603
    try:
        answer = call(method, *args)
    except _InTransactionError:
        raise
    except Exception as error:
        # First of all: whoever is told below may read, and shall not wait for the store in vain.
        is_first, _failed_at = _failed_at is None, monotonic()
        if is_first:
            cache = get_config().cache
            logger.error(  # noqa: TRY400  a stack trace of each client says less than its error
                "The cache %r does not answer, queries go to the database: %r",
                cache,
                error,
                extra={"querycache_event": "store-failed", "cache": cache, "error": repr(error)},
            )
            store_failed.send_robust(None, cache=cache, error=error)
        raise StoreFailed(str(error)) from error
    if _failed_at is not None:
        _failed_at = None
        cache = get_config().cache
        told = {"querycache_event": "store-recovered", "cache": cache}
        logger.warning("The cache answers again", extra=told)
        store_recovered.send_robust(None, cache=cache)
    return answer


class _InTransactionError(StoreFailed):
    """The store is a table, and would take part in a transaction: nothing is wrong with it."""


def call(method: str, *args: Any, **options: Any) -> Any:
    """Call a method of the store; what it raises is passed on."""
    store = get_store()
    if store.using is None:
        return getattr(store, method)(*args, **options)
    connection = connections[store.using]
    state = state_of(connection)
    # In a transaction it might look at a snapshot, and what it writes nobody would see before the
    # commit, or ever. But one that is about to commit, or just has, takes its own fence with it.
    if state.in_transaction(connection) and not state.publishing:
        raise _InTransactionError(f"the cache is in {store.using!r}, which has an open transaction")
    # The statements of a store that is a table must not themselves be fenced and released.
    return state.cover(getattr(store, method), *args, **options)


def is_stored_in(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the store is a table of this database."""
    try:
        return get_store().using == connection.alias
    except StoreFailed:
        return False
