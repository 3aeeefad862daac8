"""
A process of the run: ``python -m tests.stress.worker setup``, ``writer NUMBER``, ``reader NUMBER``.

It ends when it is told to in the register, or at once when the test has gone.
"""

import json
import os
import random
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import psycopg

from tests.stress.register import (
    DIGITS,
    FIRST_VERSION,
    KINDS,
    PKS,
    SLOTS,
    THREADS,
    WRITERS,
    Register,
)

if TYPE_CHECKING:
    from tests.stress.journal import Journal
    from tests.stress.reads import Reader

PAUSE = 0.04
"""
Seconds at most between two writes: were there none, every table would be fenced at every moment,
and nothing would be read from the cache.
"""


def main() -> None:
    stress = json.loads(os.environ["QUERYCACHE_STRESS"])
    folder = Path(stress["folder"])
    threading.Thread(target=end_with_the_test, args=(folder,), daemon=True).start()
    django.setup()
    register = Register(folder / "register")
    match sys.argv[1:]:
        case ["setup"]:
            set_up(register)
        case ["writer", number]:
            run(register, folder, int(number), is_writer=True, with_fence=stress["with_fence"])
        case ["reader", number]:
            run(register, folder, int(number), is_writer=False, with_fence=stress["with_fence"])


def end_with_the_test(folder: Path) -> None:
    """Standard input is a pipe that the test alone holds: when that closes, the test was killed."""
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def set_up(register: Register) -> None:
    """Make the tables and their rows, and say which kinds of reads and writes there are."""
    from django.apps import apps
    from django.db import connection

    from tests.stress.models import Book, Leaflet, Scrap, Shelf, Tag
    from tests.stress.reads import FROM_DATABASE, READS
    from tests.stress.writes import WRITES, tags_of

    assert max(len(READS), len(WRITES)) <= KINDS
    with connection.schema_editor() as editor:
        for model in apps.get_app_config("stress").get_models():
            editor.create_model(model)
    Tag.objects.bulk_create([Tag(pk=digit + 1) for digit in range(DIGITS)])
    Scrap.objects.bulk_create([Scrap(pk=slot + 1, version=0) for slot in range(SLOTS)])
    for pk in PKS:
        Shelf.objects.create(pk=pk, version=FIRST_VERSION)
        Book.objects.create(pk=pk, shelf_id=pk, version=FIRST_VERSION)
        Book(pk=pk).tags.set(tags_of(FIRST_VERSION))
        Leaflet.objects.create(pk=pk, shelf_id=pk, version=FIRST_VERSION)
    register.begin()
    kinds = {"reads": list(READS), "from database": list(FROM_DATABASE), "writes": list(WRITES)}
    sys.stdout.write(json.dumps(kinds))


def run(
    register: Register, folder: Path, number: int, *, is_writer: bool, with_fence: bool
) -> None:
    """Read in two threads, or write in the main thread and read in another."""
    from tests.stress.journal import Journal, watch_reads, watch_writes
    from tests.stress.reads import Reader

    process = number if is_writer else WRITERS + number
    first, second = range(process * THREADS, (process + 1) * THREADS)
    readers = [Reader(register, slot, folder / "violations") for slot in (first, second)]
    journal = Journal(register, number, first, folder / "trace") if is_writer else None
    watch_reads(register)
    watch_writes(register, journal, with_fence=with_fence)
    threading.excepthook = end_with_its_thread
    thread = threading.Thread(target=read, args=(register, readers[1]), daemon=True)
    thread.start()
    if journal is None:
        read(register, readers[0])
    else:
        write(register, readers[0], number, journal)
    thread.join()


def end_with_its_thread(error: Any) -> None:
    """A worker of which one thread has failed has failed."""
    traceback.print_exception(error.exc_value)
    sys.stderr.flush()
    os._exit(1)


def read(register: Register, reader: "Reader") -> None:
    from django.db import connections

    from tests.stress.fashion import in_fashion
    from tests.stress.journal import read_as
    from tests.stress.reads import READS

    read_as(reader.slot)
    kinds = list(READS)

    def read_once() -> None:
        name = reader.kind = random.choice(in_fashion(kinds, 3))
        reads = READS[name](reader)
        cell = reader.slot * KINDS + kinds.index(name)
        register.reads[cell] += 1
        register.hits[cell] += sum(read.outcome == "hit" for read in reads)

    while not register.stop[0]:
        survive(register, reader.slot, read_once)
        if reader.slot == SLOTS - 1:
            flush_if_wanted(register)
    connections.close_all()


def survive(register: Register, slot: int, task: Callable[[], None]) -> None:
    """Run a task; go on with another session if the database ends that of this thread."""
    from django.db import Error, connection

    session = None
    try:
        connection.ensure_connection()
        session = connection.connection
        task()
    except (Error, psycopg.OperationalError):  # of a COPY, which Django does not translate
        # At the end of an atomic block, Django may have connected anew already.
        if session is not None and session is connection.connection and connection.is_usable():
            raise
        register.lost_sessions[slot] += 1
        connection.close()


def flush_if_wanted(register: Register) -> None:
    import querycache
    from querycache.exceptions import StoreFailed

    if register.flushes[0] < register.flushes_wanted[0]:
        with suppress(StoreFailed):
            querycache.flush()
            register.flushes[0] += 1


def write(register: Register, reader: "Reader", number: int, journal: "Journal") -> None:
    from tests.stress.fashion import in_fashion
    from tests.stress.journal import read_as
    from tests.stress.writes import WRITES, Writer

    read_as(reader.slot)
    writer = Writer(register, number, journal, reader)
    kinds = list(WRITES)

    def write_once() -> None:
        name = random.choice(in_fashion(kinds, 2))
        writer.write(name)
        register.writes[reader.slot * KINDS + kinds.index(name)] += 1
        writer.read_back()

    while not register.stop[0]:
        if not register.may_write(number):
            time.sleep(PAUSE)
            journal.settle()
            continue
        survive(register, reader.slot, write_once)
        journal.forget()
        journal.settle()
        time.sleep(random.random() * PAUSE)


if __name__ == "__main__":
    main()
