"""A run: the servers, the processes, and what becomes of them."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psycopg

from tests import servers
from tests.stress.proxy import Proxy
from tests.stress.register import KINDS, READERS, SLOTS, WRITERS, Register

STORE_TIMEOUT = 0.25
"""Seconds that a worker waits for the store."""
PATIENCE = 60.0
"""Seconds after which what must happen has not happened; a busy machine is no reason to fail."""


class RunError(Exception):
    """A worker has died of itself, or did not do what it must; the message holds its output."""


class Worker:
    """A process of the run, which ends when the test does, however that ends."""

    def __init__(
        self, name: str, arguments: list[str], environment: dict[str, str], folder: Path
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.stress.worker", *arguments],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **environment, "PGAPPNAME": name},
                stdin=subprocess.PIPE,  # closes with this process
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the test, which then ends its workers
            )

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RunError(f"{self.name} did not end:\n{self.output}") from None

    def reap(self) -> None:
        self.process.wait(PATIENCE)
        self.process.communicate()

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")


class Run:
    """
    Workers on a database and a store of their own; all gone when the block ends.

        with Run(with_fence=True) as run:
            run.go_on_for(60.0)
        assert run.violations() == []
    """

    def __init__(self, *, with_fence: bool) -> None:
        self._with_fence = with_fence
        self._resources = contextlib.ExitStack()
        self._workers: dict[str, Worker] = {}
        self._generation = itertools.count(1)
        self.happened: list[tuple[float, str]] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._set_up(stack)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._resources.close()

    def _set_up(self, stack: contextlib.ExitStack) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="querycache-stress-")
        self._folder = Path(stack.enter_context(temporary))
        Register.create(self._folder / "register")
        self.register = Register(self._folder / "register")
        stack.callback(self.register.close)
        self.database = stack.enter_context(a_database())
        self.valkey = stack.enter_context(servers.Valkey())
        self.proxy = Proxy(self.valkey.port)
        stack.callback(self.proxy.close)
        stack.callback(self._end_workers)
        stress = {
            "database_host": servers.address("postgresql"),
            "database_name": self.database.name,
            "store_port": self.proxy.port,
            "store_timeout": STORE_TIMEOUT,
            "folder": str(self._folder),
            "with_fence": self._with_fence,
        }
        self._environment = {
            "DJANGO_SETTINGS_MODULE": "tests.stress.settings",
            "QUERYCACHE_STRESS": json.dumps(stress),
        }
        setup = self._start("setup")
        if setup.wait():
            raise RunError(setup.output)
        self.kinds: dict[str, list[str]] = json.loads(setup.output)
        setup.reap()
        self._workers.clear()
        for number in range(WRITERS):
            self._start(f"writer-{number}")
        for number in range(READERS):
            self._start(f"reader-{number}")
        self.wait_until(self._has_begun, "every process to begin")

    def _has_begun(self) -> bool:
        return all(
            sum(self.register.reads[slot * KINDS : (slot + 1) * KINDS])
            + sum(self.register.writes[slot * KINDS : (slot + 1) * KINDS])
            for slot in range(SLOTS)
        )

    # Processes ------------------------------------------------------------------------------------

    def _start(self, name: str) -> Worker:
        # A session of the database is known by the name of its process.
        full_name = f"{name}-{next(self._generation)}"
        worker = Worker(full_name, name.split("-"), self._environment, self._folder)
        self._workers[name] = worker
        return worker

    def writer(self, number: int) -> Worker:
        return self._workers[f"writer-{number}"]

    def replace_writer(self, number: int) -> None:
        """Let another process take over from a writer that was killed."""
        dead = self.writer(number)
        dead.reap()
        # Its last statement may still be running: the rows have one writer at a time.
        self.wait_until(lambda: not self.database.sessions_of(dead.name), "its session's end")
        self.register.die_at[number] = 0
        self._start(f"writer-{number}")

    def check(self) -> None:
        """Raise if a process has ended that nobody has killed."""
        for worker in self._workers.values():
            if worker.process.poll() not in {None, -signal.SIGKILL}:
                raise RunError(f"{worker.name} has died:\n{worker.output}")

    def stop(self) -> None:
        """Let every process end by itself."""
        self.register.stop[0] = 1
        for worker in self._workers.values():
            if worker.wait():
                raise RunError(f"{worker.name} has failed:\n{worker.output}")

    def _end_workers(self) -> None:
        for worker in self._workers.values():
            worker.process.kill()
            worker.reap()

    # Waiting --------------------------------------------------------------------------------------

    def wait_until(self, is_so: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise RunError(f"waited in vain for {what}")
            time.sleep(0.01)

    def go_on_for(self, seconds: float) -> None:
        time.sleep(seconds)
        self.check()

    # What was found -------------------------------------------------------------------------------

    def note(self, event: str) -> None:
        self.happened.append((time.monotonic(), event))

    def violations(self) -> list[dict[str, Any]]:
        return self._lines("violations")

    def explain(self, violation: dict[str, Any]) -> str:
        """Say what a read has seen, and what its rows' writers and the test did before."""
        since, until = violation["began"] - 5, violation["ended"]
        rows = set(violation["rows"])
        events = [
            (at, f"writer {number}: {event} {what}")
            for at, number, event, what in self._lines("trace")
            if rows & {row for row, _ in what}
        ]
        events += [(violation["began"], "the read began"), (until, "the read ended")]
        lines = [
            f"  {at - since:.6f} {event}"
            for at, event in sorted(events + self.happened)
            if since <= at <= until
        ]
        summary = "; ".join(violation["violations"])
        return "\n".join([f"{violation['kind']}: {summary} {violation['reads']}", *lines])

    def _lines(self, name: str) -> list[Any]:
        path = self._folder / name
        if not path.exists():
            return []
        # A writer that was killed may have left half a line.
        lines = path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith(("}", "]"))]

    def counts(self, area: str, kind_of: str) -> dict[str, int]:
        """The counts of an area by the names of its kinds."""
        cells = getattr(self.register, area)
        return {kind: sum(cells[i::KINDS]) for i, kind in enumerate(self.kinds[kind_of])}

    def count(self, area: str) -> int:
        return sum(getattr(self.register, area))


class Database:
    """A database of the run's own, on the server of all tests."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.name = f"querycache_stress_{uuid.uuid4().hex[:12]}"
        self._connection = connection

    def create(self) -> None:
        self._connection.execute(f"CREATE DATABASE {self.name}")

    def drop(self) -> None:
        self._connection.execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    def end_a_session(self) -> bool:
        """End one of a writer's, chosen by chance; say whether there was any."""
        ended = self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name LIKE 'writer-%%'"
            " ORDER BY random() LIMIT 1",
            [self.name],
        ).fetchone()
        return ended is not None

    def sessions_of(self, process: str) -> int:
        found = self._connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
            [self.name, process],
        )
        return found.fetchone()[0]


@contextlib.contextmanager
def a_database() -> Iterator[Database]:
    server = {"host": servers.address("postgresql"), "user": "postgres", "dbname": "postgres"}
    with psycopg.connect(**server, autocommit=True) as connection:
        database = Database(connection)
        database.create()
        try:
            yield database
        finally:
            database.drop()
