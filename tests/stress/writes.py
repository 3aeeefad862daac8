"""Every kind of write. Each row has one writer, so that its versions only rise."""

import random
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection, transaction

from querycache import bypass
from tests.stress.journal import Journal
from tests.stress.models import Book, Leaflet, Shelf, Tag
from tests.stress.reads import Reader
from tests.stress.register import DIGITS, Register, pks_of, row_of


class RollBack(Exception):
    pass


class Writer:
    """A process that writes its own rows, and reads them back."""

    def __init__(self, register: Register, number: int, journal: Journal, reader: Reader) -> None:
        self._register = register
        self._journal = journal
        self._reader = reader
        self._pks = pks_of(number)
        self.written: dict[tuple[str, int], int | None] = {}

    def pick(self) -> int:
        return random.choice(self._pks)

    def pick_all(self) -> list[int]:
        return random.sample(self._pks, len(self._pks))

    def next(self, table: str, pk: int) -> int:
        """The version that is about to be written; the next COMMIT publishes it."""
        row = row_of(table, pk)
        version = self._register.issue(row)
        self._journal.intents.append((row, version))
        self.written[table, pk] = version
        return version

    def gone(self, table: str, pk: int) -> None:
        """The row is about to be deleted, which is a version of it too."""
        self._register.deleted[row_of(table, pk)] = self.next(table, pk)
        self.written[table, pk] = None

    def doomed(self, table: str, pk: int) -> int:
        """A version that nobody must ever see: it will be rolled back."""
        return self._register.issue(row_of(table, pk)) + 1

    def count_rollback(self) -> None:
        self._register.rollbacks[self._reader.slot] += 1

    def write(self, kind: str) -> None:
        self.written.clear()
        WRITES[kind](self)
        assert not self._journal.intents, f"{kind}: a COMMIT was not noticed"

    def read_back(self) -> None:
        """
        A process sees its own writes, whatever the store does; and so it pays its debts.

        Exactly these: nobody else writes these rows.
        """
        self._reader.kind = "read back"
        for (table, pk), version in self.written.items():
            with self._reader.reading((table, pk)) as reading:
                found = READ_BACK[table](pk)
                reading.must(found == version, f"{table} {pk} was {found}, instead of {version}")


def version_by_tags(pk: int) -> int:
    return sum(1 << (tag - 1) for tag in Tag.objects.filter(books=pk).values_list("pk", flat=True))


READ_BACK: dict[str, Callable[[int], int | None]] = {
    "shelf": lambda pk: Shelf.objects.values_list("version", flat=True).get(pk=pk),
    "book": lambda pk: Book.objects.select_related("shelf").get(pk=pk).version,
    "tags": version_by_tags,
    "leaflet": lambda pk: Leaflet.objects.filter(pk=pk).values_list("version", flat=True).first(),
}


def tags_of(version: int) -> list[int]:
    return [digit + 1 for digit in range(DIGITS) if version >> digit & 1]


WRITES: dict[str, Callable[[Writer], Any]] = {}


def kind(write: Callable[[Writer], Any]) -> Callable[[Writer], Any]:
    WRITES[write.__name__] = write
    return write


# One statement ------------------------------------------------------------------------------------


@kind
def save(writer):
    pk = writer.pick()
    Shelf(pk=pk, version=writer.next("shelf", pk)).save()


@kind
def save_of_a_field(writer):
    pk = writer.pick()
    Book(pk=pk, shelf_id=pk, version=writer.next("book", pk)).save(update_fields=["version"])


@kind
def asynchronous_save(writer):
    pk = writer.pick()
    async_to_sync(Shelf(pk=pk, version=writer.next("shelf", pk)).asave)()


@kind
def update(writer):
    pk = writer.pick()
    Book.objects.filter(pk=pk).update(version=writer.next("book", pk))


@kind
def update_through_a_relation(writer):
    pk = writer.pick()
    Book.objects.filter(shelf__pk=pk, shelf__version__gte=0).update(version=writer.next("book", pk))


@kind
def bulk_update(writer):
    shelves = [Shelf(pk=pk, version=writer.next("shelf", pk)) for pk in writer.pick_all()]
    Shelf.objects.bulk_update(shelves, ["version"])


@kind
def upsert(writer):
    books = [Book(pk=pk, shelf_id=pk, version=writer.next("book", pk)) for pk in writer.pick_all()]
    Book.objects.bulk_create(
        books, update_conflicts=True, unique_fields=["pk"], update_fields=["version"]
    )


@kind
def raw_sql(writer):
    pk = writer.pick()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stress_shelf SET version = %s WHERE id = %s", [writer.next("shelf", pk), pk]
        )


@kind
def raw_sql_with_rows(writer):
    pk = writer.pick()
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH changed AS (UPDATE stress_book SET version = %s WHERE id = %s RETURNING id)"
            " SELECT * FROM changed",
            [writer.next("book", pk), pk],
        )
        assert cursor.fetchall() == [(pk,)]


@kind
def what_only_the_database_understands(writer):
    pk = writer.pick()
    version = writer.next("shelf", pk)
    with connection.cursor() as cursor:
        cursor.execute(
            f"DO $$ BEGIN UPDATE stress_shelf SET version = {version} WHERE id = {pk}; END $$"
        )


# Transactions -------------------------------------------------------------------------------------


@kind
def several_writes_in_a_transaction(writer):
    pk, other = writer.pick(), writer.pick()
    with transaction.atomic():
        Shelf(pk=pk, version=writer.next("shelf", pk)).save()
        Book.objects.filter(pk=other).update(version=writer.next("book", other))
        Book(pk=other).tags.set(tags_of(writer.next("tags", other)))


@kind
def locked_and_written(writer):
    pk = writer.pick()
    with transaction.atomic():
        shelf = Shelf.objects.select_for_update().get(pk=pk)
        shelf.version = writer.next("shelf", pk)
        shelf.save()
        assert Shelf.objects.get(pk=pk).version == shelf.version


@kind
def savepoint_rolled_back(writer):
    pk = writer.pick()
    with transaction.atomic():
        Shelf.objects.filter(pk=pk).update(version=writer.next("shelf", pk))
        try:
            with transaction.atomic():
                Shelf.objects.filter(pk=pk).update(version=writer.doomed("shelf", pk))
                Book.objects.filter(pk=pk).update(version=writer.doomed("book", pk))
                raise RollBack
        except RollBack:
            pass
        Book.objects.filter(pk=pk).update(version=writer.next("book", pk))


@kind
def autocommit_off(writer):
    pk = writer.pick()
    connection.set_autocommit(False)
    try:
        Book.objects.filter(pk=pk).update(version=writer.doomed("book", pk))
        connection.rollback()
        Shelf.objects.filter(pk=pk).update(version=writer.next("shelf", pk))
        connection.commit()
    finally:
        connection.set_autocommit(True)


@kind
def by_hand(writer):
    pk = writer.pick()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "UPDATE stress_book SET version = %s WHERE id = %s", [writer.next("book", pk), pk]
        )
        cursor.execute("COMMIT")


@kind
def read_by_a_hook_of_its_commit(writer):
    pk = writer.pick()
    with transaction.atomic():
        Shelf.objects.filter(pk=pk).update(version=writer.next("shelf", pk))
        transaction.on_commit(writer.read_back)


@kind
def rolled_back(writer):
    pk = writer.pick()
    try:
        with transaction.atomic():
            Shelf(pk=pk, version=writer.doomed("shelf", pk)).save()
            Book.objects.filter(pk=pk).update(version=writer.doomed("book", pk))
            Book(pk=pk).tags.set(tags_of(writer.doomed("tags", pk)))
            raise RollBack
    except RollBack:
        writer.count_rollback()


# Relations ----------------------------------------------------------------------------------------


@kind
def tags_set(writer):
    pk = writer.pick()
    # set() reads what is there, and writes what differs: here it must be right in any case.
    with bypass():
        Book(pk=pk).tags.set(tags_of(writer.next("tags", pk)))


@kind
def tags_cleared_and_added(writer):
    pk = writer.pick()
    with transaction.atomic():
        book = Book(pk=pk)
        book.tags.clear()
        book.tags.add(*tags_of(writer.next("tags", pk)))


@kind
def tags_changed_by_rows(writer):
    pk = writer.pick()
    through = Book.tags.through.objects
    with transaction.atomic():
        through.filter(book=pk).delete()
        version = writer.next("tags", pk)
        through.bulk_create([through.model(book_id=pk, tag_id=tag) for tag in tags_of(version)])


# What comes and goes ------------------------------------------------------------------------------


def gone_leaflet(writer):
    """Delete one of the writer's leaflets if it is there, in any way; return which one."""
    pk = writer.pick()
    with bypass():  # a leaflet that died with its writer is not there
        leaflet = Leaflet.objects.filter(pk=pk).first()
        if leaflet is None:
            return pk
        writer.gone("leaflet", pk)
        if random.random() < 0.5:
            leaflet.delete()
        else:
            Leaflet.objects.filter(pk=pk).delete()
    # Nobody else writes it, so that the database and the cache know by now.
    writer.read_back()
    return pk


@kind
def deleted_and_created(writer):
    pk = gone_leaflet(writer)
    Leaflet.objects.create(pk=pk, shelf_id=pk, version=writer.next("leaflet", pk))


@kind
def deleted_and_created_by_signals(writer):
    pk = gone_leaflet(writer)
    with bypass():
        defaults = {"shelf_id": pk, "version": writer.next("leaflet", pk)}
        Leaflet.objects.update_or_create(pk=pk, defaults=defaults)


@kind
def deleted_and_copied(writer):
    pk = gone_leaflet(writer)
    copy = "COPY stress_leaflet (id, shelf_id, version) FROM STDIN"
    with transaction.atomic(), connection.cursor() as cursor, cursor.copy(copy) as stream:
        stream.write_row([pk, pk, writer.next("leaflet", pk)])


@kind
def replaced_in_a_transaction(writer):
    pk = writer.pick()
    with transaction.atomic(), bypass():
        Leaflet.objects.filter(pk=pk).delete()
        Leaflet(pk=pk, shelf_id=pk, version=writer.next("leaflet", pk)).save(force_insert=True)
