"""The benchmarks can be started, also where the peers are not installed."""

import importlib

import pytest

from tests.benchmarks import plot
from tests.benchmarks.variants import VARIANTS, Task

BENCHMARKS = ("compare", "scale", "herd", "pages", "soak")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")

    with pytest.raises(SystemExit) as end:
        module.main(["--help"])

    assert end.value.code == 0
    assert f"python -m tests.benchmarks.{name}" in capsys.readouterr().out


def test_an_unknown_variant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module("tests.benchmarks.compare")

    with pytest.raises(SystemExit) as end:
        module.main(["--variants", "none,memoize"])

    assert end.value.code == 2
    assert "'memoize' is none of" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_left_out_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert VARIANTS["none"].missing() is None
    assert VARIANTS["querycache"].missing() is None
    assert "django-cachalot is not installed" in (VARIANTS["cachalot"].missing() or "")


def test_a_worker_is_told_what_its_parent_says(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("cacheops", 5432, "shop", "redis://127.0.0.1:1/0", apps=("shop", "auth"), ttl=7)
    for name, value in task.to_environment().items():
        monkeypatch.setenv(name, value)

    assert Task.from_environment() == task


def test_what_is_longer_than_the_first_bar_is_cut_and_its_number_is_not() -> None:
    drawing = plot.bars({"a <miss>": {"no cache": 2.0, "cached": 3.0}})

    assert "a &lt;miss&gt;" in drawing
    assert ">1.50<" in drawing
    assert drawing.count(f'width="{plot.WIDTH:.1f}"') == 2
