"""
Invalidations as others see them: counted by model and cause, the last ones line by line, and told
to those who listen.
"""

import sys
from time import time
from types import FrameType
from typing import Any, Final

from django.conf import settings

from querycache._django.connections import BaseDatabaseWrapper
from querycache.conf import get_config
from querycache.counting import statistics
from querycache.scopes import ANY
from querycache.signals import invalidated
from querycache.statements import Change
from querycache.transactions import ConnectionState, state_of


def note_invalidation(
    connection: BaseDatabaseWrapper, change: Change, dependencies: tuple[str, ...]
) -> None:
    """Count what a change has made stale of each model, and keep a line of it."""
    using = connection.alias
    opted_in = get_config().tables
    tables = sorted(opted_in.keys() if change.everything else change.touched & opted_in.keys())
    found = set()
    for name in tables:
        label = opted_in[name].label
        statistics.count(label, "invalidations")
        for cause in change.causes_of(name):
            statistics.count(label, cause.value)
            found.add(cause.value)
    if tables:
        event: dict[str, Any] = {
            "at": time(),
            "using": using,
            "tables": [] if change.everything else tables,
            "rows": rows_of(change, tables),
            "causes": sorted(found),
        }
        if settings.DEBUG:
            event["site"] = site()
        statistics.note_event(event)
    if invalidated.receivers:
        labels = frozenset(opted_in[name].label for name in tables)
        told = {"labels": labels, "dependencies": dependencies, "using": using}
        state_of(connection).untold.append(told)


def tell(connection: BaseDatabaseWrapper, state: ConnectionState) -> None:
    """
    Tell those who listen what was published, as soon as a receiver may query the database.

    That is not so between a COMMIT and the return to autocommit: its query would begin a
    transaction, and Django fail to return.
    """
    is_returning = not connection.autocommit and not connection.in_atomic_block
    if is_returning and connection.settings_dict["AUTOCOMMIT"]:
        return
    while state.untold:
        invalidated.send_robust(None, **state.untold.pop(0))


def rows_of(change: Change, tables: list[str]) -> int | None:
    """Return how many rows of these tables have changed, None if nobody knows."""
    if change.everything or not change.tables.isdisjoint(tables):
        return None
    keys = {(name, columns[0].name) for name, columns in get_config().scopes.items()}
    rows = [scope for scope in change.scopes if (scope.table, scope.column) in keys]
    return None if any(row.value == ANY for row in rows) else len(rows)


_NOT_SHOWN: Final = ("asgiref", "contextlib", "django", "functools", "querycache", "threading")


def site() -> str:
    """Return the line of the project's code that is running: below Django and this library."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _NOT_SHOWN:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
