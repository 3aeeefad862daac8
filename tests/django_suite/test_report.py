"""What ``python -m tests.django_suite`` makes of the outcomes of its runs."""

import pytest

from tests.django_suite.__main__ import label_of, report, share
from tests.django_suite.exceptions import ALWAYS, WHEN_CACHED
from tests.django_suite.runs import Outcomes

COUNTS = "AssertionError: 0 != 1 : 0 queries executed, 1 expected"


def outcomes(*passed, failed=(), hits=1, stored=1):
    return Outcomes(frozenset(passed), dict(failed), {"hit": hits, "miss": 1}, stored, {})


def last_line(capsys):
    return capsys.readouterr().out.splitlines()[-1]


def test_nothing_differs(capsys):
    assert report(outcomes("a.B.c"), outcomes("a.B.c"), None) == 0
    assert last_line(capsys).startswith("1 tests were run, 0 differ;")


def test_what_fails_without_querycache_too_does_not_differ(capsys):
    failed = outcomes(failed={"a.B.c": "Error"})
    assert report(failed, failed, failed) == 0
    assert last_line(capsys).startswith("1 tests were run, 0 differ;")


@pytest.mark.parametrize("test", ["a.B.c", "setUpClass (a.B)"])
def test_what_passes_without_querycache_only_differs(capsys, test):
    failed = outcomes(failed={test: "Error"})
    assert report(failed, outcomes("a.B.c"), outcomes("a.B.c")) == 1
    assert report(outcomes("a.B.c"), failed, outcomes("a.B.c")) == 1
    assert ", 1 differ;" in last_line(capsys)


def test_a_test_may_count_queries_when_cached_only(capsys):
    counts = outcomes(failed={"a.B.c": COUNTS})
    assert report(counts, outcomes("a.B.c"), outcomes("a.B.c")) == 0
    assert last_line(capsys).endswith("1 only count queries, 0 are listed")
    assert report(counts, counts, outcomes("a.B.c")) == 1


def test_a_test_may_be_listed(capsys):
    test = next(iter(ALWAYS))
    failed = outcomes(failed={test: "Error"})
    assert report(failed, failed, outcomes(test)) == 0
    assert last_line(capsys).endswith("0 only count queries, 1 are listed")


def test_a_test_may_be_listed_for_when_cached():
    test = next(iter(WHEN_CACHED))
    failed = outcomes(failed={test: "Error"})
    assert report(failed, outcomes(test), outcomes(test)) == 0
    assert report(failed, failed, outcomes(test)) == 1


def test_a_run_that_reads_nothing_from_the_cache_says_nothing():
    assert report(outcomes("a.B.c", hits=0), outcomes("a.B.c"), None) == 1
    assert report(outcomes("a.B.c"), outcomes("a.B.c", stored=0), None) == 1


def test_labels_and_shares():
    assert label_of("setUpClass (a.tests.B)") == "a.tests.B"
    assert label_of("a.tests.B.c") == "a.tests.B.c"
    assert "abcde"[share("2/3")] == "be"
    with pytest.raises(ValueError, match="4/3"):
        share("4/3")
