"""
What a statement changes: tables, the transaction, the session.

Told by its first words where those tell it, by its tree otherwise. Whatever is not understood
counts as a change of every table.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from querycache import sql
from querycache.conf import get_config
from querycache.exceptions import Reason, Uncacheable
from querycache.functions import is_harmless
from querycache.scopes import Scope
from querycache.sessions import Told, told_by
from querycache.stats import Cause

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokens import Token  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Change:
    """
    What a statement may change.

    ``tables`` are those of which nobody knows the rows, ``scopes`` say which rows of other tables.
    ``everything`` stands for any table of the database. ``databases`` are others of the server that
    are named along with a table, where a statement can reach them. The others say what it does to
    the transaction: begin one without Django, end it (COMMIT, or DDL where that commits
    implicitly), perhaps commit it, mend one that was broken, or choose an isolation level that
    reads a snapshot; ``autocommit`` is what it makes of the server's own, of which Django does not
    know. ``is_unfinished`` says that the change becomes visible only after its rows were fetched,
    whenever that may be; ``told`` is what the session is told. ``causes`` are for statistics: pairs
    of a table and what kind of change it was.
    """

    tables: frozenset[str] = frozenset()
    everything: bool = False
    databases: frozenset[str] = frozenset()
    begins_transaction: bool = False
    ends_transaction: bool = False
    may_commit: bool = False
    autocommit: bool | None = None
    rolls_back: bool = False
    sets_savepoint: bool = False
    releases_savepoint: bool = False
    takes_snapshot: bool = False
    is_unfinished: bool = False
    told: Told | None = None
    scopes: frozenset[Scope] = frozenset()
    causes: frozenset[tuple[str, Cause]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.tables) or bool(self.scopes) or self.everything

    @property
    def touched(self) -> frozenset[str]:
        """All tables in which a row may have changed, as far as they are named."""
        if not self.scopes:
            return self.tables
        return self.tables.union([scope.table for scope in self.scopes])

    def causes_of(self, table: str) -> set[Cause]:
        """Return what changed a table: it may have followed another."""
        found = {cause for name, cause in self.causes if name == table}
        return found or {cause for _, cause in self.causes} or {Cause.SQL}

    def also(self, tables: Iterable[str]) -> "Change":
        """Return this change with more tables."""
        return replace(self, tables=self.tables.union(tables))


NOTHING: Final = Change()
EVERYTHING: Final = Change(everything=True)


def change_of(statement: str, vendor: str) -> Change:
    """Return what a statement, or several, of any kind may change; never raises."""
    change, told = _change_of(statement, vendor), told_by(statement, vendor)
    return change if told is None else replace(change, told=told)


def _change_of(statement: str, vendor: str) -> Change:
    if sql.has_executable_comment(statement, vendor):
        return _anything(vendor)
    try:
        changes = [_change_of_one(*one, vendor) for one in _statements(statement, vendor)]
    except Uncacheable:
        return _anything(vendor)
    return changes[0] if len(changes) == 1 else _one_after_another(changes)


def _anything(vendor: str) -> Change:
    return replace(EVERYTHING, may_commit=vendor in _COMMITTING_IMPLICITLY)


def change_of_calls(names: Iterable[str], vendor: str) -> Change:
    """Return what functions or procedures change: what the settings say, otherwise anything."""
    writes = get_config().writes
    found = [writes.get(name.rsplit(".", 1)[-1].casefold()) for name in names]
    if None in found:
        return _anything(vendor)
    return Change(frozenset[str]().union(*(tables for tables in found if tables)))


def change_of_declared_calls(statement: str) -> Change:
    """Return what the functions change that a statement may call, of those that are declared."""
    writes = get_config().writes
    names = {
        name.rsplit(".", 1)[-1].strip('"`').casefold()
        for name in _NAME_BEFORE_PARENTHESIS.findall(statement)
    }
    return Change(frozenset[str]().union(*(writes[name] for name in names & writes.keys())))


# Several statements -------------------------------------------------------------------------------


def _statements(text: str, vendor: str) -> Iterator[tuple[list[str], str]]:
    """Yield the first words of each statement, in capitals, and its text; or ``Uncacheable``."""
    text = text.strip().rstrip(";").rstrip()
    if not any(mark in text for mark in (";", "--", "/*", "#")):
        yield text.upper().replace(",", " ").split(None, _FIRST)[:_FIRST], text
        return
    tokens: list[Token] = []
    for token in [*sql.tokens_of(text, vendor), None]:
        if token is not None and token.text != ";":
            tokens.append(token)
        elif tokens:
            words = [word for one in tokens[:16] if sql.is_word(word := one.text.upper())]
            has_body = words[:1] == ["CREATE"] and not _WITH_A_BODY.isdisjoint(words)
            if has_body or not _COMPOUND.isdisjoint(words[:3]):
                raise Uncacheable(Reason.UNKNOWN_SQL, "several statements may be one")
            yield words[:_FIRST], text[tokens[0].start : tokens[-1].end + 1]
            tokens = []


_FIRST: Final = 8
"""Words that say what a statement is for."""


def _one_after_another(changes: list[Change]) -> Change:
    is_open = False
    for change in changes:
        is_open = change.begins_transaction or (is_open and not change.ends_transaction)
    ends = any(change.ends_transaction for change in changes)
    goes_back = any(change.rolls_back and not change.ends_transaction for change in changes)
    switches = [change.autocommit for change in changes if change.autocommit is not None]
    return Change(
        tables=frozenset[str]().union(*(change.tables for change in changes)),
        # What is written before a COMMIT and what after it is told apart no more.
        everything=any(change.everything for change in changes) or ends or is_open or goes_back,
        databases=frozenset[str]().union(*(change.databases for change in changes)),
        begins_transaction=is_open,
        ends_transaction=ends,
        may_commit=any(change.may_commit for change in changes),
        autocommit=switches[-1] if switches else None,
        rolls_back=bool(changes) and all(change.rolls_back for change in changes),
        releases_savepoint=any(change.releases_savepoint for change in changes),
        takes_snapshot=any(change.takes_snapshot for change in changes),
        is_unfinished=any(change.is_unfinished for change in changes),
        told=Told("", "unknown") if goes_back else None,
    )


# One statement ------------------------------------------------------------------------------------


def _change_of_one(words: list[str], text: str, vendor: str) -> Change:
    first = words[0] if words else ""
    if first == "SELECT" and _is_plain_select(text, vendor):
        return Change(takes_snapshot="SET_CONFIG" in text.upper() and _takes_snapshot(text))
    if _is_harmless(words):
        commits = first in _COMMITTING and vendor in _COMMITTING_IMPLICITLY
        return Change(may_commit=True) if commits else NOTHING
    control = _control_of_transaction(words, text, vendor)
    return _change_of_trees(text, vendor) if control is None else control


def _is_harmless(words: list[str]) -> bool:
    match words:
        case []:
            return True
        case ["ANALYZE", *rest] if _RUN_BY_ANALYZE.intersection(rest[:2]):  # by MariaDB
            return False
        case ["DESC" | "DESCRIBE", "ANALYZE", *_]:
            return False
    return words[0] in _HARMLESS


def _control_of_transaction(words: list[str], text: str, vendor: str) -> Change | None:
    """Return what a statement does to the transaction, None if that is not what it is for."""
    match words:
        case ["SET", *_]:
            return _change_of_set(words, text, vendor)
        case ["CALL", *_] if call := _NAME_BEFORE_PARENTHESIS.search(text):
            change = change_of_calls([call[1].replace('"', "").replace("`", "")], vendor)
            # It may go on writing after its first rows have been fetched.
            return replace(change, is_unfinished=vendor == "mysql")
        case ["DECLARE", *_]:  # FETCH runs it, or COMMIT
            return _change_of(_FOR.split(text, maxsplit=1)[-1], vendor)
        case ["SAVEPOINT" | "RELEASE" as first, *_]:
            is_new = first == "SAVEPOINT"
            return Change(sets_savepoint=is_new, releases_savepoint=not is_new)
    return _beginning_or_end(words, text)


def _beginning_or_end(words: list[str], text: str) -> Change | None:
    match words:
        case ["START", "TRANSACTION", *_]:
            return Change(begins_transaction=True, takes_snapshot=_takes_snapshot(text))
        case ["BEGIN", *_] if _OF_BEGIN.issuperset(words):
            return Change(begins_transaction=True, takes_snapshot=_takes_snapshot(text))
        case ["PREPARE", "TRANSACTION", *_]:
            return Change(everything=True, ends_transaction=True)
        case ["COMMIT" | "END" | "ROLLBACK" | "ABORT" as first, *_]:
            return Change(
                everything="PREPARED" in words,
                begins_transaction="CHAIN" in words and "NO" not in words,
                ends_transaction="TO" not in words,
                rolls_back=first in {"ROLLBACK", "ABORT"},
            )
    return None


def _change_of_set(words: list[str], text: str, vendor: str) -> Change:
    if vendor != "mysql":
        return Change(takes_snapshot=_takes_snapshot(text))
    if words[1:2] == ["STATEMENT"]:  # MariaDB's SET STATEMENT … FOR …
        return _change_of(_FOR.split(text, maxsplit=1)[-1], vendor)
    called = _NAME_BEFORE_PARENTHESIS.findall(text)
    if any(not is_harmless(name.upper(), vendor) for name in called):
        return _anything(vendor)
    if switch := _AUTOCOMMIT.search(text):
        is_on = switch[1].upper() in {"1", "ON", "TRUE"}
        return Change(begins_transaction=not is_on, ends_transaction=is_on, autocommit=is_on)
    commits = words[1:2] in (["PASSWORD"], ["DEFAULT"])
    return Change(takes_snapshot=_takes_snapshot(text), may_commit=commits)


def _is_plain_select(text: str, vendor: str) -> bool:
    """
    Say whether this is a SELECT that cannot write, for little: raw SQL is rarely seen twice.

    It looks into strings too, and so sees more words and calls than there are, never fewer. What is
    not plain is left to the parser.
    """
    # A comment may stand between a function and its parenthesis.
    if "/*" in text or "--" in text or (vendor == "mysql" and "#" in text):
        return False
    return _WRITING_WORDS.isdisjoint(_WORD.findall(text.upper())) and all(
        (name in sql.BEFORE_PARENTHESIS and name not in sql.NOT_RESERVED)
        or is_harmless(name, vendor)
        for name in map(str.upper, _NAME_BEFORE_PARENTHESIS.findall(text))
    )


def _takes_snapshot(text: str) -> bool:
    # SET TRANSACTION ISOLATION LEVEL …, SET default_transaction_isolation = …, BEGIN ISOLATION …
    words = set(_WORD.findall(text.upper().replace("_", " ")))
    return "ISOLATION" in words and "COMMITTED" not in words


# Its tree -----------------------------------------------------------------------------------------


def _change_of_trees(text: str, vendor: str) -> Change:
    try:
        trees, tokens = sql.parse(sql.skeleton(text), vendor)
        changes = [_change_of_tree(tree, tokens, vendor) for tree in trees]
    except Uncacheable:
        return _anything(vendor)
    return changes[0] if len(changes) == 1 else _one_after_another(changes)


def _change_of_tree(tree: "exp.Expr", tokens: list["Token"], vendor: str) -> Change:
    from sqlglot import exp

    if isinstance(tree, exp.Set | exp.Pragma | exp.Show | exp.Use):
        return NOTHING
    is_ddl = isinstance(tree, exp.Create | exp.Alter | exp.Drop | exp.TruncateTable)
    if not is_ddl and not isinstance(tree, (exp.Query, exp.Copy, *sql.writing_nodes())):
        # EXPLAIN ANALYZE runs its statement; of DO and the like only the database knows. sqlglot
        # takes FLUSH TABLES for a column with an alias.
        return _anything(vendor)
    tables = frozenset(sql.table_names(tree))
    calls = _change_of_calls_in(tree, tokens, tables, vendor)
    if isinstance(tree, exp.Query) and not tree.find(*sql.writing_nodes()):
        return calls
    is_temporary = tree.find(exp.TemporaryProperty) or tree.args.get("temporary")
    cascades = bool(tree.args.get("cascade")) or tree.args.get("option") == "CASCADE"
    # sqlglot takes LOW_PRIORITY for a table, of which the table is an alias.
    is_misread = vendor == "mysql" and "low_priority" in tables
    return Change(
        tables | calls.tables,
        everything=cascades or not tables or is_misread or calls.everything,
        databases=sql.databases_named(tree, vendor),
        ends_transaction=is_ddl and not is_temporary and vendor in _COMMITTING_IMPLICITLY,
        is_unfinished=vendor == "sqlite" and tree.find(exp.Returning) is not None,
    )


def _change_of_calls_in(
    tree: "exp.Expr", tokens: list["Token"], tables: frozenset[str], vendor: str
) -> Change:
    """Return what the functions change that are called, but for those known to be harmless."""
    from sqlglot import exp

    is_ddl = isinstance(tree, exp.Create | exp.Alter | exp.Drop | exp.TruncateTable)
    if is_ddl and not isinstance(tree.args.get("expression"), exp.Query):
        return NOTHING
    # The columns of a table or a CTE stand in parentheses, too; INSERT() is a function of MySQL.
    not_called = tables | {cte.alias.casefold() for cte in tree.find_all(exp.CTE)} | {"insert"}
    names = (
        name
        for name in sql.calls(tokens)
        if name.lstrip(".").casefold() not in not_called and not is_harmless(name, vendor)
    )
    return change_of_calls(names, vendor)


# Words --------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"\w+")
_NAME_BEFORE_PARENTHESIS = re.compile(r"([\w\"`\].$]+|[^\x00-\x7f]+)\s*\(")
_FOR = re.compile(r"\bFOR\b", re.IGNORECASE)
_AUTOCOMMIT = re.compile(r"\bAUTOCOMMIT\s*:?=\s*(\w+)", re.IGNORECASE)
"""Of MySQL and MariaDB, by hand; Django turns it without a statement."""

_HARMLESS = _words(
    """
    ANALYZE CHECKPOINT CLOSE DEALLOCATE DESC DESCRIBE DISCARD FETCH GRANT KILL LISTEN LOCK MOVE
    NOTIFY PRAGMA RESET REVOKE SHOW UNLISTEN UNLOCK USE VACUUM
    """
)
"""First words of statements that change no row that others can see."""

_RUN_BY_ANALYZE = _words("SELECT UPDATE DELETE INSERT REPLACE WITH FORMAT")

_COMMITTING_IMPLICITLY = frozenset({"mysql", "oracle"})
"""Databases that commit an open transaction before DDL and some other statements."""

_COMMITTING = _words("ANALYZE GRANT LOCK RESET REVOKE UNLOCK")
"""Those of the harmless statements before which they do."""

_WITH_A_BODY = _words("EVENT FUNCTION PACKAGE PROCEDURE TRIGGER")
_COMPOUND = _words("ATOMIC IF LOOP REPEAT WHILE")
"""Words of statements that others may be a part of, each with a semicolon of its own."""

_OF_BEGIN = _words(
    """
    BEGIN COMMITTED DEFERRABLE DEFERRED EXCLUSIVE IMMEDIATE ISOLATION LEVEL NOT ONLY READ REPEATABLE
    SERIALIZABLE TRANSACTION UNCOMMITTED WORK WRITE
    """
)

_WRITING_WORDS = _words("CALL DELETE EXECUTE INSERT INTO MERGE REPLACE TRUNCATE UPDATE")
