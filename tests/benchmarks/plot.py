"""Draws horizontal bars as SVG: too little to need a package for it."""

from collections.abc import Mapping
from html import escape

COLOURS = ("#8a8f98", "#d08a3c", "#b5577d", "#2f7ebc", "#3a9a6b", "#7a6bc0")
LEFT, WIDTH, RIGHT = 170, 520, 60
BAR, GAP, LINE = 12, 14, 16


def bars(figures: Mapping[str, Mapping[str, float]]) -> str:
    """
    Return a drawing of a group of bars for each entry, each relative to the first in its group.

    What is longer than the first bar is cut at its end; the number beside it is not.
    """
    names = list(next(iter(figures.values())))
    parts = list(legend(names))
    top = LINE * len(names) + GAP
    for title, group in figures.items():
        parts.extend(group_of_bars(title, group, top))
        top += BAR * len(group) + GAP
    total = LEFT + WIDTH + RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {top}"'
        ' font-family="sans-serif" font-size="11" role="img"'
        ' aria-label="Time of a read relative to no cache, shorter is faster">'
    )
    background = f'<rect width="{total}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def legend(names: list[str]) -> list[str]:
    parts = []
    for position, name in enumerate(names):
        y = position * LINE + 6
        colour = COLOURS[position % len(COLOURS)]
        parts.append(f'<rect x="{LEFT}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(text(LEFT + 16, y + 9, name))
    return parts


def group_of_bars(title: str, group: Mapping[str, float], top: int) -> list[str]:
    whole = next(iter(group.values()))
    middle = top + BAR * len(group) / 2 + 4
    parts = [text(LEFT - 8, middle, title, ' text-anchor="end"')]
    for position, value in enumerate(group.values()):
        share = value / whole
        y, length = top + position * BAR, max(1.0, min(1.0, share) * WIDTH)
        shape = f'x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}"'
        parts.append(f'<rect {shape} fill="{COLOURS[position % len(COLOURS)]}"/>')
        parts.append(text(LEFT + length + 4, y + 9, f"{share:.2f}", ' font-size="9"'))
    return parts


def text(x: float, y: float, content: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222222"{more}>{escape(content)}</text>'
