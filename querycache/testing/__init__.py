"""
For the tests of projects that use querycache.

In a ``TestCase``, and under pytest-django's ``db``, a test sees its own writes as committed: what
it reads is answered from the cache as in production, and nothing of it is seen by another test.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test.utils import TestContextDecorator, override_settings

from querycache.exceptions import Reason
from querycache.querysets import get_stats
from querycache.recorder import Read, record_reads
from querycache.verification import DIFFERENCE

__all__ = ["assertCached", "assertFresh", "assertNotCached", "override_querycache"]


class override_querycache(TestContextDecorator):  # noqa: N801  (used like a function)
    """
    Change keys of the setting QUERYCACHE for a test, a class of tests or a block.

    ``override_querycache(MODELS={})`` turns the cache off, ``override_querycache(MODELS={"*":
    {"TTL": 60}})`` opts everything in. The other keys stay as they are.
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__()
        self._keys = keys

    def enable(self) -> None:
        """Change the setting."""
        changed = {**getattr(settings, "QUERYCACHE", {}), **self._keys}
        self._override = override_settings(QUERYCACHE=changed)
        self._override.enable()

    def disable(self) -> None:
        """Change it back."""
        self._override.disable()

    def decorate_class(self, cls: type) -> type:
        """Change the setting for every test of a class, and for its ``setUpTestData()``."""
        return (
            _around_class(self, cls) if hasattr(cls, "setUpClass") else super().decorate_class(cls)
        )


def _around_class(override: override_querycache, cls: type) -> type:
    set_up: Callable[..., None] = cls.setUpClass.__func__  # type: ignore[attr-defined]

    def set_up_class(cls: Any) -> None:
        override.enable()
        cls.addClassCleanup(override.disable)
        set_up(cls)

    cls.setUpClass = classmethod(set_up_class)  # type: ignore[attr-defined]
    return cls


@contextmanager
def assertCached() -> Iterator[list[Read]]:  # noqa: N802  (as unittest spells it)
    """
    Fail with ``AssertionError`` unless all reads of opted-in models in the block are hits.

    And unless there is any. It sees the reads of its own thread or task. Returns them as a list.
    """
    with record_reads() as reads:
        yield reads
    if not reads:
        raise AssertionError("nothing was read of a model that is opted in")
    others = [read for read in reads if read.outcome != "hit"]
    if others:
        raise AssertionError(
            f"{len(others)} of {len(reads)} reads were not hits:\n{_lines(others)}"
        )


@contextmanager
def assertNotCached(reason: Reason | str | None = None) -> Iterator[list[Read]]:  # noqa: N802
    """
    Fail with ``AssertionError`` if a read in the block is a hit.

    With ``reason``, also if there is none, or one that was not bypassed for that reason.
    """
    with record_reads() as reads:
        yield reads
    hits = [read for read in reads if read.outcome == "hit"]
    if hits:
        raise AssertionError(f"{len(hits)} of {len(reads)} reads were hits:\n{_lines(hits)}")
    if reason is None:
        return
    if not reads:
        raise AssertionError("nothing was read of a model that is opted in")
    others = [read for read in reads if read.reason != reason]
    if others:
        raise AssertionError(f"not for the reason {str(reason)!r}:\n{_lines(others)}")


def _lines(reads: list[Read]) -> str:
    return "\n".join(
        f"  {read.label}: {read.outcome}{f' ({read.reason})' if read.reason else ''}"
        for read in reads
    )


@contextmanager
def assertFresh() -> Iterator[None]:  # noqa: N802
    """
    Fail with ``AssertionError`` if a hit in the block differs from what the database says.

    Each hit is run again on the database, by whichever thread: also those of a live server. Fails
    if there is no hit, which would say nothing. Not for hits inside of ``atomic()``.
    """
    differences: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg is DIFFERENCE:
                differences.append(record.getMessage())

    handler, logger = Handler(), logging.getLogger("querycache")
    with override_querycache(VERIFY=1.0):
        verified = get_stats().total.verified
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
        verified = get_stats().total.verified - verified
    if differences:
        raise AssertionError("\n".join(differences))
    if not verified:
        raise AssertionError("there was no hit to compare with the database")
