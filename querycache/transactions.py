"""
What querycache knows of a database connection, kept on the connection itself.

The journal holds what the open transaction has touched: it is read by every read of the transaction
(its own writes must be seen), published when the transaction commits, and dropped when it is rolled
back. A savepoint that is rolled back takes nothing out of it: too much is invalidated, never too
little.
"""

import uuid
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from querycache._django.compilers import Converters
from querycache._django.connections import (
    BaseDatabaseWrapper,
    block_of_test,
    in_transaction,
    schema_of,
)
from querycache.databases import Database, this_process
from querycache.scopes import Scope, merged
from querycache.sessions import Session
from querycache.statements import NOTHING, Change
from querycache.stats import Cause

P = ParamSpec("P")
T = TypeVar("T")

STATE: Final = "_querycache"
"""The attribute of a connection that holds its ``ConnectionState``, once it has one."""


class ConnectionState:
    """The journal of one connection, and which database it is connected to."""

    __slots__ = (
        "_causes",
        "_database",
        "_databases",
        "_everything",
        "_scopes",
        "_session_opened",
        "_session_snapshot",
        "_tables",
        "_test",
        "broken",
        "converters",
        "covered",
        "in_query",
        "is_journal_empty",
        "opened",
        "published",
        "publishing",
        "session",
        "snapshot",
        "unbegun",
        "uncompiled",
        "unfinished",
        "untold",
    )

    def __init__(self) -> None:
        self.covered = False
        """A compiler is running its statements: what they change, if anything, is known already."""
        self.uncompiled = False
        """Of that compiler nobody knows what it is about to run: it has not compiled it yet."""
        self.in_query = False
        """A query of the ORM is running, as far as it is not covered."""
        self.published: Change = NOTHING
        """What the last statement changed, which its signal need not tell once more."""
        self.publishing = False
        """Fences and releases of this connection's own change are under way."""
        self.unfinished: list[tuple[tuple[str, ...], str]] = []
        """Fences of statements that may go on until the next one of this connection has run."""
        self.untold: list[dict[str, Any]] = []
        """What was published, and the receivers of ``invalidated`` were not told yet."""
        self.converters: dict[object, Converters] = {}
        """Of remembered plans, by these: they may belong to the connection."""
        self._database: tuple[tuple[Any, ...], Database] | None = None
        self._test: tuple[object, str] | None = None
        """The transaction of a test, and what its entries are told apart by."""
        self.forget_session()

    def forget_session(self) -> None:
        """Begin anew: the connection is closed."""
        self._session_snapshot = self._session_opened = False
        self.published = NOTHING
        self.session = Session()
        """What the session was told by statements."""
        self.forget()

    def keep_to_snapshots(self) -> None:
        """SET was seen to choose an isolation level for all transactions of the connection."""
        self._session_snapshot = self.snapshot = True

    def forget(self, *, takes_back: bool = False) -> None:
        """
        Begin anew: no transaction is open.

        ``takes_back`` says that what the session was told in the last one is taken back with it.
        """
        self.session.end_transaction(takes_back=takes_back)
        self.is_journal_empty = True
        self._tables: frozenset[str] = frozenset()
        self._scopes: frozenset[Scope] = frozenset()
        self._everything = False
        self._causes: frozenset[tuple[str, Cause]] = frozenset()
        self._databases: frozenset[str] = frozenset()
        self.broken = False
        """A statement failed in this transaction."""
        self.snapshot = self._session_snapshot
        """SET TRANSACTION was seen: the transaction may be reading an old snapshot."""
        self.opened = self._session_opened
        """A raw BEGIN was seen: Django may not know that a transaction is open."""
        self.unbegun = False
        """
        SQLite was found to have none open, where Django has: then the release of a savepoint, which
        begins one, commits it.
        """

    def cover(self, run: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something whose statements need not be looked at one by one."""
        outer, self.covered = self.covered, True
        try:
            return run(*args, **kwargs)
        finally:
            self.covered = outer

    def cover_query(self, run: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query, of which only the declared functions that it calls are to be looked at."""
        outer, self.in_query = self.in_query, not self.covered
        try:
            return run(*args, **kwargs)
        finally:
            self.in_query = outer

    def forget_database(self) -> None:
        """Find out anew which database this is: the settings have changed."""
        self._database = None

    def in_transaction(self, connection: BaseDatabaseWrapper) -> bool:
        """Say whether a transaction is open, by Django or by hand."""
        if connection.autocommit and not connection.in_atomic_block and connection.connection:
            return self.opened  # a call less
        # In an atomic() Django knows; and it may be that of a test, which has also sent a BEGIN.
        return (self.opened and not connection.in_atomic_block) or in_transaction(connection)

    def note(self, change: Change) -> None:
        """Enter a change into the journal."""
        self.is_journal_empty = False
        self._tables |= change.tables
        if change.scopes:
            self._scopes = merged(self._scopes | change.scopes)
        self._everything |= change.everything
        self._causes |= change.causes
        self._databases |= change.databases
        self.snapshot |= change.takes_snapshot

    def has_run(self, change: Change, *, is_known: bool, takes_back: bool) -> None:
        """
        Follow a statement that has run in a transaction, or has begun one.

        ``is_known`` says that Django has the transaction, whatever the statement did to it.
        """
        if change.autocommit is not None:
            self._session_opened = not change.autocommit
        self.opened |= change.begins_transaction
        if change.ends_transaction and not is_known:
            self.forget(takes_back=takes_back)
            if change.begins_transaction:
                self.opened = True
                self.note(change)
        if change.rolls_back:
            self.broken = False
        if change.may_commit and not is_known:  # nobody knows whether it is open still
            self.broken = True

    def has_written(self, tables: tuple[str, ...]) -> bool:
        """Say whether the open transaction may have changed one of these tables."""
        if self._everything or not self._tables.isdisjoint(tables):
            return True
        return bool(self._scopes) and any(scope.table in tables for scope in self._scopes)

    def written(self) -> Change:
        """Return what the open transaction may have changed."""
        return Change(
            self._tables,
            self._everything,
            self._databases,
            scopes=self._scopes,
            causes=self._causes,
        )

    def database(self, connection: BaseDatabaseWrapper) -> Database:
        """
        Return which database this connection is to.

        Raises ``Uncacheable`` if it cannot be told apart from others.
        """
        # Test runners rename databases. A SQLite file may be another one after each connect, and a
        # database in memory is another one in a forked process.
        apart = self.session.apart or ()
        if "schema_name" in connection.__dict__:  # django-tenants, which tells it the session later
            apart = (*apart, schema_of(connection))
        if connection.in_atomic_block and (token := self._token_of_test(connection)):
            apart = (*apart, token)
        name = self.session.database or connection.settings_dict["NAME"]
        seen: tuple[Any, ...] = (name, apart)
        if connection.vendor == "sqlite":
            seen = (*seen, connection.connection, this_process.token)
        known = self._database
        if known is None or known[0] != seen:
            known = self._database = (seen, Database(connection, name, apart))
        return known[1]

    def _token_of_test(self, connection: BaseDatabaseWrapper) -> str:
        """
        Return what keeps the entries of a test for itself: what it writes is never committed.

        Empty in any other transaction. The same after the settings have changed.
        """
        block = block_of_test(connection)
        if block is None:
            return ""
        if self._test is None or self._test[0] is not block:
            self._test = (block, uuid.uuid4().hex)
        return self._test[1]


def state_of(connection: BaseDatabaseWrapper) -> ConnectionState:
    """Return the state of a connection, the same one for as long as Django keeps the connection."""
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is None:
        state = ConnectionState()
        setattr(connection, STATE, state)
    return state
