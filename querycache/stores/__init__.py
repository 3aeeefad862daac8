"""The store of this process, as the settings name it."""

import functools

from django.core.cache import InvalidCacheBackendError

from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.stores.base import Found, Store
from querycache.stores.django import DjangoStore
from querycache.stores.redis import RedisStore, client_of

__all__ = ["DjangoStore", "Found", "RedisStore", "Store", "forget_store", "get_store"]

_stores: dict[str, Store] = {}


@functools.cache
def get_store() -> Store:
    """
    Return the store over the cache that ``QUERYCACHE["CACHE"]`` names.

    Raises ``StoreFailed`` if there is no such cache, or if nothing can be made of its settings,
    which ``manage.py check`` reports.
    """
    alias = get_config().cache
    try:
        client = client_of(alias)
    except InvalidCacheBackendError as error:
        raise StoreFailed(str(error)) from error
    except Exception as error:  # noqa: BLE001  of any client
        # Not its text, and no trace: that of a LOCATION may have a part of the password in it.
        kind = type(error).__name__
        raise StoreFailed(f"CACHES[{alias!r}] cannot be used: {kind}. See its LOCATION") from None
    store = DjangoStore(alias) if client is None else RedisStore(alias, client)
    # Two threads may be here at once, and are given one: it knows which releases are unsettled.
    return _stores.setdefault(alias, store)


def forget_store() -> None:
    """Make the store anew next time, of the settings of then."""
    _stores.clear()
    get_store.cache_clear()
