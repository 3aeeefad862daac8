"""After every write, in every kind of transaction, reads answer as the database does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.db import connections

import querycache
from querycache import bypass
from tests.differential.library import Copy, Library
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
        yield lambda function, *args: thread.submit(function, *args).result(timeout=10)
        thread.submit(caches.close_all).result()
        thread.submit(connections.close_all).result()


def seen(library: Library) -> list[object]:
    return [watch(library) for watch in WATCHES]


@bypass()
def seen_in_database(library: Library) -> list[object]:
    return seen(library)


def check(write: Write, mode: Mode, library: Library, elsewhere, count_sql):
    before = seen(library)
    with mode.run(library.using):
        write.run(library)
        if not write.is_ddl:
            assert elsewhere(seen, library) == elsewhere(seen_in_database, library)
        now = seen_in_database(library)
        assert now != before
        assert seen(library) == now
    after = seen_in_database(library)
    assert after != before or not mode.commits
    with count_sql(library.using) as statements:
        assert seen(library) == after
    assert elsewhere(seen, library) == after
    if after == before and mode.keeps_entries:
        assert statements == []


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


@pytest.mark.parametrize("mode", ["in autocommit", "in atomic()", "rolled back"])
def test_reads_after_a_write_are_those_of_the_database(
    using, mode, library, elsewhere, count_sql, subtests
):
    check_all(WRITES, MODES[mode], library, elsewhere, count_sql, subtests)


@pytest.mark.parametrize(
    "mode", sorted(MODES.keys() - {"in autocommit", "in atomic()", "rolled back"})
)
def test_reads_after_any_kind_of_transaction_are_those_of_the_database(
    using, mode, library, elsewhere, count_sql, subtests
):
    check_all(TYPICAL_WRITES, MODES[mode], library, elsewhere, count_sql, subtests)


@pytest.mark.parametrize("mode", ["in autocommit", "in atomic()"])
def test_reads_after_a_write_are_right_with_every_store(
    using, store, mode, library, elsewhere, count_sql, subtests
):
    check_all(TYPICAL_WRITES, MODES[mode], library, elsewhere, count_sql, subtests)
