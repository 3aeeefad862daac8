"""
Users of one database and one cache, moved one step at a time by a state machine.

Each user is a thread with connections of its own, and a step is over before the next one begins:
whatever the interleaving, the machine has chosen it and can repeat it.
"""

import functools
import os
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Self

from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import Error, OperationalError, connections, transaction
from django.db.models import (
    Count,
    Exists,
    F,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    Sum,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import RowNumber

import querycache
from querycache import debts
from querycache.exceptions import StoreFailed
from querycache.recorder import record_reads
from querycache.stores import Store
from querycache.stores.base import FENCE_SECONDS, Done
from querycache.stores.redis import client_of
from tests.differential.picture import picture
from tests.differential.reads import CACHEABLE, alist
from tests.differential.shelf import Copy, Library
from tests.differential.writes import (
    TYPICAL,
    WATCHES,
    WRITES,
    RollBack,
    Write,
    atomic,
    committed_by_hand,
    execute,
    names,
    raw,
)
from tests.testapp.models import Book, Tag

SECONDS = 60.0
"""How long a step may take before it counts as one that never ends."""

MAY_FAIL = (
    Error,
    sqlite3.Error,  # Django asks a connection that was closed in a transaction for its limits
    ObjectDoesNotExist,
    MultipleObjectsReturned,
    StoreFailed,
    RollBack,
)
"""What a step may end with: a row that is locked, that is gone, that stands in the way."""


# Transactions -------------------------------------------------------------------------------------
# Each begins as it is entered, commits as it is left and rolls back as it is left by ``RollBack``.

Level = Callable[[str], AbstractContextManager[None]]


@contextmanager
def atomic_without_savepoint(using: str) -> Iterator[None]:
    with transaction.atomic(using=using, savepoint=False):
        yield


@contextmanager
def until_autocommit(using: str) -> Iterator[None]:
    """Django's own way to end it, which commits on some databases and is refused on others."""
    transaction.set_autocommit(False, using=using)
    try:
        yield
        transaction.set_autocommit(True, using=using)
    finally:
        if not transaction.get_autocommit(using=using):
            transaction.rollback(using=using)
            transaction.set_autocommit(True, using=using)


@contextmanager
def by_statement(using: str) -> Iterator[None]:
    execute(using, "BEGIN")
    try:
        yield
        execute(using, "COMMIT")
    except (RollBack, Error):
        execute(using, "ROLLBACK")
        raise


@contextmanager
def of_a_snapshot(using: str) -> Iterator[None]:
    vendor = connections[using].vendor
    level = "TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    if vendor == "mysql":
        execute(using, f"SET SESSION {level}")
    try:
        with transaction.atomic(using=using):
            if vendor == "postgresql":
                execute(using, f"SET {level}")
            yield
    finally:
        if vendor == "mysql":
            connections[using].close()


@contextmanager
def savepoint(using: str) -> Iterator[None]:
    # By the connection: the functions of django.db.transaction have other names in Django 6.1.
    sid = connections[using].savepoint()
    try:
        yield
    except RollBack:
        connections[using].savepoint_rollback(sid)
        raise
    connections[using].savepoint_commit(sid)


@contextmanager
def savepoint_by_statement(using: str) -> Iterator[None]:
    execute(using, "SAVEPOINT by_hand")
    try:
        yield
    except RollBack:
        execute(using, "ROLLBACK TO SAVEPOINT by_hand")
        raise
    execute(using, "RELEASE SAVEPOINT by_hand")


OUTER: dict[str, Level] = {
    "atomic()": atomic,
    "by hand": committed_by_hand,
    "until autocommit": until_autocommit,
    "BEGIN": by_statement,
    "snapshot": of_a_snapshot,
}
INNER: dict[str, Level] = {
    "atomic()": atomic,
    "atomic(savepoint=False)": atomic_without_savepoint,
    "savepoint()": savepoint,
    "SAVEPOINT": savepoint_by_statement,
}
DEPTH = 3

ENDS = ("commit", "roll back", "set_rollback()", "commit, answer lost", "connection lost in commit")
OFTEN = ("commit", "commit", "roll back")


# Writes -------------------------------------------------------------------------------------------


def restock(db: Library) -> None:
    """Bring back what other writes are about, after they have deleted it."""
    herbert, _ = db.authors.get_or_create(name="Herbert")
    for name in ("Le Guin", "Nobody"):
        db.authors.get_or_create(name=name)
    dune, _ = db.books.get_or_create(name="Dune", defaults={"author": herbert})
    db.books.get_or_create(name="Messiah", defaults={"author": herbert, "sequel_to": dune})
    for name in ("desert", "classic", "unused"):
        db.tags.get_or_create(name=name)
    dune.tags.set(db.tags.filter(name__in=["desert", "classic"]))


def seats_until_one_is_taken(db: Library) -> None:
    with connections[db.using].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO testapp_seat VALUES (8, %s, 'half')", [(1,), (2,), (2,), (3,)]
        )


def unseen_by_django(db: Library, statement: str) -> None:
    connection = connections[db.using]
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = connection.connection.cursor()
        cursor.execute(statement)
        cursor.close()


untold: list[str] = []
"""Statements that Django has not seen and has not been told of yet: reads need not see them."""


@contextmanager
def told_at_the_end(db: Library, statement: str) -> Iterator[None]:
    untold.append(statement)
    try:
        failure = None
        try:
            unseen_by_django(db, statement)
        except Error as error:
            failure = error
        yield
        if failure is not None:
            raise failure
    finally:
        untold.remove(statement)


def invalidated_afterwards(db: Library) -> None:
    statement = "UPDATE testapp_tag SET name = 'unseen' WHERE name = 'classic'"
    with told_at_the_end(db, statement):
        querycache.invalidate(Tag, using=db.using)


def invalidated_by_queryset(db: Library) -> None:
    with told_at_the_end(db, "UPDATE testapp_book SET pages = pages + 3"):
        querycache.invalidate(db.books.filter(tags__name="desert"))


def script(db: Library) -> None:
    connection = connections[db.using]
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.executescript("UPDATE testapp_book SET pages = pages + 5; SELECT 1;")


def copy_from_stdin(db: Library, name: str | None) -> None:
    connection = connections[db.using]
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy("COPY testapp_tag (name) FROM STDIN") as stream,
    ):
        stream.write_row([name])


def later(db: Library) -> None:
    """A hook that writes: in autocommit at once, in a transaction when it has been committed."""

    def write() -> None:
        with suppress(*MAY_FAIL):
            db.tags.get_or_create(name="by a hook")
            db.tags.filter(name="by a hook").update(name="by another hook")

    transaction.on_commit(write, using=db.using)


MORE_WRITES = [
    Write("restock", restock),
    Write("restock in atomic()", lambda db: transaction.atomic(using=db.using)(restock)(db)),
    Write("executemany that fails half way", seats_until_one_is_taken),
    Write("invalidate() after an unseen write", invalidated_afterwards),
    Write("invalidate() of a queryset after an unseen write", invalidated_by_queryset),
    Write("on_commit hook that writes", later),
    Write("executescript", script, on=frozenset({"sqlite"})),
    Write("COPY", lambda db: copy_from_stdin(db, "copied"), on=frozenset({"postgresql"})),
    Write("COPY that fails", lambda db: copy_from_stdin(db, None), on=frozenset({"postgresql"})),
    raw("statement that fails", "UPDATE testapp_tag SET no_such_column = 1"),
    raw("COMMIT", "COMMIT"),
    raw("ROLLBACK", "ROLLBACK"),
    raw(
        "INSERT that ends the transaction if it fails",
        {"sqlite": "INSERT OR ROLLBACK INTO testapp_seat VALUES (7, 1, 'or rollback')"},
    ),
]
ALL_WRITES = {write.name: write for write in [*MORE_WRITES, *WRITES]}


# Reads --------------------------------------------------------------------------------------------

WATCHED: dict[str, Callable[[Library], Any]] = {
    f"watch {number}": watch
    for number, watch in sorted(enumerate(WATCHES), key=lambda item: item[1] is not names)
}
"""The first of them are about the tables that most writes change."""

NAMED = ("name", "pk")
"""An order without ties: among ties, a database may answer differently each time it is asked."""


def books(db: Library) -> QuerySet[Any]:
    return db.books.order_by(*NAMED)


def authors(db: Library) -> QuerySet[Any]:
    return db.authors.order_by(*NAMED)


def generic_objects(db: Library) -> Any:
    return [(note, note.about) for note in db.notes.order_by("pk")]


LONGEST = Book.objects.filter(author=OuterRef("pk")).order_by("-pages", "pk")
DESERT = Tag.objects.filter(books=OuterRef("pk"), name="desert")
IN_AUTHOR = {"partition_by": F("author"), "order_by": [F("pages").desc(), F("pk")]}

MORE_READS: dict[str, Callable[[Library], Any]] = {
    "list": lambda db: list(books(db)),
    "list of tags": lambda db: list(db.tags.order_by(*NAMED)),
    "list of authors": lambda db: list(authors(db)),
    "slice": lambda db: list(books(db)[1:3]),
    "first": lambda db: books(db).first(),
    "last": lambda db: books(db).last(),
    "index": lambda db: books(db)[1],
    "latest": lambda db: db.books.latest("pages", "pk"),
    "in_bulk": lambda db: sorted(db.books.in_bulk().items()),
    "values": lambda db: list(books(db).values()),
    "values of a join": lambda db: list(books(db).values("name", "author__name")),
    "values_list": lambda db: list(db.publishers.order_by("pk").values_list()),
    "distinct": lambda db: list(
        db.books.order_by("author__name").values("author__name").distinct()
    ),
    "group by": lambda db: list(
        db.books.values("author__name").annotate(n=Sum("pages")).order_by("author__name", "n")
    ),
    "annotate Count": lambda db: list(authors(db).annotate(n=Count("books"))),
    "annotate Exists": lambda db: list(books(db).annotate(dry=Exists(DESERT))),
    "filter by Exists": lambda db: list(books(db).filter(~Exists(DESERT))),
    "annotate Subquery": lambda db: list(
        authors(db).annotate(longest=Subquery(LONGEST.values("name")[:1]))
    ),
    "filter by a subquery": lambda db: list(
        books(db).filter(author__in=db.authors.filter(name="Herbert"))
    ),
    "Window": lambda db: list(books(db).annotate(n=Window(RowNumber(), **IN_AUTHOR))),
    "RawSQL of another table": lambda db: list(
        db.tags.order_by(*NAMED).annotate(n=RawSQL("SELECT COUNT(*) FROM testapp_author", []))
    ),
    "filter over a join": lambda db: list(books(db).filter(author__name="Herbert")),
    "filter over many-to-many": lambda db: list(books(db).filter(tags__name="desert")),
    "exclude over many-to-many": lambda db: list(books(db).exclude(tags__name="desert")),
    "order over a relation": lambda db: list(db.books.order_by("author__name", *NAMED)),
    "select_related": lambda db: list(books(db).select_related("author", "sequel_to__author")),
    "select_related one-to-one": lambda db: list(authors(db).select_related("biography")),
    "prefetch_related": lambda db: list(
        authors(db).prefetch_related(
            Prefetch("books", books(db).prefetch_related(Prefetch("tags", db.tags.order_by("pk"))))
        )
    ),
    "prefetch_related many-to-many": lambda db: list(
        db.tags.order_by(*NAMED).prefetch_related(Prefetch("books", books(db), to_attr="found"))
    ),
    "Prefetch of a slice": lambda db: list(
        authors(db).prefetch_related(Prefetch("books", books(db)[:1], to_attr="one"))
    ),
    "prefetch_related generic": lambda db: list(db.notes.order_by("pk").prefetch_related("about")),
    "generic foreign key": generic_objects,
    "related manager": lambda db: list(db.author("Herbert").books.order_by("pk")),
    "many-to-many": lambda db: list(db.book("Dune").tags.order_by("pk")),
    "many-to-many through": lambda db: list(db.book("Dune").editors.order_by("pk")),
    "many-to-many backwards": lambda db: list(db.tags.get(name="desert").books.order_by("pk")),
    "union": lambda db: list(
        db.books.filter(pages__gt=300).union(db.books.filter(pages__lt=200)).order_by(*NAMED)
    ),
    "children": lambda db: list(db.textbooks.order_by("pk").select_related("author")),
    "a proxy": lambda db: list(db.cheap_books.order_by("pk")),
    "async for": lambda db: alist(books(db)),
}
UNTIED = {
    "get", "get by primary key", "get that finds nothing", "get that finds several", "dates",
    "refresh_from_db", "count", "count, length and truth", "count distinct", "count of a union",
    "count of annotations", "exists", "exists that is not so", "contains", "membership",
    "aggregate Count", "aggregate Count distinct", "aggregate Sum of decimals",
    "aggregate Min and Max", "aggregate of nothing", "aggregate with a filter",
    "aggregate over a join", "related manager count", "foreign key", "nullable foreign key",
    "one-to-one that is not there", "the child of a parent", "the parent of a child",
    "two columns as key", "get by two columns", "a UUID as key", "in_bulk of some", "aget",
    "acount",
}  # fmt: skip
"""The names of what needs no other order than it has."""

READS = MORE_READS | {read.name: read.run for read in CACHEABLE if read.name in UNTIED}
assert READS.keys() >= UNTIED, UNTIED - READS.keys()


def outcome(read: Callable[[Library], Any], library: Library) -> Any:
    """Return what a read returns or raises."""
    # Django keeps content types in memory: each time they are to be read anew.
    ContentType.objects.clear_cache()
    try:
        return picture(read(library))
    except Exception as error:  # noqa: BLE001  a read may raise whatever it raises without a cache
        return type(error)


# Users --------------------------------------------------------------------------------------------

WITHOUT_WAITING = {
    "sqlite": {"timeout": 0},
    "postgresql": {"options": "-c lock_timeout=1"},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 0, lock_wait_timeout = 0"},
}
"""
By vendor, options of a connection that fails where it would wait for another's lock: the other
moves only after this one.
"""


class Actor:
    """A user: a thread with connections of its own, and the transactions that it has open."""

    def __init__(self, name: str, using: str) -> None:
        self.name = name
        self.using = using
        self.levels: list[AbstractContextManager[None]] = []
        self.is_busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def __enter__(self) -> Self:
        self.do(self._connect_anew)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.do(self.reset)
        self.do(caches.close_all)
        self.do(connections.close_all)
        self._thread.shutdown()

    def do(self, function: Callable[..., Any], *args: Any) -> None:
        """Do something in this user's thread, and wait until it is done."""
        self.is_busy = True
        try:
            self._thread.submit(self._run, function, *args).result(SECONDS)
        finally:
            self.is_busy = False

    # All that follows runs in the user's own thread.

    def _run(self, function: Callable[..., Any], *args: Any) -> None:
        with suppress(*MAY_FAIL):
            function(*args)
        if not self.levels:
            self._end_request()

    def _end_request(self) -> None:
        """Do what Django does between requests."""
        if self._connection.in_atomic_block:
            # It was closed in an atomic() inside set_autocommit(False), which Django cannot undo.
            self._connect_anew()
        else:
            self._connection.close_if_unusable_or_obsolete()

    @property
    def _connection(self) -> Any:
        return connections[self.using]

    def _connect_anew(self) -> None:
        self._connection.close()
        del connections[self.using]
        settings = self._connection.settings_dict
        options = settings["OPTIONS"] | WITHOUT_WAITING[self._connection.vendor]
        self._connection.settings_dict = settings | {"OPTIONS": options, "CONN_MAX_AGE": None}

    def reset(self) -> None:
        self.unwind()
        self._connect_anew()

    def unwind(self) -> None:
        while self.levels:
            with suppress(*MAY_FAIL):
                self.end("roll back")

    def begin(self, either: tuple[str, str]) -> None:
        """Begin a transaction, or in a transaction what the second name says."""
        outer, inner = either
        level = INNER[inner] if self.levels else OUTER[outer]
        entered = level(self.using)
        entered.__enter__()
        self.levels.append(entered)

    def end(self, how: str) -> None:
        if not self.levels:  # it could not be begun
            return
        level = self.levels.pop()
        if how == "set_rollback()":
            with suppress(transaction.TransactionManagementError):
                transaction.set_rollback(True, using=self.using)
        if how == "roll back":
            level.__exit__(RollBack, RollBack(), None)
        elif how in {"commit, answer lost", "connection lost in commit"}:
            with losing_commits(self._connection, are_done=how == "commit, answer lost"):
                level.__exit__(None, None, None)
        else:
            level.__exit__(None, None, None)

    def lose(self) -> None:
        """Notice in the middle of everything that the database is not there any more."""
        cut(self._connection)
        self.unwind()
        self.close()

    def close(self) -> None:
        self._connection.close()

    def close_and_fail(self) -> None:
        """Close the connection, with an error of the driver as it is closed."""
        connection = self._connection

        def close() -> None:
            type(connection)._close(connection)
            raise OperationalError("the connection was lost")

        connection._close = close
        try:
            connection.close()
        finally:
            del connection._close

    def on_commit(self, step: Callable[..., None], *args: Any) -> None:
        transaction.on_commit(lambda: step(self, *args), using=self.using)

    def write(self, write: Write, library: Library, is_atomic: bool) -> None:
        if is_atomic:
            with transaction.atomic(using=self.using):
                write.run(library)
        else:
            write.run(library)


@contextmanager
def losing_commits(connection: Any, *, are_done: bool) -> Iterator[None]:
    """Lose the connection just before or just after each COMMIT."""

    def commit() -> None:
        if are_done:
            type(connection)._commit(connection)
        cut(connection)
        raise OperationalError("the connection was lost")

    connection._commit = commit
    try:
        yield
    finally:
        del connection._commit


def cut(connection: Any) -> None:
    """Take away what is under a connection."""
    if connection.connection is None:
        return
    # Not on SQLite: a file is there or not, and its driver cannot lose it.
    if connection.vendor == "postgresql":
        if connection.connection.closed:
            return
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
    elif connection.vendor == "mysql" and connection.connection._sock is not None:
        connection.connection._sock.shutdown(socket.SHUT_RDWR)


# The store ----------------------------------------------------------------------------------------

METHODS = ("look", "fill", "fence", "release")


class Unreliable:
    """
    The store as querycache sees it, with all that may happen on the way to it.

    ``failing`` are the methods that raise, and ``failure`` says what they have done by then.
    ``is_late`` says that fills and releases arrive only by ``deliver()``. ``interruptions``
    are what others do at some points of whatever happens next.
    """

    FAILURES = ("nothing is done", "half is done", "the answer is lost")

    def __init__(self, store: Store, alias: str) -> None:
        self.using = store.using
        self._store = store
        self.alias = alias
        self._cache = caches[alias]
        self._client = client_of(alias)
        self._names: dict[str, None] = {}
        self.done: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.failing: frozenset[str] = frozenset()
        self.failure = self.FAILURES[0]
        self.is_late = False
        self.interruptions: dict[str, Callable[[], None]] = {}
        self._underway: list[tuple[str, Callable[[], None], Callable[[], None]]] = []
        self._fenced: set[str] = set()
        self.forget_everything()
        self._names.clear()

    # What querycache calls

    def look(self, key: str | None, dependencies: Any) -> Any:
        if key is not None:
            self._remember("e", key)
        self._remember("g", *dependencies)
        answer = self._do("look", key, dependencies)
        self._interrupt("after a look")
        return answer

    def fill(self, *args: Any, **options: Any) -> None:
        self._interrupt("before a fill")
        if self.is_late:
            fill = functools.partial(self._store.fill, *args, **options)
            self._underway.append(("fill", fill, lambda: None))
        else:
            self._do("fill", *args, **options)

    def lease(self, key: str) -> bool:
        return True  # all is done in one thread: nobody would end the waiting

    def end_lease(self, key: str) -> None:
        pass

    def fence(self, dependencies: Any, writer: str) -> Any:
        self._remember("g", *dependencies)
        self._fenced.add(writer)
        try:
            return self._do("fence", dependencies, writer)
        except ConnectionError:
            self._fenced.discard(writer)
            raise
        finally:
            self._interrupt("after a fence")

    def release(self, dependencies: Any, writer: str) -> int:
        self._remember("g", *dependencies)
        self._interrupt("before a release")
        answer: int = self._do("release", dependencies, writer)
        return answer

    def release_unwaited(self, dependencies: Any, writer: str, done: Done) -> None:
        self._remember("g", *dependencies)
        self._interrupt("before a release")
        if self.is_late and writer in self._fenced:
            # Nobody need wait for it: as long as it is underway, readers meet the fence.
            self._underway.append(
                (
                    "release",
                    lambda: done(self._store.release(dependencies, writer)),
                    lambda: done(None),
                )
            )
        elif "release" in self.failing:
            self._do("release", dependencies, writer)
        else:
            self.done["release"] += 1
            self._store.release_unwaited(dependencies, writer, done)

    @property
    def unsettled(self) -> Sequence[object]:
        return self._store.unsettled

    def settle(self) -> None:
        self._store.settle()

    def _do(self, method: str, *args: Any, **options: Any) -> Any:
        do = getattr(self._store, method)
        if method not in self.failing:
            self.done[method] += 1
            return do(*args, **options)
        if self.failure == "the answer is lost":
            do(*args, **options)
        elif self.failure == "half is done" and method in {"fence", "release"}:
            dependencies, writer = args
            do(dependencies[: len(dependencies) // 2], writer)
        raise ConnectionError(f"{method}: {self.failure}")

    def _interrupt(self, point: str) -> None:
        if act := self.interruptions.pop(point, None):
            self.done["interruption"] += 1
            act()

    # What happens to it

    def deliver(self, number: int, *, is_lost: bool) -> None:
        """Let one of the calls arrive that are underway, in any order, or never."""
        if self._underway:
            method, arrive, be_lost = self._underway.pop(number % len(self._underway))
            self.done[f"{'lost' if is_lost else 'late'} {method}"] += 1
            (be_lost if is_lost else arrive)()

    def deliver_all(self) -> None:
        while self._underway:
            self.deliver(0, is_lost=False)

    def _remember(self, kind: str, *names: str) -> None:
        # In the order in which they were first seen: that is the same each time a run is repeated.
        self._names.update(dict.fromkeys(f"querycache:{kind}:{name}" for name in names))

    def _name(self, kind: str, number: int) -> str:
        names = [name for name in self._names if name.startswith(f"querycache:{kind}:")]
        return names[number % len(names)] if names else f"querycache:{kind}:none"

    def forget(self, kind: str, number: int) -> None:
        self._cache.delete(self._name(kind, number))

    def forget_everything(self) -> None:
        self._cache.delete_many(list(self._names))

    def spoil(self, kind: str, number: int) -> None:
        # None of a length that makes it, alone or with others, pass for a list of tokens.
        garbage = (b"", b"x", b"!", b"!a;", b"\x00" * 500)
        self._put(self._name(kind, number), garbage[number % len(garbage)])

    def exchange(self, number: int) -> None:
        one, other = self._name("e", number), self._name("e", number + 1)
        values = self._get(one), self._get(other)
        if None not in values:
            self._put(other, values[0])
            self._put(one, values[1])

    def _get(self, name: str) -> Any:
        if self._client is None:
            return self._cache.get(name)
        return self._client.get(self._cache.make_key(name))

    def _put(self, name: str, value: Any) -> None:
        if self._client is None:
            self._cache.set(name, value)
        else:
            self._client.set(self._cache.make_key(name), value)


# All of it ----------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass only when the machine says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """
    The users, the store, and a library that is put back before each run of the machine.

    ``differences`` are the reads that were not those of the database. ``counts`` says how many
    reads there were of each outcome, over all runs.
    """

    def __init__(self, library: Library, copy: Copy, store: Unreliable, clock: Clock) -> None:
        self.db = library
        self.store = store
        self.clock = clock
        self.actors = [Actor(name, library.using) for name in ("Ada", "Bob", "Cyd")]
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        vendor = connections[library.using].vendor
        self.writes = [name for name, write in ALL_WRITES.items() if vendor in write.on]
        often = {write.name for write in MORE_WRITES} | TYPICAL
        self.often_written = [name for name in self.writes if name in often]
        self._copy = copy

    def begin(self) -> None:
        self._copy.put_back()
        self.calm_down()
        self.store.reset()
        self.differences.clear()
        debts.owed.clear()
        debts.unfenced.clear()

    def calm_down(self) -> None:
        """End every transaction and every outage."""
        for actor in self.actors:
            actor.do(actor.reset)
        self.store.failing = frozenset()
        self.store.interruptions.clear()
        self.store.deliver_all()
        self.store.is_late = False
        self.clock.now += FENCE_SECONDS

    def compare(self, actor: Actor, reads: Iterable[str]) -> None:
        """Read through the cache and past it; in the thread of the actor."""
        for name in reads:
            self._compare_one(actor, name)

    def _compare_one(self, actor: Actor, name: str) -> None:
        read = (WATCHED | READS)[name]
        interruptions = self.store.done["interruption"]
        before = self._truth(read) if self.store.interruptions else None
        with record_reads() as found:
            answer = outcome(read, self.db)
        self.counts.update(item.outcome for item in found)
        after = self._truth(read)
        if answer == after or OperationalError in (answer, after):  # a lock stood in the way
            return
        if untold:
            return
        was_interrupted = interruptions != self.store.done["interruption"]
        if was_interrupted and (len(found) > 1 or answer == before):
            return  # what others wrote meanwhile, it need not have seen
        outcomes = [item.outcome for item in found]
        self.differences.append(
            f"{actor.name} read {name!r} ({outcomes}):\n{answer}\n"
            f"while in the database there was:\n{after}"
        )

    @querycache.bypass()
    def _truth(self, read: Callable[[Library], Any]) -> Any:
        with record_reads() as found:
            answer = outcome(read, self.db)
        assert {item.outcome for item in found} <= {"bypass"}
        return answer
