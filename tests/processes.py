"""Other processes of the same project, on the same databases and the same cache."""

import json
import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.db import connections

PRELUDE = """
import json, os, sys
given = json.loads(sys.argv[1])
from django.conf import settings
settings.CACHES = given["caches"]
settings.QUERYCACHE = given["querycache"]
for alias, name in given["databases"].items():
    settings.DATABASES[alias]["NAME"] = name
import django
django.setup()
"""


def run_process(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """
    Run a script in another process, with the settings of this test, and wait for its end.

    It finds the arguments, which JSON must be able to carry, in ``given["arguments"]``.
    """
    given = {
        "caches": settings.CACHES,
        "querycache": settings.QUERYCACHE,
        "databases": {alias: connections[alias].settings_dict["NAME"] for alias in connections},
        "arguments": arguments,
    }
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script, json.dumps(given, default=str)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        check=False,
        capture_output=True,
        text=True,
    )


def seen_by_another_process(using: str, pk: int, *, times: int) -> list[str]:
    """Return the name of an author as another process sees it, and how it was read: "a miss"."""
    done = run_process(
        """
from querycache.recorder import record_reads
from tests.testapp.models import Author
using, pk, times = given["arguments"]
for _ in range(times):
    with record_reads() as reads:
        name = Author.objects.using(using).values_list("name", flat=True).get(pk=pk)
    print(name, reads[0].outcome)
""",
        using,
        pk,
        times,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
