"""A panel of django-debug-toolbar: what was read in a request, and why not from the cache."""

from contextlib import ExitStack
from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy, ngettext

from querycache.recorder import Read, record_reads

__all__ = ["QueryCachePanel"]


class QueryCachePanel(Panel):
    """
    The reads of opted-in models in a request.

    Name it in DEBUG_TOOLBAR_PANELS, as "querycache.contrib.debug_toolbar.QueryCachePanel".
    """

    is_async = True
    title = nav_title = gettext_lazy("Query cache")
    template = "querycache/debug_toolbar.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recording = ExitStack()
        self._reads: list[Read] = []

    def enable_instrumentation(self) -> None:
        """Begin to record the reads of this thread or task, and of what it awaits."""
        self._recording.close()
        self._reads = self._recording.enter_context(record_reads())

    def disable_instrumentation(self) -> None:
        """Record no more."""
        self._recording.close()

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Keep what was read, in a form that the toolbar's store can keep."""
        outcomes = [read.outcome for read in self._reads]
        self.record_stats(
            {
                "reads": [_as_dict(read) for read in self._reads],
                "hits": outcomes.count("hit"),
                "misses": outcomes.count("miss"),
                "bypasses": outcomes.count("bypass"),
                "milliseconds": sum(read.microseconds for read in self._reads) / 1000,
            }
        )

    @property
    def nav_subtitle(self) -> str:
        """The sums, such as "12 hits, 1 miss, 2 bypasses"."""
        stats = self.get_stats()
        hits, misses, bypasses = (stats.get(name, 0) for name in ("hits", "misses", "bypasses"))
        return ", ".join(
            [
                ngettext("%d hit", "%d hits", hits) % hits,
                ngettext("%d miss", "%d misses", misses) % misses,
                ngettext("%d bypass", "%d bypasses", bypasses) % bypasses,
            ]
        )


def _as_dict(read: Read) -> dict[str, Any]:
    return {
        "model": read.label,
        "outcome": read.outcome,
        "reason": read.reason.value if read.reason else "",
        "explanation": read.reason.explanation if read.reason else "",
        "milliseconds": read.microseconds / 1000,
    }
