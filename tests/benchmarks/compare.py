"""
Time reads and writes without a cache, with the peers and with querycache, side by side.

The variants take turns, some milliseconds each, so that whatever else the machine does meets all
of them. Microseconds say more about the machine than about the code: only ratios of one run hold.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import plot
from tests.benchmarks.peers import (
    VARIANTS,
    BenchmarkError,
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

NAMES = ("none", "cacheops", "cachalot", "querycache", "querycache-stale")
OURS = ("querycache", "querycache-stale")


@dataclass(frozen=True, slots=True)
class Goal:
    """The most that querycache may take, as shares of what others take."""

    of_peer: float | None = None
    of_peer_stale: float | None = None
    of_none: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    kind: str
    """hit, miss, other, write or page."""
    goal: Goal = Goal()
    warm: int = 30
    """Repetitions before the first that is timed."""
    times: int | None = None
    """Repetitions in a round; None for as many as fit into ``--seconds``."""
    share: float = 1.0
    """Of the rounds of ``--rounds``."""


ROWS = {
    "get": Row("get(pk)", "hit", Goal(0.55, 0.30, 0.55)),
    "list_20": Row("list of 20", "hit", Goal(0.6, 0.35)),
    "list_200": Row("list of 200", "hit", Goal(0.35, 0.35)),
    "select_related": Row("select_related, 20", "hit", Goal(0.6, 0.35)),
    "prefetch": Row("prefetch of 2, 20", "hit"),
    "count": Row("count", "hit", Goal(0.6, 0.35)),
    "values": Row("values, 20", "hit", Goal(0.6, 0.35)),
    "annotate": Row("heavy annotate", "hit", warm=2),
    # A turn takes a second and more. What was confirmed before the others had theirs is older than
    # MAX_STALE; in short turns nothing but that would be seen of it.
    "page": Row(
        "page of ten queries", "page", Goal(1 / 1.5, 1 / 2.5), warm=300, times=200, share=0.2
    ),
    "miss": Row("miss, list of 20", "miss", Goal(of_none=1.25)),
    "unread": Row("list of 20, never asked twice", "other", Goal(of_none=1.02), warm=200),
    "other": Row("get(pk), not opted in", "other", Goal(of_none=1.02)),
    "refused": Row("get(pk), not cacheable", "other", Goal(of_none=1.02)),
    "save": Row("save()", "write", times=10),
    "update": Row("update()", "write", times=10),
}

Rounds = dict[str, dict[str, list[float]]]
"""The seconds of a repetition in each round, by case and variant."""
By = Callable[[list[float], list[float]], float]
"""How the rounds of two variants become one ratio."""
Statements = dict[str, dict[str, float]]
"""The statements of a repetition, by case and variant."""


def check(cases: Sequence[str], peers: dict[str, Peer]) -> None:
    """Raise if any variant answers otherwise than the first one, cold or warm."""
    for case in cases:
        expected: list[str] | None = None
        for name, peer in peers.items():
            found = peer.ask("check", case=case)
            expected = expected or found
            if found != expected:
                raise BenchmarkError(f"{name!r} answers otherwise than no cache: {case}")


def time_cases(
    cases: Sequence[str], peers: dict[str, Peer], *, rounds: int, seconds: float
) -> tuple[Rounds, Statements]:
    found: Rounds = {}
    statements: Statements = {}
    for case in cases:
        note(ROWS[case].title)
        found[case] = time_case(case, peers, rounds=rounds, seconds=seconds)
        # Right after the timing, with what it has left in the cache: a hit has none.
        times = min(ROWS[case].times or 10, 10)
        statements[case] = {
            name: peer.ask("statements", case=case, times=times) for name, peer in peers.items()
        }
    return found, statements


def time_case(
    case: str, peers: dict[str, Peer], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    row, names, times = ROWS[case], list(peers), {}
    for name, peer in peers.items():
        if row.times:
            peer.ask("time_round", case=case, times=row.warm)
        times[name] = row.times or peer.ask("warm", case=case, times=row.warm, seconds=seconds)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(max(1, round(rounds * row.share))):
        # Another one begins each time: who comes after whom makes a difference.
        start = number % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(peers[name].ask("time_round", case=case, times=times[name]))
    return found


# What is printed ----------------------------------------------------------------------------------


def titles(names: Sequence[str]) -> list[str]:
    return [VARIANTS[name].title for name in names]


def say_times(
    rounds: Rounds, names: Sequence[str], of: Callable[[list[float]], float], what: str
) -> None:
    say(f"Microseconds, {what}:")
    say()
    rows = [
        [ROWS[case].title, *(f"{of(found[name]) * 1e6:,.0f}" for name in names)]
        for case, found in rounds.items()
    ]
    say_table(["", *titles(names)], rows)


def by_best(ours: list[float], others: list[float]) -> float:
    return min(ours) / min(others)


def by_turns(ours: list[float], others: list[float]) -> float:
    """Each turn against the turn beside it, as both have met the same machine; the median."""
    return median(one / other for one, other in zip(ours, others, strict=True))


def ratios(rounds: Rounds, by: By) -> dict[str, dict[str, dict[str, float]]]:
    """What each variant of ours takes, as a share of no cache and of the fastest peer."""
    return {case: ratios_of(found, by) for case, found in rounds.items()}


def ratios_of(found: dict[str, list[float]], by: By) -> dict[str, dict[str, float]]:
    others = {}
    if "none" in found:
        others["of_none"] = found["none"]
    if peers := [found[name] for name in found if VARIANTS[name].is_peer]:
        others["of_peer"] = min(peers, key=median)
    return {
        name: {what: by(found[name], seconds) for what, seconds in others.items()}
        for name in found
        if name in OURS
    }


def written(found: float | None, goal: float | None) -> str:
    if found is None:
        return "–"
    return f"{found:.2f}" if goal is None else f"{found:.2f} (≤ {goal:.2f})"


def say_ratios(rounds: Rounds, names: Sequence[str], by: By, what: str) -> None:
    ours = [name for name in names if name in OURS]
    if not ours:
        return
    say(f"Shares of the time that others take, {what}; in brackets the goal:")
    say()
    headings = [""]
    for title in titles(ours):
        headings += [f"{title} / no cache", f"{title} / fastest peer"]
    rows = []
    for case, found in ratios(rounds, by).items():
        goal, cells = ROWS[case].goal, [ROWS[case].title]
        for name in ours:
            of_peer = goal.of_peer if name == "querycache" else goal.of_peer_stale
            cells += [
                written(found[name].get("of_none"), goal.of_none),
                written(found[name].get("of_peer"), of_peer),
            ]
        rows.append(cells)
    say_table(headings, rows)


def say_pages(rounds: Rounds, names: Sequence[str]) -> None:
    if "page" in rounds:
        say("Pages of ten queries in a second, one worker, median:")
        say()
        pages = [f"{1 / median(rounds['page'][name]):,.0f}" for name in names]
        say_table(titles(names), [pages])


def say_statements(statements: Statements, names: Sequence[str]) -> None:
    say("SQL statements of one repetition, counted right after the timing; a hit has none:")
    say()
    rows = [
        [ROWS[case].title, *(f"{found[name]:g}" for name in names)]
        for case, found in statements.items()
    ]
    say_table(["", *titles(names)], rows)


def say_all(rounds: Rounds, statements: Statements) -> None:
    names = list(next(iter(rounds.values())))
    say_surroundings()
    say_times(rounds, names, min, "the best round")
    say_times(rounds, names, median, "the median of the rounds")
    say_ratios(rounds, names, by_turns, "turn by turn")
    say_ratios(rounds, names, by_best, "best against best")
    say_pages(rounds, names)
    say_statements(statements, names)


def drawing(rounds: Rounds) -> str:
    """Draw the reads that a cache can answer, turn by turn."""
    figures = {}
    for case, found in rounds.items():
        if ROWS[case].kind in {"hit", "page"}:
            first = next(iter(found.values()))
            figures[ROWS[case].title] = {
                VARIANTS[name].title: by_turns(seconds, first) for name, seconds in found.items()
            }
    return plot.bars(figures)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("compare", __doc__ or "", NAMES)
    parser.add_argument("--only", metavar="CASES", help=f"of {','.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=50, help="turns of each variant")
    parser.add_argument("--seconds", type=float, default=0.02, help="that a turn takes, about")
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--reviews", type=int, default=100_000)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios, as SVG")
    options = parser.parse_args(arguments)
    cases = options.only.split(",") if options.only else list(ROWS)
    if unknown := set(cases) - set(ROWS):
        parser.error(f"--only: no {', '.join(unknown)}")
    end_in_order()
    note("Starting the servers, stocking the shop")
    with (
        Servers(products=options.products, reviews=options.reviews) as servers,
        ExitStack() as stack,
    ):
        peers = servers.peers(options.variants, stack)
        note("Comparing the answers")
        check(cases, peers)
        rounds, statements = time_cases(
            cases, peers, rounds=options.rounds, seconds=options.seconds
        )
    say_all(rounds, statements)
    write_json(
        options.json,
        {
            "seconds": rounds,
            "statements": statements,
            "ratios": {"turns": ratios(rounds, by_turns), "best": ratios(rounds, by_best)},
        },
    )
    if options.plot:
        options.plot.write_text(drawing(rounds), encoding="utf-8")


if __name__ == "__main__":
    main()
