"""Django's test runner, which keeps what has become of each test and of each read."""

import json
import logging
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.test.runner import DiscoverRunner

from querycache import generations, loads, reads
from querycache.recorder import Read, record_reads
from querycache.verification import DIFFERENCE
from tests.django_suite.settings import MODE, PLAIN, RESULTS, VERIFIED


class Outcomes:
    """What has become of each test, and of the reads of all of them."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        """The traceback of each test that has failed, or what it has failed for."""
        self.passed: list[str] = []
        self.reads: Counter[str] = Counter()
        """How many reads were hits, misses or bypasses of each reason."""
        self.answered_as_stored = 0
        """How many of the misses were answered with what they have stored."""
        self.logged: Counter[str] = Counter()
        """What querycache has logged while tests ran."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


outcomes = Outcomes()


class Log(logging.Handler):
    """Notes what querycache logs; a hit that differs from the database fails its test."""

    def __init__(self) -> None:
        super().__init__()
        self.differences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        outcomes.logged[str(record.msg)] += 1
        if record.msg is DIFFERENCE:
            self.differences.append(record.getMessage())


class Result(unittest.TextTestResult):
    """Notes what becomes of each test, by its full name: apps have classes of one name."""

    reads: list[Read] = []
    log = Log()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        outcomes.reads.update(
            f"{read.outcome}: {read.reason}" if read.reason else read.outcome for read in self.reads
        )
        self.reads.clear()
        if self.log.differences:
            self.note(test, "\n".join(self.log.differences))
            self.log.differences.clear()

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        outcomes.passed.append(test.id())

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        outcomes.passed.append(test.id())

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self.note(test, "unexpected success")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self.note(test, self._exc_info_to_string(err, test))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self.note(test, self._exc_info_to_string(err, test))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def note(self, test: unittest.TestCase, text: str) -> None:
        earlier = outcomes.failed.get(test.id(), "")
        outcomes.failed[test.id()] = f"{earlier}{text}\n"


@contextmanager
def asking_both() -> Iterator[None]:
    """
    With VERIFY, let each read ask the database and yet be answered with what the cache holds.

    A hit asks the database too, also in a transaction; a miss is answered with what it has stored,
    looked up again. So a test sees the queries that it sees without querycache, and no row that was
    not an entry before.
    """
    choose, verify, fill, as_result = (
        reads.is_to_be_verified,
        reads.verified,
        loads.fill,
        reads.as_result,
    )
    last: tuple[Any, Any] = (None, None)
    """The rows that were stored last, and what was found of them."""

    def verified(load: Any, query: Any, plan: Any, cached: Any, *args: Any) -> Any:
        verify(load, query, plan, cached, *args)
        return cached

    def fill_and_look(label: str, plan: Any, look: Any, loaded: Any, **options: Any) -> Any:
        nonlocal last
        reason = fill(label, plan, look, loaded, **options)
        if reason is None:
            found = generations.look(plan.key, plan.dependencies).loaded
            if found is not None:
                outcomes.answered_as_stored += 1
                last = loaded.rows, found.rows
        return reason

    def as_stored(rows: Any, result_type: str) -> Any:
        loaded, found = last
        return as_result(found if rows is loaded else rows, result_type)

    reads.is_to_be_verified = lambda share, *args: share == 1
    reads.verified, loads.fill, reads.as_result = verified, fill_and_look, as_stored
    try:
        yield
    finally:
        reads.is_to_be_verified, reads.verified = choose, verify
        loads.fill, reads.as_result = fill, as_result


class Runner(DiscoverRunner):
    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return Result

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> unittest.TestResult:
        with ExitStack() as stack:
            if MODE != PLAIN:
                # runtests.py has added apps without a word.
                sender = type(settings._wrapped)
                setting_changed.send(sender, setting="INSTALLED_APPS", value=None, enter=True)
                if MODE == VERIFIED:
                    stack.enter_context(asking_both())
                logging.getLogger("querycache").addHandler(Result.log)
                Result.reads = stack.enter_context(record_reads())
            result = super().run_suite(suite, **kwargs)
        outcomes.save(RESULTS)
        return result
