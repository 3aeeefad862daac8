"""Settings of a worker; where its database and its store are, the test says in the environment."""

import json
import os

STRESS = json.loads(os.environ["QUERYCACHE_STRESS"])

SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["querycache", "tests.stress"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": STRESS["database_host"],
        "NAME": STRESS["database_name"],
        "USER": "postgres",
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{STRESS['store_port']}/0",
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": STRESS["store_timeout"],
            "SOCKET_TIMEOUT": STRESS["store_timeout"],
        },
    }
}
QUERYCACHE = {
    "CHECK_PLANS": os.environ.get("QUERYCACHE_CHECK_PLANS") == "1",
    "MODELS": {"stress.*": {"TTL": 300}},
}
