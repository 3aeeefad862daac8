"""After every write, in every kind of transaction, reads answer as the database does."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.db import connections

import querycache
from querycache import bypass
from tests.differential.shelf import Copy, Library
from tests.differential.writes import MODES, TYPICAL, WATCHES, WRITES, Mode, Write

TYPICAL_WRITES = [write for write in WRITES if write.name in TYPICAL]


@pytest.fixture
def library(using, settings):
    # A raw RETURNING on SQLite leaves a fence until its deadline.
    caches[settings.QUERYCACHE["CACHE"]].clear()
    library = Library(using)
    library.build()
    return library


@pytest.fixture
def elsewhere():
    """Run a function on a connection of its own, and return what it returned."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda function, *args: thread.submit(function, *args).result(timeout=60)
        thread.submit(caches.close_all).result()
        thread.submit(connections.close_all).result()


def seen(library: Library, watches: Iterable[int] = range(len(WATCHES))) -> dict[int, object]:
    return {number: WATCHES[number](library) for number in watches}


@bypass()
def seen_in_database(library, *watches):
    return seen(library, *watches)


def check(write: Write, mode: Mode, library: Library, elsewhere, count_sql):
    before = seen(library)
    with mode.run(library.using):
        write.run(library)
        now = seen_in_database(library)
        # What the write did not change is the same, wherever it was read: it is not asked again.
        changed = [number for number in before if now[number] != before[number]]
        assert changed
        if mode.is_open:
            assert seen(library, changed) == subset(now, changed)
            if not write.is_ddl:
                # Not simply ``before``: what SQLite commits by itself is to be seen at once.
                there = elsewhere(seen, library, changed)
                assert there == elsewhere(seen_in_database, library, changed)
    before = subset(before, changed)
    after = seen_in_database(library, changed)
    assert after != before or not mode.commits
    with count_sql(library.using) as statements:
        assert seen(library, changed) == after
    assert elsewhere(seen, library, changed) == after
    if after == before and mode.keeps_entries:
        assert statements == []


def subset(results: dict[int, object], watches: list[int]) -> dict[int, object]:
    return {number: results[number] for number in watches}


def can_run(write: Write, mode: Mode, using: str) -> bool:
    vendor = connections[using].vendor
    return (
        vendor in write.on & mode.on
        and (write.is_one_statement or not mode.is_by_hand)
        and not (write.is_ddl and mode.is_open and vendor == "mysql")
    )


def check_all(writes, mode, library, elsewhere, count_sql, subtests):
    # What content types there are is not to be read in a transaction that is rolled back.
    ContentType.objects.clear_cache()
    with Copy(library.using) as copy:
        for write in writes:
            if can_run(write, mode, library.using):
                with subtests.test(msg=write.name):
                    check(write, mode, library, elsewhere, count_sql)
                copy.put_back()
                querycache.flush()


IN_FULL = ("in autocommit", "in atomic()")


@pytest.mark.parametrize("mode", IN_FULL)
def test_reads_after_a_write_are_those_of_the_database(
    using, mode, library, elsewhere, count_sql, subtests
):
    check_all(WRITES, MODES[mode], library, elsewhere, count_sql, subtests)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in IN_FULL])
def test_reads_after_any_kind_of_transaction_are_those_of_the_database(
    using, mode, library, elsewhere, count_sql, subtests
):
    check_all(TYPICAL_WRITES, MODES[mode], library, elsewhere, count_sql, subtests)


def test_reads_after_a_write_are_right_with_every_store(
    using, store, library, elsewhere, count_sql, subtests
):
    check_all(TYPICAL_WRITES, MODES["in atomic()"], library, elsewhere, count_sql, subtests)
