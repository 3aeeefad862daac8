"""Errors, and the reasons why a query is not answered from the cache."""

import enum

from django.db import OperationalError


class QueryCacheError(Exception):
    """Base of every error that querycache raises."""


class Reason(enum.StrEnum):
    """Why a read went to the database. The value is a stable name for logs and statistics."""

    NOT_OPTED_IN = "not-opted-in"
    UNCACHED = "uncached"
    BYPASSED = "bypassed"
    ITERATOR = "iterator"
    LOCKING = "locking"
    EXPLAIN = "explain"
    CURSOR = "cursor"
    EMPTY = "empty"
    WRITTEN_ELSEWHERE = "written-elsewhere"
    REPLICA_LAG = "replica-lag"
    BROKEN_TRANSACTION = "broken-transaction"
    SNAPSHOT = "snapshot"
    UNCOMMITTED = "read-uncommitted"
    MISCONFIGURED = "misconfigured"
    STORE_IN_TRANSACTION = "store-in-transaction"
    WRITTEN_HERE = "written-here"
    UNKNOWN_SQL = "unknown-sql"
    UNKNOWN_FUNCTION = "unknown-function"
    UNKNOWN_PARAMETER = "unknown-parameter"
    UNKNOWN_VALUE = "unknown-value"
    TOO_LARGE = "too-large"
    UNKNOWN_DATABASE = "unknown-database"
    UNKNOWN_SESSION = "unknown-session"
    STORE_FAILED = "store-failed"
    NOT_WORTH_IT = "not-worth-it"

    @property
    def explanation(self) -> str:
        """What the reason means, in a sentence for people."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Reason.NOT_OPTED_IN: "it reads a table whose model is not in QUERYCACHE['MODELS']",
    Reason.UNCACHED: "uncached() or nocache() was asked for",
    Reason.BYPASSED: "it ran inside bypass()",
    Reason.ITERATOR: "iterator() streams rows from the database",
    Reason.LOCKING: "it locks rows (select_for_update)",
    Reason.EXPLAIN: "EXPLAIN asks the database itself",
    Reason.CURSOR: "the caller asked for a cursor",
    Reason.EMPTY: "its conditions contradict each other; no database is asked",
    Reason.WRITTEN_ELSEWHERE: "the router sends this model's writes to another database alias",
    Reason.REPLICA_LAG: "the replica may not have heard of a change that has just been made",
    Reason.BROKEN_TRANSACTION: "a statement failed in this transaction; the database must say so",
    Reason.SNAPSHOT: "the transaction reads a snapshot that may be older than the cache",
    Reason.UNCOMMITTED: "the connection may read what is never committed (READ UNCOMMITTED)",
    Reason.MISCONFIGURED: "a setting is wrong; manage.py check says which",
    Reason.STORE_IN_TRANSACTION: "the cache is a table, whose rows the transaction would lock",
    Reason.WRITTEN_HERE: "this transaction wrote a table that the query reads",
    Reason.UNKNOWN_SQL: "its SQL is not understood",
    Reason.UNKNOWN_FUNCTION: "it calls a function that may give another answer each time",
    Reason.UNKNOWN_PARAMETER: "a parameter is of a type that the key cannot tell apart",
    Reason.UNKNOWN_VALUE: "a row holds a value that cannot be stored",
    Reason.TOO_LARGE: "its answer has more than MAX_ROWS rows, or MAX_BYTES bytes",
    Reason.UNKNOWN_DATABASE: "the database cannot be told apart from others",
    Reason.UNKNOWN_SESSION: "the session was told something (SET, ATTACH) that cannot be followed",
    Reason.STORE_FAILED: "the cache did not answer",
    Reason.NOT_WORTH_IT: "the database answers sooner, or its entries die unread",
}


class Uncacheable(QueryCacheError):
    """
    The query cannot be answered from the cache; ``reason`` and ``detail`` say why.

    ``query`` is the name of its text of SQL in statistics, where that is why.
    """

    def __init__(self, reason: Reason, detail: str = "", *, query: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.query = query

    def __str__(self) -> str:
        # Hardly ever read, and each read that is not cacheable raises one.
        why = self.reason.explanation
        return f"{why}: {self.detail}" if self.detail else why


class StoreFailed(QueryCacheError):
    """The store did not do what was asked of it; the cause is the error of its client."""


class WriteRefused(StoreFailed, OperationalError):
    """
    The change was not made, since the store could not be told: ``ON_STORE_FAILURE`` says "refuse".

    An error of the database for Django, so that it rolls the transaction back.
    """
