"""Why a query is, or is not, answered from the cache."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet

from querycache import generations, reads
from querycache._django import MULTI
from querycache.conf import get_config
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.transactions import state_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    What querycache makes of a queryset that is about to be evaluated.

    ``reason`` and ``detail`` say why it is not cacheable. ``ttl`` is in seconds and ``ttl_source``
    where it comes from: a pattern of the settings, or ``cached()``. ``cached`` says whether a fresh
    entry is in the store now, None if the store does not answer.
    """

    sql: str
    using: str
    reason: Reason | None = None
    detail: str = ""
    key: str = ""
    tables: tuple[str, ...] = ()
    ttl: float | None = None
    ttl_source: str = ""
    cached: bool | None = None

    @property
    def cacheable(self) -> bool:
        """Whether the query may be answered from the cache."""
        return self.reason is None

    def __str__(self) -> str:
        lines = [f"SQL           {self.sql}", f"database      {self.using}"]
        if self.reason is not None:
            detail = f" ({self.detail})" if self.detail else ""
            lines.append(f"cacheable     no, {self.reason}: {self.reason.explanation}{detail}")
            return "\n".join(lines)
        found = {True: "yes", False: "no", None: "unknown, the cache does not answer"}[self.cached]
        return "\n".join(
            [
                *lines,
                "cacheable     yes",
                f"in the cache  {found}",
                f"TTL           {self.ttl:g} seconds, from {self.ttl_source!r}",
                f"depends on    {', '.join(self.tables)}",
                f"key           {self.key}",
            ]
        )


def explain(queryset: QuerySet[Any, Any]) -> Explanation:
    """
    Say what querycache makes of a queryset, without running it.

    Raises ``TypeError`` for what is not a queryset.
    """
    if not isinstance(queryset, QuerySet):
        raise TypeError(f"expected a QuerySet, not {type(queryset).__name__}")
    using = queryset.db
    compiler = queryset.query.clone().get_compiler(using)
    state = state_of(connections[using])
    statement = ""
    try:
        statement, params = compiler.as_sql()
        if compiler.query.model not in get_config().models:
            raise Uncacheable(Reason.NOT_OPTED_IN, compiler.query.model._meta.label)
        reads.refuse_before_compiling(compiler, state, MULTI, chunked_fetch=False)
        plan = reads.plan_of(compiler, (statement, params), MULTI, state)
    except EmptyResultSet:
        return Explanation("", using, Reason.EMPTY)
    except Uncacheable as refusal:
        return Explanation(statement, using, refusal.reason, refusal.detail)
    try:
        found = generations.look(plan.key, plan.dependencies).loaded is not None
    except StoreFailed:
        found = None
    return Explanation(
        statement, using, None, "", plan.key, plan.shape.tables, plan.ttl, plan.ttl_source, found
    )
