"""ADMISSION: what the cache makes slower goes to the database, and says so."""

import datetime
import re

import pytest
from django.db.models.expressions import RawSQL

from querycache import admission, cached, explain, get_stats, planning, recall
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from querycache.reports import queries
from tests.testapp.models import Author

pytestmark = pytest.mark.parametrize("store_alias", ["locmem"], indirect=True)


@pytest.fixture
def by_cost(store, settings, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": "cost"}
    monkeypatch.setattr(admission, "_SKIPPED", 30)
    monkeypatch.setattr(admission, "_SKIPPED_FOR_SQL", 10)
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


@pytest.fixture
def looks(monkeypatch):
    """The queries that were looked at."""
    found = []
    for module, name in [(recall, "fingerprint_of"), (planning, "compile_once")]:
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda query, original=original: found.append(query) or original(query)
        )
    return found


def test_after_some_of_them_a_query_is_not_even_looked_at(author, slow_hits, looks):
    assert read(author, 120)[-6:] == [NOT_WORTH_IT] * 6
    looks.clear()
    assert read(author, 5) == [NOT_WORTH_IT] * 5
    assert looks == []


class TestQueriesThatAreRefusedForTheirSQL:
    """The others, which are not refused, are of the same site."""

    BORN_NOW = ("bypass", Reason.UNKNOWN_FUNCTION)
    BEFORE_NOW = RawSQL("CURRENT_DATE", [])
    BEFORE_2000 = RawSQL("%s", [datetime.date(2000, 1, 1)])

    def read(self, author, times, wrap=lambda queryset: queryset):
        return read(author, times, lambda authors: wrap(authors.filter(born__lt=self.BEFORE_NOW)))

    def read_cacheable(self, author, times):
        return read(author, times, lambda authors: authors.filter(born__lt=self.BEFORE_2000))

    @pytest.fixture
    def author(self, using, by_cost):
        born = datetime.date(1900, 1, 1)
        return Author.objects.using(using).create(name="a", born=born)

    def test_are_looked_at_now_and_then(self, author, looks):
        assert self.read(author, 5) == [self.BORN_NOW] * 5
        assert looks != []
        looks.clear()
        assert self.read(author, 10) == [self.BORN_NOW] * 10
        assert looks == []
        self.read(author, 1)
        assert looks != []

    def test_are_looked_at_though_two_threads_have_counted_the_last_one(self, author, looks):
        self.read(author, 5)
        (site,) = admission.sites.by_model[Author].values()
        site.left = -1
        looks.clear()
        self.read(author, 1)
        assert looks != []

    def test_are_counted_all_the_same(self, author):
        def counted():
            model = get_stats().models["testapp.Author"]
            of_queries = [query.reasons.get("unknown-function", 0) for query in queries()]
            return model.reasons["unknown-function"], sum(of_queries)

        self.read(author, 1)
        before = counted()
        self.read(author, 12)
        assert counted() == tuple(number + 12 for number in before)

    def test_are_looked_at_where_cached_asks(self, author, looks):
        self.read(author, 6)
        for _ in range(8):
            looks.clear()
            self.read(author, 1, cached)
            assert looks != []

    def test_are_looked_at_where_cached_asks_for_rows_that_are_counted(self, author, looks):
        some = Author.objects.using(author._state.db).filter(born__lt=self.BEFORE_NOW)[:5]
        for _ in range(6):
            assert some.count() == 1
        looks.clear()
        assert some.count() == 1
        assert looks == []
        for _ in range(8):
            looks.clear()
            assert cached(some).count() == 1
            assert looks != []

    @pytest.mark.parametrize("admission", ["all", None])
    def test_are_looked_at_each_time_if_all_is_admitted(self, author, looks, settings, admission):
        settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": admission}
        self.read(author, 6)
        looks.clear()
        self.read(author, 1)
        assert looks != []

    def test_take_others_of_their_site_along_for_a_short_while(self, author, using):
        self.read(author, 5)
        explanation = explain(
            Author.objects.using(using).filter(pk=author.pk).filter(born__lt=self.BEFORE_2000)[:21]
        )
        assert explanation.reason is Reason.UNKNOWN_FUNCTION
        assert "looked at in 10 reads" in explanation.detail
        found = self.read_cacheable(author, 12)
        assert found == [*[self.BORN_NOW] * 10, ("miss", None), ("hit", None)]
        assert self.read(author, 4) + self.read_cacheable(author, 1) == [
            *[self.BORN_NOW] * 4,
            ("hit", None),
        ]


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
