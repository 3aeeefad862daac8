"""
Never older than the database, with many processes and all that can go wrong.

Readers of every kind and writers of every kind, each a process, on a real PostgreSQL and a real
Valkey, while writers are killed and the store fails in every way. What is checked, and what is not
promised, stands in ``register``.
"""

import random
import time

import pytest

from tests import servers
from tests.stress.chaos import CHAOS
from tests.stress.run import PATIENCE, Run

pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(bool(servers.missing(name)), reason=str(servers.missing(name)))
        for name in ("postgresql", "valkey")
    ),
]


def test_no_read_is_older_than_the_database(minutes, capsys):
    """For so many minutes, and until everything has happened at least once."""
    with Run(with_fence=True) as run:
        end = time.monotonic() + 60 * minutes
        for name in in_changing_order(list(CHAOS)):
            if time.monotonic() > end and not missing(run):
                break
            assert time.monotonic() < end + 5 * PATIENCE, f"there was no {missing(run)}"
            run.go_on_for(random.uniform(0.2, 1.0))
            run.note(f"begin of {name}")
            CHAOS[name](run)
            run.note(f"end of {name}")
            fail_if_violated(run)
        run.stop()
        say(capsys, run)
        fail_if_violated(run)
        from_cache = run.counts("hits", "reads")
        assert not any(from_cache[kind] for kind in run.kinds["from database"])


def test_without_the_fence_there_are_stale_reads(capsys):
    """The control: the same processes find what they look for, where it is."""
    with Run(with_fence=False) as run:
        run.wait_until(run.violations, "a stale read")
        say(capsys, run)


def in_changing_order(kinds):
    """All kinds over and over, each time in another order."""
    while True:
        yield from random.sample(kinds, len(kinds))


def fail_if_violated(run):
    violations = run.violations()
    if violations:
        different = {str(violation["violations"]): violation for violation in violations}
        explained = "\n".join(run.explain(found) for found in [*different.values()][:5])
        pytest.fail(f"{len(violations)} reads were wrong, among them:\n{explained}", pytrace=False)


def missing(run):
    """What has not happened yet, without which a run does not say much."""
    happened = {event for _, event in run.happened}
    kinds = [f"chaos: {kind}" for kind in CHAOS if f"end of {kind}" not in happened]
    for area, kind_of in ("reads", "reads"), ("hits", "reads"), ("writes", "writes"):
        kinds += [
            f"{area}: {kind}"
            for kind, count in run.counts(area, kind_of).items()
            if not count and not (area == "hits" and kind in run.kinds["from database"])
        ]
    return kinds + [area for area in ("rollbacks", "held", "witnessed") if not run.count(area)]


def say(capsys, run):
    events = sum(event.startswith("end of ") for _, event in run.happened)
    areas = ["reads", "hits", "fills", "writes", "rollbacks", "lost_sessions"]
    areas += ["held", "witnessed", "violations"]
    counts = ", ".join(f"{run.count(area)} {area}" for area in areas)
    with capsys.disabled():
        print(f"\n{counts}; {events} events of chaos")
