"""What is drawn over time, as SVG of the server: no script has to run for it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from querycache.management.figures import percentage
from querycache.panel import wording
from querycache.series import Resolution, Step

WIDTH: Final = 600
HEIGHT: Final = 120
_GAP: Final = 0.2
"""The part of a step's width that is left free."""


class Shape(NamedTuple):
    """A path of a chart: its class in the style sheet, what it is of, and its sum or mean."""

    style: str
    path: str
    label: str
    total: str


class Band(NamedTuple):
    """What a pointer is told over a step."""

    x: str
    width: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``top`` and ``bottom`` say where the scale ends."""

    name: str
    title: str
    about: str
    top: str
    bottom: str
    zero: str
    shapes: Sequence[Shape]
    bands: Sequence[Band]
    is_empty: bool
    hangs: bool = False
    """Whether something is below zero."""


class Axis(NamedTuple):
    """What stands below each chart, and in the first column of the table beside them."""

    first: str
    middle: str
    last: str


SPANS: Final = {"hour": Resolution.HOUR, "day": Resolution.DAY, "week": Resolution.WEEK}


def labels_of(resolution: Resolution, steps: Sequence[Step]) -> list[str]:
    """Return when each step began."""
    write = wording.day_and_time if resolution is Resolution.WEEK else wording.time_of_day
    return [write(step.at) for step in steps]


def axis_of(labels: Sequence[str]) -> Axis:
    """Return what stands below the charts."""
    return Axis(labels[0], labels[len(labels) // 2], labels[-1])


def charts_of(steps: Sequence[Step], labels: Sequence[str]) -> list[Chart]:
    """Return the charts of the overview."""
    reads = _bars(
        "reads",
        _("Reads"),
        [
            ("hits", _("Hits"), [step.hits for step in steps]),
            ("misses", _("Misses"), [step.misses for step in steps]),
            ("bypasses", _("Bypasses"), [step.bypasses for step in steps]),
        ],
        labels,
        wording.number,
    )
    saved = _bars(
        "saved",
        _("Database time saved"),
        [("saved", _("Time saved"), [step.saved_seconds for step in steps])],
        labels,
        wording.duration,
    )
    invalidations = _bars(
        "invalidations",
        _("Invalidations"),
        [("invalidations", _("Invalidations"), [step.invalidations for step in steps])],
        labels,
        wording.number,
    )
    return [reads, _line(steps, labels), saved, invalidations]


def _bars(
    name: str,
    title: str,
    series: Sequence[tuple[str, str, Sequence[float]]],
    labels: Sequence[str],
    write: Callable[[float], str],
) -> Chart:
    """Return a chart of bars, which stand on each other; below zero they hang."""
    sums = [sum(each) for each in zip(*(values for _name, _label, values in series), strict=True)]
    is_time = write is wording.duration
    top = _rounded(max(0, *sums), is_time=is_time)
    bottom = -_rounded(-min(0, *sums), is_time=is_time)
    scale = HEIGHT / ((top - bottom) or 1)
    zero = top * scale
    width = WIDTH / len(sums)
    floors = [zero] * len(sums)
    shapes = []
    for style, label, values in series:
        parts = []
        for position, value in enumerate(values):
            if value:
                height = value * scale
                floors[position] -= height
                x, y = (position + _GAP / 2) * width, min(floors[position], zero)
                bar = width * (1 - _GAP)
                parts.append(f"M{x:.1f} {y:.1f}h{bar:.1f}v{abs(height):.1f}h-{bar:.1f}z")
        shapes.append(Shape(style, "".join(parts), label, write(sum(values))))
    texts = [
        f"{label}: " + ", ".join(f"{of} {write(values[position])}" for _style, of, values in series)
        for position, label in enumerate(labels)
    ]
    about = "; ".join(f"{shape.label}: {shape.total}" for shape in shapes)
    return Chart(
        name, title, about, write(top), write(bottom), f"{zero:.1f}", shapes,
        list(_bands(texts)), not any(sums), bottom < 0,
    )  # fmt: skip


def _line(steps: Sequence[Step], labels: Sequence[str]) -> Chart:
    """Return the chart of the hit rate, whose line is broken where nothing was read."""
    width, parts, is_drawn = WIDTH / len(steps), [], False
    for position, step in enumerate(steps):
        rate = step.hit_rate
        if rate is not None:
            x, y = position * width, HEIGHT * (1 - rate)
            parts.append(f"{'L' if is_drawn else 'M'}{x:.1f} {y:.1f}h{width:.1f}")
        is_drawn = rate is not None
    shape = Shape("rate", "".join(parts), _("Hit rate"), _rate(_sum_of(steps)))
    texts = [f"{label}: {_rate(step)}" for label, step in zip(labels, steps, strict=True)]
    return Chart(
        "rate", _("Hit rate"), f"{_('Hit rate')}: {shape.total}", "100%", "0%",
        f"{HEIGHT:.1f}", [shape], list(_bands(texts)), not parts,
    )  # fmt: skip


def _sum_of(steps: Sequence[Step]) -> Step:
    return Step(
        0,
        hits=sum(step.hits for step in steps),
        misses=sum(step.misses for step in steps),
        bypasses=sum(step.bypasses for step in steps),
    )


def _rate(step: Step) -> str:
    return wording.NOTHING if step.hit_rate is None else percentage(step.hit_rate)


def _bands(texts: Sequence[str]) -> Iterator[Band]:
    width = WIDTH / len(texts)
    for position, text in enumerate(texts):
        yield Band(f"{position * width:.1f}", f"{width:.1f}", text)


_MINUTES_AND_HOURS: Final = [
    step * unit for unit in (60, 3_600) for step in (1, 2, 5, 10, 20, 30, 60)
]


def _rounded(value: float, *, is_time: bool = False) -> float:
    """Return 1, 2 or 5 times a power of ten that is not below a value; 0 for 0."""
    if value <= 0:
        return 0.0
    if is_time and 50 < value <= _MINUTES_AND_HOURS[-1]:
        return next(step for step in _MINUTES_AND_HOURS if step >= value * 0.999)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999)


class Line(NamedTuple):
    """What the charts show of a step, as a line of a table."""

    at: str
    cells: Sequence[str]


def lines_of(steps: Sequence[Step], labels: Sequence[str]) -> list[Line]:
    """Return the same as text, without the steps in which nothing happened."""
    return [
        Line(
            label,
            [
                wording.number(step.hits),
                wording.number(step.misses),
                wording.number(step.bypasses),
                _rate(step),
                wording.duration(step.saved_seconds),
                wording.number(step.invalidations),
            ],
        )
        for label, step in zip(labels, steps, strict=True)
        if step.reads or step.invalidations
    ]
