"""A store that is not there, cut, or full of other people's bytes: the database answers."""

import logging
import signal
import threading

import pytest
from django.core.cache import caches
from django.db import OperationalError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Repeat
from django_redis import get_redis_connection

import querycache
from querycache import breaker, counts, debts, generations
from querycache.counting import Batch, statistics
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, WriteRefused
from querycache.plans import Plan, Shape
from querycache.recorder import record_reads
from querycache.stores import get_store
from querycache.stores.base import FENCE_SECONDS
from tests import servers
from tests.testapp.models import Author, Book, Secret


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (generations, breaker, debts):
        monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(breaker, "_failed_at", None)
    # Counts are published, and debts paid with them, when a test says so.
    monkeypatch.setattr(statistics, "_in_background", bool)
    yield clock
    debts.owed.clear()
    debts.unfenced.clear()


@pytest.fixture
def valkey(use_cache, clock):
    """A server of the test's own, to be stopped and started at will."""
    reason = servers.missing("valkey")
    if reason:
        pytest.skip(reason)
    with servers.Valkey() as server:
        timeouts = {"SOCKET_CONNECT_TIMEOUT": 0.2, "SOCKET_TIMEOUT": 0.2}
        use_cache(f"{server.address}/0", OPTIONS=timeouts)
        yield server
        statistics.publish()


def pause(server):
    """Let it answer nobody and keep its memory, as a server behind a cut network does."""
    server.process.send_signal(signal.SIGSTOP)


def resume(server):
    server.process.send_signal(signal.SIGCONT)


pytestmark = pytest.mark.django_db(transaction=True)


def name(author):
    return Author.objects.values_list("name", flat=True).get(pk=author.pk)


def read(author):
    with record_reads() as reads:
        value = name(author)
    return value, reads[0].outcome, reads[0].reason


def test_reads_and_writes_go_on_while_the_store_is_down(valkey, clock):
    author = Author.objects.create(name="before")
    name(author)
    assert read(author) == ("before", "hit", None)
    valkey.stop()
    assert read(author) == ("before", "bypass", Reason.STORE_FAILED)
    Author.objects.update(name="after")
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    with transaction.atomic():
        author.name = "later"
        author.save()
    assert read(author) == ("later", "bypass", Reason.STORE_FAILED)


def test_a_store_that_failed_is_left_alone_for_a_while(valkey, clock, monkeypatch):
    author = Author.objects.create(name="before")
    debts.settle()
    valkey.stop()
    asked = []
    look = type(get_store()).look
    monkeypatch.setattr(
        type(get_store()), "look", lambda *arguments: asked.append(1) or look(*arguments)
    )
    for _ in range(5):
        name(author)
    assert len(asked) == 1
    clock.now += breaker.RETRY_SECONDS
    name(author)
    assert len(asked) == 2


def test_what_was_written_during_an_outage_is_never_read_stale_afterwards(valkey, clock):
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    Author.objects.update(name="after")
    resume(valkey)
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    clock.now += breaker.RETRY_SECONDS
    assert read(author) == ("after", "miss", None)
    assert read(author) == ("after", "hit", None)


def test_a_write_that_could_not_fence_keeps_this_process_from_reading_until_it_is_released(
    valkey, clock
):
    author = Author.objects.create(name="before")
    name(author)
    with transaction.atomic():
        Author.objects.update(name="after")
        pause(valkey)
        writer = generations.fence(["x"])
        resume(valkey)
    clock.now += breaker.RETRY_SECONDS
    assert read(author)[1:] == ("bypass", Reason.STORE_FAILED)
    generations.release(["x"], writer)
    assert read(author) == ("after", "miss", None)


def test_an_outage_is_logged_once_and_so_is_its_end(valkey, clock, caplog):
    author = Author.objects.create(name="before")
    name(author)
    with caplog.at_level(logging.WARNING, "querycache"):
        pause(valkey)
        for _ in range(3):
            name(author)
            clock.now += breaker.RETRY_SECONDS
        resume(valkey)
        name(author)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "does not answer" in messages[0]
    assert "answers again" in messages[1]


def test_what_people_ask_for_says_that_the_store_failed(valkey, clock):
    valkey.stop()
    with pytest.raises(StoreFailed):
        querycache.flush()
    clock.now += breaker.RETRY_SECONDS
    with pytest.raises(StoreFailed):
        querycache.get_stats()
    clock.now += breaker.RETRY_SECONDS
    with pytest.raises(StoreFailed):
        querycache.invalidate(Author)
    explanation = querycache.explain(Author.objects.all())
    assert explanation.cacheable
    assert explanation.cached is None


def test_a_fence_that_was_lost_is_reported_and_invalidates_all_the_same(valkey, clock, caplog):
    author = Author.objects.create(name="before")
    writer = generations.fence(["a", "b"])
    get_redis_connection("own").flushall()
    with caplog.at_level(logging.WARNING, "querycache"):
        generations.release(["a", "b"], writer)
        debts.settle()
    assert "2 of 2 fences were lost" in caplog.text
    assert name(author) == "before"


@pytest.mark.parametrize("garbage", [b"", b"x", b"!", b"\x00" * 500, "text", 5, ["list"]], ids=repr)
def test_foreign_values_under_our_keys_are_misses(settings, garbage):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    author = Author.objects.create(name="before")
    name(author)
    cache = caches["locmem"]
    spoilt = [key.split(":", 2)[2] for key in cache._cache if "querycache:e:" in key]
    assert spoilt
    for key in spoilt:
        cache.set(key, garbage)
    assert read(author) == ("before", "miss", None)
    assert read(author) == ("before", "hit", None)


@pytest.mark.parametrize("garbage", [b"", b"x", b"!", b"!a;", "text", 5, ["list"]], ids=repr)
def test_foreign_values_in_place_of_generations_are_never_fresh(settings, garbage):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    author = Author.objects.create(name="before")
    name(author)
    cache = caches["locmem"]
    for key in [key.split(":", 2)[2] for key in cache._cache if "querycache:g:" in key]:
        cache.set(key, garbage)
    assert read(author) == ("before", "miss", None)
    Author.objects.update(name="after")
    assert name(author) == "after"
    cache.clear()


def test_an_empty_generation_is_not_the_end_of_what_an_entry_depends_on(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    generations.renew(["one", "two"])
    loaded = Loaded([("before",)], 0.0, 0)
    plan = Plan("key", "", Shape(max_bytes=1000), ("one", "two"), 60, "", 0)
    generations.fill(plan, generations.look("key", ["one", "two"]), loaded)
    assert generations.look("key", ["one", "two"]).loaded == loaded
    caches["locmem"].set("querycache:g:two", b"")
    assert generations.look("key", ["one", "two"])[:2] == (None, b"")


def test_foreign_values_whose_lengths_add_up_are_nothing_to_fill_under(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    caches["locmem"].set_many({"querycache:g:one": b"x" * 15, "querycache:g:two": b"x" * 17})
    assert generations.look("key", ["one", "two"])[:2] == (None, b"")


def test_every_key_may_be_evicted_at_any_time(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    author = Author.objects.create(name="before")
    cache = caches["locmem"]
    name(author)
    keys = [key.split(":", 2)[2] for key in cache._cache if "querycache:" in key]
    assert len(keys) >= 4
    for key in keys:
        name(author)
        cache.delete(key)
        Author.objects.update(name=key)
        assert name(author) == key
        cache.delete(key)
        assert name(author) == key


def test_a_long_debt_is_paid_by_a_new_epoch(valkey, clock, monkeypatch):
    monkeypatch.setattr(debts, "_MANY_DEBTS", 3)
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    for number in range(debts._MANY_DEBTS + 1):
        Author.objects.update(name=str(number))
    resume(valkey)
    clock.now += breaker.RETRY_SECONDS
    assert read(author) == (str(debts._MANY_DEBTS), "miss", None)
    assert not debts.owed


@pytest.mark.parametrize("store_alias", ["memcached"], indirect=True)
def test_a_result_that_is_too_large_for_the_store_is_no_outage(store, settings):
    models = {**settings.QUERYCACHE["MODELS"], "testapp.Book": {"MAX_BYTES": 100_000_000}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    Author.objects.create(name="a")
    statistics.publish()
    Book.objects.bulk_create(
        [Book(name="x" * 100, author_id=Author.objects.get().pk) for _ in range(9)]
    )

    def large():
        return list(Book.objects.annotate(long=Repeat(Value("x"), 500_000)))

    with record_reads() as reads:
        large()
        large()
        list(Book.objects.all())
        list(Book.objects.all())
    assert [(found.outcome, found.reason) for found in reads] == [("miss", None)] * 3 + [
        ("hit", None)
    ]


def test_a_cache_that_does_not_exist_stops_no_site(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "nowhere"}
    author = Author.objects.create(name="before")
    assert read(author) == ("before", "bypass", Reason.STORE_FAILED)
    with transaction.atomic():
        Author.objects.update(name="after")
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)


def test_writes_ask_the_store_also_when_it_has_just_failed(valkey, clock):
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    read(author)
    resume(valkey)
    Author.objects.update(name="after")  # within the pause of reads
    assert not debts.owed
    assert read(author) == ("after", "miss", None)


def test_another_store_is_asked_at_once(valkey, clock, settings):
    author = Author.objects.create(name="before")
    valkey.stop()
    assert read(author) == ("before", "bypass", Reason.STORE_FAILED)
    debts.owed.clear()
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    assert read(author) == ("before", "miss", None)


def test_a_fence_that_failed_and_is_not_released_is_a_debt_later(valkey, clock):
    """A raw RETURNING on SQLite: nobody can tell when it is committed."""
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_author SET name = 'after' RETURNING id")
        cursor.fetchall()
    resume(valkey)
    clock.now += FENCE_SECONDS - 0.1
    assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    clock.now += 0.1
    assert read(author) == ("after", "miss", None)
    assert not debts.unfenced


# Counting, and making up for it -----------------------------------------------------------------


def events():
    stats = querycache.get_stats()
    return stats.incidents, stats.late_writes


def test_a_lost_fence_is_counted_as_an_incident(valkey, clock):
    writer = generations.fence(["a"])
    get_redis_connection("own").flushall()
    generations.release(["a"], writer)
    assert events() == (1, 0)


def test_a_late_write_is_counted(valkey, clock):
    pause(valkey)
    Author.objects.create(name="before")
    resume(valkey)
    clock.now += breaker.RETRY_SECONDS
    assert events() == (0, 1)


def test_a_process_that_reads_nothing_pays_its_debts_as_it_publishes_its_counts(valkey, clock):
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    Author.objects.update(name="after")
    resume(valkey)
    assert debts.owed
    assert not statistics.publish()  # within the pause; the thread that does so comes back
    clock.now += breaker.RETRY_SECONDS
    assert statistics.publish()
    assert not debts.owed
    assert read(author) == ("after", "miss", None)


def test_counts_wait_while_a_write_is_not_fenced(valkey, clock):
    pause(valkey)
    writer = generations.fence(["a"])
    resume(valkey)
    clock.now += breaker.RETRY_SECONDS
    with pytest.raises(StoreFailed):
        counts.publish(Batch([], {}, []))
    generations.release(["a"], writer)
    counts.publish(Batch([], {}, []))


def test_a_release_that_is_lost_on_its_way_is_a_debt(valkey, clock):
    """fence COMMIT release(sent) and the server goes away before it answers."""
    author = Author.objects.create(name="before")
    name(author)
    writer = generations.fence(["a"])
    pause(valkey)
    generations.release(["a"], writer)
    valkey.kill()
    valkey.start()
    assert len(get_store().unsettled) == 1
    debts.settle()
    assert list(debts.owed) == [writer]
    clock.now += breaker.RETRY_SECONDS
    assert read(author) == ("before", "miss", None)
    assert not debts.owed


def test_a_release_whose_script_was_lost_is_a_debt(valkey, clock):
    author = Author.objects.create(name="before")
    name(author)
    writer = generations.fence(["a"])
    get_redis_connection("own").script_flush()
    generations.release(["a"], writer)
    debts.settle()
    assert list(debts.owed) == [writer]
    assert read(author) == ("before", "hit", None)
    assert not debts.owed


def test_what_logs_a_lost_fence_may_wait_for_another_thread(valkey, clock):
    """One that logs into a database, which querycache watches: it settles, too."""
    waited_in_vain = []

    class Handler(logging.Handler):
        def emit(self, record):
            thread = threading.Thread(target=debts.settle, daemon=True)
            thread.start()
            thread.join(10)
            waited_in_vain.append(thread.is_alive())

    writer = generations.fence(["a"])
    get_redis_connection("own").flushall()
    generations.release(["a"], writer)
    logger, handler = logging.getLogger("querycache"), Handler()
    logger.addHandler(handler)
    try:
        debts.settle()
    finally:
        logger.removeHandler(handler)
    assert waited_in_vain == [False]


def test_what_was_released_before_an_outage_is_settled_at_exit(valkey, clock):
    Author.objects.create(name="before")
    assert get_store().unsettled
    debts._pay_debts_at_exit()
    assert not get_store().unsettled


# Refusing writes ----------------------------------------------------------------------------------


@pytest.fixture
def refuse(valkey, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ON_STORE_FAILURE": "refuse"}


def names():
    with querycache.bypass():
        return sorted(Author.objects.values_list("name", flat=True))


def change_by_cursor():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_author SET name = 'after'")


WRITES = {
    "save": lambda: Author(name="after").save(),
    "update": lambda: Author.objects.update(name="after"),
    "delete": lambda: Author.objects.all().delete(),
    "bulk_create": lambda: Author.objects.bulk_create([Author(name="after")]),
    "cursor": change_by_cursor,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_cannot_be_published_is_refused_and_changes_nothing(
    valkey, clock, refuse, write
):
    author = Author.objects.create(name="before")
    name(author)
    pause(valkey)
    with pytest.raises(OperationalError) as refused:
        write()
    assert isinstance(refused.value, WriteRefused)
    assert isinstance(refused.value, StoreFailed)
    assert names() == ["before"]
    resume(valkey)
    clock.now += breaker.RETRY_SECONDS
    assert name(author) == "before"
    write()
    assert names() != ["before"]


def test_a_transaction_that_cannot_be_published_is_rolled_back(valkey, clock, refuse):
    Author.objects.create(name="before")
    with pytest.raises(WriteRefused), transaction.atomic():
        Author.objects.create(name="other")
        Author.objects.filter(name="before").update(name="after")
        pause(valkey)
    assert names() == ["before"]
    assert not connection.in_atomic_block
    resume(valkey)
    Author.objects.update(name="after")
    assert names() == ["after"]


def test_a_commit_by_hand_that_is_refused_leaves_the_transaction_to_its_owner(
    valkey, clock, refuse
):
    Author.objects.create(name="before")
    transaction.set_autocommit(False)
    try:
        Author.objects.create(name="kept")
        Author.objects.update(name="after")
        pause(valkey)
        with pytest.raises(WriteRefused):
            transaction.commit()
        resume(valkey)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert names() == ["after", "after"]


def test_what_needs_no_publishing_is_not_refused(valkey, clock, refuse):
    author = Author.objects.create(name="before")
    pause(valkey)
    Secret.objects.create(text="not opted in")
    assert name(author) == "before"
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Author.objects.update(name="after")
        raise ZeroDivisionError  # a rollback publishes nothing
    assert name(author) == "before"
    resume(valkey)
