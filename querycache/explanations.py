"""Why a query is, or is not, answered from the cache."""

from contextlib import suppress
from dataclasses import dataclass, replace
from time import time
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet

from querycache import generations
from querycache._django.compilers import MULTI
from querycache.admission import Costs, Site, sites
from querycache.conf import get_config
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.hints import hint_of
from querycache.planning import plan_of
from querycache.plans import ANOTHER_SERVER, Plan, causes_of, named, whole_tables
from querycache.refusals import refuse_before_compiling
from querycache.scopes import ANY, NEW
from querycache.transactions import state_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    What querycache makes of a queryset that is about to be evaluated.

    ``tables`` are those that it reads, ``depends_on`` what its answer is true about: some of them,
    and of others a scope such as ``shop_product.id = 5``.
    ``reason`` and ``detail`` say why it is not cacheable. ``ttl`` is in seconds and ``ttl_source``
    where it comes from: a pattern of the settings, or ``cached()``; ``max_stale`` are the seconds
    that an answer may be old. ``cached`` says whether a fresh entry is in the store now, None if
    the store does not answer; ``age`` is in seconds, ``size`` in bytes, and ``died`` says of a
    stale one what made it so.
    """

    sql: str
    using: str
    reason: Reason | None = None
    detail: str = ""
    key: str = ""
    tables: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    ttl: float | None = None
    ttl_source: str = ""
    max_stale: float = 0.0
    cached: bool | None = None
    age: float | None = None
    size: int = 0
    died: str = ""

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
        return "\n".join(
            [
                *lines,
                "cacheable     yes",
                f"in the cache  {self._what_is_there()}",
                f"TTL           {self.ttl:g} seconds, from {self.ttl_source!r}",
                f"MAX_STALE     {self.max_stale:g} seconds",
                f"depends on    {', '.join(self.depends_on)}",
                f"key           {self.key}",
            ]
        )

    def _what_is_there(self) -> str:
        if self.cached is None:
            return "unknown, the cache does not answer"
        if self.age is not None:
            return f"yes, for {self.age:.1f} seconds, {self.size:,} bytes"
        return f"no, the last entry died of {self.died}" if self.died else "no"


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
    site = sites.find(compiler.query, MULTI)
    statement = ""
    try:
        statement, params = compiler.as_sql()
        if compiler.query.model not in get_config().models:
            raise Uncacheable(Reason.NOT_OPTED_IN, compiler.query.model._meta.label)
        refuse_before_compiling(compiler, state, MULTI, chunked_fetch=False)
        plan = plan_of(compiler, (statement, params), MULTI, state)
        if hint_of(compiler.query) is None:
            _refuse_what_is_refused(plan.shape.costs, site)
    except EmptyResultSet:
        return Explanation("", using, Reason.EMPTY)
    except Uncacheable as refusal:
        return Explanation(statement, using, refusal.reason, refusal.detail)
    explanation = Explanation(
        statement,
        using,
        key=plan.key,
        tables=plan.shape.tables,
        depends_on=_depends_on(plan),
        ttl=plan.ttl,
        ttl_source=plan.ttl_source,
        max_stale=plan.max_stale,
    )
    with suppress(StoreFailed):
        return _with_entry(explanation, plan)
    return explanation


def _refuse_what_is_refused(costs: Costs, site: Site | None) -> None:
    """Raise ``Uncacheable`` for what goes to the database for a while, though it need not."""
    is_skipped = site is not None and site.left > 0
    if site is not None and is_skipped and site.reason is not Reason.NOT_WORTH_IT:
        detail = f"said of others that look like this one, which is looked at in {site.left} reads"
        raise Uncacheable(site.reason, detail)
    if costs.is_refused or is_skipped:
        raise Uncacheable(Reason.NOT_WORTH_IT, costs.why_refused)


def _with_entry(explanation: Explanation, plan: Plan) -> Explanation:
    found = generations.inspect(plan.key, plan.dependencies)
    if found.loaded is not None:
        age = max(0.0, time() - found.loaded.at)
        return replace(explanation, cached=True, age=age, size=found.size)
    causes = dict(zip(plan.dependencies, causes_of(plan), strict=True))
    died = ", ".join(causes[name] if name else ANOTHER_SERVER for name in found.changed)
    if found.fenced:
        died = ", ".join(f"{causes[name]} that is not over" for name in found.fenced)
    return replace(explanation, cached=False, size=found.size, died=died)


def _depends_on(plan: Plan) -> tuple[str, ...]:
    """Name the tables that a query depends on, and the scopes of others."""
    scopes = (named(scope) for scope in plan.scopes if scope.value not in {ANY, NEW})
    return (*whole_tables(plan), *scopes)
