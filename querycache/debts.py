"""
What this process owes to the store: releases that nobody has heard of yet, or that have failed.

Until a debt is paid, entries in the store may be stale, and nothing there says so. Nothing is read
from it then: whoever wants to read pays first.
"""

import atexit
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from django.apps import apps

from querycache.breaker import ask_unless_failing, forget_failure
from querycache.counting import statistics
from querycache.databases import EPOCH
from querycache.exceptions import StoreFailed
from querycache.stores import get_store

logger = logging.getLogger("querycache")

# A child of a fork has another lock: others say ``debts.lock``.
lock = threading.Lock()
owed: dict[str, tuple[str, ...]] = {}
"""
What each writer has changed and could not release. Its fence may be in the store all the same.
"""
_MANY_DEBTS: Final = 100
"""Writers. More of them are paid by a new epoch, in one request."""
unfenced: dict[str, tuple[float, tuple[str, ...]]] = {}
"""
Writers that could not fence and may commit any moment; until when, and what they then owe.

What they change is stale at a moment that nobody knows. The time is that of ``monotonic()``.
"""
lost_fences: deque[tuple[int, int]] = deque()
"""What is to be logged of writers: of how many fences, how many were lost."""


def _begin_in_child() -> None:
    global lock  # noqa: PLW0603
    lock = threading.Lock()  # a thread of the parent may have held the other
    unfenced.clear()  # these writers go on in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def owe(dependencies: Sequence[str], writer: str) -> None:
    """Note what is to be released as soon as the store answers."""
    with lock:
        owed[writer] = tuple(dependencies)
    # To be published, as soon as the store answers, by whoever publishes counts: after the debts.
    statistics.count("", "late_writes")


def settle() -> None:
    """Learn what has become of the releases that were not waited for."""
    with suppress(StoreFailed):  # there is no store
        get_store().settle()
    # Not in there: a handler that logs into a database would wait for this thread, and it for that.
    while lost_fences:
        with suppress(IndexError):  # another thread was quicker
            lost, fences = lost_fences.popleft()
            message = "%d of %d fences were lost before their release"
            told = {"querycache_event": "fences-lost", "lost": lost, "fences": fences}
            logger.warning(message, lost, fences, extra=told)


def pay_debts() -> None:
    """Release what could not be released. Raises ``StoreFailed`` if it still cannot be."""
    for writer, (until, dependencies) in list(unfenced.items()):
        if until <= monotonic():
            owe(dependencies, writer)
            with lock:
                unfenced.pop(writer, None)
    if unfenced:
        raise StoreFailed("a write of this process could not be fenced")
    with lock:
        due = dict(owed)
    if len(due) > _MANY_DEBTS:
        ask_unless_failing("release", [EPOCH], uuid.uuid4().hex)
    else:
        for writer, dependencies in due.items():
            ask_unless_failing("release", dependencies, writer)
    with lock:
        for writer in due:
            owed.pop(writer, None)
    told = {"querycache_event": "writes-late", "writes": len(due)}
    logger.warning("%d writes were published late", len(due), extra=told)


@atexit.register
def _pay_debts_at_exit() -> None:
    if not apps.ready:  # imported, and not used
        return
    forget_failure()  # there is no later
    settle()
    if owed:
        try:
            pay_debts()
        except StoreFailed:
            message = "%d writes were never published: flush the cache"
            told = {"querycache_event": "writes-lost", "writes": len(owed)}
            logger.error(message, len(owed), extra=told)  # noqa: TRY400
