"""What is written for people: lines that fit a terminal, tables, and lines that are redrawn."""

import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from django.core.management.base import OutputWrapper

_UP: Final = "\x1b[{}F"
_CLEAR: Final = "\x1b[J"
"""To the start of a line so many lines above, and what clears all from there on (ECMA-48)."""


class Line(NamedTuple):
    """A line, and the function that gives it its colour."""

    text: str
    paint: Callable[[str], str] = str


def aligned(rows: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)) -> Iterator[str]:
    """Return lines of columns; ``left`` are the numbers of those that hold no figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        yield "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in cells
        ).rstrip()


def one_line(text: str) -> str:
    """Return a text without line breaks, and without what a terminal would take for commands."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))


def cut(text: str, columns: int) -> str:
    """Return as much of a text as fits into so many columns of a terminal."""
    for number, one in enumerate(text):
        columns -= 2 if unicodedata.east_asian_width(one) in "WF" else 1
        if columns < 0:
            return text[:number]
    return text


def is_terminal(out: OutputWrapper) -> bool:
    """Say whether lines can be redrawn there."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


class Redrawn:
    """Lines at the end of a terminal that are drawn anew, one drawing in place of the last."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._height = 0

    def draw(self, lines: Iterable[Line]) -> None:
        """Draw as many lines as the terminal has room for, and as much of each."""
        width, height = shutil.get_terminal_size()
        # One row is for the cursor; and a line that is broken in two would not be taken back.
        shown = [line.paint(cut(line.text, width - 1)) for line in list(lines)[: height - 1]]
        drawing = "".join(f"{line}\n" for line in shown)
        self._out.write(self._cleared() + drawing, ending="")
        self._out.flush()
        self._height = len(shown)

    def clear(self) -> None:
        """Take the last drawing away, for what is to stay."""
        self._out.write(self._cleared(), ending="")
        self._height = 0

    def _cleared(self) -> str:
        return _UP.format(self._height) + _CLEAR if self._height else ""
