"""A writer that dies at each of its steps: what other processes are given afterwards."""

import pytest
from django_redis import get_redis_connection

from querycache import bypass
from tests.processes import run_process, seen_by_another_process
from tests.testapp.models import Author

DIED = 7

DIE_BEFORE_THE_FENCE = "generations.fence = lambda *arguments: os._exit(7)"
DIE_BEFORE_THE_COMMIT = "connections[using]._commit = lambda: os._exit(7)"
DIE_BEFORE_THE_RELEASE = "generations.release = lambda *arguments: os._exit(7)"
DIE_BEFORE_THE_ANSWER = """
release = generations.release
def release_and_die(*arguments):
    release(*arguments)
    os._exit(7)
generations.release = release_and_die
"""

WRITE_AND_DIE = """
import os
from django.db import connections, transaction
from querycache import generations
from tests.testapp.models import Author
using, pk, step = given["arguments"]
exec(step)
with transaction.atomic(using):
    Author.objects.using(using).filter(pk=pk).update(name="after")
"""


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


@pytest.fixture
def author(using, store):
    author = Author.objects.using(using).create(name="before")
    assert name(author) == name(author) == "before"
    yield author
    # The dead writer's fence stands until its deadline; other tests need not wait for it.
    client = get_redis_connection("redis")
    if names := client.keys("*querycache:g:*"):
        client.delete(*names)


@pytest.mark.parametrize("store_alias", ["redis"], indirect=True)
@pytest.mark.parametrize("using", ["postgresql", "default"], indirect=True)
@pytest.mark.parametrize(
    ("step", "truth", "seen"),
    [
        # Nothing was committed, and nothing was said: the entry is as good as before.
        (DIE_BEFORE_THE_FENCE, "before", ["before hit", "before hit"]),
        # Whether it was committed, nobody knows: the fence stands.
        (DIE_BEFORE_THE_COMMIT, "before", ["before miss", "before miss"]),
        (DIE_BEFORE_THE_RELEASE, "after", ["after miss", "after miss"]),
        # The server does what was sent, also if nobody is there for the answer.
        (DIE_BEFORE_THE_ANSWER, "after", ["after miss", "after hit"]),
    ],
    ids=["before the fence", "before the commit", "before the release", "before the answer"],
)
def test_a_process_that_dies_leaves_no_stale_entry(author, using, step, truth, seen):
    done = run_process(WRITE_AND_DIE, using, author.pk, step)
    assert done.returncode == DIED, done.stderr
    with bypass():
        assert name(author) == truth
    assert seen_by_another_process(using, author.pk, times=2) == seen
    assert name(author) == truth


@pytest.mark.parametrize("store_alias", ["redis"], indirect=True)
@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_fence_that_reached_its_deadline_leaves_nothing_that_was_fresh_before(author, using):
    done = run_process(WRITE_AND_DIE, using, author.pk, DIE_BEFORE_THE_RELEASE)
    assert done.returncode == DIED, done.stderr
    client = get_redis_connection("redis")
    for generation in client.keys("*querycache:g:*"):
        if client.get(generation).startswith(b"!"):
            client.pexpire(generation, 1)
            while client.exists(generation):
                pass
    assert seen_by_another_process(using, author.pk, times=2) == ["after miss", "after hit"]
