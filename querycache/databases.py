"""Which database a connection is to: two databases never share an entry, one always does."""

import os
import uuid
from collections.abc import Iterator
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connections

from querycache._django.connections import BaseDatabaseWrapper
from querycache.conf import get_config
from querycache.exceptions import Reason, Uncacheable
from querycache.scopes import ANY, NEW, Scope
from querycache.statements import Change

EPOCH: Final = "epoch"
"""The dependency of every entry in the store; a new token for it is a flush."""
_ANY_TABLE: Final = "*"
"""Stands for every table of a database, where nobody knows which ones a statement changed."""
_OPTIONS_THAT_LOCATE: Final = (
    "service", "read_default_file", "unix_socket", "host", "port", "db", "database", "dbname",
)  # fmt: skip


class Database:
    """
    A database, as seen by one connection.

    ``name`` is that of the database, which a session may change, and ``apart`` are plain values
    that say what else it was told. ``session`` tells apart, in keys, whatever may answer the same
    SQL differently: the database, the user, the options and time zone of the connection, and
    ``apart``. The names of dependencies hold the database only: what one user writes is stale for
    all. A replica is its primary.
    """

    __slots__ = (
        "_location", "_names", "_names_of_changes", "_names_of_columns", "_primary", "session",
    )  # fmt: skip

    def __init__(self, connection: BaseDatabaseWrapper, name: Any, apart: tuple[Any, ...]) -> None:
        given = connection.settings_dict
        self._primary = _primary_of(connection)
        self._location = self._locate(name)
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._names_of_changes: dict[frozenset[str], tuple[str, ...]] = {}
        self._names_of_columns: dict[tuple[str, str], str] = {}
        self.session = _digest(
            self._location,
            given.get("USER"),
            sorted((given.get("OPTIONS") or {}).items(), key=str),
            connection.timezone_name,
            settings.USE_TZ,
            type(connection).__module__,
            apart,
        )

    def _locate(self, name: Any) -> bytes:
        return _digest(self._primary.vendor, *_location(self._primary, name))

    def dependencies(
        self, tables: tuple[str, ...], scopes: tuple[Scope, ...] = ()
    ) -> tuple[str, ...]:
        """
        Return the names, in the store, of all that a read of these tables depends on.

        Of the tables of ``scopes``, on these scopes only: their names come last.
        """
        if scopes:
            tables = tuple(sorted(set(tables).difference(map(_TABLE_OF, scopes))))
        names = self._names.get(tables)
        if names is None:
            found = [_name(self._location, table) for table in (_ANY_TABLE, *tables)]
            names = self._names[tables] = (EPOCH, *found)
        if not scopes:
            return names
        found, known = [], self._names_of_columns
        for table, column, value in scopes:
            name = known.get((table, column))
            if name is None:
                name = known[table, column] = _name(self._location, table, column)
            found.append(f"{name}:{value}")
        return names + tuple(found)

    def changed(self, change: Change) -> tuple[str, ...]:
        """Return the names of what a change makes stale, as far as its tables are opted in."""
        if change.everything:
            places = [self._location, *map(self._locate, sorted(change.databases))]
            return tuple(_name(place, _ANY_TABLE) for place in places)
        if change.scopes or change.databases or len(change.tables) != 1:
            return tuple(self._changed(change))
        names = self._names_of_changes.get(change.tables)
        if names is None:
            names = self._names_of_changes[change.tables] = tuple(self._changed(change))
        return names

    def _changed(self, change: Change) -> Iterator[str]:
        config = get_config()
        tables = sorted(change.touched & config.published)
        scopes = [
            Scope(table, column.name, ANY)
            for table in sorted(change.tables & config.scopes.keys())
            for column in config.scopes[table]
        ]
        rest = (scope for scope in change.scopes if scope.table not in change.tables)
        scopes += sorted((scope for scope in rest if scope.table in config.scopes), key=str)
        for place in [self._location, *map(self._locate, sorted(change.databases))]:
            for table in tables:
                yield _name(place, table)
            for scope in scopes:
                yield f"{_name(place, scope.table, scope.column)}:{scope.value}"


_TABLE_OF = attrgetter("table")


def _name(location: bytes, *parts: str) -> str:
    """Return what stands in the store for a table, or for a column of one; they are never one."""
    return _digest(location, *parts).hex()


OF_INSERTS: Final = f":{NEW}"
"""So end the names of dependencies that an INSERT touches, and no change of rows that are there."""


def _primary_of(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    alias = get_config().primary_of(connection.alias)
    if alias is None:
        raise Uncacheable(Reason.MISCONFIGURED, f"QUERYCACHE['REPLICAS'][{connection.alias!r}]")
    return connection if alias == connection.alias else connections[alias]


def _location(connection: BaseDatabaseWrapper, name: Any) -> tuple[Any, ...]:
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return _sqlite_location(connection)
    options = given.get("OPTIONS") or {}
    return (
        str(given.get("HOST") or "").lower(),
        str(given.get("PORT") or _DEFAULT_PORTS.get(connection.vendor, "")),
        str(name),
        *(str(options.get(name, "")) for name in _OPTIONS_THAT_LOCATE),
    )


_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "oracle": 1521}


def _sqlite_location(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """
    Locate a file by what the kernel calls it, and a database in memory by its process.

    A path is not enough: two containers may each have their own ``/app/db.sqlite3`` and share one
    cache. Neither is a host name too much: two containers may share one file.
    """
    name = str(connection.settings_dict["NAME"])
    if connection.is_in_memory_db():  # type: ignore[attr-defined]
        if "cache=shared" in name:
            return this_process.token, name
        if connection.connection is None:
            raise Uncacheable(Reason.UNKNOWN_DATABASE, "a database in memory, not yet opened")
        return this_process.token, name, uuid.uuid4()
    path = name.removeprefix("file:").split("?", 1)[0] if name.startswith("file:") else name
    try:
        found = Path(path).stat()
    except OSError as error:
        raise Uncacheable(Reason.UNKNOWN_DATABASE, str(error)) from error
    return _kernel(), found.st_dev, found.st_ino


class _Process:
    """A token that no other process has, also not a forked one, whose memory is its own."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.token = uuid.uuid4().hex


this_process = _Process()


def _kernel() -> str:
    """Return what is the same for all containers of one machine, and for no other machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return str(uuid.getnode())


def _digest(*parts: Any) -> bytes:
    # repr tells types and lengths apart, so that no two lists of parts run together.
    return blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=12).digest()
