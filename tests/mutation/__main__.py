"""
``python -m tests.mutation``: take out each guard in turn, and see its test fail.

It works on a copy of the project, with servers that are started once. A part of a guard's
description as an argument runs those guards only, ``--share 1/2`` the first half of them. Ends with
1 if a guard could go unnoticed.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import plugin
from tests.django_suite.__main__ import share
from tests.mutation.guards import GUARDS, Guard

PROJECT = Path(__file__).parents[2]
COPIED = ("querycache", "demo_project", "tests", "docs", "pyproject.toml", "README.md")
TESTS_FAILED = 1
"""pytest's exit code; others say that it did not come to run them."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("about", nargs="*", help="words that stand in a guard's description")
    parser.add_argument("--share", type=share, default="1/1", help="N/M: the Nth of M parts")
    options = parser.parse_args()
    chosen = [guard for guard in GUARDS if " ".join(options.about) in guard.about][options.share]
    with contextlib.ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        os.environ["QUERYCACHE_TEST_FOLDER"] = str(folder)
        plugin.start_servers(resources)
        plugin.refuse_missing()
        copy = folder / "project"
        copy.mkdir()
        for name in COPIED:
            source = PROJECT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        unnoticed = [guard for guard in chosen if not is_noticed(guard, copy)]
    sys.stdout.write(f"{len(chosen) - len(unnoticed)} passed, {len(unnoticed)} failed\n")
    return 1 if unnoticed or not chosen else 0


def is_noticed(guard: Guard, copy: Path) -> bool:
    path = copy / guard.module
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(guard.text, guard.without), encoding="utf-8")
    try:
        code, output = run(guard, copy)
    finally:
        path.write_text(whole, encoding="utf-8")
    sys.stdout.write(f"{'noticed' if code == TESTS_FAILED else 'NOT NOTICED'}: {guard.about}\n")
    if code != TESTS_FAILED:
        sys.stdout.write(output)
    sys.stdout.flush()
    return code == TESTS_FAILED


def run(guard: Guard, copy: Path) -> tuple[int, str]:
    module, name = guard.test
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", module, "-k", name],
        cwd=copy,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
