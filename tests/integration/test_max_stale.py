"""MAX_STALE: no round trip within it, and never anything older, by an injected clock."""

import pytest
from django.db import transaction

from querycache import breaker, cached, debts, explain, generations
from querycache import local as local_module
from querycache.local import local
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book
from tests.threads import elsewhere

SECONDS = 10.0

pytestmark = pytest.mark.parametrize("store_alias", ["locmem", "redis"], indirect=True)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that lets seconds pass."""
    passed = [0.0]
    real = generations.monotonic
    for module in (generations, breaker, debts, local_module):
        monkeypatch.setattr(module, "monotonic", lambda: real() + passed[0])

    def wait(seconds):
        passed[0] += seconds

    return wait


@pytest.fixture
def author(using, store, settings, clock):
    models = {**settings.QUERYCACHE["MODELS"], "testapp.Author": {"MAX_STALE": SECONDS}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    author = Author.objects.using(using).create(name="before")
    for _ in range(2):
        name(author)
    return author


@pytest.fixture
def looks(monkeypatch):
    """Count the looks into the store."""
    seen = []
    look = generations._ask_store

    def counted(*args, **options):
        seen.append(args)
        return look(*args, **options)

    monkeypatch.setattr(generations, "_ask_store", counted)
    return seen


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def rename_elsewhere(author, new):
    """Rename as another process does: this one hears of it by the store alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(local), "note_written", lambda *args: None)
        Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


def test_within_it_the_store_is_not_asked(author, looks, clock):
    for _ in range(3):
        assert name(author) == "before"
    clock(SECONDS * 0.4)
    assert name(author) == "before"
    assert looks == []


def test_within_it_a_change_of_another_process_may_not_be_seen_and_beyond_it_is(author, clock):
    rename_elsewhere(author, "after")
    assert name(author) == "before"
    clock(SECONDS * 0.49)
    assert name(author) == "before"
    clock(SECONDS * 0.52)
    assert name(author) == "after"


def test_it_is_counted_from_when_the_confirmation_was_asked_for(author, clock):
    """send(look) change elsewhere … answer: what was confirmed is as old as the question."""
    look = type(generations.get_store()).look
    clock(SECONDS + 1)

    def slow_look(self, key, names):
        answer = look(self, key, names)
        clock(SECONDS * 0.8)  # on its way back
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(generations.get_store()), "look", slow_look)
        assert name(author) == "before"
    rename_elsewhere(author, "after")
    clock(SECONDS * 0.25)
    assert name(author) == "after"


def test_this_process_sees_its_own_writes_at_once(author, using):
    assert name(author) == "before"
    Author.objects.using(using).filter(pk=author.pk).update(name="after")
    assert name(author) == "after"
    with transaction.atomic(using=using):
        Author.objects.using(using).filter(pk=author.pk).update(name="later")
        assert name(author) == "later"
    assert name(author) == "later"
    assert elsewhere(name, author) == "later"


def test_in_its_second_half_one_reader_asks(author, looks, clock):
    clock(SECONDS * 0.6)
    assert name(author) == "before"
    assert len(looks) == 1
    assert name(author) == "before"  # confirmed anew
    assert len(looks) == 1


@pytest.mark.parametrize(("share", "others_see"), [(0.6, "before"), (1.01, "after")])
def test_while_one_reader_asks_the_others_go_on_within_it_and_ask_beyond_it(
    author, clock, monkeypatch, share, others_see
):
    clock(SECONDS * share)
    rename_elsewhere(author, "after")
    ask = generations._ask_store
    seen = []

    def slow(*args):
        if not seen:
            seen.append(None)
            seen[0] = elsewhere(name, author)
        return ask(*args)

    monkeypatch.setattr(generations, "_ask_store", slow)
    assert name(author) == "after"
    assert seen == [others_see]


def test_within_it_a_store_that_is_gone_is_not_missed(author, clock, monkeypatch):
    def fail(*args):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(type(generations.get_store()), "look", fail)
        with record_reads() as reads:
            assert name(author) == "before"
        assert [read.outcome for read in reads] == ["hit"]
        clock(SECONDS + 1)
        with record_reads() as reads:
            assert name(author) == "before"
        assert [read.outcome for read in reads] == ["bypass"]
    breaker.forget_failure()


def test_the_strictest_model_of_a_query_counts(author, using, looks):
    book = Book.objects.using(using).create(name="b", author=author)
    read = lambda: Book.objects.using(using).select_related("author").get(pk=book.pk)  # noqa: E731
    for _ in range(3):
        read()
    del looks[:]
    read()
    assert len(looks) == 1


def test_one_query_may_allow_more_or_less_than_its_models(author, using, looks, clock):
    def read(max_stale):
        authors = Author.objects.using(using).filter(name="before")
        return cached(authors, max_stale=max_stale).count()

    for max_stale in (0, 100):
        for _ in range(2):
            assert read(max_stale) == 1
    del looks[:]
    assert read(0) == 1
    assert len(looks) == 1
    clock(SECONDS * 4)
    assert read(100) == 1
    assert len(looks) == 1


def test_explain_says_how_old_an_answer_may_be(author, using):
    assert explain(Author.objects.using(using).all()).max_stale == SECONDS
    assert f"{SECONDS:g} seconds" in str(explain(Author.objects.using(using).all()))
