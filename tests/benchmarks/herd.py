"""
Many readers of one slow query that nobody has cached yet: how often it runs, how long they wait.

The query joins a category with itself, for as many products as make it take about `--seconds` on
this machine when it runs alone.
"""

import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.peers import (
    VARIANTS,
    Peer,
    Servers,
    end_in_order,
    note,
    parser_of,
    say,
    say_surroundings,
    say_table,
    write_json,
)

NAMES = ("none", "cacheops", "cacheops-lock", "cachalot", "querycache")
PRODUCTS = 6_000
"""300 in a category, whose pairs of pairs are 90,000 for each product."""
GET_READY = 1.5
"""Seconds for all threads to connect."""


def products_for(seconds: float, peer: Peer) -> int:
    """Return for how many products the query takes about so long."""
    few, many = 100, 500  # primary keys, of which each twentieth is of the category
    peer.ask("time_heavy", products=few)
    base = min(peer.ask("time_heavy", products=few) for _ in range(2))
    more = min(peer.ask("time_heavy", products=many) for _ in range(2))
    return max(20, int(few + (seconds - base) * (many - few) / max(more - base, 0.001)))


def run(servers: Servers, name: str, options: Any, products: int) -> dict[str, Any]:
    with servers.peer(name) as peer:
        processes = [peer.process, *(peer.start() for _ in range(options.processes - 1))]
        for process in processes:
            process.ask("warm", case="get", times=1, seconds=0.0)  # is up, and has imported all
        start = time.time() + GET_READY
        threads = options.readers // options.processes
        for process in processes:
            process.send("herd", threads=threads, products=products, start=start)
        found = [read for process in processes for read in process.receive()]
    waits, statements = zip(*found, strict=True)
    return {
        "variant": name,
        "readers": len(found),
        "statements": sum(statements),
        "longest": max(waits),
        "shortest": min(waits),
    }


def line(found: dict[str, Any]) -> list[str]:
    return [
        VARIANTS[found["variant"]].title,
        f"{found['readers']}",
        f"{found['statements']}",
        f"{found['longest']:.2f}",
        f"{found['shortest']:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("herd", __doc__ or "", NAMES)
    parser.add_argument("--seconds", type=float, default=1.0, help="that the query takes")
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4, help="that the readers are threads of")
    options = parser.parse_args(arguments)
    end_in_order()
    with Servers(products=PRODUCTS, reviews=0) as servers:
        names = servers.usable(options.variants)
        with servers.peer("none") as alone:
            products = products_for(options.seconds, alone)
            took = alone.ask("time_heavy", products=products)
        results = []
        for name in names:
            note(VARIANTS[name].title)
            results.append(run(servers, name, options, products))
    say_surroundings()
    say(f"{options.readers} readers at once of a query that takes {took:.2f} s alone:")
    say()
    say_table(("", "readers", "SELECTs", "longest wait, s", "shortest wait, s"), map(line, results))
    write_json(options.json, {"alone": took, "results": results})


if __name__ == "__main__":
    main()
