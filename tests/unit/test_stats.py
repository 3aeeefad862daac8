"""The arithmetic of what is counted, and what is published of it."""

from itertools import pairwise

import pytest

from querycache import counting
from querycache.counting import Statistics, groups_of
from querycache.exceptions import Reason, StoreFailed
from querycache.series import Resolution, Step, group_of, steps_until
from querycache.stats import (
    COUNTED,
    QUERIES,
    TOTALS,
    Cause,
    ModelStats,
    Queries,
    QueryStats,
    Stats,
    least_read,
    queries_from,
    stats_from,
)

NOW = 1_700_000_000.0


@pytest.fixture
def own():
    return Statistics()


def published(own):
    """Publish, and return the counters of each group by its name, without those of charts."""
    batches = []
    own.connect(batches.append)
    assert own.publish()
    own.connect(None)
    (batch,) = batches
    return {
        group.name: dict(group.counts) for group in batch.groups if group.name in {TOTALS, QUERIES}
    }


def test_sums():
    stats = ModelStats(hits=3, misses=1, reasons={"uncached": 2}, hit_us=1_000, load_us=2_001_000)
    assert (stats.reads, stats.bypasses, stats.hit_rate) == (6, 2, 0.5)
    assert stats.saved_seconds == 2.0
    assert (stats + stats).reads == 12
    assert Stats({"a.B": stats, "a.C": stats}).total == stats + stats


def test_nothing_is_divided_by_zero():
    none = ModelStats()
    assert none.hit_rate == 0.0
    assert (none.mean_hit_us, none.mean_load_us, none.mean_bytes) == (None, None, None)
    assert Step(0).hit_rate is None


def test_means():
    stats = ModelStats(hits=2, hit_us=300, fills=4, fill_us=2_000, fill_bytes=1_000)
    assert (stats.mean_hit_us, stats.mean_load_us, stats.mean_bytes) == (150, 500, 250)


def test_no_two_things_are_counted_under_one_name():
    names = [*COUNTED, *(reason.value for reason in Reason), *(cause.value for cause in Cause)]
    assert len(set(names)) == len(names)


def test_a_hit_is_counted_with_its_times_for_the_model_and_the_query(own):
    own.count_hit("a.B", "hits", "q1", 5, 70)
    own.count_hit("a.B", "hits", "q2", 7, 30)
    assert published(own) == {
        TOTALS: {"a.B:hits": 2, "a.B:hit_us": 12, "a.B:load_us": 100},
        QUERIES: {
            "q1:hits": 1, "q1:hit_us": 5, "q1:load_us": 70,
            "q2:hits": 1, "q2:hit_us": 7, "q2:load_us": 30,
        },
    }  # fmt: skip


def test_a_hit_that_asked_nobody_is_a_hit(own):
    own.count_hit("a.B", "unasked", "q", 5, 70)
    assert published(own)[TOTALS] == {
        "a.B:hits": 1, "a.B:unasked": 1, "a.B:hit_us": 5, "a.B:load_us": 70
    }  # fmt: skip


def test_a_fill_is_counted_with_its_time_and_its_bytes(own):
    own.count_fill("a.B", "q", 900, 128)
    found = published(own)
    assert found[TOTALS] == {"a.B:fills": 1, "a.B:fill_us": 900, "a.B:fill_bytes": 128}
    assert found[QUERIES] == {"q:fills": 1, "q:fill_us": 900, "q:fill_bytes": 128}


def test_what_belongs_to_no_query_is_counted_for_none(own):
    own.count("a.B", "uncached")
    assert published(own) == {TOTALS: {"a.B:uncached": 1}}


def test_what_could_not_be_published_is_kept_and_published_once(own):
    batches = []

    def sink(batch):
        batches.append(batch)
        if len(batches) == 1:
            raise StoreFailed("down")

    own.connect(sink)
    own.count("a.B", "misses", "q")
    own.count_hit("a.B", "hits", "q", 1, 2)
    own.describe("q", {"sql": "SELECT 1"})
    own.note_event({"at": 1})
    assert not own.publish()
    own.count_hit("a.B", "hits", "q", 5, 70)
    own.note_event({"at": 2})
    assert own.publish()
    assert own.publish()  # nothing
    assert len(batches) == 2
    assert dict(batches[1].groups[0].counts) == {
        "a.B:misses": 1, "a.B:hits": 2, "a.B:hit_us": 6, "a.B:load_us": 72
    }  # fmt: skip
    assert batches[1].texts == {"q": b'{"sql": "SELECT 1"}'}
    assert batches[1].events == [b'{"at": 1}', b'{"at": 2}']


def test_of_many_events_the_last_are_kept(own):
    for number in range(1_000):
        own.note_event({"at": number})
    assert len(own._events) == 200
    assert own._events[-1] == {"at": 999}


def test_the_queue_does_not_grow_without_bound(own):
    for _ in range(100_000):
        own.count("a.B", "misses")
    assert len(own.queue) <= 10_001


def test_texts_do_not_grow_without_bound(own):
    for number in range(20_000):
        own.describe(str(number), {"sql": ""})
        own.note_death(str(number), "a flush")
    assert len(own._texts) == 5_000
    assert len(own._described._values) == 5_000


def test_a_query_is_described_when_it_is_counted_and_again_after_an_hour(own, monkeypatch):
    batches = []
    own.connect(batches.append)
    own.describe("q", {"sql": "SELECT 1"})
    own.describe("never counted", {"sql": "SELECT 2"})
    now = counting.time.monotonic()
    for seconds in (0, 3_500, 3_700):
        monkeypatch.setattr(counting.time, "monotonic", lambda: now + seconds)  # noqa: B023
        own.count("a.B", "misses", "q")
        assert own.publish()
    assert [batch.texts for batch in batches] == [
        {"q": b'{"sql": "SELECT 1"}'}, {}, {"q": b'{"sql": "SELECT 1"}'}
    ]  # fmt: skip


def test_totals_are_put_together_again():
    stats = stats_from(
        ["a.B"],
        {
            "a.B:hits": 3, "a.B:uncached": 2, "a.B:update": 4, "a.B:invalidations": 4,
            "a.Gone:hits": 1, "a.Other:unopted": 9, ":incidents": 1, "nonsense": 5,
        },
    )  # fmt: skip
    assert stats.models == {
        "a.B": ModelStats(hits=3, reasons={"uncached": 2}, invalidations=4, causes={"update": 4})
    }
    assert (stats.incidents, stats.late_writes, stats.not_opted_in) == (1, 0, {"a.Other": 9})


def test_queries_are_put_together_again():
    found = queries_from({"q:hits": 2, "q:load_us": 70, "r:unknown-sql": 3})
    assert found == [
        QueryStats(name="q", hits=2, load_us=70),
        QueryStats(name="r", reasons={"unknown-sql": 3}),
    ]


def test_the_queries_that_were_read_least_are_found_with_all_their_counters():
    counts = {"a:hits": 5, "a:hit_us": 9, "b:misses": 1, "b:fills": 1, "c:unknown-sql": 9}
    assert least_read(counts, 0.4) == ["b:misses", "b:fills"]


# Over time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", Resolution)
def test_a_chart_ends_with_the_step_of_now(resolution):
    starts = steps_until(resolution, NOW)
    assert len(starts) == resolution.steps
    assert starts[-1] <= NOW < starts[-1] + resolution.seconds
    assert {b - a for a, b in pairwise(starts)} == {resolution.seconds}


def test_what_a_chart_shows_is_counted_in_each_resolution():
    sums = {
        ("a.B", "hits", "q"): [2, 10, 100],
        ("a.C", "hits", ""): [1, 5, 50],
        ("a.B", "uncached", ""): [3, 0, 0],
        ("a.B", "unknown-sql", "r"): [4, 0, 0],
        ("a.Other", "unopted", ""): [8, 0, 0],
    }
    groups = {group.name: group for group in groups_of(sums, NOW)}
    for resolution in Resolution:
        group = groups[group_of(resolution, NOW)]
        assert group.counts == {"hits": 3, "hit_us": 15, "load_us": 150, "bypasses": 7}
        assert group.ttl >= resolution.seconds * resolution.steps


def test_the_charts_cover_an_hour_a_day_and_a_week():
    covered = [each.seconds * each.steps for each in Resolution]
    assert covered == [3600, 24 * 3600, 7 * 24 * 3600]


def test_one_object_stands_for_each_query_in_turn():
    counts = {"a:hits": 3, "a:load_us": 5, "b:iterator": 2, "b:misses": 1, ":hits": 9, "c:odd": 4}
    found = Queries(counts)
    assert list(found) == ["a", "b", "c"]
    assert [(one.name, one.reads) for one in found.each(found)] == [("a", 3), ("b", 3), ("c", 0)]
    fields = QueryStats.__dataclass_fields__
    for one in found.each(["b", "a", "c"]):
        same = found[one.name]
        assert {name: getattr(one, name) for name in fields} == {
            name: getattr(same, name) for name in fields
        }
        assert not hasattr(one, "odd")
    assert found["b"] == QueryStats(misses=1, reasons={"iterator": 2}, name="b")
    assert "" not in found
    with pytest.raises(KeyError):
        found["d"]
    assert queries_from(counts) == [found["a"], found["b"], found["c"]]
