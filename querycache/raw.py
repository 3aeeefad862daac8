"""Raw querysets: answered from the cache where ``cached()`` asks for it, and nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter_ns, time
from types import SimpleNamespace
from typing import Any

from django.db import connections
from django.db.models import Model
from django.db.models.query import RawQuerySet

from querycache import generations, loads
from querycache._django.compilers import MULTI
from querycache._django.queries import RawQuery, copy_of_raw
from querycache.entries import Loaded
from querycache.exceptions import Reason, StoreFailed, Uncacheable
from querycache.hints import HINT, Hint
from querycache.planning import plan_of
from querycache.refusals import refuse_before_compiling
from querycache.transactions import state_of


def cached_raw(queryset: "RawQuerySet[Any]", hint: Hint) -> "RawQuerySet[Any]":
    """Return a copy of a raw queryset whose rows are kept as the hint says."""
    copy = copy_of_raw(queryset)
    copy.query = CachedRawQuery(copy.query, copy.model, hint)  # type: ignore[arg-type]
    return copy


class Rows:
    """What Django takes for a cursor that was executed."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Any]) -> None:
        self.description = [(column,) for column in columns]
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def close(self) -> None:
        """Do nothing: the cursor of the database is closed already."""


class CachedRawQuery(RawQuery):
    """A raw query whose names of columns and rows may come from the cache."""

    # What the read path asks of a query.
    select_for_update = False
    explain_info = None

    def __init__(self, query: RawQuery, model: type[Model], hint: Hint) -> None:
        super().__init__(query.sql, query.using, query.params)
        self._model, self._hint = model, hint
        setattr(self, HINT, hint)

    def get_meta(self) -> Any:
        """Return the options of the model, as other queries do."""
        return self._model._meta

    def clone(self, using: str) -> "CachedRawQuery":
        """Return the same query of another database."""
        return CachedRawQuery(super().clone(using), self._model, self._hint)

    def _execute_query(self) -> None:
        connection = connections[self.using]
        state, label, began = state_of(connection), self._model._meta.label, perf_counter_ns()
        compiler: Any = SimpleNamespace(query=self, connection=connection, has_extra_select=False)
        # A placeholder is one only if there are parameters, and may have a name.
        kind = f"raw {getattr(self.params_type, '__name__', None)}"
        by_name = isinstance(self.params, Mapping)
        params = tuple(sorted(self.params.items()) if by_name else self.params or ())
        try:
            refuse_before_compiling(compiler, state, MULTI, chunked_fetch=False)
            plan = plan_of(compiler, (self.sql, params), kind, state)
            look = generations.look(plan.key, plan.dependencies, plan.ttl, plan.max_stale)
        except (Uncacheable, StoreFailed) as refusal:
            reason = getattr(refusal, "reason", Reason.STORE_FAILED)
            loads.note(label, "bypass", began, reason)
            super()._execute_query()  # type: ignore[misc]
            return
        loaded = look.loaded
        if loaded is None or loads.is_due(loaded, plan.ttl):
            loaded = loads.answered(connection, label, plan, look, self._load, began)
        else:
            loads.note(label, "hit", began, None, plan, loaded)
        columns, *rows = loaded.rows
        self.cursor: Any = Rows(columns, rows)

    def _load(self) -> Loaded:
        """Run the SELECT; return what an entry holds of it: the names of the columns, and rows."""
        began = perf_counter_ns()
        super()._execute_query()  # type: ignore[misc]
        columns = tuple(column[0] for column in self.cursor.description)
        rows = [columns, *self.cursor]
        self.cursor.close()
        return Loaded(rows, time(), (perf_counter_ns() - began) // 1000)
