"""
What ``manage.py querycache doctor`` looks at, a module for each part.

Each part yields findings and raises nothing: what does not answer is a finding.
"""

from collections.abc import Iterator

from querycache.management.diagnosis import databases, protocol, settings, store, versions
from querycache.management.diagnosis.findings import Finding


def findings() -> Iterator[Finding]:
    """Look at everything, and yield each finding as soon as it is there."""
    yield from versions.findings()
    yield from settings.findings()
    is_usable = yield from store.findings()
    if is_usable:
        yield from protocol.findings()
    yield from databases.findings()
