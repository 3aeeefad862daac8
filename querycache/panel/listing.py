"""Lists that are sorted, filtered and cut into pages by what the address of a page says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.core.paginator import Page, Paginator
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

Row = TypeVar("Row")
Kept = TypeVar("Kept")

_LONGEST_FILTER: Final = 200


class Cell(NamedTuple):
    """What a table shows of a row in one column; ``detail`` is a second, quiet line."""

    text: str
    detail: str = ""


class Figure(NamedTuple):
    """A cell under its heading, which stands before it where a row is a card."""

    heading: str | Promise
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """
    A column: its name in addresses and exports, and how a row is sorted and shown in it.

    ``value`` gives what rows are sorted by and what is exported, None for what is not known; these
    come last in either order.
    """

    name: str
    heading: str | Promise
    value: Callable[[Row], Any]
    show: Callable[[Row], Cell]
    is_number: bool = True
    about: str | Promise = ""


class Heading(NamedTuple):
    """The head of a column, and where it leads to."""

    text: str | Promise
    about: str | Promise
    url: str
    is_number: bool
    order: str
    """As in ``aria-sort``: "ascending", "descending" or nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What the address of a page asks for; whatever is not understood is not there.

    ``sort`` is the name of a column, behind "-" for the highest first. ``others`` are parameters
    that a page has for itself, and that its links keep.
    """

    sort: str
    text: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def link(self, **changes: str | int) -> str:
        """Return the address of this page with other parameters."""
        known = {**self.others, "q": self.text, "sort": self.sort, **changes}
        return "?" + urlencode({name: value for name, value in known.items() if value})

    @property
    def link_of_pages(self) -> str:
        """Where the number of a page is put behind."""
        return self.link() + "&page="


def asked_of(
    request: HttpRequest,
    columns: Iterable[Column[Any]],
    default: str,
    others: Mapping[str, str] | None = None,
) -> Asked:
    """Understand the address of a page; what is wrong in it is left out."""
    sort = request.GET.get("sort", "")
    if sort.removeprefix("-") not in {column.name for column in columns}:
        sort = default
    text = request.GET.get("q", "").strip()[:_LONGEST_FILTER]
    return Asked(sort, text, others or {})


def matches(text: str, *values: str) -> bool:
    """Say whether a text stands in one of these values, in whatever case."""
    text = text.casefold()
    return any(text in value.casefold() for value in values)


def in_order(
    rows: Iterable[Row],
    columns: Iterable[Column[Row]],
    sort: str,
    kept: Callable[[Row], Kept],
) -> list[Kept]:
    """Return what is to be ``kept`` of each row, in the order that is asked for."""
    (value,) = (each.value for each in columns if each.name == sort.removeprefix("-"))
    found = [(value(row), kept(row)) for row in rows]
    known = [pair for pair in found if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=sort.startswith("-"))
    return [each for _, each in known] + [each for value, each in found if value is None]


def cells(figures: Iterable[Figure]) -> SafeString:
    """
    Return the cells of a row.

    There are a thousand on a page, and a template takes ten times as long for each.
    """
    return format_html_join(
        "",
        '<td role="cell" class="number" data-heading="{}">{}{}</td>',
        ((figure.heading, figure.text, _quiet(figure.detail)) for figure in figures),
    )


def _quiet(detail: str) -> str:
    return format_html(' <span class="quiet">{}</span>', detail) if detail else ""


def figures_of(row: Row, columns: Iterable[Column[Row]]) -> list[Figure]:
    """Return what is shown of a row."""
    return [Figure(column.heading, *column.show(row)) for column in columns]


def headings(columns: Iterable[Column[Any]], asked: Asked) -> list[Heading]:
    """Return the heads of the columns, each of which leads to the page sorted by it."""
    found = []
    for column in columns:
        first, second = column.name, f"-{column.name}"
        if column.is_number:  # the highest is what one looks for
            first, second = second, first
        order = {column.name: "ascending", f"-{column.name}": "descending"}.get(asked.sort, "")
        url = asked.link(sort=second if asked.sort == first else first)
        found.append(Heading(column.heading, column.about, url, column.is_number, order))
    return found


def orders(columns: Iterable[Column[Any]]) -> list[tuple[str, str | Promise, bool]]:
    """Return all orders there are: its name, the heading, and whether the highest comes first."""
    return [
        (prefix + column.name, column.heading, bool(prefix))
        for column in columns
        for prefix in ("-", "")
    ]


def page_of(rows: Sequence[Row], request: HttpRequest, size: int) -> Page[Row]:
    """Return the page that is asked for, or the nearest that there is."""
    return Paginator(rows, size).get_page(request.GET.get("page"))
