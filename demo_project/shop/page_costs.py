"""Each page says what it has cost: queries, how many of them came from the cache, and the time."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

from querycache import bypass
from querycache.recorder import record_reads

PLACEHOLDER = b"<!-- page costs -->"


@dataclass(frozen=True, slots=True)
class PageCosts:
    """What the making of one page took."""

    database_queries: int
    from_cache: int
    milliseconds: float

    @property
    def queries(self) -> int:
        return self.database_queries + self.from_cache

    def __str__(self) -> str:
        noun = "query" if self.queries == 1 else "queries"
        return (
            f"{self.queries} {noun}, {self.from_cache} from the cache, {self.milliseconds:.1f} ms"
        )


class QueryCounter:
    """Counts the statements that reach the database, for `connection.execute_wrapper`."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.count += 1
        return execute(sql, params, many, context)


class PageCostsMiddleware:
    """
    Count and time each request, and write the result where the page has its placeholder.

    A page asked for with `?cache=off` is made without the cache, to compare.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        perhaps_bypass = bypass() if request.GET.get("cache") == "off" else nullcontext()
        counter = QueryCounter()
        start = time.perf_counter()
        with perhaps_bypass, connection.execute_wrapper(counter), record_reads() as reads:
            response = self.get_response(request)
        costs = PageCosts(
            database_queries=counter.count,
            from_cache=sum(read.outcome == "hit" for read in reads),
            milliseconds=(time.perf_counter() - start) * 1000,
        )
        response.page_costs = costs  # for `manage.py measure_pages`
        if not response.streaming and PLACEHOLDER in response.content:
            response.content = response.content.replace(PLACEHOLDER, str(costs).encode(), 1)
            response.headers["Content-Length"] = str(len(response.content))
        return response
