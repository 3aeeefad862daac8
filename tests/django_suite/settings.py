"""
Settings of Django's own tests, to which its runtests.py adds apps, middleware and templates.

The environment says which database, and which mode: see ``PLAIN``, ``CACHED`` and ``VERIFIED``.
"""

import os
from pathlib import Path
from typing import Any

from tests import servers

PLAIN = "plain"
"""Without querycache."""
CACHED = "cached"
"""With querycache, and every model opted in."""
VERIFIED = "verified"
"""The same, with as many queries as without querycache: each hit asks the database as well."""
MODE = os.environ.get("QUERYCACHE_SUITE_MODE", CACHED)
RESULTS = Path(os.environ.get("QUERYCACHE_SUITE_RESULTS", "results.json"))
DATABASE = os.environ.get("QUERYCACHE_SUITE_DATABASE", "sqlite")

SECRET_KEY = "only for tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = False
TEST_RUNNER = "tests.django_suite.runner.Runner"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "querycache": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "querycache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
}
if DATABASE == "postgresql":
    for alias, name in (("default", "django_default"), ("other", "django_other")):
        DATABASES[alias] = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": servers.address("postgresql"),
            "TEST": {"NAME": f"{name}_{MODE}"},
        }
    CACHES["querycache"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{servers.address('valkey')}/0",
    }

QUERYCACHE: dict[str, Any] = {
    "CACHE": "querycache",
    # Listening to post_delete makes Django read what it deletes: see ``DELETE_SIGNAL``.
    "MODELS": {"*": {"TTL": 600, "DELETE_SIGNAL": MODE == CACHED}},
    "VERIFY": 1.0 if MODE == VERIFIED else 0.0,
}
