"""
What querycache costs a read that it does not answer, in one process, with and without it in turn.

One process differs from the next by two per cent and more, whatever it runs: where its memory lies,
what else it has done. So it is the same one here: querycache is taken out of Django, and put in
again, from turn to turn. Only the pairs of a process are compared.
"""

import argparse
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from tests.benchmarks.compare import ROWS
from tests.benchmarks.peers import Servers, end_in_order, note, say, say_surroundings, say_table

CASES = ("other", "refused", "unread", "miss")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.overhead", description=__doc__
    )
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--times", type=int, default=60, help="repetitions in a turn")
    parser.add_argument("--processes", type=int, default=6, help="one after the other")
    options: Any = parser.parse_args(arguments)
    end_in_order()
    found: dict[str, list[list[float]]] = {case: [] for case in CASES}
    """The ratios of a process's turns, for each process."""
    note("Starting the servers, stocking the shop")
    with Servers(products=10_000, reviews=0) as servers:
        for number in range(options.processes):
            with servers.peer("querycache") as peer:
                for case in CASES:
                    pairs = peer.ask("in_turn", case=case, turns=options.turns, times=options.times)
                    found[case].append([with_it / without for with_it, without in pairs])
                    note(f"process {number + 1}, {case}: {median(found[case][-1]):.3f}")
    say_surroundings()
    say("Times of what the same process takes without querycache; of each process the median:")
    say()
    medians = {case: sorted(map(median, ratios)) for case, ratios in found.items()}
    say_table(
        ["", "the lowest", "mean", "the highest"],
        [
            [ROWS[case].title, *(f"{of(found):.3f}" for of in (min, mean, max))]
            for case, found in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
