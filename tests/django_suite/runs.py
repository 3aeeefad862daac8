"""Runs of Django's own tests, each in a process of its own, and what has become of them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]


class RunError(Exception):
    """A run did not come to its end; the message holds the end of its output."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """
    What has become of each test, by its id.

    ``failed`` holds tracebacks; ``reads`` how many reads were hits, misses, and bypasses of each
    reason, and ``answered_as_stored`` how many misses with what they have stored; ``logged`` how
    often querycache has logged what.
    """

    passed: frozenset[str]
    failed: Mapping[str, str]
    reads: Mapping[str, int]
    answered_as_stored: int
    logged: Mapping[str, int]

    @property
    def ran(self) -> frozenset[str]:
        return self.passed.union(self.failed)


def run(mode: str, tests: Path, labels: Sequence[str], folder: Path) -> Outcomes:
    """Run Django's tests of some labels under the settings of a mode. Raises ``RunError``."""
    results, log, temporary = folder / f"{mode}.json", folder / f"{mode}.log", folder / mode
    temporary.mkdir()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django_suite.settings",
        "PYTHONPATH": str(PROJECT),
        "QUERYCACHE_SUITE_MODE": mode,
        "QUERYCACHE_SUITE_RESULTS": str(results),
        "TMPDIR": str(temporary),
    }
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "tests.django_suite.run", tests, *labels],
            cwd=tests,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not results.exists():
        end = log.read_text(errors="replace")[-4000:]
        raise RunError(f"{mode}: ended with {done.returncode}:\n{end}")
    noted = json.loads(results.read_text(encoding="utf-8"))
    # One that has passed may have been told a difference all the same.
    noted["passed"] = frozenset(noted["passed"]) - noted["failed"].keys()
    return Outcomes(**noted)
