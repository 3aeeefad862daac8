"""
What a statement's own text says: the tables it names, and what may make its answer differ.

Parsed by sqlglot, never searched by substring. Whatever is not understood raises ``Uncacheable``.
"""

import functools
import logging
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from querycache.exceptions import Reason, Uncacheable
from querycache.functions import CALLED_WITHOUT_PARENTHESIS, is_deterministic
from querycache.options import normalized_table

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokens import Token  # type: ignore[attr-defined]

DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "sqlite": "sqlite", "oracle": "oracle"}
"""sqlglot's name for what Django calls ``connection.vendor``."""

_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s")
_CLOCK = re.compile(r"\b(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)
"""What PostgreSQL takes for a moment, where a text becomes one: ``'today 10:00'``, too."""
_DATES: Final = frozenset({"DATE", "DATETIME", "TIMESTAMP"})
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

    if has_executable_comment(sql, vendor):
        raise Uncacheable(Reason.UNKNOWN_SQL, "a comment that is executed")
    trees, tokens = parse(skeleton(sql), vendor)
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise Uncacheable(Reason.UNKNOWN_SQL, "not a single SELECT")
    tree = trees[0]
    _refuse_volatile(tree, tokens, vendor)
    if any(membership.args.get("field") for membership in tree.find_all(exp.In)):
        raise Uncacheable(Reason.UNKNOWN_SQL, "IN with the name of a table")
    if tree.find(exp.Lock):
        raise Uncacheable(Reason.LOCKING)
    if found := tree.find(*writing_nodes(), exp.Command, exp.Parameter, exp.SessionParameter):
        raise Uncacheable(Reason.UNKNOWN_SQL, found.sql(DIALECTS.get(vendor)))
    if others := databases_named(tree, vendor):
        raise Uncacheable(Reason.UNKNOWN_SQL, f"of the database {min(others)}")
    return frozenset(table_names(tree))


def _refuse_volatile(tree: "exp.Expr", tokens: list["Token"], vendor: str) -> None:
    from sqlglot import exp

    for name in calls(tokens):
        if not is_deterministic(name, vendor):
            raise Uncacheable(Reason.UNKNOWN_FUNCTION, name)
    if vendor == "postgresql":
        refuse_clock([text.this for text in tree.find_all(exp.Literal) if text.is_string])
    if vendor == "mysql" and (cast := _cast_to_date(tree)):
        raise Uncacheable(Reason.UNKNOWN_FUNCTION, cast)


def refuse_clock(values: Iterable[object]) -> None:
    """Raise ``Uncacheable`` if PostgreSQL may take one of these values for a moment."""
    texts = [value if isinstance(value, str) else repr(value) for value in values]
    if clock := _CLOCK.search(" ".join(texts)):
        raise Uncacheable(Reason.UNKNOWN_FUNCTION, repr(clock[0]))


def _cast_to_date(tree: "exp.Expr") -> str | None:
    """
    Return a conversion to a date, if there is one; of a time, MySQL takes the day of today.

    Not one of what DATE_FORMAT returns, in which Django wraps what it truncates.
    """
    from sqlglot import exp

    for cast in tree.find_all(exp.Cast):
        if cast.to.this.name in _DATES and not isinstance(cast.this, exp.TimeToStr):
            return f"CAST(… AS {cast.to.this.name})"
    return "TIMESTAMP" if tree.find(exp.Timestamp) else None


def identifiers(sql: str, vendor: str) -> frozenset[str]:
    """Return every word of a statement that may be a name, normalized as a table's."""
    from sqlglot import Dialect
    from sqlglot.tokens import TokenType  # type: ignore[attr-defined]

    tokens = Dialect.get_or_raise(DIALECTS.get(vendor)).tokenize(sql)
    return frozenset(
        normalized_table(token.text) for token in tokens if token.token_type != TokenType.STRING
    )


def parse(sql: str, vendor: str) -> tuple[list["exp.Expr"], list["Token"]]:
    """Return a tree for each statement, and all their tokens. Raises ``Uncacheable``."""
    from sqlglot import Dialect, ErrorLevel

    dialect = Dialect.get_or_raise(DIALECTS.get(vendor))
    tokens = tokens_of(sql, vendor)
    _silence_sqlglot()
    try:
        trees = dialect.parser(error_level=ErrorLevel.RAISE).parse(tokens, sql)
    except Exception as error:  # whatever a parser stumbles over, it has not understood
        raise Uncacheable(Reason.UNKNOWN_SQL, f"{error!r:.200}") from error
    return [tree for tree in trees if tree is not None], tokens


@functools.cache
def _silence_sqlglot() -> None:
    """Have it not say on the console what it does not understand: nobody has asked."""
    logger = logging.getLogger("sqlglot")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)


def tokens_of(sql: str, vendor: str) -> list["Token"]:
    """Return the words and marks of one statement or several. Raises ``Uncacheable``."""
    from sqlglot import Dialect

    try:
        return Dialect.get_or_raise(DIALECTS.get(vendor)).tokenize(sql)
    except Exception as error:
        raise Uncacheable(Reason.UNKNOWN_SQL, f"{error!r:.200}") from error


def calls(tokens: list["Token"]) -> Iterator[str]:
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
            elif is_quoted or (is_word(name) and not _is_keyword(name, previous)):
                yield name
        elif not is_quoted and name in CALLED_WITHOUT_PARENTHESIS:
            yield name


def is_word(name: str) -> bool:
    """Say whether a token may be a name, and is not an operator. PostgreSQL has names like 😀."""
    return not name.isascii() or any(char.isalnum() or char in "_$" for char in name)


def _is_keyword(name: str, previous: "Token | None") -> bool:
    """Say whether a word before a parenthesis is no call; sqlglot makes one word of ORDER BY."""
    if name.rsplit(None, 1)[-1] not in BEFORE_PARENTHESIS:
        return False
    # Where an operand begins, a word that no database reserves is a function of that name.
    return name not in NOT_RESERVED or not (
        previous is None or previous.text.upper() in _BEFORE_OPERAND
    )


def has_executable_comment(sql: str, vendor: str) -> bool:
    """MySQL and MariaDB execute what stands in some comments."""
    return vendor == "mysql" and ("/*!" in sql or "/*M!" in sql)


def table_names(tree: "exp.Expr") -> Iterator[str]:
    """Every table of a statement, normalized; but not what a CTE stands for."""
    from sqlglot import exp

    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            if not _is_cte(table):
                yield normalized_table(table.name)
        elif not isinstance(table.this, exp.Func):
            raise Uncacheable(Reason.UNKNOWN_SQL, table.sql())


def _is_cte(table: "exp.Table") -> bool:
    """
    Say whether a table is a CTE that is in scope; not one that only has the name of a CTE.

    A CTE does not see itself, nor those after it, unless it is recursive. No schema has a CTE, and
    nothing but a table is written to.
    """
    from sqlglot import exp

    is_target = isinstance(table.parent, exp.Insert | exp.Update | exp.Delete | exp.Merge)
    if table.args.get("db") or (is_target and table.arg_key == "this"):
        return False
    node: exp.Expr = table
    while (parent := node.parent) is not None:
        is_inside = isinstance(parent, exp.With)
        ctes = parent if is_inside else parent.args.get("with_")
        for cte in ctes.expressions if ctes is not None and ctes is not node else ():
            if is_inside and cte is node and not parent.args.get("recursive"):
                break
            if cte.alias == table.name:
                return True
        node = parent
    return False


def databases_named(tree: "exp.Expr", vendor: str) -> frozenset[str]:
    """Return the databases that stand before tables; elsewhere than on MySQL, those are schemas."""
    from sqlglot import exp

    if vendor != "mysql":
        return frozenset()
    return frozenset(table.db for table in tree.find_all(exp.Table) if table.db)


def writing_nodes() -> tuple[type["exp.Expr"], ...]:
    """The nodes of a tree that write."""
    from sqlglot import exp

    return exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BEFORE_PARENTHESIS = _words(
    """
    ALL AND ANY ARRAY AS ASC BETWEEN BY CASE CROSS DISTINCT ELSE END EXCEPT EXISTS FILTER FROM GROUP
    HAVING ILIKE IN INTERSECT IS JOIN LATERAL LIKE LIMIT MATERIALIZED NOT OFFSET ON OR ORDER OVER
    PARTITION RECURSIVE REGEXP RETURNING RLIKE ROW ROWS SELECT SET SIMILAR SOME THEN TO UNION USING
    VALUE VALUES WHEN WHERE WITH WITHIN XOR DIV MOD ESCAPE INTO CONFLICT KEY
    BIGINT BINARY BIT BLOB CHAR CHARACTER DATETIME DECIMAL DOUBLE FLOAT INT INTEGER INTERVAL NCHAR
    NUMBER NUMERIC NVARCHAR2 PRECISION REAL SIGNED SMALLINT TEXT TIMESTAMP TIMESTAMPTZ TIMETZ
    TINYINT UNSIGNED VARBINARY VARBIT VARCHAR VARCHAR2 VARYING ZONE
    """
)
"""Keywords and types that a parenthesis may follow without a call."""

NOT_RESERVED = _words(
    """
    BY CONFLICT DIV ESCAPE FILTER INTO KEY MATERIALIZED MOD OVER PARTITION RECURSIVE REGEXP RLIKE
    ROWS VALUE WITHIN XOR
    """
)
"""Those that some database takes for the name of a function, where an operand begins."""

_BEFORE_OPERAND = _words(
    """
    ALL AND BETWEEN CASE DISTINCT ELSE HAVING NOT OR RETURNING SELECT SET THEN WHEN WHERE
    ( , = < > + - * / %
    """
)
