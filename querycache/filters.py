"""
What ``filter()``, ``exclude()`` and ``values()`` make of a query, remembered.

To resolve conditions takes Django longer than all else that it does about a query. Of one query and
the same conditions always the same query comes: it is made once, and the next one becomes a copy of
it, in place. Only what a filter makes of a query that joins other tables is made each time: it
depends on what the filters before have joined.

So a query that is filtered by plain values knows what it was made as, and how: that is its
fingerprint, without a look at all that it consists of, for as long as nothing about it has changed.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

from querycache._django.conditions import (
    Conditions,
    Model,
    Q,
    conditions_of,
    forget_arguments,
    forget_targets,
)
from querycache._django.derivations import is_djangos
from querycache._django.filters import (
    MADE_AS,
    Query,
    become,
    is_as_it_was,
    is_filtered_plainly,
    reads_others,
    without_the_rest,
)
from querycache.conf import current, get_config
from querycache.derivations import is_made_again
from querycache.fingerprints import Made, forget_origins, is_known, new_query_of
from querycache.hints import bypassed
from querycache.memory import Memory

_QUERIES: Final = 1024
_remembered: Memory[tuple[Any, Conditions], Made] = Memory(_QUERIES)
"""What a query was made to, by what it was and what was done to it: that is its fingerprint."""
_MOST_FIELDS: Final = 50


def forget_filters() -> None:
    """Forget every query: something has changed that Django reads when it makes one."""
    _remembered.clear()
    forget_origins()
    forget_targets()


def wrap_add_q(add_q: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.add_q``, that of others excepted."""
    if not is_djangos(add_q):
        return add_q

    @functools.wraps(add_q)
    def filter_by_memory(query: Query, condition: Q, reuse_all: bool = False) -> None:
        how: Conditions | None = None
        model: Any = query.model
        if (
            (not query.where.children or query.__dict__.get(MADE_AS) is not None)
            and model in (current.config or get_config()).models
            and not (reuse_all or bypassed.get())
        ):
            how = conditions_of(model, condition)
        if how is None:
            add_q(query, condition, reuse_all)
        else:
            _change(query, model, how, lambda changed: add_q(changed, condition))

    return filter_by_memory


def wrap_set_values(set_values: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Query.set_values``, that of others excepted."""
    if not is_djangos(set_values):
        return set_values

    @functools.wraps(set_values)
    def select_by_memory(query: Query, fields: Any) -> None:
        model: Any = query.model
        if (
            model in (current.config or get_config()).models
            and not (query.select_related or bypassed.get())
            and len(fields) <= _MOST_FIELDS
            and {*map(type, fields)} <= {str}
        ):
            how = ("values", *fields)
            _change(query, model, how, lambda changed: set_values(changed, fields))
        else:
            set_values(query, fields)

    return select_by_memory


def _change(
    query: Query, model: type[Model], how: Conditions, change: Callable[[Query], None]
) -> None:
    """Change a query, or make it a copy of what another has become by the same change."""
    source: Made | None = query.__dict__.pop(MADE_AS, None)
    if source is None:
        source = new_query_of(model, len(model._meta.concrete_fields))
    if source.joins or not is_as_it_was(query, source.query):
        change(query)
        return
    name = source.fingerprint, how
    known = _remembered.get(name)
    if known is not None and get_config().checks_plans:
        made = query.clone()
        change(made)
        if not is_made_again(known, without_the_rest(made)):
            known = None
    if known is not None:
        known.was_used = True
        become(query, known.query)
    else:
        change(query)
        if not is_filtered_plainly(query, is_known):
            return
        made = without_the_rest(query)
        forget_arguments(made.where)
        known = Made(made, name, joins=reads_others(made))
        _remembered.put(name, known)
    query.__dict__[MADE_AS] = known
