"""The page of events: what was made stale, when, by what."""

import os
import sys
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from querycache import reports
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.panel import listing, wording
from querycache.reports import Event
from querycache.stats import MOST_EVENTS, Cause

EVENTS_PER_PAGE: Final = 50
_CAUSES: Final = {
    Cause.INSERT: gettext_lazy("rows were inserted"),
    Cause.UPDATE: gettext_lazy("rows were updated"),
    Cause.DELETE: gettext_lazy("rows were deleted"),
    Cause.SQL: gettext_lazy("SQL that is not of Django's ORM"),
    Cause.SIGNAL: gettext_lazy("a signal sent by hand"),
    Cause.CALL: gettext_lazy("invalidate() was called"),
}


class Line(NamedTuple):
    """An event as people read it: ``models`` are pairs of a label and its tables."""

    when: datetime | None
    ago: str
    using: str
    models: list[tuple[str, str]]
    rows: str
    causes: list[tuple[str, Any]]
    site: str


def page(request: HttpRequest) -> dict[str, Any]:
    """Return what the page of events shows."""
    failure = None
    found: list[Event] = []
    try:
        found = reports.events()
    except StoreFailed as error:
        failure = str(error)
    shown = listing.page_of(found, request, EVENTS_PER_PAGE)
    return {
        "failure": failure,
        "rows": shown,
        "lines": [_line(event) for event in shown],
        "most": MOST_EVENTS,
        "page_link": "?page=",
    }


def _line(event: Event) -> Line:
    when = wording.moment(event.at)
    return Line(
        when,
        wording.ago(when) if when else wording.NOTHING,
        event.using,
        models_of(event),
        _("any") if event.rows is None else wording.number(event.rows),
        [(cause, _CAUSES.get(cause, "")) for cause in event.causes],  # type: ignore[call-overload]
        short(event.site),
    )


def short(site: str) -> str:
    """Return a line of code without the folder that it is imported from."""
    folders = [folder for folder in sys.path if folder and site.startswith(f"{folder}{os.sep}")]
    return site[len(max(folders, key=len)) + 1 :] if folders else site


def models_of(event: Event) -> list[tuple[str, str]]:
    """Return the models of an event with their tables; of a model that is gone, the table."""
    tables = get_config().tables
    return [(tables[name].label if name in tables else "", name) for name in event.tables]
