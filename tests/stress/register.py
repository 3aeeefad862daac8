"""
The register: for each row, the version that every read must see at least.

A row carries a version that only rises. Whoever knows that a version is committed raises the
register: its writer as soon as COMMIT has returned and *before* the release, and every reader that
has seen it. A read notes what the register says, and only then begins: it must see at least that.
This is checked in O(n), and by every process for itself; the register is memory that all share.

What the documentation says is not promised, must not be taken for a violation. It all comes down to
one rule: a version is vouched for only if its fence stood until after its COMMIT. That is so if

* the store has taken the fence ("When the store does not answer": what could not be fenced or
  released is a debt, and until it is paid other processes may answer with old rows);
* no fence can have been lost since just before it was put up ("When the store loses something":
  between the loss and the release, a reader may have filled old rows);
* it has not reached its deadline (a COMMIT that takes longer outlives its fence).

A writer writes its *claim* to the first into the register before COMMIT. The chaos counts incidents
for the second, before and after each. The third is a matter of the clock. A version without all
three is raised later: when it was released, and is owed no more.

For the process itself this holds as soon as release has returned, whatever came of it: while in
debt it reads nothing from the cache. So its own writes are expected by all of its own threads.
"""

import time
from mmap import mmap
from pathlib import Path
from typing import Final

TABLES: Final = ("shelf", "book", "tags", "leaflet")
PKS: Final = range(1, 7)
ROWS: Final = len(TABLES) * len(PKS)
DIGITS: Final = 24
"""Tags, and so binary digits of a version."""

WRITERS: Final = 3
READERS: Final = 3
THREADS: Final = 2
"""Of a process; that of a writer writes in one and reads in the other."""
SLOTS: Final = (WRITERS + READERS) * THREADS
KINDS: Final = 64
"""At most so many kinds of reads, and of writes."""

FENCE_SECONDS: Final = 2
"""Takes the place of querycache's own minute, which a short run cannot wait for."""

BEFORE_FENCE, FENCED, COMMITTED, RELEASED = "before fence", "fenced", "committed", "released"
STEPS: Final = ("", BEFORE_FENCE, FENCED, COMMITTED, RELEASED)
"""Steps of a write, at which a writer may be told to die."""

EVERYBODY: Final = -1
NOBODY: Final = -2
"""Who may write, beside the number of a writer."""

FIRST_VERSION: Final = 2
"""Versions that are committed are even; one that will be rolled back is odd."""

_AREAS: Final = {
    # One cell for each thread and row, so that nobody takes back what another has raised.
    "vouched": SLOTS * ROWS,
    # Of each row, written by its writer alone: the last version given out, and the last one whose
    # writing deletes the row; and its claim to have fenced a version.
    "issued": ROWS,
    "deleted": ROWS,
    "claimed_version": ROWS,
    "claimed_incidents": ROWS,
    "claimed_at": ROWS,
    # Written by the test alone, read by the workers.
    "incidents": 1,
    "stop": 1,
    "flushes_wanted": 1,
    "die_at": WRITERS,
    "writing": 1,
    # Counts.
    "flushes": 1,
    "reads": SLOTS * KINDS,
    "hits": SLOTS * KINDS,
    "fills": SLOTS,
    "writes": SLOTS * KINDS,
    "rollbacks": SLOTS,
    "held": SLOTS,
    "lost_sessions": SLOTS,
    "witnessed": SLOTS,
    "violations": SLOTS,
}
"""Names and numbers of cells, each a signed integer of 8 bytes, which is read and written whole."""


def row_of(table: str, pk: int) -> int:
    return TABLES.index(table) * len(PKS) + PKS.index(pk)


def pks_of(writer: int) -> list[int]:
    """The rows that a writer writes, and nobody else."""
    return [pk for pk in PKS if pk % WRITERS == writer]


class Register:
    """The shared memory; each of its areas is an attribute."""

    vouched: memoryview
    issued: memoryview
    deleted: memoryview
    claimed_version: memoryview
    claimed_incidents: memoryview
    claimed_at: memoryview
    incidents: memoryview
    stop: memoryview
    flushes_wanted: memoryview
    die_at: memoryview
    writing: memoryview
    flushes: memoryview
    reads: memoryview
    hits: memoryview
    fills: memoryview
    writes: memoryview
    rollbacks: memoryview
    held: memoryview
    lost_sessions: memoryview
    witnessed: memoryview
    violations: memoryview

    @staticmethod
    def create(path: Path) -> None:
        path.write_bytes(bytes(8 * sum(_AREAS.values())))

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap(file.fileno(), 0)
        self._cells = memoryview(self._memory).cast("q")
        self.own = [0] * ROWS
        """The last version that this process has written and released, or owes."""
        start = 0
        for name, length in _AREAS.items():
            setattr(self, name, self._cells[start : start + length])
            start += length

    def close(self) -> None:
        for name in _AREAS:
            getattr(self, name).release()
        self._cells.release()
        self._memory.close()

    def begin(self) -> None:
        """Every row has its first version, and every writer may write."""
        self.let_write(EVERYBODY)
        for row in range(ROWS):
            self.issued[row] = self.vouched[row] = FIRST_VERSION

    def expected(self, row: int) -> int:
        """The version that a read must see if it begins now, in this process."""
        return max(*self.vouched[row::ROWS], self.own[row])

    def issue(self, row: int) -> int:
        """A version that was never written before; only for the writer of the row."""
        self.issued[row] += 2
        return self.issued[row]

    def withdraw_claim(self, row: int) -> None:
        """Before the fence."""
        self.claimed_version[row] = 0

    def claim(self, row: int, version: int, incidents: int, at: int) -> None:
        """
        After the fence and before the COMMIT: the store has taken the fence of this version.

        ``incidents`` and ``at`` (nanoseconds) were read before the fence.
        """
        self.claimed_incidents[row] = incidents
        self.claimed_at[row] = at
        self.claimed_version[row] = version

    def vouch(self, slot: int, row: int, version: int) -> bool:
        """
        Raise the register to a version that is known to be committed, if its fence still stood.

        Whatever comes after this moment may lose the fence: a SELECT that began before the COMMIT
        has been kept from filling under a generation that is still there.
        """
        if self.claimed_version[row] != version:
            return False
        incidents, at = self.claimed_incidents[row], self.claimed_at[row]
        is_whole = self.claimed_version[row] == version
        has_lost_none = incidents % 2 == 0 and incidents == self.incidents[0]
        is_in_time = time.monotonic_ns() - at < (FENCE_SECONDS - 0.1) * 1e9
        if is_whole and has_lost_none and is_in_time:
            self.raise_to(slot, row, version)
            return True
        return False

    def raise_to(self, slot: int, row: int, version: int) -> None:
        cell = slot * ROWS + row
        self.vouched[cell] = max(self.vouched[cell], version)

    def let_write(self, who: int) -> None:
        """
        Say which writer may go on.

        Where all write at once, each soon makes stale what another has forgotten.
        """
        self.writing[0] = who

    def may_write(self, number: int) -> bool:
        return self.writing[0] in {EVERYBODY, number}

    def begin_incident(self) -> None:
        """From now on, a fence may be lost."""
        self.incidents[0] += 1

    end_incident = begin_incident
    """Even: none that is put up from now on will be."""
