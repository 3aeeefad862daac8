"""
Answers ORM queries from a cache, and is never older than the database.

Add ``querycache`` to INSTALLED_APPS and name models and their TTL in ``QUERYCACHE``; nothing else
changes. Importing this package does nothing.
"""

from querycache.exceptions import QueryCacheError, Uncacheable
from querycache.explanations import explain
from querycache.querysets import (
    CacheQuerySet,
    ainvalidate,
    bypass,
    cached,
    flush,
    get_stats,
    invalidate,
    uncached,
)

__all__ = [
    "CacheQuerySet",
    "QueryCacheError",
    "Uncacheable",
    "ainvalidate",
    "bypass",
    "cached",
    "explain",
    "flush",
    "get_stats",
    "invalidate",
    "uncached",
]
