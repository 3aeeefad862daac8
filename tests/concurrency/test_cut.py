"""The store is cut off in the middle of a write, and comes back with all that it knew."""

import pytest
from django.core.cache import caches
from django.db import connections, transaction

from querycache import breaker, debts, generations
from querycache.counting import statistics
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests import servers
from tests.processes import seen_by_another_process
from tests.stores.wire import Wire
from tests.testapp.models import Author

pytestmark = pytest.mark.parametrize("using", ["default", "postgresql"], indirect=True)


@pytest.fixture
def server():
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    with servers.Valkey() as server:
        yield server


@pytest.fixture
def wire(server, use_cache, monkeypatch):
    """The way to the store, to be cut."""
    monkeypatch.setattr(breaker, "_failed_at", None)
    monkeypatch.setattr(breaker, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(statistics, "_sink", None)
    with Wire("127.0.0.1", server.port) as wire:
        use_cache(f"redis://127.0.0.1:{wire.port}/0", OPTIONS={"SOCKET_TIMEOUT": 5})
        yield wire
        debts.settle()
        debts.owed.clear()
        caches["own"].close()


@pytest.fixture
def author(using, wire):
    author = Author.objects.using(using).create(name="before")
    assert read(author) == ("before", "miss", None)
    assert read(author) == ("before", "hit", None)
    return author


def read(author):
    rows = Author.objects.using(author._state.db).values_list("name", flat=True)
    with record_reads() as reads:
        name = rows.get(pk=author.pk)
    return name, reads[0].outcome, reads[0].reason


def cut_before(monkeypatch, owner, method, wire):
    original = getattr(owner, method)

    def cut_and_go_on(*arguments):
        wire.cut()
        return original(*arguments)

    monkeypatch.setattr(owner, method, cut_and_go_on)


def write(author, using, patch):
    with transaction.atomic(using):
        Author.objects.using(using).filter(pk=author.pk).update(name="after")
    patch.undo()


def assert_nobody_is_given_old_rows(author, using, server, wire):
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    wire.lead_to("127.0.0.1", server.port)
    # The fence stands: another process, which has not heard of any failure, does not fill.
    assert seen_by_another_process(using, author.pk, times=2) == ["after miss", "after miss"]
    assert read(author) == ("after", "miss", None)  # the debt is paid
    assert read(author) == ("after", "hit", None)
    assert seen_by_another_process(using, author.pk, times=1) == ["after hit"]


@pytest.fixture
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_cut_between_fence_and_commit(author, using, server, wire, patch):
    cut_before(patch, connections[using], "_commit", wire)
    write(author, using, patch)
    assert_nobody_is_given_old_rows(author, using, server, wire)


def test_cut_between_commit_and_release(author, using, server, wire, patch):
    cut_before(patch, generations, "release", wire)
    write(author, using, patch)
    assert_nobody_is_given_old_rows(author, using, server, wire)


def test_cut_before_the_answer_to_the_release(author, using, server, wire, patch):
    """The server has released, or it has not: the writer cannot know, and does it again."""
    fence = generations.fence

    def fence_and_keep_answers_back(dependencies):
        writer = fence(dependencies)
        wire.may_answer.clear()
        return writer

    patch.setattr(generations, "fence", fence_and_keep_answers_back)
    write(author, using, patch)
    wire.cut()
    wire.may_answer.set()
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    assert debts.owed
    wire.lead_to("127.0.0.1", server.port)
    assert read(author) == ("after", "miss", None)
    assert read(author) == ("after", "hit", None)


def test_cut_before_the_fence(author, using, server, wire, patch):
    """
    The documented gap: others go on with what they have until this process has paid its debt.

    Then they are right; and what this process reads itself is right at any moment.
    """
    cut_before(patch, generations, "fence", wire)
    write(author, using, patch)
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    wire.lead_to("127.0.0.1", server.port)
    assert seen_by_another_process(using, author.pk, times=1) == ["before hit"]
    assert read(author) == ("after", "miss", None)
    assert seen_by_another_process(using, author.pk, times=1) == ["after hit"]
