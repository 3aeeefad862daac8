"""A store that nobody listens for."""

from typing import Any

import pytest

from querycache import breaker, debts
from tests.servers import free_port


def use_dead_store(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let querycache use a store that is not there; what it owes is forgotten with the test."""
    monkeypatch.setattr(breaker, "_failed_at", None)
    monkeypatch.setattr(debts, "owed", type(debts.owed)())
    settings.CACHES = {
        **settings.CACHES,
        "dead": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{free_port()}",
        },
    }
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "dead"}
