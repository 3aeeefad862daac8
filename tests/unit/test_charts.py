"""Charts as they are drawn: shapes in a box of fixed size."""

import re

import pytest

from querycache.panel import charts
from querycache.series import Resolution, Step


def chart(name, *steps):
    found = charts.charts_of(steps, [str(number) for number in range(len(steps))])
    return next(each for each in found if each.name == name)


def bars(path):
    """The left, top and height of each bar."""
    found = re.findall(r"M([\d.]+) ([\d.-]+)h[\d.]+v([\d.]+)", path)
    return [tuple(map(float, bar)) for bar in found]


def test_bars_stand_on_each_other():
    drawn = chart("reads", Step(0, hits=60, misses=40), Step(1, bypasses=50))
    hits, misses, bypasses = drawn.shapes
    assert drawn.top == "100"
    assert [bar[1:] for bar in bars(hits.path)] == [(48.0, 72.0)]
    assert [bar[1:] for bar in bars(misses.path)] == [(0.0, 48.0)]
    assert [bar[1:] for bar in bars(bypasses.path)] == [(60.0, 60.0)]
    assert (hits.total, misses.total, bypasses.total) == ("60", "40", "50")
    assert [band.text for band in drawn.bands] == [
        "0: Hits 60, Misses 40, Bypasses 0",
        "1: Hits 0, Misses 0, Bypasses 50",
    ]
    assert not drawn.hangs


def test_what_is_below_zero_hangs():
    drawn = chart("saved", Step(0, load_us=1_000_000), Step(1, hit_us=1_000_000))
    (saved,) = drawn.shapes
    assert (drawn.top, drawn.bottom, drawn.zero) == ("1 s", "-1 s", "60.0")
    assert [bar[1:] for bar in bars(saved.path)] == [(0.0, 60.0), (60.0, 60.0)]
    assert drawn.hangs


def test_the_line_of_the_hit_rate_is_broken_where_nothing_was_read():
    drawn = chart("rate", Step(0, hits=1), Step(1), Step(2, hits=1, misses=1), Step(3, misses=1))
    (rate,) = drawn.shapes
    assert rate.path == "M0.0 0.0h150.0M300.0 60.0h150.0L450.0 120.0h150.0"
    assert rate.total == "50.0%"


def test_a_chart_of_nothing_is_empty():
    for drawn in charts.charts_of([Step(0), Step(1)], ["0", "1"]):
        assert drawn.is_empty
        assert not any(shape.path for shape in drawn.shapes)
    assert charts.lines_of([Step(0), Step(1)], ["0", "1"]) == []


@pytest.mark.parametrize(
    ("value", "is_time", "top"),
    [
        (0, False, 0),
        (1, False, 1),
        (3, False, 5),
        (51, False, 100),
        (100, False, 100),
        (0.003, True, 0.005),
        (51, True, 60),
        (130, True, 300),
        (3_700, True, 7_200),
        (10**9, True, 10**9),
    ],
)
def test_the_scale_ends_at_a_round_figure(value, is_time, top):
    assert charts._rounded(value, is_time=is_time) == pytest.approx(top)


@pytest.mark.parametrize("resolution", Resolution)
def test_there_is_a_label_for_each_step(resolution):
    steps = [Step(number * resolution.seconds) for number in range(3)]
    labels = charts.labels_of(resolution, steps)
    assert len(labels) == 3
    assert charts.axis_of(labels) == tuple(labels)
