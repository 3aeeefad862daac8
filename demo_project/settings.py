"""Settings of the demo shop. What is special to querycache stands at the end."""

import os
from pathlib import Path

import dj_database_url

# What the demo writes (the SQLite file, the address of its cache) goes into one folder.
DEMO_FOLDER = Path(os.environ.get("DEMO_FOLDER") or Path(__file__).parent / "var")

# `manage.py demo` leaves the address of its embedded cache here, so that a shell in a second
# terminal invalidates the same cache that the pages are served from.
DEMO_REDIS_URL_FILE = DEMO_FOLDER / "redis-url"


def redis_url() -> str:
    if from_environment := os.environ.get("DEMO_REDIS_URL"):
        return from_environment
    try:
        return DEMO_REDIS_URL_FILE.read_text().strip() or "redis://127.0.0.1:6379/0"
    except FileNotFoundError:
        return "redis://127.0.0.1:6379/0"


DEMO_DATABASE_URL = (
    os.environ.get("DEMO_DATABASE_URL") or f"sqlite:///{DEMO_FOLDER / 'shop.sqlite3'}"
)

SECRET_KEY = "for the demo on your own machine, and for nothing else"
DEBUG = True
ALLOWED_HOSTS: list[str] = []  # with DEBUG, Django allows localhost alone

INSTALLED_APPS = [
    "querycache",
    "demo_project.shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    # First, so that it also counts what the other middleware reads and writes.
    "demo_project.shop.page_costs.PageCostsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["django.contrib.humanize.templatetags.humanize"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "demo_project.shop.context_processors.every_page",
            ],
        },
    },
]

ROOT_URLCONF = "demo_project.urls"
WSGI_APPLICATION = "demo_project.wsgi.application"
STATIC_URL = "static/"
SITE_ID = 1
LOGIN_REDIRECT_URL = "shop:home"
LOGOUT_REDIRECT_URL = "shop:home"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

DATABASES = {"default": dj_database_url.parse(DEMO_DATABASE_URL)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # The development server answers in threads: they wait for each other instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
    }

# Sessions live in the database, so that they are read through querycache like everything else.
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": redis_url(),
    },
}

QUERYCACHE = {
    "CACHE": "default",
    "MODELS": {
        "shop.*": {"TTL": 300},
        # What the shopkeeper rarely touches may stay longer. A TTL only bounds the memory used:
        # a change in the admin is seen by the next page, whatever the TTL.
        "shop.Category": {"TTL": 3600},
        "shop.Brand": {"TTL": 3600},
        "shop.Tag": {"TTL": 3600},
        "auth.*": {"TTL": 300},
        "contenttypes.*": {"TTL": 3600},
        "sites.*": {"TTL": 3600},
        "sessions.*": {"TTL": 60},
    },
    # For those who work on querycache: each plan that is remembered is compared with a new one.
    "CHECK_PLANS": os.environ.get("QUERYCACHE_CHECK_PLANS") == "1",
}
