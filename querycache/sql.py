"""
What a statement's own text says: the tables it names, and what may make its answer differ.

Parsed by sqlglot, never searched by substring. Whatever is not understood raises ``Uncacheable``
for a read, and counts as a change of every table for a write.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from querycache.conf import get_config
from querycache.exceptions import Reason, Uncacheable
from querycache.functions import CALLED_WITHOUT_PARENTHESIS, is_deterministic, is_harmless
from querycache.options import normalized_table
from querycache.sessions import Told, told_by

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokens import Token  # type: ignore[attr-defined]

_DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "sqlite": "sqlite", "oracle": "oracle"}
"""sqlglot's name for what Django calls ``connection.vendor``."""

_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s")
_WORD = re.compile(r"\w+")
_CALL = re.compile(r"([\w\"`\].]+)\s*\(")
_LONG_LIST: Final = 9
"""Parameters. Shorter lists are kept as they are: they may be the arguments of a function."""
_NULLS = re.compile(rf"NULL(?:\s*,\s*NULL){{{_LONG_LIST},}}")
_ROWS = re.compile(r"(\(NULL(?:\s*,\s*NULL)*\))(?:\s*,\s*\1)+")


def skeleton(sql: str) -> str:
    """Return the statement with NULL for each parameter; long lists and many rows are all alike."""
    sql = _PLACEHOLDER.sub("NULL", sql).replace("%%", "%")
    return _ROWS.sub(r"\1", _NULLS.sub(", ".join(["NULL"] * _LONG_LIST), sql))


# Reads --------------------------------------------------------------------------------------------


def tables_read(sql: str, vendor: str) -> frozenset[str]:
    """
    Return the tables that a SELECT names, normalized.

    Raises ``Uncacheable`` if it is not a plain SELECT, locks rows, or calls anything that is not
    known to answer the same for the same rows.
    """
    from sqlglot import exp

    trees, tokens = _parse(skeleton(sql), vendor)
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise Uncacheable(Reason.UNKNOWN_SQL, "not a single SELECT")
    for name in _calls(tokens):
        if not is_deterministic(name, vendor):
            raise Uncacheable(Reason.UNKNOWN_FUNCTION, name)
    tree = trees[0]
    if tree.find(exp.Lock):
        raise Uncacheable(Reason.LOCKING)
    if found := tree.find(*_writing_nodes(), exp.Command, exp.Parameter, exp.SessionParameter):
        raise Uncacheable(Reason.UNKNOWN_SQL, found.sql(_DIALECTS.get(vendor)))
    if others := _databases_named(tree, vendor):
        raise Uncacheable(Reason.UNKNOWN_SQL, f"of the database {min(others)}")
    return frozenset(_table_names(tree))


def identifiers(sql: str, vendor: str) -> frozenset[str]:
    """Return every word of a statement that may be a name, normalized as a table's."""
    from sqlglot import Dialect
    from sqlglot.tokens import TokenType  # type: ignore[attr-defined]

    tokens = Dialect.get_or_raise(_DIALECTS.get(vendor)).tokenize(sql)
    return frozenset(
        normalized_table(token.text) for token in tokens if token.token_type != TokenType.STRING
    )


def _parse(sql: str, vendor: str) -> tuple[list["exp.Expr"], list["Token"]]:
    from sqlglot import Dialect, ErrorLevel

    dialect = Dialect.get_or_raise(_DIALECTS.get(vendor))
    try:
        tokens = dialect.tokenize(sql)
        trees = dialect.parser(error_level=ErrorLevel.RAISE).parse(tokens, sql)
    except Exception as error:  # whatever a parser stumbles over, it has not understood
        raise Uncacheable(Reason.UNKNOWN_SQL, f"{error!r:.200}") from error
    return [tree for tree in trees if tree is not None], tokens


def _calls(tokens: list["Token"]) -> Iterator[str]:
    """
    Every function that is called, upper-cased, as it is written.

    From the tokens and not from the tree, in which sqlglot gives functions of several names one
    class, and names of its own, in each release.
    """
    from sqlglot.tokens import TokenType  # type: ignore[attr-defined]

    around = zip([None, *tokens], tokens, [*tokens[1:], None], strict=False)
    for previous, token, following in around:
        if token.token_type in {TokenType.STRING, TokenType.NUMBER}:
            continue
        name = token.text.upper()
        is_quoted = token.token_type == TokenType.IDENTIFIER
        if following is not None and following.token_type == TokenType.L_PAREN:
            if previous is not None and previous.token_type == TokenType.DOT:
                yield f".{name}"  # of some schema: not the function that is known by this name
            elif is_quoted or (name[-1:].isalnum() and name not in _BEFORE_PARENTHESIS):
                yield name
        elif not is_quoted and name in CALLED_WITHOUT_PARENTHESIS:
            yield name


def _table_names(tree: "exp.Expr") -> Iterator[str]:
    """Every table of a statement. A CTE's name counts as one: it may hide a table of that name."""
    from sqlglot import exp

    ctes = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            name = normalized_table(table.name)
            if name not in ctes:
                yield name
        elif not isinstance(table.this, exp.Func):
            raise Uncacheable(Reason.UNKNOWN_SQL, table.sql())


def _databases_named(tree: "exp.Expr", vendor: str) -> frozenset[str]:
    """Return the databases that stand before tables; elsewhere than on MySQL, those are schemas."""
    from sqlglot import exp

    if vendor != "mysql":
        return frozenset()
    return frozenset(table.db for table in tree.find_all(exp.Table) if table.db)


def _writing_nodes() -> tuple[type["exp.Expr"], ...]:
    from sqlglot import exp

    return exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into


# Writes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """
    What a statement may change.

    ``everything`` stands for any table of the database. ``databases`` are others of the server that
    are named along with a table, where a statement can reach them. The others say what it does to
    the transaction: begin one without Django, end it (COMMIT, or DDL where that commits
    implicitly), from now on or once, mend one that was broken, or choose an isolation level that
    reads a snapshot. ``is_unfinished`` says that the change becomes visible only after its rows
    were fetched, whenever that may be; ``told`` is what the session is told.
    """

    tables: frozenset[str] = frozenset()
    everything: bool = False
    databases: frozenset[str] = frozenset()
    begins_transaction: bool = False
    ends_transaction: bool = False
    turns_autocommit: bool = False
    rolls_back: bool = False
    sets_savepoint: bool = False
    releases_savepoint: bool = False
    takes_snapshot: bool = False
    is_unfinished: bool = False
    told: Told | None = None

    def __bool__(self) -> bool:
        return bool(self.tables) or self.everything

    def also(self, tables: Iterable[str]) -> "Change":
        """Return this change with more tables."""
        return replace(self, tables=self.tables.union(tables))


NOTHING: Final = Change()
EVERYTHING: Final = Change(everything=True)


def change_of(sql: str, vendor: str) -> Change:
    """Return what a statement of any kind may change; never raises."""
    change, told = _change_of(sql, vendor), told_by(sql, vendor)
    return change if told is None else replace(change, told=told)


def _change_of(sql: str, vendor: str) -> Change:
    words = _leading_words(sql)
    first = words[0] if words else ""
    if first in _HARMLESS or (first == "SELECT" and _is_plain_select(sql, vendor)):
        return NOTHING
    if first == "CALL" and (call := _CALL.search(sql)):
        return change_of_calls([call[1].replace('"', "").replace("`", "")])
    control = _control_of_transaction(words, sql)
    return _change_of_trees(sql, vendor) if control is None else control


def change_of_calls(names: Iterable[str]) -> Change:
    """Return what functions or procedures change: what the settings say, otherwise anything."""
    writes = get_config().writes
    found = [writes.get(name.rsplit(".", 1)[-1].casefold()) for name in names]
    if None in found:
        return EVERYTHING
    return Change(frozenset[str]().union(*(tables for tables in found if tables)))


def _control_of_transaction(words: list[str], sql: str) -> Change | None:
    """Return what a statement does to the transaction, None if that is not what it is for."""
    takes_snapshot = words[:1] in (["START"], ["BEGIN"]) and _takes_snapshot(sql)
    match words:
        case ["SET", *_]:
            return _change_of_set(sql)
        case ["START", "TRANSACTION", *_]:
            return Change(begins_transaction=True, takes_snapshot=takes_snapshot)
        case ["BEGIN", *_] if _OF_BEGIN.issuperset(words):
            return Change(begins_transaction=True, takes_snapshot=takes_snapshot)
        case ["COMMIT" | "END" | "ROLLBACK" | "ABORT" as first, *_]:
            return Change(
                everything="PREPARED" in words,
                ends_transaction="TO" not in words,
                rolls_back=first in {"ROLLBACK", "ABORT"},
            )
        case ["SAVEPOINT" | "RELEASE" as first, *_]:
            return Change(
                sets_savepoint=first == "SAVEPOINT", releases_savepoint=first == "RELEASE"
            )
    return None


def _change_of_set(sql: str) -> Change:
    switch = _AUTOCOMMIT.match(sql.strip())
    if switch is None:
        return Change(takes_snapshot=_takes_snapshot(sql))
    is_off = switch[1].upper() in {"0", "OFF", "FALSE"}
    return Change(begins_transaction=is_off, ends_transaction=not is_off, turns_autocommit=True)


def _change_of_trees(sql: str, vendor: str) -> Change:
    try:
        trees, tokens = _parse(skeleton(sql), vendor)
        changes = [_change_of_tree(tree, tokens, vendor) for tree in trees]
    except Uncacheable:
        return EVERYTHING
    return Change(
        tables=frozenset[str]().union(*(change.tables for change in changes)),
        everything=any(change.everything for change in changes),
        databases=frozenset[str]().union(*(change.databases for change in changes)),
        ends_transaction=any(change.ends_transaction for change in changes),
        is_unfinished=any(change.is_unfinished for change in changes),
    )


def _leading_words(sql: str) -> list[str]:
    """Return the first words of a statement that is not several, upper-cased; of others, none."""
    text = sql.strip().rstrip(";")
    return (
        [] if ";" in text or text.startswith(("-", "/", "#")) else text.upper().split(None, 6)[:6]
    )


def _is_plain_select(sql: str, vendor: str) -> bool:
    """
    Say whether this is a SELECT that cannot write, for little: raw SQL is rarely seen twice.

    It looks into strings too, and so sees more words and calls than there are, never fewer. What is
    not plain is left to the parser.
    """
    if "/*" in sql or "--" in sql:  # a comment may stand between a function and its parenthesis
        return False
    return _WRITING_WORDS.isdisjoint(_WORD.findall(sql.upper())) and all(
        name in _BEFORE_PARENTHESIS or is_harmless(name, vendor)
        for name in map(str.upper, _CALL.findall(sql))
    )


def _takes_snapshot(sql: str) -> bool:
    # SET TRANSACTION ISOLATION LEVEL …, SET default_transaction_isolation = …, BEGIN ISOLATION …
    words = set(_WORD.findall(sql.upper().replace("_", " ")))
    return "ISOLATION" in words and "COMMITTED" not in words


def _change_of_tree(tree: "exp.Expr", tokens: list["Token"], vendor: str) -> Change:
    from sqlglot import exp

    if isinstance(tree, exp.Commit | exp.Rollback):
        return Change(everything=True, ends_transaction=True)  # one of several, after others
    if isinstance(tree, exp.Set | exp.Pragma | exp.Show | exp.Use):
        return NOTHING
    if isinstance(tree, exp.Transaction | exp.Describe | exp.Command):
        # EXPLAIN ANALYZE runs its statement; of CALL, DO and the like only the database knows.
        return EVERYTHING
    is_ddl = isinstance(tree, exp.Create | exp.Alter | exp.Drop | exp.TruncateTable)
    implicit_commit = is_ddl and vendor in {"mysql", "oracle"}
    tables = frozenset(_table_names(tree))
    # A function may write. The ones that are known not to are most of what raw SQL calls.
    not_called = {name.upper() for name in tables} | {
        cte.alias.upper() for cte in tree.find_all(exp.CTE)
    }
    calls = change_of_calls(
        name
        for name in ([] if is_ddl else _calls(tokens))
        if name.lstrip(".") not in not_called and not is_harmless(name, vendor)
    )
    if isinstance(tree, exp.Query) and not tree.find(*_writing_nodes()):
        return calls
    cascades = bool(tree.args.get("cascade")) or tree.args.get("option") == "CASCADE"
    return Change(
        tables | calls.tables,
        everything=cascades or not tables or calls.everything,
        databases=_databases_named(tree, vendor),
        ends_transaction=implicit_commit,
        is_unfinished=vendor == "sqlite" and tree.find(exp.Returning) is not None,
    )


# Words --------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AUTOCOMMIT = re.compile(
    r"SET\s+(?:SESSION\s+|LOCAL\s+|@@(?:SESSION\.|LOCAL\.)?)?AUTOCOMMIT\s*:?=\s*(\w+)\s*;?$",
    re.IGNORECASE,
)
"""Of MySQL and MariaDB, by hand; Django turns it without a statement."""

_HARMLESS = _words(
    """
    ANALYZE CHECKPOINT CLOSE DEALLOCATE DECLARE DESC DESCRIBE DISCARD FETCH GRANT KILL LISTEN LOCK
    MOVE NOTIFY PRAGMA RESET REVOKE SHOW UNLISTEN UNLOCK USE VACUUM
    """
)
"""First words of statements that change no row that others can see."""

_OF_BEGIN = _words(
    """
    BEGIN COMMITTED DEFERRED EXCLUSIVE IMMEDIATE ISOLATION LEVEL ONLY READ REPEATABLE SERIALIZABLE
    TRANSACTION UNCOMMITTED WORK WRITE
    """
)

_WRITING_WORDS = _words("CALL DELETE EXECUTE INSERT INTO MERGE REPLACE TRUNCATE UPDATE")

_BEFORE_PARENTHESIS = _words(
    """
    ALL AND ANY ARRAY AS ASC BETWEEN BY CASE CROSS DISTINCT ELSE END EXCEPT EXISTS FILTER FROM GROUP
    HAVING ILIKE IN INTERSECT IS JOIN LATERAL LIKE LIMIT MATERIALIZED NOT OFFSET ON OR ORDER OVER
    PARTITION RECURSIVE REGEXP RETURNING RLIKE ROW ROWS SELECT SET SIMILAR SOME THEN TO UNION USING
    VALUES WHEN WHERE WITH WITHIN XOR DIV MOD ESCAPE INTO CONFLICT KEY
    BIGINT BINARY BIT BLOB CHAR CHARACTER DATETIME DECIMAL DOUBLE FLOAT INT INTEGER INTERVAL NCHAR
    NUMBER NUMERIC NVARCHAR2 PRECISION REAL SIGNED SMALLINT TEXT TIMESTAMP TIMESTAMPTZ TIMETZ
    TINYINT UNSIGNED VARBINARY VARBIT VARCHAR VARCHAR2 VARYING ZONE
    """
)
"""Keywords and types that a parenthesis may follow without a call."""
