"""A writer that dies between its commit and its release."""

import subprocess
import sys

import pytest
from django.db import connections
from django_redis import get_redis_connection

from querycache import bypass
from querycache.recorder import record_reads
from tests.testapp.models import Author


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


@pytest.mark.parametrize("store_alias", ["redis"], indirect=True)
@pytest.mark.parametrize("using", ["postgresql", "default"], indirect=True)
def test_a_process_that_dies_after_its_commit_leaves_no_stale_entry(using, store):
    """UPDATE fence COMMIT os._exit: the release never happens."""
    author = Author.objects.using(using).create(name="before")
    assert name(author) == name(author) == "before"
    script = (
        "import os, django; django.setup()\n"
        "from django.db import connections, transaction\n"
        "from django.conf import settings\n"
        f"c = connections[{using!r}]\n"
        f"c.settings_dict['NAME'] = {str(connections[using].settings_dict['NAME'])!r}\n"
        "from querycache import generations\n"
        "from tests.testapp.models import Author\n"
        "generations.release = lambda *arguments: os._exit(7)\n"
        f"with transaction.atomic(using={using!r}):\n"
        f"    Author.objects.using({using!r}).filter(pk={author.pk}).update(name='after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 7, done.stderr
    with bypass():
        assert name(author) == "after"
    with record_reads() as reads:
        assert name(author) == "after"
    assert reads[0].outcome == "miss"
    # The dead writer's fence stands until its deadline; other tests need not wait for it.
    client = get_redis_connection("redis")
    client.delete(*client.keys("*querycache:g:*"))
    assert name(author) == "after"
