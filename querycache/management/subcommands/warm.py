"""``manage.py querycache warm``."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from querycache.exceptions import QueryCacheError, Reason
from querycache.management.diagnosis.store import is_of_this_process
from querycache.management.figures import human_duration
from querycache.management.subcommands.base import Subcommand
from querycache.management.subcommands.stats import lines_of_bypasses
from querycache.management.targets import Reader, default_host
from querycache.management.terminal import Line, Redrawn, is_terminal, one_line
from querycache.recorder import Read, record_reads

_INTERRUPTED: Final = 130
"""The exit code of a program that was ended by Ctrl-C, as shells have it."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="the path of a URL, as in /products/, or the dotted path of a queryset, or of a "
        "function that returns one or several",
    )
    parser.add_argument(
        "--from", dest="file", metavar="FILE", help="a target on each line; - for standard input"
    )
    parser.add_argument("--host", help="whose pages; default: the first in ALLOWED_HOSTS")


def run(
    command: BaseCommand, *, targets: list[str], file: str | None, host: str | None, **options: Any
) -> None:
    targets = [*targets, *_lines_of(file)] if file else targets
    if not targets:
        raise CommandError(
            "no target: name a URL or a queryset, or a file with --from", returncode=2
        )
    if is_of_this_process():
        text = "The cache is this process's own: no other process will find what is read here."
        command.stderr.write(text, command.style.WARNING)
    progress, reader = _Progress(command, len(targets)), Reader(host or default_host())
    try:
        for target in targets:
            progress.begin(target)
            _read(reader, target, progress)
    except KeyboardInterrupt:
        progress.finish()
        raise CommandError("interrupted", returncode=_INTERRUPTED) from None
    progress.finish()
    _judge(progress)


def _lines_of(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--from: {error}") from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read(reader: Reader, target: str, progress: "_Progress") -> None:
    began = perf_counter()
    with record_reads() as reads:
        try:
            outcome, failed = reader.read(target), False
        except QueryCacheError as error:
            outcome, failed = str(error), True
        except Exception as error:  # noqa: BLE001  a view or a function raises what it likes
            outcome, failed = f"{type(error).__name__}: {error}", True
    progress.end(target, outcome, reads, perf_counter() - began, failed=failed)


def _judge(progress: "_Progress") -> None:
    if progress.failed:
        raise CommandError(f"{progress.failed} of {progress.done} targets failed")
    if any(read.reason is Reason.STORE_FAILED for read in progress.reads):
        raise CommandError("the cache did not answer, so it is not warm")


class _Progress:
    """Shows how far it is: one line that is redrawn, or where that cannot be, a line for each."""

    def __init__(self, command: BaseCommand, total: int) -> None:
        self._command = command
        self._total = total
        self._redrawn = Redrawn(command.stdout) if is_terminal(command.stdout) else None
        self.done = self.failed = 0
        self.reads: list[Read] = []

    def begin(self, target: str) -> None:
        if self._redrawn is not None:
            self._redrawn.draw([Line(f"[{self.done + 1}/{self._total}] {one_line(target)}")])

    def end(
        self, target: str, outcome: str, reads: list[Read], seconds: float, *, failed: bool
    ) -> None:
        self.done += 1
        self.failed += failed
        self.reads += reads
        style = self._command.style
        status, paint = ("failed", style.ERROR) if failed else ("ok", style.SUCCESS)
        took = f"{_summary(reads)}, {human_duration(seconds)}"
        text = f"{one_line(target)}  {one_line(outcome)}, {took}"
        if self._redrawn is not None:
            self._redrawn.clear()
        if failed or self._redrawn is None:
            self._command.stdout.write(f"{paint(f'{status:6}')}  {text}")
            self._command.stdout.flush()

    def finish(self) -> None:
        """Say what has come of it all."""
        if self._redrawn is not None:
            self._redrawn.clear()
        failed = f", {self.failed} of them failed" if self.failed else ""
        counted = f"{self.done} of {self._total} targets{failed}"
        for line in (Line(f"{counted}: {_summary(self.reads)}."), *self._bypasses()):
            self._command.stdout.write(line.paint(line.text))

    def _bypasses(self) -> Iterator[Line]:
        counts = Counter((read.label, read.reason) for read in self.reads if read.reason)
        found = [(label, reason, n) for (label, reason), n in counts.most_common() if reason]
        if found:
            yield from lines_of_bypasses(found, self._command.style)


def _summary(reads: list[Read]) -> str:
    """Return how many reads there were, by their outcome."""
    counts: Counter[str] = Counter(read.outcome for read in reads)
    if not counts:
        return "no reads of opted-in models"
    names = (("hit", "hits"), ("miss", "misses"), ("bypass", "bypasses"))
    return ", ".join(f"{counts[one]:,} {one if counts[one] == 1 else many}" for one, many in names)


WARM: Final = Subcommand(
    "warm",
    "Read pages and querysets, so that what they read is in the cache.",
    (
        "/ /products/",
        "shop.warm.querysets",
        "--host shop.example.com --from warm.txt",
    ),
    add_arguments,
    run,
)
