"""Who listens is told what happens, once, and can break nothing."""

import logging

import pytest
from django.db import connections, transaction
from redis.exceptions import ConnectionError  # noqa: A004

import querycache
from querycache import breaker, signals
from querycache.exceptions import Reason, StoreFailed
from tests import servers
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author, Book, CheapBook, Secret

pytestmark = pytest.mark.django_db(transaction=True)


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, sender, signal, **named):
        self.told.append((sender, named))


@pytest.fixture
def listen():
    """Return a function that listens to a signal until the test ends."""
    connected = []

    def to(signal, receiver=None, **options):
        receiver = receiver or Listener()
        signal.connect(receiver, weak=False, **options)
        connected.append((signal, receiver, options.get("sender")))
        return receiver

    yield to
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender)


def raising(**named):
    raise RuntimeError("a receiver that is broken")


def test_every_read_of_an_opted_in_model_is_told(store, listen):
    author = Author.objects.create(name="a")
    told = listen(signals.read_done).told
    for _ in range(2):
        Author.objects.get(pk=author.pk)
    with querycache.bypass():
        Author.objects.get(pk=author.pk)
    list(Secret.objects.all())
    assert all(named.pop("microseconds") >= 0 for _, named in told)
    assert told == [
        (Author, {"outcome": "miss", "reason": None}),
        (Author, {"outcome": "hit", "reason": None}),
        (Author, {"outcome": "bypass", "reason": Reason.BYPASSED}),
    ]


def test_a_sender_can_be_chosen(listen):
    told = listen(signals.read_done, sender=Book).told
    list(Author.objects.all())
    list(Book.objects.all())
    assert [sender for sender, _ in told] == [Book]


def test_an_auto_created_model_is_a_sender_and_a_proxy_is_its_concrete_model(listen):
    told = listen(signals.read_done).told
    list(Book.tags.through.objects.all())
    list(CheapBook.objects.all())
    assert [sender for sender, _ in told] == [Book.tags.through, Book]


def test_a_write_is_told_when_it_is_published(using, listen):
    told = listen(signals.invalidated).told
    Author.objects.using(using).create(name="a")
    with transaction.atomic(using=using):
        Author.objects.using(using).update(name="b")
        Book.objects.using(using).update(name="b")
        assert len(told) == 1
    Secret.objects.using(using).create(text="c")
    assert [sender for sender, _ in told] == [None, None]
    assert [named["using"] for _, named in told] == [using, using]
    assert [named["labels"] for _, named in told] == [
        {"testapp.Author"},
        {"testapp.Author", "testapp.Book"},
    ]


def test_a_commit_is_told_though_a_hook_of_it_fails(using, listen):
    told = listen(signals.invalidated).told

    def hook():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        Author.objects.using(using).create(name="a")
        transaction.on_commit(hook, using=using)
    assert [named["labels"] for _, named in told] == [{"testapp.Author"}]


def test_a_commit_by_hand_is_told(using, listen):
    told = listen(signals.invalidated).told
    transaction.set_autocommit(False, using=using)
    try:
        Author.objects.using(using).create(name="a")
        transaction.commit(using=using)
    finally:
        transaction.set_autocommit(True, using=using)
    # SQLite has committed the statement itself, too.
    assert {named["labels"] for _, named in told} == {frozenset({"testapp.Author"})}


def test_a_connection_that_is_never_in_autocommit_tells_as_it_commits(using, listen, monkeypatch):
    monkeypatch.setitem(connections[using].settings_dict, "AUTOCOMMIT", False)
    told = listen(signals.invalidated).told
    transaction.set_autocommit(False, using=using)
    try:
        Author.objects.using(using).create(name="a")
        transaction.commit(using=using)
        assert {named["labels"] for _, named in told} == {frozenset({"testapp.Author"})}
    finally:
        transaction.set_autocommit(True, using=using)


def test_what_is_taken_back_is_not_told(using, listen):
    told = listen(signals.invalidated).told
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        Author.objects.using(using).create(name="a")
        raise ZeroDivisionError
    assert told == []


def test_a_write_names_what_a_read_depends_on(listen):
    author = Author.objects.create(name="a")
    with querycache.recorder.record_reads() as reads:
        Author.objects.get(pk=author.pk)
    told = listen(signals.invalidated).told
    author.save()
    assert set(told[0][1]["dependencies"]) & set(reads[0].dependencies)


def test_invalidate_is_told_and_so_is_flush(listen):
    invalidated, flushed = listen(signals.invalidated).told, listen(signals.flushed).told
    querycache.invalidate(Author, using="default")
    assert [named["labels"] for _, named in invalidated] == [{"testapp.Author"}]
    assert flushed == []
    querycache.flush()
    assert flushed == [(None, {})]
    assert len(invalidated) == 1


def test_a_flush_that_failed_is_not_told(listen, settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    told = listen(signals.flushed).told
    with pytest.raises(StoreFailed):
        querycache.flush()
    assert told == []


def test_a_receiver_of_a_write_reads_what_was_written(using, listen):
    author = Author.objects.using(using).create(name="a")
    seen = []

    def read(**named):
        seen.append(Author.objects.using(using).get(pk=author.pk).name)

    read(), read()
    listen(signals.invalidated, read)
    Author.objects.using(using).update(name="b")
    with transaction.atomic(using=using):
        Author.objects.using(using).update(name="c")
    assert seen == ["a", "a", "b", "c"]
    assert Author.objects.using(using).get(pk=author.pk).name == "c"


def test_an_outage_is_told_once_and_so_is_its_end(use_cache, listen, monkeypatch):
    reason = servers.missing("valkey")
    if reason:
        pytest.skip(reason)
    monkeypatch.setattr(breaker, "RETRY_SECONDS", 0.0)
    failed, recovered = listen(signals.store_failed).told, listen(signals.store_recovered).told
    with servers.Valkey() as server:
        use_cache(f"{server.address}/0")
        list(Author.objects.all())
        server.stop()
        for _ in range(3):
            list(Author.objects.all())
        assert [sender for sender, _ in failed] == [None]
        assert failed[0][1]["cache"] == "own"
        assert isinstance(failed[0][1]["error"], ConnectionError)
        assert recovered == []
        server.start()
        for _ in range(3):
            list(Author.objects.all())
        assert recovered == [(None, {"cache": "own"})]
        assert len(failed) == 1


@pytest.mark.parametrize("name", ["read_done", "invalidated", "flushed"])
def test_a_receiver_that_raises_breaks_nothing(name, using, listen, caplog):
    listen(getattr(signals, name), raising)
    with caplog.at_level(logging.ERROR, "django.dispatch"):
        author = Author.objects.using(using).create(name="a")
        for _ in range(2):
            assert Author.objects.using(using).get(pk=author.pk).name == "a"
        with transaction.atomic(using=using):
            Author.objects.using(using).update(name="b")
        assert Author.objects.using(using).get(pk=author.pk).name == "b"
        querycache.flush()
        assert Author.objects.using(using).get(pk=author.pk).name == "b"
    assert "a receiver that is broken" in caplog.text


def test_a_receiver_that_raises_does_not_break_a_read_in_an_outage(
    listen, settings, monkeypatch, caplog
):
    Author.objects.create(name="a")
    use_dead_store(settings, monkeypatch)
    listen(signals.store_failed, raising)
    assert [author.name for author in Author.objects.all()] == ["a"]
    assert "a receiver that is broken" in caplog.text


def test_a_coroutine_is_refused():
    async def receiver(**named):
        pass

    with pytest.raises(TypeError, match="not a coroutine"):
        signals.read_done.connect(receiver)
    assert not signals.read_done.receivers


@pytest.mark.django_db(transaction=False)
def test_a_test_in_a_transaction_is_told_at_once(listen):
    told = listen(signals.invalidated).told
    Author.objects.create(name="a")
    assert [named["labels"] for _, named in told] == [{"testapp.Author"}]
