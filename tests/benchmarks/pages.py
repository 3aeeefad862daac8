"""
Pages of the demo shop per second, under gunicorn, as visitors come to a shop: the first product is
asked for twice as often as the second, and so on; now and then a category, a search, the home page.

The variants take turns of some seconds each; all of them are warm before the first that counts.
"""

import contextlib
import http.client
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median
from typing import Any

import psycopg

from tests import servers
from tests.benchmarks.peers import (
    PROJECT,
    VARIANTS,
    BenchmarkError,
    Postgresql,
    end_in_order,
    note,
    parser_of,
    say,
    say_surroundings,
    say_table,
    write_json,
)
from tests.benchmarks.variants import Task

NAMES = ("none", "querycache", "querycache-stale")
APPS = ("shop", "auth", "contenttypes", "sites", "sessions")
PATIENCE = 60.0
"""Seconds for gunicorn to answer its first page."""
KINDS = {"product": 70, "category": 18, "home": 8, "search": 4}
"""Of a hundred visits."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a process of the load generator did: pages, and how long each took in seconds."""

    waits: list[float]
    wrong: int
    """Pages that came with another status than 200."""


def skewed(random_: random.Random, things: Sequence[str], times: int) -> Iterator[str]:
    weights = list(accumulate(1 / rank for rank in range(1, len(things) + 1)))
    return iter(random_.choices(things, cum_weights=weights, k=times))


def visits(seed: int, slugs: dict[str, list[str]], times: int) -> Iterator[str]:
    """Yield the paths that a visitor asks for, the same ones for each variant."""
    random_ = random.Random(seed)
    kinds = random_.choices(list(KINDS), weights=list(KINDS.values()), k=times)
    products = skewed(random_, slugs["product"], times)
    categories = skewed(random_, slugs["category"], times)
    words = skewed(random_, ["oak", "lamp", "blue", "wool", "tea"], times)
    for kind in kinds:
        if kind == "home":
            yield "/"
        elif kind == "search":
            yield f"/search/?q={next(words)}"
        else:
            yield f"/{kind}/{next(products if kind == 'product' else categories)}/"


def visit(port: int, seed: int, slugs: dict[str, list[str]], seconds: float) -> Load:
    """Ask for one page after the other, for so long."""
    load = Load([], 0)
    wrong = 0
    end = time.monotonic() + seconds
    for path in visits(seed, slugs, 100_000):
        begin = time.monotonic()
        if begin > end:
            break
        wrong += fetch(port, path) != http.HTTPStatus.OK
        load.waits.append(time.monotonic() - begin)
    return Load(load.waits, wrong)


def fetch(port: int, path: str) -> int:
    # gunicorn's ordinary workers close each connection.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status


# Servers ------------------------------------------------------------------------------------------


def django(task: Task, *arguments: str) -> str:
    """Run a command of Django's, and return what it has printed."""
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=PROJECT,
        env=environment(task),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{arguments[0]}: {done.stderr}")
    return done.stdout


def environment(task: Task) -> dict[str, str]:
    return {**task.to_environment(), "DJANGO_SETTINGS_MODULE": "tests.benchmarks.shop_settings"}


def sql(port: int, statement: str, database: str = "postgres") -> list[Any]:
    address = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": database}
    with psycopg.connect(**address, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def gunicorn(task: Task, workers: int) -> Iterator[int]:
    """Serve the shop; yield the port."""
    port = servers.free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "demo_project.wsgi"),
            *("--bind", f"127.0.0.1:{port}", "--workers", str(workers)),
            *("--log-level", "warning"),
        ],
        cwd=PROJECT,
        env=environment(task),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Waits on a pipe that only this process holds: gunicorn ends also when this one is killed.
    watchdog = subprocess.Popen(
        ["sh", "-c", 'cat >/dev/null; kill -s TERM "$1"', "watchdog", str(process.pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        watchdog.kill()
        watchdog.communicate()
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if fetch(port, "/") == http.HTTPStatus.OK:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError("gunicorn does not answer with the home page")
        time.sleep(0.1)


def usable(names: Sequence[str], task: Task) -> list[str]:
    """Return the variants that can run here; say which cannot, and why."""
    found = []
    for name in names:
        reason = VARIANTS[name].missing() or refused(replace(task, variant=name))
        if reason:
            say(f"Left out: {VARIANTS[name].title}: {reason}")
            say()
        else:
            found.append(name)
    return found


def refused(task: Task) -> str:
    """Return what `manage.py check` has against the settings: a key that is not known yet."""
    try:
        django(task, "check")
    except BenchmarkError as error:
        lines = [line for line in str(error).splitlines() if "(querycache." in line]
        return lines[0].partition(") ")[2] if lines else str(error)
    return ""


# Rounds -------------------------------------------------------------------------------------------


def run(options: Any) -> dict[str, list[dict[str, float]]]:
    with ExitStack() as stack:
        postgresql = stack.enter_context(Postgresql())
        port = postgresql.PORT
        sql(port, "CREATE DATABASE shop")
        stocker = Task("none", port, "shop", "redis://127.0.0.1:1/0", APPS, None)
        note("Stocking the shop")
        django(stocker, "migrate", "--verbosity=0")
        amounts = (f"--products={options.products}", f"--reviews={options.reviews}")
        django(stocker, "seed_shop", *amounts)
        sql(port, "VACUUM ANALYZE", "shop")
        slugs = {
            kind: [
                slug for (slug,) in sql(port, f"SELECT slug FROM shop_{kind} ORDER BY id", "shop")
            ]
            for kind in ("product", "category")
        }
        ports = {}
        for name in usable(options.variants, stocker):
            valkey = stack.enter_context(servers.Valkey())
            task = replace(stocker, variant=name, store=f"{valkey.address}/0")
            ports[name] = stack.enter_context(gunicorn(task, options.workers))
        return take_turns(ports, slugs, options)


def take_turns(
    ports: dict[str, int], slugs: dict[str, list[str]], options: Any
) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
    names = list(ports)
    with multiprocessing.get_context("spawn").Pool(options.visitors) as pool:
        for number in range(options.rounds + 1):
            start = number % len(names)
            for name in names[start:] + names[:start]:
                seconds = options.seconds if number else options.warm
                calls = [
                    (ports[name], number * 1000 + visitor, slugs, seconds)
                    for visitor in range(options.visitors)
                ]
                loads = pool.starmap(visit, calls)
                if number:
                    found[name].append(summary(loads, seconds))
                    note(f"{name}: {found[name][-1]['per_second']:.0f} pages/s")
    return found


def summary(loads: list[Load], seconds: float) -> dict[str, float]:
    waits = sorted(wait for load in loads for wait in load.waits)
    if wrong := sum(load.wrong for load in loads):
        raise BenchmarkError(f"{wrong} pages came with a status other than 200")
    return {
        "per_second": len(waits) / seconds,
        "median": median(waits),
        "slow": waits[int(len(waits) * 0.95)],
    }


def say_result(found: dict[str, list[dict[str, float]]], options: Any) -> None:
    say_surroundings(["gunicorn"])
    say(
        f"Pages of the demo shop, gunicorn with {options.workers} workers, {options.visitors}"
        f" visitors, {options.products:,} products, {options.reviews:,} reviews; medians of"
        f" {options.rounds} rounds:"
    )
    say()

    def middle(name: str, what: str) -> float:
        return median(one[what] for one in found[name])

    def times_first(name: str) -> float:
        """Each round against the round beside it: what else the machine did, both have met."""
        pairs = zip(found[name], found[first], strict=True)
        return median(one["per_second"] / other["per_second"] for one, other in pairs)

    first = next(iter(found))
    rows = [
        [
            VARIANTS[name].title,
            f"{middle(name, 'per_second'):,.0f}",
            f"{max(one['per_second'] for one in found[name]):,.0f}",
            f"{times_first(name):.2f}",
            f"{middle(name, 'median') * 1000:.1f}",
            f"{middle(name, 'slow') * 1000:.1f}",
        ]
        for name in found
    ]
    others = f"times {VARIANTS[first].title}"
    say_table(
        ("", "pages/s", "the best round", others, "median wait, ms", "95 of 100 within, ms"), rows
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("pages", __doc__ or "", NAMES)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a turn takes")
    parser.add_argument("--warm", type=float, default=10.0, help="seconds before the first turn")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn")
    parser.add_argument("--visitors", type=int, default=4, help="at a time")
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--reviews", type=int, default=20_000)
    options = parser.parse_args(arguments)
    end_in_order()
    found = run(options)
    say_result(found, options)
    write_json(options.json, {"results": found}, ["gunicorn"])


if __name__ == "__main__":
    main()
