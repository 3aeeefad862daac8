"""
What a worker adds to querycache: it sees each step, tells the register, and takes its time.

The steps are those of the two columns in ``querycache.generations``. At each of them a thread may
pause for some milliseconds, and a writer may be told to die. That is the same in every run; in the
control, the fence alone does nothing.
"""

import json
import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from querycache import debts, generations
from querycache.stores import base, redis
from tests.stress.register import (
    BEFORE_FENCE,
    COMMITTED,
    FENCE_SECONDS,
    FENCED,
    RELEASED,
    STEPS,
    Register,
)

READER_PAUSE = 0.005
WRITER_PAUSE = 0.03
"""
Seconds at most: a commit window must be long enough for one reader to fill, and another to look.
"""


def dawdle(most: float) -> None:
    """Give others the time to come in between, now and then."""
    if random.random() < 0.4:
        time.sleep(random.random() * most)


class Journal:
    """
    What the writer of this process is about to publish, and what it has to hold back.

    ``intents`` are rows and versions of the open transaction, or of the statement to come;
    ``committed`` those whose release is still to come, ``unvouched`` those of them that the fence
    does not vouch for. ``held`` are the unvouched after their release, by the name that querycache
    gave the writer: they raise the register when that has released all, and owes nothing.
    """

    def __init__(self, register: Register, number: int, slot: int, trace: Path) -> None:
        self._register = register
        self._number = number
        self._slot = slot
        self._trace = trace.open("a", buffering=1)
        self.intents: list[tuple[int, int]] = []
        self.committed: list[tuple[int, int]] = []
        self.unvouched: list[tuple[int, int]] = []
        self.held: dict[str, list[tuple[int, int]]] = {}
        self.unanswered: set[str] = set()
        """Writers of whose release nobody knows yet what has become of it."""
        self.begun_by_hand = False

    def before_fence(self) -> None:
        for row, _ in self.intents:
            self._register.withdraw_claim(row)
        self._at(BEFORE_FENCE, self.intents)

    def fenced(self, incidents: int, at: int) -> None:
        for row, version in self.intents:
            self._register.claim(row, version, incidents, at)
        self._at(FENCED, self.intents)

    def commit_has_returned(self) -> None:
        self.committed, self.intents = self.intents, []
        self._at(COMMITTED, self.committed)
        self.unvouched = [
            (row, version)
            for row, version in self.committed
            if not self._register.vouch(self._slot, row, version)
        ]

    def released(self, writer: str) -> None:
        self._at(RELEASED, self.committed)
        for row, version in self.committed:
            self._register.own[row] = version
        if self.unvouched:
            self.held[writer] = self.unvouched
            self._register.held[self._slot] += len(self.unvouched)
            self._note("held", self.unvouched)
        self.committed, self.unvouched = [], []
        self.settle()

    def forget(self) -> None:
        """The session was lost: nobody can tell what was committed, until a reader has seen it."""
        self.intents, self.committed, self.unvouched = [], [], []
        self.begun_by_hand = False

    def settle(self) -> None:
        """What could not be vouched for is due now, if it was released meanwhile."""
        for writer in [*self.held]:
            if writer not in self.unanswered and writer not in debts.owed:
                versions = self.held.pop(writer)
                for row, version in versions:
                    self._register.raise_to(self._slot, row, version)
                self._note("settled", versions)

    def _at(self, step: str, what: list[tuple[int, int]]) -> None:
        if not what:
            return
        self._note(step, what)
        if self._register.die_at[self._number] == STEPS.index(step):
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, event: str, what: Any) -> None:
        self._trace.write(json.dumps([time.monotonic(), self._number, event, what]) + "\n")


_here = threading.local()


def read_as(slot: int) -> None:
    """Count what this thread fills."""
    _here.slot = slot


def watch_reads(register: Register) -> None:
    """Put pauses between the steps a, b and c, and count what is filled."""
    look, fill = generations.look, generations.fill

    def watched_look(*arguments: Any) -> Any:
        found = look(*arguments)
        if found.loaded is None:
            dawdle(READER_PAUSE)
        return found

    def watched_fill(*arguments: Any, **options: Any) -> int:
        dawdle(READER_PAUSE)
        size = fill(*arguments, **options)
        register.fills[_here.slot] += 1
        return size

    generations.look, generations.fill = watched_look, watched_fill


def watch_writes(register: Register, journal: Journal | None, *, with_fence: bool) -> None:
    """
    Put pauses between the steps 1 to 4, and tell the journal, which is that of the main thread.
    """
    for module in base, redis, generations:
        module.FENCE_SECONDS = FENCE_SECONDS
    fence = generations.fence if with_fence else no_fence
    release = generations.release

    def watched_fence(dependencies: Any) -> str:
        dawdle(WRITER_PAUSE)
        is_mine = journal is not None and is_main_thread()
        if is_mine:
            journal.before_fence()
        incidents, at = register.incidents[0], time.monotonic_ns()
        writer = fence(dependencies)
        if is_mine and writer not in debts.unfenced:
            journal.fenced(incidents, at)
        dawdle(WRITER_PAUSE)
        return writer

    def watched_release(dependencies: Any, writer: str) -> None:
        dawdle(WRITER_PAUSE)
        release(dependencies, writer)
        if journal is not None and is_main_thread():
            journal.released(writer)

    generations.fence, generations.release = watched_fence, watched_release
    if journal is not None:
        watch_commits(journal)
        watch_answers(journal)


def no_fence(dependencies: Any) -> str:
    """The control: nothing before COMMIT, and the release after it as ever."""
    return uuid.uuid4().hex


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def watch_commits(journal: Journal) -> None:
    """Notice the moment at which a COMMIT, or a statement in autocommit, has returned."""
    writing = connections["default"]  # that of this thread
    while writing.connection is None:
        try:
            writing.ensure_connection()
        except OperationalError:  # its session was ended as it began
            writing.close()
    commit = BaseDatabaseWrapper._commit

    def watched_commit(connection: BaseDatabaseWrapper) -> None:
        commit(connection)
        if connection is writing:
            journal.commit_has_returned()

    def watched_statement(execute: Any, sql: str, *arguments: Any) -> Any:
        result = execute(sql, *arguments)
        verb = sql.split(None, 1)[0].upper()
        if verb in {"BEGIN", "COMMIT"}:
            journal.begun_by_hand = verb == "BEGIN"
        is_committed = (
            writing.autocommit and not writing.in_atomic_block and not journal.begun_by_hand
        )
        if is_committed and verb not in {"SELECT", "SET"}:
            journal.commit_has_returned()
        return result

    BaseDatabaseWrapper._commit = watched_commit
    writing.execute_wrappers.append(watched_statement)  # the last one is next to the database


def watch_answers(journal: Journal) -> None:
    """
    Notice what becomes of a release, which is not waited for: whichever thread hears of it.

    Not before ``debts.owed`` has it: what is answered, and is not owed, was released.
    """
    release_unwaited = redis.RedisStore.release_unwaited
    owe = debts.owe

    def watched_release(store: Any, dependencies: Any, writer: str, done: Any) -> None:
        def watched_done(lost: int | None) -> None:
            done(lost)
            journal.unanswered.discard(writer)

        journal.unanswered.add(writer)
        release_unwaited(store, dependencies, writer, watched_done)

    def watched_owe(dependencies: Any, writer: str) -> None:
        owe(dependencies, writer)
        journal.unanswered.discard(writer)

    redis.RedisStore.release_unwaited = watched_release
    debts.owe = watched_owe
