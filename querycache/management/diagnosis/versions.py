"""Looks at what is installed."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import django

from querycache.management.diagnosis.findings import Finding, ok, warning

_PACKAGES: Final = (
    "django-orm-querycache",
    "django-redis",
    "redis",
    "hiredis",
    "zstandard",
    "pymemcache",
    "pylibmc",
    "psycopg",
    "psycopg2",
    "psycopg2-binary",
    "mysqlclient",
    "PyMySQL",
    "oracledb",
)
"""Distributions that have a part in this: caches, and the drivers of databases."""


def findings() -> Iterator[Finding]:
    installed = {name: found for name in _PACKAGES if (found := _version(name))}
    names = {"Python": platform.python_version(), "Django": django.get_version(), **installed}
    yield ok("versions", ", ".join(f"{name} {found}" for name, found in names.items()) + ".")
    if "redis" in installed and "hiredis" not in installed:
        yield warning(
            "versions",
            "hiredis is not installed: the answers of Redis are parsed in Python, which takes a "
            "large part of a hit.",
            'Install it: pip install "django-orm-querycache[redis]".',
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
