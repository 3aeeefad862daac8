"""Every kind of read, and what each of them must see."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.models import Count, Exists, Max, OuterRef, Subquery, Sum

from querycache import bypass
from querycache.recorder import Read, record_reads
from tests.stress.fashion import in_fashion
from tests.stress.models import Book, Leaflet, Scrap, Shelf, Tag
from tests.stress.register import PKS, Register, row_of

QUESTION_STEP = 16
"""Versions between one question of "has it come to …?" and the next."""


class Reading:
    """
    One read: what the register said before it began, and what it saw.

    ``register.issued`` and ``register.deleted`` are looked at afterwards: they say what at most may
    have been there.
    """

    def __init__(self, register: Register, rows: list[tuple[str, int]]) -> None:
        self._register = register
        self.began = time.monotonic()
        self.expected = {row: register.expected(row_of(*row)) for row in rows}
        self.seen: dict[tuple[str, int], int] = {}
        self.violations: list[str] = []
        self.reads: list[Read] = []

    def saw(self, table: str, pk: int, version: int | None) -> None:
        """Check a row; None says that it was not there."""
        expected, row = self.expected[table, pk], row_of(table, pk)
        if version is None:
            if self._register.deleted[row] < expected:
                self.violate(f"{table} {pk} was not there, instead of {expected}")
            return
        self.seen[table, pk] = version
        if version < expected:
            self.violate(f"{table} {pk} was {version}, older than {expected}")
        elif version % 2:
            self.violate(f"{table} {pk} was {version}, which was rolled back")
        elif version > self._register.issued[row]:
            self.violate(f"{table} {pk} was {version}, which was never written")

    def saw_all(self, table: str, versions: dict[int, int]) -> None:
        for pk in PKS:
            self.saw(table, pk, versions.get(pk))

    def saw_tags(self, book: int, digits: Any) -> None:
        self.saw("tags", book, sum(1 << (digit - 1) for digit in digits if digit))

    def must(self, is_right: bool, otherwise: str) -> None:
        if not is_right:
            self.violate(otherwise)

    def violate(self, what: str) -> None:
        self.violations.append(what)


class Reader:
    """A thread that reads."""

    def __init__(self, register: Register, slot: int, violations: Path) -> None:
        self._register = register
        self.slot = slot
        self._file = violations
        self._wanted: dict[Any, int] = {}
        self.kind = ""

    def pick(self) -> int:
        return random.choice(in_fashion(PKS, 2))

    @contextmanager
    def reading(self, *what: str | tuple[str, int]) -> Iterator[Reading]:
        """Read in this block what was named: a row, or all rows of a table."""
        rows = [row if isinstance(row, tuple) else (row, pk) for row in what for pk in PKS]
        reading = Reading(self._register, list(dict.fromkeys(rows)))
        with record_reads() as reading.reads:
            yield reading
        for row, version in reading.seen.items():
            # Whoever reads from now on must see it, even if its writer has died meanwhile.
            if version > reading.expected[row] and self._register.vouch(
                self.slot, row_of(*row), version
            ):
                self._register.witnessed[self.slot] += 1
        if reading.violations:
            self.report(reading)

    def wanted(self, *question: Any) -> int:
        """
        A version to ask for until it is there: a question that is asked again, and by others too.
        """
        return self._wanted.setdefault(question, QUESTION_STEP)

    def has_come(self, *question: Any, at: int) -> None:
        self._wanted[question] = (at // QUESTION_STEP + 1) * QUESTION_STEP

    def issued(self, table: str, pk: int) -> int:
        return self._register.issued[row_of(table, pk)]

    def report(self, reading: Reading) -> None:
        self._register.violations[self.slot] += 1
        report = {
            "kind": self.kind,
            "slot": self.slot,
            "began": reading.began,
            "ended": time.monotonic(),
            "violations": reading.violations,
            "rows": [row_of(*row) for row in reading.expected],
            "reads": [f"{read.label} {read.outcome} {read.reason or ''}" for read in reading.reads],
        }
        with self._file.open("a") as file:
            file.write(json.dumps(report) + "\n")


READS: dict[str, Callable[[Reader], list[Read]]] = {}

FROM_DATABASE = {"iterator", "bypassed", "repeatable_read"}
"""What must never be answered from the cache. Here these are witnesses: they see what is new."""


def kind(read: Callable[[Reader], Any]) -> Callable[[Reader], Any]:
    READS[read.__name__] = read
    return read


# One row ------------------------------------------------------------------------------------------


@kind
def get(reader):
    pk = reader.pick()
    with reader.reading(("shelf", pk)) as reading:
        reading.saw("shelf", pk, Shelf.objects.get(pk=pk).version)
    return reading.reads


@kind
def first(reader):
    pk = reader.pick()
    with reader.reading(("book", pk)) as reading:
        reading.saw("book", pk, Book.objects.filter(pk=pk).first().version)
    return reading.reads


@kind
def first_that_may_be_gone(reader):
    pk = reader.pick()
    with reader.reading(("leaflet", pk)) as reading:
        found = Leaflet.objects.filter(pk=pk).first()
        reading.saw("leaflet", pk, found and found.version)
    return reading.reads


@kind
def asynchronous_get(reader):
    pk = reader.pick()

    async def read():
        return await Book.objects.aget(pk=pk)

    with reader.reading(("book", pk)) as reading:
        reading.saw("book", pk, async_to_sync(read)().version)
    return reading.reads


@kind
def exists(reader):
    pk = reader.pick()
    wanted = reader.wanted("exists", pk)
    with reader.reading(("shelf", pk)) as reading:
        found = Shelf.objects.filter(pk=pk, version__gte=wanted).exists()
        is_due = reading.expected["shelf", pk] >= wanted
        reading.must(found or not is_due, f"shelf {pk} had not come to {wanted}")
    if found:
        reader.has_come("exists", pk, at=reader.issued("shelf", pk))
    return reading.reads


# Several rows -------------------------------------------------------------------------------------


@kind
def instances(reader):
    with reader.reading("book") as reading:
        reading.saw_all("book", {book.pk: book.version for book in Book.objects.all()})
    return reading.reads


@kind
def values_list(reader):
    with reader.reading("shelf") as reading:
        reading.saw_all("shelf", dict(Shelf.objects.values_list("pk", "version")))
    return reading.reads


@kind
def values_of_what_may_be_gone(reader):
    with reader.reading("leaflet") as reading:
        found = {row["pk"]: row["version"] for row in Leaflet.objects.values("pk", "version")}
        reading.saw_all("leaflet", found)
    return reading.reads


@kind
def in_bulk(reader):
    with reader.reading("shelf") as reading:
        found = Shelf.objects.in_bulk(list(PKS))
        reading.saw_all("shelf", {pk: shelf.version for pk, shelf in found.items()})
    return reading.reads


@kind
def a_slice(reader):
    with reader.reading("book") as reading:
        for pk, version in Book.objects.order_by("pk").values_list("pk", "version")[1:4]:
            reading.saw("book", pk, version)
    return reading.reads


@kind
def asynchronous_list(reader):
    async def read():
        return {shelf.pk: shelf.version async for shelf in Shelf.objects.order_by("pk")}

    with reader.reading("shelf") as reading:
        reading.saw_all("shelf", async_to_sync(read)())
    return reading.reads


# Aggregates ---------------------------------------------------------------------------------------


@kind
def aggregate(reader):
    with reader.reading("shelf") as reading:
        found = Shelf.objects.aggregate(Max("version"), Sum("version"))
        needed = reading.expected.values()
        reading.must(found["version__max"] >= max(needed), f"the maximum was {found}")
        reading.must(found["version__sum"] >= sum(needed), f"the sum was {found}")
    return reading.reads


@kind
def count(reader):
    wanted = reader.wanted("count")
    with reader.reading("book") as reading:
        found = Book.objects.filter(version__gte=wanted).count()
        due = sum(version >= wanted for version in reading.expected.values())
        reading.must(found >= due, f"{found} books had come to {wanted}, instead of {due}")
    if found >= len(PKS) / 2:
        reader.has_come("count", at=wanted)
    return reading.reads


@kind
def grouped(reader):
    with reader.reading("book") as reading:
        found = Book.objects.values("shelf_id").annotate(newest=Max("version"))
        reading.saw_all("book", {row["shelf_id"]: row["newest"] for row in found})
    return reading.reads


# Several tables -----------------------------------------------------------------------------------


@kind
def select_related(reader):
    pk = reader.pick()
    with reader.reading(("book", pk), ("shelf", pk)) as reading:
        book = Book.objects.select_related("shelf").get(pk=pk)
        reading.saw("book", pk, book.version)
        reading.saw("shelf", pk, book.shelf.version)
    return reading.reads


@kind
def prefetch_related(reader):
    with reader.reading("shelf", "book", "leaflet") as reading:
        shelves = list(Shelf.objects.prefetch_related("books", "leaflets"))
        reading.saw_all("shelf", {shelf.pk: shelf.version for shelf in shelves})
        for table, rows in ("book", "books"), ("leaflet", "leaflets"):
            found = [row for shelf in shelves for row in getattr(shelf, rows).all()]
            reading.saw_all(table, {row.pk: row.version for row in found})
    return reading.reads


@kind
def related_manager(reader):
    pk = reader.pick()
    with reader.reading(("book", pk)) as reading:
        reading.saw("book", pk, Shelf(pk=pk).books.get().version)
    return reading.reads


@kind
def tags_of_a_book(reader):
    pk = reader.pick()
    with reader.reading(("tags", pk)) as reading:
        reading.saw_tags(pk, [tag.pk for tag in Book(pk=pk).tags.all()])
    return reading.reads


@kind
def tags_from_the_other_side(reader):
    pk = reader.pick()
    with reader.reading(("tags", pk)) as reading:
        reading.saw_tags(pk, Tag.objects.filter(books=pk).values_list("pk", flat=True))
    return reading.reads


@kind
def prefetched_tags(reader):
    with reader.reading("book", "tags") as reading:
        for book in Book.objects.prefetch_related("tags"):
            reading.saw("book", book.pk, book.version)
            reading.saw_tags(book.pk, [tag.pk for tag in book.tags.all()])
    return reading.reads


@kind
def joined_tags(reader):
    with reader.reading("tags") as reading:
        digits = {pk: set() for pk in PKS}
        for pk, digit in Book.objects.values_list("pk", "tags"):
            digits[pk].add(digit)
        for pk in PKS:
            reading.saw_tags(pk, digits[pk])
    return reading.reads


@kind
def subquery(reader):
    version = Shelf.objects.filter(pk=OuterRef("shelf_id")).values("version")
    with reader.reading("shelf") as reading:
        found = Book.objects.annotate(of_shelf=Subquery(version)).values_list("pk", "of_shelf")
        reading.saw_all("shelf", dict(found))
    return reading.reads


@kind
def exists_in_a_subquery(reader):
    pk = reader.pick()
    wanted = reader.wanted("exists in a subquery", pk)
    with reader.reading(("book", pk)) as reading:
        books = Book.objects.filter(shelf=OuterRef("pk"), version__gte=wanted)
        found = Shelf.objects.filter(Exists(books), pk=pk).exists()
        is_due = reading.expected["book", pk] >= wanted
        reading.must(found or not is_due, f"book {pk} had not come to {wanted}")
    if found:
        reader.has_come("exists in a subquery", pk, at=reader.issued("book", pk))
    return reading.reads


@kind
def ordered_by_a_relation(reader):
    with reader.reading("shelf") as reading:
        pk = Book.objects.order_by("-shelf__version").values_list("pk", flat=True).first()
        # No shelf was beyond the version of this one, which was not beyond what is issued now.
        highest, needed = reader.issued("shelf", pk), max(reading.expected.values())
        reading.must(highest >= needed, f"shelf {pk} came first at {highest}, before {needed}")
    return reading.reads


@kind
def count_of_relations(reader):
    with reader.reading("leaflet") as reading:
        shelves = Shelf.objects.annotate(leaves=Count("leaflets"), newest=Max("leaflets__version"))
        for pk, leaves, newest in shelves.values_list("pk", "leaves", "newest"):
            reading.must((leaves > 0) == (newest is not None), f"{leaves} of shelf {pk}: {newest}")
            reading.saw("leaflet", pk, newest)
    return reading.reads


@kind
def union(reader):
    shelves = Shelf.objects.filter(pk=1).values_list("version")
    books = Book.objects.filter(pk=1).values_list("version")
    with reader.reading(("shelf", 1), ("book", 1)) as reading:
        found = max(version for (version,) in shelves.union(books))
        needed = max(reading.expected.values())
        reading.must(found >= needed, f"the later one was {found}, not {needed}")
    return reading.reads


# Transactions -------------------------------------------------------------------------------------


@kind
def in_a_transaction(reader):
    with transaction.atomic():
        return get(reader) + instances(reader)


@kind
def in_a_transaction_that_has_written(reader):
    with transaction.atomic():
        Scrap.objects.filter(pk=reader.slot + 1).update(version=random.randrange(1_000_000))
        reads = values_list(reader) + select_related(reader)
        transaction.set_rollback(random.random() < 0.5)
    return reads


@kind
def repeatable_read(reader):
    """A snapshot: what is newer meanwhile in the cache is not for this transaction."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with reader.reading("shelf") as reading:
            before = dict(Shelf.objects.values_list("pk", "version"))
            reading.saw_all("shelf", before)
        with record_reads() as later:
            after = dict(Shelf.objects.values_list("pk", "version"))
    if after != before:
        reading.violate(f"a snapshot was {before}, and then {after}")
        reader.report(reading)
    return reading.reads + later


# The database -------------------------------------------------------------------------------------


@kind
def iterator(reader):
    with reader.reading("book") as reading:
        reading.saw_all("book", {book.pk: book.version for book in Book.objects.iterator()})
    return reading.reads


@kind
def bypassed(reader):
    with bypass(), reader.reading("shelf", "leaflet") as reading:
        reading.saw_all("shelf", dict(Shelf.objects.values_list("pk", "version")))
        reading.saw_all("leaflet", dict(Leaflet.objects.values_list("pk", "version")))
    return reading.reads
