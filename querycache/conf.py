"""
The ``QUERYCACHE`` setting, read once and again whenever it changes.

A wrong setting never breaks a site: what is wrong is left out (its models are not cached), and
``manage.py check`` names it. ``read_settings`` is where both come from.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.conf import settings

from querycache.options import DEFAULT_CACHE, Config, Problem, normalized_table
from querycache.patterns import columns_of_scopes, opted_in_tables, options_of_models, read_patterns
from querycache.readers import (
    read_admission,
    read_compress_above,
    read_flag,
    read_local,
    read_namespace,
    read_on_failure,
    read_replicas,
    read_triggers,
    read_verify,
    read_writes,
    unknown_keys,
)


class Current:
    """The settings, once they were read, for whoever cannot afford a call of ``get_config()``."""

    config: Config | None = None


current: Final = Current()


@functools.cache
def get_config() -> Config:
    """Return the current settings. Needs loaded apps."""
    current.config = read_settings(getattr(settings, "QUERYCACHE", {}))
    return current.config


def forget_config() -> None:
    """Have the settings read anew: they have changed."""
    current.config = None
    get_config.cache_clear()


def read_settings(raw: Any) -> Config:
    """Understand ``raw``, the value of the setting; what is wrong ends up in ``problems``."""
    if not isinstance(raw, dict):
        problem = Problem(
            "E001", "QUERYCACHE must be a dict.", 'Write QUERYCACHE = {"MODELS": {…}}.'
        )
        return Config(problems=(problem,))
    problems = list(unknown_keys(raw, _KEYS, "QUERYCACHE"))
    cache = raw.get("CACHE", DEFAULT_CACHE)
    if not isinstance(cache, str):
        problems.append(
            Problem("E002", "QUERYCACHE['CACHE'] must be a string.", "Name an alias of CACHES.")
        )
        cache = DEFAULT_CACHE
    patterns = read_patterns(raw.get("MODELS", {}), problems)
    namespace = read_namespace(raw.get("NAMESPACE"), problems)
    options = options_of_models(patterns)
    tables = opted_in_tables(options)
    depends_on = _transitively({name: table.options.depends_on for name, table in tables.items()})
    models = {
        model: tables[name]
        for model in options
        if (name := normalized_table(model._meta.db_table)) in tables
    }
    return Config(
        cache=cache,
        namespace=namespace,
        models=models,
        tables=tables,
        depends_on=depends_on,
        published=frozenset(tables).union(*depends_on.values()),
        triggers=_transitively(read_triggers(raw.get("TRIGGERS", {}), problems)),
        writes=read_writes(raw.get("WRITES", {}), problems),
        replicas=read_replicas(raw.get("REPLICAS", {}), problems),
        verify=read_verify(raw.get("VERIFY", 0.0), problems),
        admission=read_admission(raw.get("ADMISSION"), problems),
        compress_above=read_compress_above(raw.get("COMPRESS_ABOVE"), problems),
        local_bytes=read_local(raw.get("LOCAL", {}), problems),
        checks_plans=read_flag("CHECK_PLANS", raw.get("CHECK_PLANS", False), problems),
        shows_parameters=read_flag("SHOW_PARAMETERS", raw.get("SHOW_PARAMETERS", False), problems),
        refuses_writes=read_on_failure(raw.get("ON_STORE_FAILURE", "continue"), problems),
        scopes=columns_of_scopes(options, tables.keys() - depends_on.keys(), problems),
        problems=tuple(problems),
    )


_KEYS = (
    "ADMISSION",
    "CACHE",
    "CHECK_PLANS",
    "COMPRESS_ABOVE",
    "LOCAL",
    "MODELS",
    "NAMESPACE",
    "ON_STORE_FAILURE",
    "REPLICAS",
    "SHOW_PARAMETERS",
    "TRIGGERS",
    "VERIFY",
    "WRITES",
)


def _transitively(followed: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Return what follows each name, what follows that, and so on."""
    found = {}
    for name in followed:
        reached: set[str] = set()
        waiting = list(followed[name])
        while waiting:
            following = waiting.pop()
            if following not in reached:
                reached.add(following)
                waiting.extend(followed.get(following, ()))
        if reached:
            found[name] = frozenset(reached)
    return found
