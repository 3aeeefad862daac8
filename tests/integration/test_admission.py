"""ADMISSION: what the cache makes slower goes to the database, and says so."""

import re

import pytest

from querycache import admission, cached, explain, get_stats, planning, recall
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.testapp.models import Author

pytestmark = pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)


@pytest.fixture
def by_cost(store, settings, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": "cost"}
    monkeypatch.setattr(admission, "_SKIPPED", 30)
    monkeypatch.setattr(admission, "_STREAK", 5)


@pytest.fixture
def slow_hits(monkeypatch):
    """Have each hit seem to take a second."""
    note_hit = admission.Costs.note_hit
    monkeypatch.setattr(admission.Costs, "note_hit", lambda self, took: note_hit(self, 1e6))


@pytest.fixture
def author(using, by_cost):
    return Author.objects.using(using).create(name="a")


def read(author, times, wrap=lambda queryset: queryset):
    authors = Author.objects.using(author._state.db).filter(pk=author.pk)
    with record_reads() as found:
        for _ in range(times):
            assert wrap(authors).get().name == "a"
    return [(one.outcome, one.reason) for one in found]


NOT_WORTH_IT = ("bypass", Reason.NOT_WORTH_IT)


def test_a_query_whose_hits_are_slower_goes_to_the_database_for_a_while(author, slow_hits):
    found = read(author, 400)
    assert found[:2] == [("miss", None), ("hit", None)]
    first = found.index(NOT_WORTH_IT)
    assert first < 150
    assert found[first : first + 30] == [NOT_WORTH_IT] * 30
    assert ("hit", None) in found[first:]
    assert get_stats().models["testapp.Author"].reasons["not-worth-it"] >= 30


def test_after_some_of_them_a_query_is_not_even_looked_at(author, slow_hits, monkeypatch):
    assert read(author, 120)[-6:] == [NOT_WORTH_IT] * 6
    monkeypatch.setattr(recall, "fingerprint_of", lambda query: pytest.fail("looked at"))
    monkeypatch.setattr(planning, "compile_once", lambda compiler: pytest.fail("looked at"))
    assert read(author, 5) == [NOT_WORTH_IT] * 5


def test_entries_that_die_unread_are_filled_no_more(author, using):
    found = []
    for _ in range(110):
        found += read(author, 1)
        Author.objects.using(using).filter(pk=author.pk).update(name="a")
    assert found[:100] == [("miss", None)] * 100
    assert found[-5:] == [NOT_WORTH_IT] * 5


def test_explain_says_so_with_the_times(author, slow_hits, using):
    read(author, 120)
    explanation = explain(Author.objects.using(using).filter(pk=author.pk).order_by()[:21])
    assert explanation.reason is Reason.NOT_WORTH_IT
    assert re.fullmatch(r"a hit takes \d{6,} µs, the database \d+ µs", explanation.detail)
    assert explain(
        cached(Author.objects.using(using).filter(pk=author.pk).order_by()[:21])
    ).cacheable


def test_explain_says_that_entries_die_unread(author, using):
    for _ in range(110):
        read(author, 1)
        Author.objects.using(using).filter(pk=author.pk).update(name="a")
    explanation = explain(Author.objects.using(using).filter(pk=author.pk).order_by()[:21])
    assert explanation.detail == "its entries were hardly ever read"


def test_what_cached_asks_for_is_cached(author, slow_hits):
    found = read(author, 150, wrap=cached)
    assert NOT_WORTH_IT not in found


def test_all_is_admitted_if_the_settings_say_so(author, slow_hits, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": "all"}
    assert NOT_WORTH_IT not in read(author, 150)


def test_all_is_admitted_in_a_test_run(author, slow_hits, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": None}
    assert NOT_WORTH_IT not in read(author, 150)
