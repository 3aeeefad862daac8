"""``manage.py querycache doctor``."""

import json as json_module
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from querycache.management.diagnosis import findings
from querycache.management.diagnosis.findings import Finding, Status
from querycache.management.subcommands.base import Subcommand
from querycache.management.terminal import one_line


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(command: BaseCommand, *, json: bool, **options: Any) -> None:
    found = []
    for finding in findings():
        found.append(finding)
        if not json:
            _show(command, finding)
            command.stdout.flush()
    problems = sum(finding.status is Status.PROBLEM for finding in found)
    if json:
        worst = max((finding.status for finding in found), key=list(Status).index)
        document = {"status": worst, "findings": [asdict(finding) for finding in found]}
        command.stdout.write(json_module.dumps(document, indent=2))
    if problems:
        raise CommandError(f"{problems} problem{'s' * (problems > 1)} found")


def _show(command: BaseCommand, finding: Finding) -> None:
    style = command.style
    paint = {Status.OK: style.SUCCESS, Status.WARNING: style.WARNING, Status.PROBLEM: style.ERROR}
    text = one_line(f"{finding.about}: {finding.message} {finding.hint}")
    command.stdout.write(f"{paint[finding.status](f'{finding.status:7}')}  {text}")


DOCTOR: Final = Subcommand(
    "doctor",
    "Look for what is wrong, and say what to do about it: settings, cache, databases.",
    ("", "--json"),
    add_arguments,
    run,
    judges_settings=True,
)
