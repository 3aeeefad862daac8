"""
A process with one variant, which does what it is asked in lines of JSON, until its parent is gone.

The peers change Django itself, so that no two of them fit into one process.
"""

import gc
import hashlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import django


class Statements:
    """Counts what reaches the database, for ``connection.execute_wrapper``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.count += 1
        return execute(sql, params, many, context)


@contextmanager
def counted() -> Iterator[Statements]:
    from django.db import connection

    statements = Statements()
    with connection.execute_wrapper(statements):
        yield statements


numbers: dict[str, Iterator[int]] = {}
"""The next number of each case."""


def repeat(case: str, times: int) -> float:
    """Run a case, and return the seconds that one repetition took, without what precedes it."""
    from tests.benchmarks.cases import BEFORE, CASES

    step, before = CASES[case], BEFORE.get(case)
    number = numbers.setdefault(case, itertools.count())
    total = 0
    for _ in range(times):
        if before:
            before()
        n = next(number)
        begin = time.perf_counter_ns()
        step(n)
        total += time.perf_counter_ns() - begin
    return total / times / 1e9


def problems() -> list[str]:
    """What is wrong with the settings: a key that this querycache does not know."""
    from django.apps import apps

    if not apps.is_installed("querycache"):
        return []
    from querycache.conf import get_config

    return [problem.message for problem in get_config().problems if problem.error]


def stock(products: int, reviews: int) -> None:
    from tests.benchmarks.shop.goods import stock_up

    stock_up(products=products, reviews=reviews)


def check(case: str) -> list[str]:
    """Return digests of what a case gives, cold and then warm."""
    from tests.benchmarks.cases import BEFORE, CASES, picture

    def digest(number: int) -> str:
        if case in BEFORE:
            BEFORE[case]()
        return hashlib.sha256(repr(picture(CASES[case](number))).encode()).hexdigest()

    return [digest(number) for number in [0, 1, 2] * 2]


def warm(case: str, times: int, seconds: float) -> int:
    """Run a case so that it is warm; return the repetitions that take about these seconds."""
    repeat(case, times)
    one = min(repeat(case, 3) for _ in range(3))
    return max(1, min(2000, int(seconds / one)))


def statements(case: str, times: int) -> float:
    """Return the statements of one repetition, without what precedes it."""
    from tests.benchmarks.cases import BEFORE, CASES

    number, total = numbers.setdefault(case, itertools.count()), 0
    for _ in range(times):
        if case in BEFORE:
            BEFORE[case]()
        with counted() as found:
            CASES[case](next(number))
        total += found.count
    return total / times


def time_round(case: str, times: int) -> float:
    """Return the seconds that one repetition took."""
    gc.disable()
    try:
        return repeat(case, times)
    finally:
        gc.enable()
        gc.collect()


def in_turn(case: str, turns: int, times: int) -> list[tuple[float, float]]:
    """Return the seconds that one repetition took with querycache, and without it, turn by turn."""
    from querycache import hooks

    found = []
    repeat(case, 150)  # what is learnt of a query is learnt
    for _ in range(turns):
        seconds = []
        for change in (hooks.uninstall, hooks.install):
            change()
            repeat(case, 30)  # Python specialises its code anew
            seconds.append(time_round(case, times))
        without, with_it = seconds
        found.append((with_it, without))
    return found


def write(pk: int) -> float:
    """Return the seconds that one ``save()`` took."""
    from tests.benchmarks.shop.models import Product

    product = Product.objects.get(pk=pk)
    product.stock += 1
    begin = time.perf_counter_ns()
    product.save()
    return (time.perf_counter_ns() - begin) / 1e9


def fill(first: int, count: int, texts: bool = False) -> int:
    """
    Run so many queries that nobody has run before; return the bytes that this process takes.

    Their parameters are new; with ``texts``, every tenth has a new text, too.
    """
    from tests.benchmarks.cases import new_text, unread

    for number in range(first, first + count):
        run = new_text if texts and number % 10 == 0 else unread
        run(number)
    gc.collect()
    return resident_bytes()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def heavy(products: int) -> Any:
    """A query whose cost is the square of a category's size, for each of so many products."""
    from django.db.models import Count

    from tests.benchmarks.shop.models import Product

    return Product.objects.filter(category_id=1, pk__lte=products).aggregate(
        pairs=Count("category__products__category__products")
    )


def time_heavy(products: int) -> float:
    begin = time.perf_counter_ns()
    heavy(products)
    return (time.perf_counter_ns() - begin) / 1e9


def herd(threads: int, products: int, start: float) -> list[list[float]]:
    """
    Let so many threads run the heavy query at once, at a moment of ``time.time()``.

    Returns the seconds and the statements of each.
    """
    from django.db import connection

    found: list[list[float]] = []
    ready = threading.Barrier(threads)

    def read() -> None:
        connection.ensure_connection()
        ready.wait()
        time.sleep(max(0.0, start - time.time()))
        with counted() as counter:
            seconds = time_heavy(products)
        found.append([seconds, counter.count])
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return found


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in (
        problems, stock, check, warm, statements, time_round, in_turn, write, fill, time_heavy,
        herd,
    )
}  # fmt: skip


def main() -> None:
    # Whatever else prints, prints to where errors go.
    answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    django.setup()
    for line in sys.stdin:
        request = json.loads(line)
        answer = ACTIONS[request.pop("do")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
