"""Looks at ``QUERYCACHE``: what the checks say, and what is opted in."""

from collections.abc import Iterator
from typing import Final

from django.core import checks

from querycache.checks import check_settings
from querycache.conf import get_config
from querycache.management.diagnosis.findings import Finding, ok, problem, warning
from querycache.management.figures import human_duration

_SHOWN: Final = 8
"""How many models are named."""


def findings() -> Iterator[Finding]:
    yield from _checked()
    yield _opted_in()
    old = {
        table.label: table.options.max_stale
        for table in get_config().tables.values()
        if table.options.max_stale
    }
    if old:
        ages = [f"{label} ({human_duration(age)})" for label, age in sorted(old.items())]
        yield ok("models", f"May be older than the database, by MAX_STALE: {_some(ages)}.")


def _checked() -> Iterator[Finding]:
    found = [message for message in check_settings() if not message.is_silenced()]
    for message in found:
        finding = problem if message.level >= checks.ERROR else warning
        yield finding("settings", f"{message.msg} ({message.id})", message.hint or "")
    if not found:
        yield ok("settings", "The checks have nothing to say.")


def _opted_in() -> Finding:
    labels = sorted({table.label for table in get_config().tables.values()})
    if not labels:
        return warning(
            "models",
            "No model is opted in, so nothing is cached.",
            'Name models in settings, for example QUERYCACHE = {"MODELS": {"shop.Product": '
            '{"TTL": 300}}}.',
        )
    return ok("models", f"Opted in: {_some(labels)}.")


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
