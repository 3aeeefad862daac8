"""What is not worth an entry is refused for a while, and tried again."""

import pytest
from django.db.models import F

from querycache.admission import (
    _ENOUGH,
    _SKIPPED,
    _SKIPPED_FOR_SQL,
    _STREAK,
    _TRIES,
    Costs,
    Sites,
    is_judged,
)
from querycache.exceptions import Reason
from tests.testapp.models import Author, Book


def costs(*, load=100.0, compiling=50.0, hit, hits=_ENOUGH, fills=1):
    found = Costs()
    for _ in range(200):
        found.note_load(load)
        found.note_compile(compiling)
        found.note_hit(hit)
    found.hits, found.fills = hits, fills
    return found


def confirmed(found, *, direct, hit):
    """Go through the tries, on either side, that precede a refusal; say whether it is one."""
    for _ in range(_TRIES):
        assert found.refuse()
        found.note_direct(direct)
    for _ in range(_TRIES):
        assert found.left > 0
        found.note_hit(hit)
    return found.refuse()


def test_a_query_that_the_database_answers_sooner_is_refused():
    assert confirmed(costs(hit=300), direct=150, hit=300)


def test_a_query_that_the_cache_answers_sooner_is_not():
    assert not costs(hit=140).refuse()


def test_to_compile_counts_as_a_cost_of_the_database():
    assert not costs(hit=300, compiling=150).refuse()


def test_what_seems_slower_is_compared_anew_before_it_is_refused():
    """The SELECT was timed on a quiet machine, the hits on a busy one."""
    found = costs(hit=1000)
    assert not confirmed(found, direct=2000, hit=1000)
    assert found.left == _ENOUGH


def test_it_is_judged_after_enough_hits_and_fills():
    found = Costs()
    found.note_load(1)
    for _ in range(_ENOUGH - 1):
        assert found.left > 0
        found.note_hit(1)
    assert found.left == 0
    assert not found.refuse()
    assert found.left == _ENOUGH


def test_entries_that_die_unread_are_refused():
    assert costs(hit=1, hits=5, fills=_ENOUGH).refuse()
    assert not costs(hit=1, hits=20, fills=_ENOUGH).refuse()


def test_it_is_tried_again_and_judged_by_what_it_costs_then():
    found = costs(hit=300)
    assert confirmed(found, direct=150, hit=300)
    for _ in range(_SKIPPED - 1):
        assert found.left <= 0
        assert found.refuse()
    for _ in range(_TRIES):
        assert found.left > 0
        found.note_hit(10)
    assert not found.refuse()


def test_it_is_refused_again_if_it_costs_the_same():
    found = costs(hit=300)
    assert confirmed(found, direct=150, hit=300)
    for _ in range(_SKIPPED - 1):
        found.refuse()
    for _ in range(_TRIES):
        found.note_hit(300)
    assert found.refuse()
    assert found.skips == _SKIPPED - 1


def test_in_a_test_run_nothing_is_refused_unless_the_settings_say_so():
    assert not is_judged(None)
    assert not is_judged("all")
    assert is_judged("cost")


def test_a_few_slow_hits_do_not_make_the_others_slow():
    found = costs(hit=100)
    for number in range(_ENOUGH):
        found.note_hit(1_000_000 if number % 10 == 0 or number > _ENOUGH - 4 else 100)
    assert not found.refuse()


def test_hits_that_have_become_slow_are_seen():
    found = costs(hit=100)
    for _ in range(_ENOUGH):
        found.note_hit(1000)
    assert confirmed(found, direct=150, hit=1000)


def is_skipped(sites, query, result_type="multi"):
    site = sites.find(query, result_type)
    return site is not None and site.left > 0


@pytest.mark.parametrize(
    ("reason", "skipped"),
    [(Reason.NOT_WORTH_IT, _SKIPPED), (Reason.UNKNOWN_FUNCTION, _SKIPPED_FOR_SQL)],
)
def test_a_site_is_skipped_after_a_streak_of_refusals(reason, skipped):
    sites, query = Sites(), Author.objects.filter(pk=1).query
    for _ in range(_STREAK - 1):
        assert not sites.note_refused(query, "multi", reason, "name")
        assert not is_skipped(sites, query)
    assert sites.note_refused(query, "multi", reason, "name")
    site = sites.find(Author.objects.filter(pk=2).query, "multi")
    assert (site.left, site.reason) == (skipped, reason)
    assert site.counted == (("testapp.Author", reason, "name"), 0, 0)
    site.left = 0
    assert sites.note_refused(query, "multi", reason, "name")  # still: it is known at once
    assert site.left >= skipped


def test_what_is_refused_for_its_sql_again_and_again_is_looked_at_ever_less():
    sites, query, found = Sites(), Author.objects.filter(pk=1).query, []
    for _ in range(_STREAK + 12):
        sites.note_refused(query, "multi", Reason.UNKNOWN_FUNCTION)
        found.append(sites.find(query, "multi").left)
    assert found[_STREAK - 2 : _STREAK + 2] == [0, *[_SKIPPED_FOR_SQL * n for n in (1, 2, 3)]]
    assert found[-1] == _SKIPPED


def test_what_is_known_of_sites_is_bounded():
    sites = Sites()
    for number in range(3000):
        query = Author.objects.all()[number : number + 5].query
        sites.note_refused(query, "multi", Reason.NOT_WORTH_IT)
    assert len(sites.by_model[Author]) <= 1001


def test_a_query_of_a_site_that_is_not_refused_ends_the_streak():
    sites, query = Sites(), Author.objects.filter(pk=1).query
    for _ in range(_STREAK - 1):
        sites.note_refused(query, "multi", Reason.NOT_WORTH_IT)
    sites.find(query, "multi").streak = 0
    assert not sites.note_refused(query, "multi", Reason.NOT_WORTH_IT)
    assert not is_skipped(sites, query)


@pytest.mark.parametrize(
    "other",
    [
        lambda: Book.objects.filter(pk=1),
        lambda: Author.objects.filter(pk=1, name="x"),
        lambda: Author.objects.filter(pk=F("id")),
        lambda: Author.objects.filter(pk=1)[:5],
        lambda: Author.objects.filter(pk=1).values("name"),
        lambda: Author.objects.filter(pk=1).order_by("name"),
        lambda: Author.objects.filter(pk=1).distinct(),
        lambda: Author.objects.filter(books__pk=1),
    ],
    ids=["model", "condition", "value", "slice", "values", "order", "distinct", "join"],
)
def test_another_kind_of_query_is_of_another_site(other):
    sites, query = Sites(), Author.objects.filter(pk=1).query
    for _ in range(_STREAK):
        sites.note_refused(query, "multi", Reason.NOT_WORTH_IT)
    assert not is_skipped(sites, other().query)
    assert not is_skipped(sites, query, "single")
    assert is_skipped(sites, query)
