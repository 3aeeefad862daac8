"""Runs Spin on the model, in a folder of the test's own."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

MODEL = Path(__file__).with_name("protocol.pml")
MEGABYTES = 2000
"""What a search may take; the largest of the tests takes a fifth of it."""
DEPTH = 100_000
"""Steps of one run; the longest of the tests has less than two thousand."""
PROGRAMS = ("spin", "gcc")


def missing() -> str | None:
    """Return why there can be no search, or None if there can."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not on PATH"
    return None


class Violation(NamedTuple):
    """The condition that failed, and what was printed on the shortest way there."""

    condition: str
    steps: list[str]


def search_all(folder: Path, definitions: Sequence[str]) -> list[str]:
    """
    Search all that can happen, and raise AssertionError if there is an error anywhere.

    Returns the statements that were never reached.
    """
    report = _search(folder, definitions, "-O1")
    assert "errors: 0" in report, report
    assert "Full statespace search" in report, report
    for cut_short in ("max search depth too small", "Search not completed"):
        assert cut_short not in report, report
    unreached = re.findall(rf'{MODEL.name}:\d+, state \d+, "(.*)"$', report, re.MULTILINE)
    # Processes that go on for ever never reach their end.
    return [statement for statement in unreached if statement != "-end-"]


def search_shortest(folder: Path, definitions: Sequence[str]) -> Violation:
    """Search until the first error, the shortest runs first; raise AssertionError if none is."""
    report = _search(folder, definitions, "-O0", "-DBFS")
    found = re.search(r"assertion violated +(.*) \(at depth", report)
    assert found, report
    replay = _run(folder, "spin", *_defining(definitions), "-t", "-T", MODEL.name)
    return Violation(found[1], list(_printed(replay)))


def _printed(replay: str) -> Iterator[str]:
    for line in map(str.strip, replay.splitlines()):
        if re.match(r"(writer \d|reader|filler|snapshot|store|outside): ", line):
            yield line


def _search(folder: Path, definitions: Sequence[str], *options: str) -> str:
    shutil.copy(MODEL, folder)
    _run(folder, "spin", *_defining(definitions), "-a", MODEL.name)
    # gcc warns of the indices of arrays of one, which the generated program checks itself.
    options = ("-w", *options, "-DSAFETY", f"-DMEMLIM={MEGABYTES}")
    _run(folder, "gcc", *options, "-o", "pan", "pan.c")
    return _run(folder, "./pan", f"-m{DEPTH}")


def _defining(definitions: Sequence[str]) -> list[str]:
    return [f"-D{definition}" for definition in definitions]


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
