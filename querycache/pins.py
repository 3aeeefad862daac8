"""
Pins: where a statement says which rows of a table it is about.

    SELECT … FROM shop_product WHERE shop_product.id = %s AND …

The condition must hold for every row that the statement reads or writes: it stands by itself or
between ANDs, never under an OR or a NOT. And the table must be named once in all of the statement:
then no other part of it reads other rows of the table. When in doubt there is no pin.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from querycache import sql
from querycache.exceptions import Uncacheable
from querycache.memory import Memory
from querycache.options import normalized_table
from querycache.scopes import MOST_VALUES, Column

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokens import Token  # type: ignore[attr-defined]

Columns = Mapping[str, tuple[Column, ...]]
"""Of each table those that can be pinned, the primary key first."""


class Pin(NamedTuple):
    """A table whose ``column`` has one of the values of the parameters at these positions."""

    table: str
    column: Column
    positions: tuple[int, ...]
    is_key: bool


class Proof(IntEnum):
    """
    What the rows of an answer prove about the rows of its one pinned table.

    ``ROW``: if there is any, the row of the one pinned value is there. ``ROWS``: if there are as
    many as pinned values, then all of those are there.
    """

    NONE = 0
    ROW = 1
    ROWS = 2


class Pinned(NamedTuple):
    """The pins of a SELECT, one for a table; ``parameters`` is how many it takes."""

    pins: tuple[Pin, ...] = ()
    parameters: int = 0
    proof: Proof = Proof.NONE


NO_PINS: Final = Pinned()


class PinnedWrite(NamedTuple):
    """
    The pins of an UPDATE or a DELETE, and the columns that it sets.

    Each column to the position of its new value, or to None if that is not a parameter.
    """

    pins: tuple[Pin, ...]
    parameters: int
    sets: Mapping[str, int | None]


_MOST_PARAMETERS: Final = 500
_LONG_STATEMENT: Final = 8192
"""Characters. Longer statements, and those of more parameters, are not worth being parsed."""
_PARAMETER: Final = "querycache_parameter_"
_PLACEHOLDER = re.compile(r"%%|%s")


# SELECT -------------------------------------------------------------------------------------------


def pins_of_select(statement: str, vendor: str, columns: Columns) -> Pinned:
    """Return where a SELECT pins tables; ``columns`` are those of tables that it may pin."""
    found = _parsed(statement, vendor)
    if found is None:
        return NO_PINS
    tree, tokens, parameters = found
    sources = _sources(tree)
    pins = []
    for pin in _pins(tree, {source: columns.get(table, ()) for source, table in sources.items()}):
        table = sources[pin.table]
        if _is_named_once(table, tree, tokens):
            pins.append(pin._replace(table=table))
    # The key first: no row that is inserted or changed can come to have that of another.
    pins.sort(key=lambda pin: not pin.is_key)
    chosen = {pin.table: pin for pin in reversed(pins)}
    ordered = tuple(pin for pin in pins if chosen[pin.table] is pin)
    return Pinned(ordered, parameters, _proof(tree)) if ordered else NO_PINS


def _sources(tree: "exp.Expr") -> dict[str, str]:
    """
    Return the tables of the FROM of a plain SELECT of which each row of the answer has a row.

    By the name that its columns stand under. Empty if there is anything else in the FROM: a table
    that an outer join may leave out, for one, is not among them.
    """
    from sqlglot import exp

    source = tree.args.get("from_")
    if type(tree) is not exp.Select or source is None or tree.find(exp.With, exp.Lateral):
        return {}
    sources: dict[str, str] = {}
    names: set[str] = set()
    joins = tree.args.get("joins") or []
    for node in [source, *joins]:
        table = node.this
        if not _is_plain_table(table) or table.alias_or_name in names:
            return {}
        names.add(table.alias_or_name)
        side, kind = (str(node.args.get(part) or "").upper() for part in ("side", "kind"))
        if side not in {"", "LEFT"} or kind not in {"", "INNER", "OUTER", "CROSS"}:
            return {}
        if node.args.get("using") or node.args.get("method"):
            return {}
        if not side:
            sources[table.alias_or_name] = normalized_table(table.name)
    return sources


def _is_plain_table(node: "exp.Expr") -> bool:
    """Say whether this is a name and perhaps an alias: no schema, sample, partition or subquery."""
    from sqlglot import exp

    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        return False
    return {name for name, value in node.args.items() if value} <= {"this", "alias"}


def _is_named_once(table: str, tree: "exp.Expr", tokens: "list[Token]") -> bool:
    """Ask the tree and the words: what the parser takes for something else counts nonetheless."""
    from sqlglot import exp
    from sqlglot.tokens import TokenType  # type: ignore[attr-defined]

    named = Counter(normalized_table(node.name) for node in tree.find_all(exp.Table))
    # Before a dot it is the table of a column.
    words = sum(
        normalized_table(token.text) == table
        and (following is None or following.token_type != TokenType.DOT)
        for token, following in zip(tokens, [*tokens[1:], None], strict=True)
    )
    return named[table] == words == 1


def _proof(tree: "exp.Expr") -> Proof:
    """
    Say what the rows of the answer prove.

    Nothing if there may be an aggregate, which gives a row for no rows, or a function that gives
    several for one; so nearly every function counts as one, also those in subqueries, whose
    aggregates may be of the outer query.
    """
    from sqlglot import exp

    harmless = (
        exp.And, exp.Or, exp.Case, exp.If, exp.Cast, exp.Coalesce, exp.Exists, exp.Lower, exp.Upper,
    )  # fmt: skip
    if any(not isinstance(function, harmless) for function in tree.find_all(exp.Func)):
        return Proof.NONE
    if tree.args.get("group") or tree.args.get("having") or tree.find(exp.Window, exp.SetOperation):
        return Proof.NONE
    is_alone = not tree.args.get("joins") and not tree.args.get("distinct")
    return Proof.ROWS if is_alone else Proof.ROW


# UPDATE and DELETE --------------------------------------------------------------------------------

_STATEMENTS: Final = 4096
_writes: Memory[tuple[str, str], PinnedWrite | None] = Memory(_STATEMENTS)


def pins_of_write(
    statement: str, vendor: str, table: str, columns: tuple[Column, ...]
) -> PinnedWrite | None:
    """Return where an UPDATE or a DELETE of a table pins it, None if it does not."""
    key = (vendor, statement)
    known = _writes.get(key, _UNKNOWN)
    if known is not _UNKNOWN:
        return known
    pinned = _pins_of_write(statement, vendor, table, columns)
    if len(statement) <= _LONG_STATEMENT:
        _writes.put(key, pinned)
    return pinned


_UNKNOWN: Final = PinnedWrite((), -1, {})


def _pins_of_write(
    statement: str, vendor: str, table: str, columns: tuple[Column, ...]
) -> PinnedWrite | None:
    from sqlglot import exp

    found = _parsed(statement, vendor)
    if found is None:
        return None
    tree, _, parameters = found
    if not isinstance(tree, exp.Update | exp.Delete) or tree.find(exp.With):
        return None
    sets = _columns_set(tree)
    # In a subquery a name may stand for another table than in the statement.
    is_alone = _is_plain_table(tree.this) and len(list(tree.find_all(exp.Table))) == 1
    if not is_alone or sets is None or normalized_table(tree.this.name) != table:
        return None
    pins = tuple(pin._replace(table=table) for pin in _pins(tree, {tree.this.name: columns}))
    return PinnedWrite(pins, parameters, sets) if pins else None


def _columns_set(tree: "exp.Expr") -> dict[str, int | None] | None:
    """Return the columns that an UPDATE sets, none for a DELETE; None if that is not understood."""
    from sqlglot import exp

    columns = {}
    for part in tree.args.get("expressions") or []:
        if not isinstance(part, exp.EQ) or not isinstance(part.this, exp.Column):
            return None
        columns[part.this.name] = _position(part.expression)
    return columns if columns or isinstance(tree, exp.Delete) else None


def forget_pins() -> None:
    """Forget every statement: what is opted in has changed."""
    _writes.clear()


# Conditions ---------------------------------------------------------------------------------------


def _parsed(statement: str, vendor: str) -> "tuple[exp.Expr, list[Token], int] | None":
    """Return the tree of a statement, with a name of ours for each parameter, and their number."""
    if not _may_be_pinned(statement, vendor):
        return None
    numbers = count()
    text = _PLACEHOLDER.sub(
        lambda found: "%" if found[0] == "%%" else f"{_PARAMETER}{next(numbers)}", statement
    )
    try:
        trees, tokens = sql.parse(text, vendor)
    except Uncacheable:
        return None
    return (trees[0], tokens, next(numbers)) if len(trees) == 1 else None


def _may_be_pinned(statement: str, vendor: str) -> bool:
    """Say whether it is worth to parse a statement."""
    if len(statement) > _LONG_STATEMENT or _PARAMETER in statement or "WHERE" not in statement:
        return False
    if sql.has_executable_comment(statement, vendor):
        return False
    return 0 < statement.count("%s") <= _MOST_PARAMETERS


def _pins(tree: "exp.Expr", columns: Mapping[str, Iterable[Column]]) -> Iterator[Pin]:
    """Yield a pin for each condition that is one, by the names of its source."""
    from sqlglot import exp

    known = {
        (source, column.name): (column, not number)
        for source, of_table in columns.items()
        for number, column in enumerate(of_table)
    }
    where = tree.args.get("where")
    if tree.find(exp.Xor):  # which sqlglot takes to bind as AND does
        return
    for condition in _conjuncts(where.this) if where is not None and known else ():
        column, values = _sides(condition)
        if not isinstance(column, exp.Column) or set(_given(column)) != {"this", "table"}:
            continue
        found = known.get((column.table, column.name))
        positions = tuple(map(_position, values))
        if found is not None and None not in positions and 0 < len(positions) <= MOST_VALUES:
            yield Pin(column.table, found[0], positions, found[1])  # type: ignore[arg-type]


def _conjuncts(condition: "exp.Expr") -> "Iterator[exp.Expr]":
    from sqlglot import exp

    waiting = [condition]
    while waiting:
        node = waiting.pop()
        if type(node) is exp.Paren:
            waiting.append(node.this)
        elif type(node) is exp.And:
            waiting += [node.expression, node.this]
        else:
            yield node


def _sides(condition: "exp.Expr") -> "tuple[exp.Expr | None, list[exp.Expr]]":
    """Return what may be a column and what it is equal to, nothing for other conditions."""
    from sqlglot import exp

    if type(condition) is exp.EQ:
        left, right = condition.this, condition.expression
        return (right, [left]) if _position(left) is not None else (left, [right])
    if type(condition) is exp.In and set(_given(condition)) == {"this", "expressions"}:
        return condition.this, condition.expressions
    return None, []


def _position(node: "exp.Expr") -> int | None:
    """Return which parameter this is, None if it is none."""
    from sqlglot import exp

    if type(node) is not exp.Column or set(_given(node)) != {"this"}:
        return None
    number = node.name.removeprefix(_PARAMETER)
    return int(number) if number != node.name and number.isdecimal() else None


def _given(node: "exp.Expr") -> Iterator[str]:
    return (name for name, value in node.args.items() if value)
