"""Runs ``manage.py querycache``: in this process, from a shell, and on a terminal."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

from django.core.management import call_command

from querycache.recorder import record_reads

ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "tests.settings", "COLUMNS": "100", "TERM": "xterm"}


def run(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("querycache", *arguments, stdout=output, no_color=True, **options)
    return output.getvalue()


def command_line(*arguments: str) -> list[str]:
    # Where the tests found no Valkey, checks would complain of the LocMemCache.
    return [sys.executable, "-m", "django", "querycache", "--skip-checks", *arguments]


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as from a shell, for its exit code."""
    return subprocess.run(
        command_line(*arguments),
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_program_for_a_line(*arguments: str) -> tuple[str, str, int]:
    """Run the command as before ``| head -1``; return the line, what it complains of, its code."""
    with subprocess.Popen(
        command_line(*arguments),
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.stdout.close()
        return line, process.stderr.read(), process.wait(60)


@contextlib.contextmanager
def on_terminal(
    *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[str]]]:
    """Run the command on a terminal; yield its process, and what it writes, piece by piece."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command_line(*arguments),
        env={**os.environ, **ENVIRONMENT, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Whoever runs in the background of a shell has been told to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        os.close(theirs)
        try:
            yield process, _pieces(ours)
        finally:
            process.kill()
            os.close(ours)


def _pieces(terminal: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # EIO: nobody writes any more
        while piece := os.read(terminal, 4096):
            yield piece.decode().replace("\r\n", "\n")


def outcome_of_reading(queryset: Any) -> str:
    with record_reads() as reads:
        list(queryset.all())
    return reads[0].outcome
