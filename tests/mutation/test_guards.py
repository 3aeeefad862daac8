"""The list of guards is up to date; ``python -m tests.mutation`` takes each of them out."""

from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS, Guard

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.about for guard in GUARDS])
def test_a_guard_stands_once_in_its_module_and_has_a_test(guard: Guard) -> None:
    source = (PROJECT / guard.module).read_text(encoding="utf-8")
    assert source.count(guard.text) == 1
    module, names = guard.test
    tests = (PROJECT / module).read_text(encoding="utf-8")
    if module.startswith("tests/stores/"):  # which inherit most of theirs
        tests += (PROJECT / "tests/stores/conformance.py").read_text(encoding="utf-8")
    for name in names.split(" or "):
        assert name in tests
