"""Every read answers from the cache just as it answers without one."""

import pytest
from django.contrib.contenttypes.models import ContentType

from querycache import bypass
from querycache.recorder import record_reads
from tests.differential.picture import picture
from tests.differential.reads import CACHEABLE, NOT_CACHEABLE, Read
from tests.differential.shelf import Library


@pytest.fixture
def library(using, store):
    library = Library(using)
    library.build()
    return library


def taken(read, library):
    # Django keeps content types in memory: each time they are to be read anew.
    ContentType.objects.clear_cache()
    return picture(read.run(library))


def those_for(reads: list[Read], library: Library, store: str) -> list[Read]:
    assert len({read.name for read in reads}) == len(reads)
    found = [read for read in reads if read.can_run_on(library.using)]
    # What is read is the same on each store: all of it on two of them, a part on the others.
    return found if store in {"locmem", "redis"} else found[::5]


def test_every_read_is_the_same_without_the_cache_at_first_and_from_it(
    library, store, count_sql, subtests
):
    for read in those_for(CACHEABLE, library, store):
        with subtests.test(msg=read.name):
            with bypass():
                without = taken(read, library)
            with record_reads() as reads:
                first = taken(read, library)
            assert first == without
            assert {found.reason for found in reads} <= {None}
            with count_sql(library.using) as statements:
                second = taken(read, library)
            assert second == without
            assert statements == []


def test_a_read_that_is_not_cacheable_goes_to_the_database_and_says_why(
    library, store, count_sql, subtests
):
    for read in those_for(NOT_CACHEABLE, library, store):
        with subtests.test(msg=read.name):
            with bypass():
                without = taken(read, library)
            assert taken(read, library) == without
            with count_sql(library.using) as statements, record_reads() as reads:
                assert taken(read, library) == without
            assert statements != []
            reasons = {found.reason for found in reads}
            assert reasons == set() if read.reason == "raw" else read.reason in reasons
