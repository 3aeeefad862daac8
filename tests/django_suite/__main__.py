"""
``python -m tests.django_suite``: Django's own tests of its ORM, with every model opted in.

They are run twice: as a project would run them (cached), and in a way that each read asks the
database and is yet answered from the cache (verified), so that there are as many queries as without
querycache. What fails is run without querycache: what passes then, differs. A test that counts
queries, and differs for that when cached only, is none the worse for it; any other must be in
``exceptions.py``, with its reason.

Ends with 1 if another test differs, or if nothing was read from the cache. The last line says how
many tests were run, and how many differ.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import django

from tests import servers
from tests.django_suite.exceptions import ALWAYS, WHEN_CACHED
from tests.django_suite.labels import labels_in
from tests.django_suite.runs import Outcomes, run
from tests.django_suite.sdist import unpack_tests
from tests.django_suite.settings import CACHED, PLAIN, VERIFIED

COUNT = re.compile(r"AssertionError: \d+ != \d+ : \d+ queries executed, \d+ expected")


def main() -> int:
    options = read_options()
    os.environ["QUERYCACHE_SUITE_DATABASE"] = options.database
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="querycache-")))
        if options.database == "postgresql":
            started = {name: servers.SERVERS[name]() for name in ("postgresql", "valkey")}
            for server in started.values():
                resources.enter_context(server)
            servers.tell({name: server.address for name, server in started.items()}, {})
        tests = options.tests or unpack_tests(folder)
        labels = options.labels or labels_in(tests, options.database)[options.share]
        say(f"Django {django.__version__}, {options.database}: {' '.join(labels)}")
        with ThreadPoolExecutor(options.jobs) as pool:
            cached, verified = pool.map(
                lambda mode: run(mode, tests, labels, folder), (CACHED, VERIFIED)
            )
        failed = sorted({label_of(test) for test in (*cached.failed, *verified.failed)})
        plain = run(PLAIN, tests, failed, folder) if failed else None
    return report(cached, verified, plain)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.django_suite")
    parser.add_argument("labels", nargs="*", help="apps or tests of Django; all of the ORM if none")
    parser.add_argument("--share", type=share, default="1/1", help="N/M: the Nth of M parts")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, 1 or 2")
    parser.add_argument("--tests", type=Path, help="the folder of Django's tests, if it is there")
    return parser.parse_args()


def share(text: str) -> slice:
    """Read ``N/M``: every Mth label, beginning with the Nth."""
    number, parts = map(int, text.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(text)
    return slice(number - 1, None, parts)


def label_of(test: str) -> str:
    """Return what runs a test; ``setUpClass (app.tests.Class)`` is what failed before its tests."""
    before = re.fullmatch(r"\w+ \((.+)\)", test)
    return before[1] if before else test


def report(cached: Outcomes, verified: Outcomes, plain: Outcomes | None) -> int:
    """Say what has become of all tests; return the exit code."""
    counting: set[str] = set()
    listed: set[str] = set()
    others: set[str] = set()
    for mode, outcomes in ((CACHED, cached), (VERIFIED, verified)):
        for test in sorted(outcomes.failed if plain else ()):
            if not passes(label_of(test), plain):
                continue
            traceback = outcomes.failed[test]
            is_for_queries = mode == CACHED and test in verified.passed
            if is_for_queries and COUNT.search(traceback):
                counting.add(test)
            elif label_of(test) in ALWAYS or (is_for_queries and test in WHEN_CACHED):
                listed.add(test)
            else:
                others.add(test)
                say(f"DIFFERS when {mode}: {test}\n{traceback}")
    for mode, outcomes in ((CACHED, cached), (VERIFIED, verified)):
        say(f"{mode}: reads of opted-in models: {shares(outcomes.reads)}")
        for message, times in outcomes.logged.items():
            say(f"{mode}: logged {times} times: {message}")
    say(
        f"{VERIFIED}: {verified.answered_as_stored} misses were answered with what they have stored"
    )
    is_vacuous = not cached.reads.get("hit") or not verified.answered_as_stored
    if is_vacuous:
        say("nothing was read from the cache")
    ran = cached.ran | verified.ran
    say(
        f"{len(ran)} tests were run, {len(others)} differ; "
        f"{len(counting)} only count queries, {len(listed)} are listed"
    )
    return 1 if others or is_vacuous else 0


def passes(label: str, plain: Outcomes) -> bool:
    """Say whether a test passes without querycache, or, of a class that cannot begin, any."""
    return any(test == label or test.startswith(f"{label}.") for test in plain.passed)


def shares(reads: Mapping[str, int]) -> str:
    """Return how many reads went each way, the most first."""
    total = sum(reads.values()) or 1
    most = sorted(reads.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {count} ({count / total:.1%})" for kind, count in most)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
