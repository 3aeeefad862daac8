"""
A long run of queries that are never seen again: what the process and the store grow to.

The TTL is short, so that the store has reached its size when the first line is printed. From then
on every line should be like the one before. Every tenth query also has a text of its own, so that
whatever is remembered of texts shows.
"""

import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.peers import (
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

HEADINGS = (
    "queries",
    "process, MiB",
    "keys in the store",
    "without a TTL",
    "store, MiB",
    "queries/s",
)


def measure(peer: Peer, first: int, step: int) -> dict[str, Any]:
    begin = time.monotonic()
    resident = peer.ask("fill", first=first, count=step, texts=True)
    seconds = time.monotonic() - begin
    stored = peer.stored()
    return {
        "queries": first + step,
        "resident": resident,
        "keys": stored.keys,
        "lasting": stored.lasting,
        "bytes": stored.size,
        "per_second": step / seconds,
    }


def line(found: dict[str, Any]) -> list[str]:
    return [
        f"{found['queries']:,}",
        f"{found['resident'] / 2**20:,.1f}",
        f"{found['keys']:,}",
        f"{found['lasting']:,}",
        f"{found['bytes'] / 2**20:,.1f}",
        f"{found['per_second']:,.0f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("soak", __doc__ or "", ("querycache",))
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--step", type=int, default=100_000, help="queries between two lines")
    parser.add_argument("--ttl", type=int, default=20, help="seconds")
    parser.add_argument(
        "--admission", default="cost", help='"all" has an entry made for each of the queries'
    )
    options = parser.parse_args(arguments)
    end_in_order()
    results: dict[str, list[dict[str, Any]]] = {}
    with Servers(
        products=2_000, reviews=0, ttl=options.ttl, admission=options.admission
    ) as servers:
        for name in servers.usable(options.variants):
            results[name] = []
            with servers.peer(name) as peer:
                for first in range(0, options.queries, options.step):
                    results[name].append(measure(peer, first, options.step))
                    note(f"{name}: {' | '.join(line(results[name][-1]))}")
    say_surroundings()
    for name, lines in results.items():
        say(f"{name}, queries that are never seen again, TTL {options.ttl} s:")
        say()
        say_table(HEADINGS, map(line, lines))
    write_json(options.json, {"results": results})


if __name__ == "__main__":
    main()
