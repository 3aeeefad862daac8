"""A benchmark runs on its own servers and tells hits from reads of the database."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

PROJECT = Path(__file__).parents[2]


def run(benchmark: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{benchmark}", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(bool(servers.missing("valkey")), reason="needs Valkey")
def test_the_pages_of_the_panel_are_timed() -> None:
    small = ["--models", "3", "--queries", "30", "--rounds", "1"]

    done = run("panel", *small)

    assert done.returncode == 0, done.stderr
    assert "3 models, 30 texts of SQL" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("| queries")]) == 3


@pytest.mark.slow
@pytest.mark.skipif(
    bool(servers.missing("postgresql") or servers.missing("valkey")),
    reason="needs PostgreSQL and Valkey",
)
def test_a_comparison_comes_to_its_end() -> None:
    few = ["--only", "get,miss,save", "--rounds", "1", "--seconds", "0.001"]
    small = ["--products", "300", "--reviews", "300", "--variants", "none,querycache"]

    done = run("compare", *few, *small)

    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if "|" in line}
    assert {"get(pk)", "miss, list of 20", "save()"} <= set(rows)
    # The last table counts the statements: without a cache one, and none for a hit.
    assert rows["get(pk)"].split("|")[2:4] == ["        1 ", "          0 "]
