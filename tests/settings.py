"""Settings of the test project: every database and every kind of store that is there."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pymysql

from tests import servers

# PyMySQL stands in for mysqlclient, and tells Django that it is as new as Django wants it.
pymysql.version_info = (2, 2, 1, "final", 0)  # type: ignore[assignment]
pymysql.install_as_MySQLdb()

FOLDER = Path(os.environ.get("QUERYCACHE_TEST_FOLDER", tempfile.gettempdir()))

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SITE_ID = 1

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "default.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            # Readers and one writer side by side, and no waiting for a disk.
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;",
        },
        # A file, not SQLite's memory: threads need connections of their own.
        "TEST": {"NAME": FOLDER / "test.sqlite3"},
    },
}
if socket_folder := servers.address("postgresql"):
    DATABASES["postgresql"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": socket_folder,
        "TEST": {"NAME": "test_querycache"},
    }
if socket := servers.address("mariadb"):
    DATABASES["mariadb"] = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "mysql",
        "USER": "root",
        # Without ssl_disabled PyMySQL reads all certificates for each connection, 50 ms.
        "OPTIONS": {"unix_socket": socket, "charset": "utf8mb4", "ssl_disabled": True},
        "TEST": {"NAME": "test_querycache", "CHARSET": "utf8mb4"},
    }

# Aliases that QUERYCACHE_TEST_DATABASES leaves out are not there at all.
CHOSEN_DATABASES = os.environ.get("QUERYCACHE_TEST_DATABASES", "").replace(",", " ").split()
if CHOSEN_DATABASES:
    DATABASES = {
        alias: database
        for alias, database in DATABASES.items()
        if alias == "default" or alias in CHOSEN_DATABASES
    }

CACHE_TABLE = "cache_table"
# Processes of pytest-xdist share the servers and must not share their caches.
KEY_PREFIX = os.environ.get("PYTEST_XDIST_WORKER", "")

CACHES: dict[str, dict[str, Any]] = {
    "locmem": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "querycache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
    "file": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": FOLDER / "cache",
        "KEY_PREFIX": KEY_PREFIX,
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
    "db": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": CACHE_TABLE,  # migrating a test database makes it
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
if memcached := servers.address("memcached"):
    CACHES["memcached"] = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": memcached,
        "KEY_PREFIX": KEY_PREFIX,
    }
if valkey := servers.address("valkey"):
    CACHES["redis"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{valkey}/0",
        "KEY_PREFIX": KEY_PREFIX,
    }
    CACHES["redis_builtin"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"{valkey}/1",
        "KEY_PREFIX": KEY_PREFIX,
    }
if redis := servers.address("redis"):
    CACHES["redis_server"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{redis}/0",
        "KEY_PREFIX": KEY_PREFIX,
    }
CACHES["default"] = CACHES.get("redis", CACHES["locmem"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "querycache",
    "demo_project.shop",
    "tests.testapp",
    "tests.plainapp",
]
# They have none, and `makemigrations` is not to make them.
MIGRATION_MODULES = {"testapp": None, "plainapp": None}

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

QUERYCACHE: dict[str, Any] = {
    "CACHE": "default",
    "CHECK_PLANS": os.environ.get("QUERYCACHE_CHECK_PLANS") == "1",
    "MODELS": {
        "testapp.*": {"TTL": 300},
        "testapp.Book": {"TTL": 300, "SCOPES": ["author", "publisher", "sequel_to", "pages"]},
        "testapp.Edit": {"TTL": 300, "SCOPES": ["book", "editor"]},
        "testapp.Note": {"TTL": 300, "SCOPES": ["content_type", "object_id"]},
        "testapp.Secret": None,
        "auth.*": {"TTL": 300},
        "contenttypes.*": {"TTL": 300},
        "sessions.*": {"TTL": 300},
        "sites.*": {"TTL": 300},
        "shop.*": {"TTL": 300},
    },
}
