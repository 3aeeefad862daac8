"""What ``manage.py check`` says about the settings, each time with a hint."""

import difflib
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, router

from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.options import Config
from querycache.stores import get_store


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
    return [
        *messages,
        *_check_cache(config),
        *_check_routers(config),
        *_check_tenants(config),
    ]


def _check_cache(config: Config) -> Iterator[checks.CheckMessage]:
    if config.cache not in settings.CACHES:
        close = difflib.get_close_matches(config.cache, settings.CACHES, 1)
        aliases = ", ".join(repr(alias) for alias in settings.CACHES)
        hint = f"Did you mean {close[0]!r}?" if close else f"Aliases of CACHES: {aliases}."
        message = f"QUERYCACHE['CACHE'] is {config.cache!r}, which is not in CACHES."
        yield checks.Error(message, hint=hint, id="querycache.E010")
        return
    try:
        get_store()
        cache = caches[config.cache]
    except StoreFailed as error:
        hint = "Queries go to the database. See BACKEND, LOCATION and OPTIONS of this cache."
        yield checks.Error(f"{error}.", hint=hint, id="querycache.E025")
        return
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


_TRIES = 16
"""How often a router is asked: it may choose among several replicas by chance."""


def _check_routers(config: Config) -> Iterator[checks.CheckMessage]:
    """Look for replicas that nobody has declared: what reads one alias and writes another."""
    if not router.routers:
        return
    undeclared: dict[tuple[str, str], list[str]] = {}
    for model, table in config.models.items():
        primary = router.db_for_write(model)
        for alias in sorted({router.db_for_read(model) for _ in range(_TRIES)} - {primary}):
            if config.primary_of(alias) != primary:
                undeclared.setdefault((alias, primary), []).append(table.label)
    for (alias, primary), labels in undeclared.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        yield checks.Warning(
            f"A router reads {labels[0]}{more} from {alias!r} and writes to {primary!r}: these "
            "reads are not cached.",
            hint="If it is a replica, declare it: QUERYCACHE['REPLICAS'] = "
            f'{{"{alias}": {{"OF": "{primary}", "MAX_LAG": 5}}}}, in seconds.',
            id="querycache.W004",
        )


_TENANT_APPS = {
    "django_tenants",
    "django_pgschemas",
    "tenant_schemas",
    "django_rls",
    "django_rls_tenants",
}
"""Packages that show the same SQL other rows, by schema or by row-level security."""


def _check_tenants(config: Config) -> Iterator[checks.CheckMessage]:
    """Look for tenants that nothing in a key tells apart."""
    if config.namespace is not None or not config.models:
        return
    installed = sorted(_TENANT_APPS.intersection(app.name for app in apps.get_app_configs()))
    # The connection of django-tenants says which schema it is set to, and that is in the key.
    if installed and not any(
        hasattr(connection, "schema_name") for connection in connections.all()
    ):
        yield checks.Warning(
            f"{installed[0]} is installed, and QUERYCACHE has no NAMESPACE: unless what it does is "
            "seen (SET, set_config), a tenant may be given the rows of another.",
            hint="Name a callable that returns the name of the current tenant: "
            'QUERYCACHE["NAMESPACE"] = "shop.tenants.current".',
            id="querycache.W005",
        )
