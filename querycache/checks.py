"""What ``manage.py check`` says about the settings, each time with a hint."""

import difflib
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from querycache.conf import Config, get_config


def register() -> None:
    """Have Django run the checks; registering twice does nothing more."""
    checks.register(check_settings, checks.Tags.caches)


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check ``QUERYCACHE`` and the cache that it names."""
    config = get_config()
    messages: list[checks.CheckMessage] = [
        (checks.Error if problem.error else checks.Warning)(
            problem.message, hint=problem.hint, id=f"querycache.{problem.id}"
        )
        for problem in config.problems
    ]
    return [*messages, *_check_cache(config)]


def _check_cache(config: Config) -> Iterator[checks.CheckMessage]:
    if config.cache not in settings.CACHES:
        close = difflib.get_close_matches(config.cache, settings.CACHES, 1)
        aliases = ", ".join(repr(alias) for alias in settings.CACHES)
        hint = f"Did you mean {close[0]!r}?" if close else f"Aliases of CACHES: {aliases}."
        message = f"QUERYCACHE['CACHE'] is {config.cache!r}, which is not in CACHES."
        yield checks.Error(message, hint=hint, id="querycache.E010")
        return
    cache = caches[config.cache]
    if isinstance(cache, DummyCache):
        yield checks.Warning(
            f"CACHES[{config.cache!r}] is a DummyCache: nothing is ever cached.",
            hint="Use Redis, Valkey or another real cache, or take querycache out.",
            id="querycache.W002",
        )
    if isinstance(cache, LocMemCache) and not settings.DEBUG:
        yield checks.Warning(
            f"CACHES[{config.cache!r}] is a LocMemCache: each process has its own, and does not "
            "hear of what others write.",
            hint="With more than one process, answers are stale: use Redis, Valkey or another "
            "cache that all processes share.",
            id="querycache.W003",
        )
