"""What a query reads: the tables of its tree, checked against the tables of its SQL."""

from collections.abc import Mapping
from typing import Any

from querycache import sql
from querycache._django.queries import Query, RawQuery, nodes_of, parts_of, table_names
from querycache.exceptions import Reason, Uncacheable
from querycache.options import Table, normalized_table


def tables_of(
    query: Query | RawQuery, statement: str, vendor: str, tables: Mapping[str, Table]
) -> list[Table]:
    """
    Return the tables that the statement of a query depends on, by name.

    Both the tree and the SQL are asked, and what either of them names counts: an expression may
    hide a table from the tree (RawSQL), a construct may hide one from the parser. A table of the
    tree that is no word of the SQL was trimmed.

    Raises ``Uncacheable`` if one of them is not opted in, or if the SQL is not understood.
    """
    names = sql.tables_read(statement, vendor)
    if isinstance(query, Query):
        names |= tables_in_tree(query) & sql.identifiers(statement, vendor)
    for name in sorted(names):
        if name not in tables:
            raise Uncacheable(Reason.NOT_OPTED_IN, name)
    return [tables[name] for name in sorted(names)]


def tables_in_tree(query: Query) -> set[str]:
    """Return the tables of a compiled query and of every query in it, normalized."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [query]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Query):
            names.update(normalized_table(name) for name in table_names(node))
            waiting.extend(nodes_of(node))
        elif isinstance(node, list | tuple | set | frozenset):
            waiting.extend(node)
        elif not isinstance(node, str | bytes | int | float):
            waiting.extend(parts_of(node))
    return names
