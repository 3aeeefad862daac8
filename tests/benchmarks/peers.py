"""
What all benchmarks share: servers of their own, workers that take turns, tables.

    with Servers(products=10_000, reviews=100_000) as servers:
        peer = servers.peer("cacheops")
        peer.ask("time_round", case="get", times=100)
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import psycopg
import redis

from tests import servers
from tests.benchmarks import variants
from tests.benchmarks.variants import VARIANTS, Task

PROJECT = Path(__file__).parents[2]


class BenchmarkError(Exception):
    """A worker has ended, or answered what is not true; the message says which."""


class Postgresql(servers.Postgresql):
    """As in the tests, but over TCP, with room for a herd and for all rows in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.PORT = servers.free_port()

    def command(self) -> list[str | Path]:
        options = {
            "listen_addresses": "127.0.0.1",
            "max_connections": "300",
            "shared_buffers": "256MB",
            "jit": "off",
        }
        # The last of two values counts.
        return [*super().command()] + [
            part for name, value in options.items() for part in ("-c", f"{name}={value}")
        ]


class Process:
    """A worker. It ends when its standard input does, so also when this process is killed."""

    def __init__(self, task: Task) -> None:
        self.name = task.variant
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker"],
            cwd=PROJECT,
            env={**task.to_environment(), "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
        )

    def send(self, action: str, **arguments: Any) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # receive() says so
            self._popen.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
            self._popen.stdin.flush()

    def receive(self) -> Any:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise BenchmarkError(f"the worker of {self.name!r} ended with {self._popen.wait()}")
        return json.loads(line)

    def ask(self, action: str, **arguments: Any) -> Any:
        self.send(action, **arguments)
        return self.receive()

    def end(self) -> None:
        self._popen.kill()
        self._popen.communicate()


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds. ``lasting`` counts the keys without a TTL, ``size`` is in bytes."""

    keys: int
    lasting: int
    size: int


class Peer:
    """A variant with its own store and database, and one worker or more."""

    def __init__(self, task: Task, stack: ExitStack) -> None:
        self.task = task
        self.variant = VARIANTS[task.variant]
        self._stack = stack
        self._client = stack.enter_context(redis.Redis.from_url(task.store))
        self._empty = self._used()
        self.process = self.start()

    def start(self) -> Process:
        process = Process(self.task)
        self._stack.callback(process.end)
        return process

    def ask(self, action: str, **arguments: Any) -> Any:
        return self.process.ask(action, **arguments)

    def stored(self) -> Stored:
        space: Any = self._client.info("keyspace").get("db0", {"keys": 0, "expires": 0})
        return Stored(space["keys"], space["keys"] - space["expires"], self._used() - self._empty)

    def _used(self) -> int:
        """Bytes of data: what connections take comes and goes."""
        memory: Any = self._client.info("memory")
        return int(memory["used_memory_dataset"])


class Servers:
    """A PostgreSQL with a stocked database, which each peer gets a copy of."""

    TEMPLATE = "stocked"

    def __init__(
        self, *, products: int, reviews: int, ttl: int = 3600, admission: str = "cost"
    ) -> None:
        self._products, self._reviews = products, reviews
        self._ttl, self._admission = ttl, admission
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgresql = stack.enter_context(Postgresql())
            self._sql("CREATE DATABASE stocked")
            with ExitStack() as own:
                worker = Process(self._task("none", self.TEMPLATE, "redis://127.0.0.1:1"))
                own.callback(worker.end)
                worker.ask("stock", products=self._products, reviews=self._reviews)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _task(self, variant: str, database: str, store: str) -> Task:
        return Task(
            variant,
            self.postgresql.PORT,
            database,
            store,
            ttl=self._ttl,
            admission=self._admission,
        )

    def _sql(self, statement: str) -> None:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.postgresql.PORT,
            user="postgres",
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def peer(self, name: str, **changes: Any) -> Iterator[Peer]:
        """Yield a peer with an empty store and fresh rows, and clear it all away afterwards."""
        database = f"of_{name.replace('-', '_')}"
        self._sql(f"CREATE DATABASE {database} TEMPLATE {self.TEMPLATE}")
        with ExitStack() as stack:
            stack.callback(self._sql, f"DROP DATABASE {database} WITH (FORCE)")
            valkey = stack.enter_context(servers.Valkey())
            task = self._task(name, database, f"{valkey.address}/0")
            yield Peer(replace(task, **changes), stack)

    def peers(self, names: Iterable[str], stack: ExitStack) -> dict[str, Peer]:
        """Start those that can run here, to take turns."""
        return {name: stack.enter_context(self.peer(name)) for name in self.usable(names)}

    def usable(self, names: Iterable[str]) -> list[str]:
        """Return those that can run here; say which cannot, and why."""
        found = []
        for name in names:
            reason = VARIANTS[name].missing() or self._refused(name)
            if reason:
                say(f"Left out: {VARIANTS[name].title}: {reason}")
                say()
            else:
                found.append(name)
        return found

    def _refused(self, name: str) -> str:
        """Return what the settings of a variant ask for that is not there yet."""
        with ExitStack() as stack:
            process = Process(self._task(name, self.TEMPLATE, "redis://127.0.0.1:1"))
            stack.callback(process.end)
            return "; ".join(process.ask("problems"))


# The command line ---------------------------------------------------------------------------------


def parser_of(module: str, description: str, names: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes: which variants, and a file for numbers."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{module}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--variants",
        type=lambda text: known_variants(text.split(",")),
        default=",".join(names),
        help=f"of {', '.join(VARIANTS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    return parser


def known_variants(names: list[str]) -> list[str]:
    for name in names:
        if name not in VARIANTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(VARIANTS)}")
    return names


def end_in_order() -> None:
    """Let a `kill` end a benchmark as Ctrl-C does, with its servers stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


# What is printed ----------------------------------------------------------------------------------


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say what goes on, to where it does not get into a file of results."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def say_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of Markdown that is also a table for the eye; numbers to the right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    for position, line in enumerate(lines):
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        say(f"| {' | '.join(cells)} |")
        if position == 0:
            rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            say(f"| {' | '.join(rules)} |")
    say()


def surroundings(extra: Sequence[str] = ()) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **variants.versions(extra),
        "cpus": str(os.cpu_count()),
    }


def say_surroundings(extra: Sequence[str] = ()) -> None:
    found = surroundings(extra)
    say(", ".join(f"{name} {version}" for name, version in found.items()) + ".")
    say()


def write_json(path: Path | None, result: dict[str, Any], extra: Sequence[str] = ()) -> None:
    if path:
        document = {"versions": surroundings(extra), **result}
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
