"""
The protocol as a model, ``protocol.pml``: Spin tries every order of its steps.

First that the promise holds, then what it takes: each rule and each assumption is broken once, and
the shortest way to a read that is too old is shown.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.model import spin

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def programs() -> None:
    if reason := spin.missing():
        pytest.skip(reason)


# The promise --------------------------------------------------------------------------------------

ALWAYS = {
    "a writer that may be killed anywhere, and three readers": ["FILLERS=2"],
    "two writers that may be killed": ["WRITERS=2", "EVICTIONS=0"],
    "two writers and an eviction": ["WRITERS=2", "IMMORTAL"],
    "entries that depend on two tables": ["DEPENDENCIES=2", "EVICTIONS=0"],
    "the same with two writers, each of one or both": [
        "DEPENDENCIES=2",
        "WRITERS=2",
        "FILLERS=0",
        "EVICTIONS=0",
    ],
    "another program's change and invalidate()": ["OUTSIDE=1", "EVICTIONS=0"],
    "another program's change and flush()": ["OUTSIDE=1", "DEPENDENCIES=2", "FILLERS=0"],
    "a fence from the first write on that lasts until the release": ["EARLY_FENCE"],
    "a fence that is lost after COMMIT": ["LOST_FENCE_AFTER_COMMIT"],
    "a fence that is lost after the COMMITs of two writers": [
        "LOST_FENCE_AFTER_COMMIT",
        "WRITERS=2",
        "FILLERS=0",
    ],
    "a connection that is lost in COMMIT, and a fence left to its deadline": [
        "CONNECTION_LOST",
        "LEAVE_FENCED",
    ],
    "requests to the store that arrive twice": ["TWICE"],
    "requests of one of two writers that arrive twice": [
        "TWICE",
        "WRITERS=2",
        "FILLERS=0",
        "EVICTIONS=0",
    ],
}


@pytest.mark.parametrize("definitions", ALWAYS.values(), ids=ALWAYS)
def test_no_read_is_older_than_what_was_committed_before_it_began(
    definitions: Sequence[str], tmp_path: Path
) -> None:
    idle = spin.search_all(tmp_path, definitions)
    # A model in which nothing is ever filled, or hit, or released, would keep every promise.
    if "IMMORTAL" in definitions:
        idle = [statement for statement in idle if "is killed" not in statement]
    assert not idle


LATE = {
    "the fence was lost": "LOST_FENCE",
    "COMMIT took longer than the fence": "SHORT_FENCE",
    "the fence failed, and the release was a debt": "NO_FENCE",
}


@pytest.mark.parametrize("accident", LATE.values(), ids=LATE)
def test_after_the_release_no_read_is_older_even_though(accident: str, tmp_path: Path) -> None:
    spin.search_all(
        tmp_path, [accident, "WRITERS=2", "FILLERS=0", "IMMORTAL", "PROMISED=FROM_RELEASE"]
    )


# What it takes ------------------------------------------------------------------------------------
# What is broken is less than the protocol promises: a read began after a COMMIT had returned to its
# writer. It takes one reader, no eviction, and nobody who is killed.

SMALL = ("FILLERS=0", "EVICTIONS=0")
ALIVE = (*SMALL, "IMMORTAL", "PROMISED=FROM_RETURN")


def assert_in_order(found: Sequence[str], wanted: Sequence[str]) -> None:
    rest = iter(found)
    missing = [step for step in wanted if step not in rest]  # goes on after the last one found
    assert not missing, "\n".join(found)


def assert_violated(
    folder: Path,
    definitions: Sequence[str],
    *steps: str,
    condition: str = "(version>=promised_here)",
) -> None:
    violation = spin.search_shortest(folder, definitions)
    assert violation.condition == condition
    assert_in_order(violation.steps, steps)


def test_to_release_after_commit_is_not_enough(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "NO_FENCE"],
        "writer 0: COMMIT has returned",
        "reader: sees generation 1",
        "reader: hit, version 0",
    )


def test_to_give_new_generations_before_and_after_commit_is_not_enough(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "BUMP_BEFORE"],
        "writer 0: new generation 2",
        "reader: sees generation 2",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 0: COMMIT has returned",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_boolean_fence_is_lifted_by_the_first_of_two_writers(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "BOOLEAN_FENCE", "WRITERS=2"],
        "writer 1: fence",
        "writer 0: fence",
        "writer 0: release",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 1: COMMIT has returned",
        "reader: hit, version 0",
    )


def test_a_reader_that_met_a_fence_must_not_fill(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "FENCED_FILL"],
        "reader: meets a fence",
        "reader: SELECT, version 0",
        "writer 0: COMMIT has returned",
        "writer 0: release",
        "reader: fill, version 0",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_fence_from_the_first_write_on_may_end_before_its_transaction(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "EARLY_FENCE", "SHORT_FENCE"],
        "writer 0: fence",
        "writer 0: UPDATE",
        "store: the fence of writer 0 ends by itself",
        "reader: creates generation 2",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 0: COMMIT has returned",
        "reader: hit, version 0",
    )


def test_a_snapshot_that_is_older_than_the_look_must_not_fill(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "SNAPSHOT_FILL"],
        "snapshot: begins with version 0",
        "writer 0: COMMIT has returned",
        "writer 0: release",
        "snapshot: sees generation 2",
        "snapshot: fill, version 0",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_transaction_with_a_snapshot_must_not_hit(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "SNAPSHOT_HIT"],
        "snapshot: begins with version 0",
        "writer 0: COMMIT",
        "reader: fill, version 1",
        "snapshot: hit, version 1",
        condition="(found.version==version)",
    )


def test_a_transaction_must_not_fill_what_it_has_written_itself(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "OWN_WRITES_FILL"],
        "writer 0: UPDATE",
        "writer 0: fill, version 1",
        "reader: hit, version 1",
        condition="(version<=committed)",
    )


def test_a_generation_must_not_come_again_after_an_eviction(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        ["FILLERS=0", "IMMORTAL", "PROMISED=FROM_RETURN", "COUNTER"],
        "writer 0: COMMIT has returned",
        "writer 0: release",
        "store: a generation is evicted",
        "reader: creates generation 1",
        "reader: hit, version 0",
    )


def test_a_store_must_not_go_back_in_time(tmp_path: Path) -> None:
    """It does if it is restarted from an older dump, or if a replica that lags is promoted."""
    assert_violated(
        tmp_path,
        [*ALIVE, "BACK_IN_TIME"],
        "writer 0: COMMIT has returned",
        "writer 0: release",
        "store: is as it was before",
        "reader: sees generation 1",
        "reader: hit, version 0",
    )


def test_a_token_must_not_be_given_twice_by_a_request_that_arrives_twice(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "TWICE_THE_SAME_TOKEN", "WRITERS=2"],
        "writer 0: release",
        "reader: sees generation 2",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 1: COMMIT has returned",
        "writer 1: release",
        "store: another time",
        "writer 0: release",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_fence_must_stay_as_long_as_commit_may_be_on_its_way(tmp_path: Path) -> None:
    """Nobody was told that this COMMIT has succeeded; but others may have seen it."""
    assert_violated(
        tmp_path,
        [*SMALL, "IMMORTAL", "CONNECTION_LOST"],
        "writer 0: loses its connection",
        "writer 0: release",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 0: COMMIT",
        "reader: hit, version 0",
    )


# Accidents ----------------------------------------------------------------------------------------
# Between which steps they hurt, and for how long.


def test_a_fence_that_is_lost_before_commit_is_missed_until_the_release(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "LOST_FENCE"],
        "writer 0: fence",
        "store: a fence is lost",
        "reader: creates generation 2",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 0: COMMIT has returned",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_commit_that_takes_longer_than_its_fence_is_the_same(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*ALIVE, "SHORT_FENCE"],
        "writer 0: fence",
        "store: the fence of writer 0 ends by itself",
        "reader: creates generation 2",
        "reader: SELECT, version 0",
        "reader: fill, version 0",
        "writer 0: COMMIT has returned",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


def test_a_writer_that_lost_its_fence_must_give_a_new_generation(tmp_path: Path) -> None:
    assert_violated(
        tmp_path,
        [*SMALL, "IMMORTAL", "LOST_FENCE", "TRUSTING_RELEASE", "PROMISED=FROM_RELEASE"],
        "store: a fence is lost",
        "reader: fill, version 0",
        "writer 0: COMMIT has returned",
        "writer 0: release",
        "reader: sees generation 2",
        "reader: hit, version 0",
    )


# Nobody is left who would release.
DEADLY = {
    "it had lost its fence": (
        ["LOST_FENCE", "PROMISED=FROM_RETURN"],
        [
            "store: a fence is lost",
            "reader: SELECT, version 0",
            "reader: fill, version 0",
            "writer 0: COMMIT has returned",
            "writer 0: is killed",
            "reader: hit, version 0",
        ],
    ),
    "it could not fence": (
        ["NO_FENCE", "PROMISED=FROM_RETURN"],
        ["writer 0: COMMIT has returned", "writer 0: is killed", "reader: hit, version 0"],
    ),
    "the database commits after the deadline of its fence": (
        ["SHORT_FENCE_OF_THE_DEAD"],
        [
            "writer 0: is killed",
            "store: the fence of writer 0 ends by itself",
            "reader: SELECT, version 0",
            "reader: fill, version 0",
            "writer 0: COMMIT",
            "reader: hit, version 0",
        ],
    ),
}


@pytest.mark.parametrize(("definitions", "steps"), DEADLY.values(), ids=DEADLY)
def test_reads_stay_too_old_if_a_writer_dies_and(
    definitions: Sequence[str], steps: Sequence[str], tmp_path: Path
) -> None:
    assert_violated(tmp_path, [*SMALL, "STALE_AFTER_DEATH", *definitions], *steps)


def test_what_a_writer_committed_is_cached_again_after_its_death(tmp_path: Path) -> None:
    violation = spin.search_shortest(tmp_path, [*SMALL, "FRESH_AFTER_DEATH"])
    assert violation.condition == "!((killed[0]&&(version==1)))"
    assert_in_order(
        violation.steps,
        [
            "writer 0: fence",
            "writer 0: is killed",
            "writer 0: COMMIT",
            "store: the fence of writer 0 ends by itself",
            "reader: creates generation 2",
            "reader: SELECT, version 1",
            "reader: fill, version 1",
            "reader: hit, version 1",
        ],
    )
