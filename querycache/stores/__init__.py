"""The store of this process, as the settings name it."""

import functools

from querycache.conf import get_config
from querycache.stores.base import Store
from querycache.stores.django import DjangoStore
from querycache.stores.redis import RedisStore, client_of

__all__ = ["DjangoStore", "RedisStore", "Store", "get_store"]


@functools.cache
def get_store() -> Store:
    """Return the store over the cache that ``QUERYCACHE["CACHE"]`` names."""
    alias = get_config().cache
    client = client_of(alias)
    return DjangoStore(alias) if client is None else RedisStore(alias, client)
