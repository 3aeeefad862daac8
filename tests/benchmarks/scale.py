"""
What a write costs, and what the store holds, as the number of cached queries grows.

Each size begins with an empty store: so many different queries are run once, lists of 20 in ten
categories. Then a product of each of five categories is saved, so that whoever looks for what a
write makes stale has something to find.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.benchmarks.peers import (
    VARIANTS,
    Servers,
    Stored,
    end_in_order,
    note,
    parser_of,
    say,
    say_surroundings,
    say_table,
    write_json,
)

NAMES = ("none", "cacheops", "cacheops-insideout", "cachalot", "querycache")
SIZES = (1_000, 10_000, 100_000)
WRITTEN = (21, 22, 23, 24, 25)
"""The products that are saved, each of another of the categories that were read."""


def measure(servers: Servers, name: str, size: int) -> dict[str, Any]:
    with servers.peer(name) as peer:
        peer.ask("write", pk=1)  # the first of a process compiles, connects, loads scripts
        peer.ask("fill", first=0, count=size)
        filled = peer.stored()
        writes = [peer.ask("write", pk=pk) for pk in WRITTEN]
        return {
            "variant": name,
            "queries": size,
            "filled": as_dict(filled),
            "writes": writes,
            "written": as_dict(peer.stored()),
        }


def as_dict(stored: Stored) -> dict[str, int]:
    return {"keys": stored.keys, "lasting": stored.lasting, "bytes": stored.size}


def line(found: dict[str, Any]) -> list[str]:
    filled, written = found["filled"], found["written"]
    size = f"{filled['bytes'] / found['queries']:,.0f}" if filled["keys"] else "–"
    return [
        f"{found['queries']:,}",
        VARIANTS[found["variant"]].title,
        f"{median(found['writes']) * 1e6:,.0f}",
        f"{max(found['writes']) * 1e6:,.0f}",
        f"{filled['keys']:,}",
        size,
        f"{written['keys']:,}",
        f"{written['lasting']:,}",
    ]


HEADINGS = (
    "queries",
    "variant",
    "write, median, µs",
    "write, longest, µs",
    "keys",
    "bytes per query",
    "keys after the writes",
    "of them without a TTL",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("scale", __doc__ or "", NAMES)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="the most cached queries")
    parser.add_argument("--products", type=int, default=10_000)
    options = parser.parse_args(arguments)
    end_in_order()
    sizes = [size for size in SIZES if size <= options.largest] or [options.largest]
    results = []
    # Each query is to have its entry, whether it is ever read again or not.
    with Servers(products=options.products, reviews=0, admission="all") as servers:
        names = servers.usable(options.variants)
        for size in sizes:
            for name in names:
                note(f"{size:,} queries, {VARIANTS[name].title}")
                results.append(measure(servers, name, size))
    say_surroundings()
    say("The cost of a save() and the size of the store, by the number of cached queries:")
    say()
    say_table(HEADINGS, map(line, results))
    write_json(options.json, {"results": results})


if __name__ == "__main__":
    main()
