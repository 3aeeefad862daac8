"""
How long the pages of the admin panel take, with many models and many texts of SQL.

In one process, with Django's test client: what the network and a browser add is left out. The
counters are those of a site that has run for a while, in a Valkey of its own.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import django
from django.conf import settings

from tests import servers
from tests.benchmarks.peers import end_in_order, note, say, say_surroundings, say_table

APP = "sessions"
"""An installed app, which is given the models."""
COUNTED = ("hits", "misses", "fills", "deaths")
PAGES = {
    "overview": "",
    "models": "models/",
    "queries, most valuable": "queries/",
    "queries of one model": f"queries/?model={APP}.Model0",
    "queries, not cacheable": "queries/?view=uncacheable",
    "events": "events/",
    "export as CSV": "models.csv",
}


def set_up(store: str, models: int) -> None:
    """Configure Django with so many models, all of them opted in."""
    here = sys.modules[__name__]
    settings.configure(
        SECRET_KEY="only for benchmarks",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=here,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": store}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "querycache",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        QUERYCACHE={"MODELS": {f"{APP}.*": {"TTL": 300}}},
        USE_TZ=True,
    )
    django.setup()
    from django.contrib import admin
    from django.core.management import call_command
    from django.db import models as fields
    from django.urls import path

    from querycache.conf import forget_config

    meta = type("Meta", (), {"app_label": APP})
    for number in range(models):
        body = {"__module__": __name__, "Meta": meta, "name": fields.TextField()}
        type(f"Model{number}", (fields.Model,), body)
    forget_config()
    here.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]
    call_command("migrate", verbosity=0)


def fill(models: int, queries: int) -> None:
    """Put the counters of so many models and queries into the store."""
    from querycache.counting import Batch, groups_of
    from querycache.stores import get_store

    chance = random.Random(1)
    texts, sums = {}, {}
    for number in range(queries):
        label, name = f"{APP}.Model{number % models}", f"{number:016x}"
        description = {
            "sql": f"SELECT * FROM panel_model WHERE name = %s AND number = {number}",
            "model": label,
            "tables": ["panel_model"],
            "vendor": "sqlite",
        }
        texts[name] = json.dumps(description).encode()
        counted = ["unknown-function"] if number % 10 == 0 else COUNTED
        sums |= {(label, each, name): [chance.randrange(1, 10_000), 50, 500] for each in counted}
    get_store().publish(Batch(groups_of(sums, time.time()), texts, []))


def time_pages(rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each page has taken, by its title."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    found: dict[str, list[float]] = {title: [] for title in PAGES}
    for number in range(rounds + 1):
        for title, address in PAGES.items():
            began = time.perf_counter()
            response = client.get(f"/admin/querycache/querycache/{address}")
            took = time.perf_counter() - began
            assert response.status_code == 200, address
            assert title in {"overview", "events"} or f"{APP}.Model" in response.content.decode()
            if number:  # at first, templates are compiled
                found[title].append(took)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.panel", description=__doc__)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    options: Any = parser.parse_args(arguments)
    end_in_order()
    with servers.Valkey() as valkey:
        set_up(f"{valkey.address}/0", options.models)
        note("Filling the store")
        fill(options.models, options.queries)
        found = time_pages(options.rounds)
    say_surroundings()
    say(f"Pages of the panel, {options.models} models, {options.queries:,} texts of SQL:")
    say()
    rows = [
        [title, f"{min(times) * 1000:.0f}", f"{median(times) * 1000:.0f}"]
        for title, times in found.items()
    ]
    say_table(["", "the best, ms", "median, ms"], rows)


if __name__ == "__main__":
    main()
