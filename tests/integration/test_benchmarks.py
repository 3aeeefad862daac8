"""A benchmark runs on its own servers and tells hits from reads of the database."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

PROJECT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    bool(servers.missing("postgresql") or servers.missing("valkey")),
    reason="needs PostgreSQL and Valkey",
)
def test_a_comparison_comes_to_its_end() -> None:
    few = ["--only", "get,miss,save", "--rounds", "1", "--seconds", "0.001"]
    small = ["--products", "300", "--reviews", "300", "--variants", "none,querycache"]

    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.compare", *few, *small],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if "|" in line}
    assert {"get(pk)", "miss, list of 20", "save()"} <= set(rows)
    # The last table counts the statements: without a cache one, and none for a hit.
    assert rows["get(pk)"].split("|")[2:4] == ["        1 ", "          0 "]
