"""
A magazine made with Wagtail, every model opted in.

QUERYCACHE_TEST_DEFAULT=postgresql puts it on PostgreSQL and Valkey; otherwise it is on SQLite and
LocMem.
"""

import os
from typing import Any

from tests import settings as shared
from tests.settings import (  # noqa: F401
    ALLOWED_HOSTS,
    CACHE_TABLE,
    DEFAULT_AUTO_FIELD,
    PASSWORD_HASHERS,
    SECRET_KEY,
    STATIC_URL,
    USE_TZ,
)

ON = os.environ.get("QUERYCACHE_TEST_DEFAULT", "default")
CACHE = {"default": "locmem", "postgresql": "redis"}[ON]

DATABASES: dict[str, dict[str, Any]] = {"default": shared.DATABASES[ON]}
CACHES = {**shared.CACHES, "default": shared.CACHES[CACHE]}

ROOT_URLCONF = "tests.thirdparty.urls"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
MEDIA_ROOT = shared.FOLDER / "media"
MEDIA_URL = "/media/"

INSTALLED_APPS = [
    "querycache",
    "tests.thirdparty.magazine",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.settings",
    "wagtail.contrib.simple_translation",
    "wagtail.contrib.table_block",
    "wagtail.locales",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django_filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    *shared.MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
    "wagtail.contrib.redirects.middleware.RedirectMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                *shared.TEMPLATES[0]["OPTIONS"]["context_processors"],
                "wagtail.contrib.settings.context_processors.settings",
            ],
        },
    },
]

WAGTAIL_SITE_NAME = "The magazine"
WAGTAILADMIN_BASE_URL = "http://testserver"
WAGTAIL_I18N_ENABLED = True
LANGUAGES = WAGTAIL_CONTENT_LANGUAGES = [("en", "English"), ("de", "Deutsch")]
WAGTAIL_ENABLE_UPDATE_CHECK = False
WAGTAIL_USAGE_COUNT_ENABLED = True
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database"}}

QUERYCACHE = {"MODELS": {"*": {"TTL": 600}}}
