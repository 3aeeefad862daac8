"""
What ``MODELS`` says: which models are opted in, with which options, and what becomes of that.

The most specific pattern wins. A pattern that is wrong opts its models out: nothing is cached with
options that nobody has given.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from django.apps import apps
from django.db.models import Model

from querycache.options import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_ROWS,
    DEFAULT_TTL,
    MAX_TTL,
    ModelOptions,
    Problem,
    Table,
    normalized_table,
)
from querycache.readers import is_valid_max_stale, is_valid_ttl, read_labels, unknown_keys
from querycache.scopes import Column, column_of, key_of_model


def read_patterns(raw: Any, problems: list[Problem]) -> dict[str, ModelOptions | None]:
    """Map each well-formed pattern, lower-cased, to its options; None means never cached."""
    if not isinstance(raw, dict):
        hint = 'Write {"shop.Product": {"TTL": 300}}.'
        problems.append(Problem("E005", "QUERYCACHE['MODELS'] must be a dict.", hint))
        return {}
    patterns: dict[str, ModelOptions | None] = {}
    for pattern, value in raw.items():
        where = f"QUERYCACHE['MODELS'][{pattern!r}]"
        if not isinstance(pattern, str) or not (pattern == "*" or pattern.count(".") == 1):
            hint = 'A pattern is "app.Model", "app.*" or "*".'
            problems.append(Problem("E006", f"{where} is not a pattern.", hint))
            continue
        problem = _unmatched(pattern)
        if problem:
            problems.append(problem)
        # A pattern whose options are wrong opts out, so that a wider one does not take its place.
        patterns[pattern.lower()] = _read_options(pattern, value, where, problems)
    return patterns


def _unmatched(pattern: str) -> Problem | None:
    """Say so if no installed model matches."""
    labels = {model._meta.label for model in apps.get_models(include_auto_created=True)}
    if any(pattern.lower() in _patterns_for(label) for label in labels):
        return None
    close = difflib.get_close_matches(pattern, labels, 1)
    hint = f"Did you mean {close[0]!r}?" if close else "Is its app in INSTALLED_APPS?"
    return Problem(
        "W001", f"QUERYCACHE['MODELS']: no model matches {pattern!r}.", hint, error=False
    )


def _patterns_for(label: str) -> tuple[str, str, str]:
    """The patterns that match a model, the most specific first."""
    label = label.lower()
    return label, label.split(".")[0] + ".*", "*"


def _read_options(
    pattern: str, value: Any, where: str, problems: list[Problem]
) -> ModelOptions | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        hint = 'Give a dict of options, such as {"TTL": 300}, or None for "never cached".'
        problems.append(Problem("E007", f"{where} must be a dict or None.", hint))
        return None
    wrong = list(unknown_keys(value, _OPTIONS, where))
    ttl = value.get("TTL", DEFAULT_TTL)
    if not is_valid_ttl(ttl):
        hint = f"Give seconds, more than 0 and at most {MAX_TTL:.0f} (a year)."
        wrong.append(Problem("E008", f"{where}['TTL'] is {ttl!r}.", hint))
    max_stale = value.get("MAX_STALE", 0)
    if not is_valid_max_stale(max_stale):
        hint = "Give seconds: 0 for never older than the database, at most a year."
        wrong.append(Problem("E020", f"{where}['MAX_STALE'] is {max_stale!r}.", hint))
    max_rows = value.get("MAX_ROWS", DEFAULT_MAX_ROWS)
    max_bytes = value.get("MAX_BYTES", DEFAULT_MAX_BYTES)
    for name, limit in (("MAX_ROWS", max_rows), ("MAX_BYTES", max_bytes)):
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            wrong.append(
                Problem("E015", f"{where}[{name!r}] is {limit!r}.", "Give a whole number above 0.")
            )
    delete_signal = value.get("DELETE_SIGNAL", True)
    if not isinstance(delete_signal, bool):
        problem = f"{where}['DELETE_SIGNAL'] is {delete_signal!r}."
        wrong.append(Problem("E009", problem, "Give True or False."))
    depends_on = read_labels(value.get("DEPENDS_ON", []), f"{where}['DEPENDS_ON']", "E016", wrong)
    scopes = value.get("SCOPES", ())
    if not isinstance(scopes, list | tuple) or not all(isinstance(name, str) for name in scopes):
        problem = f"{where}['SCOPES'] is {scopes!r}."
        wrong.append(Problem("E019", problem, _HINT_OF_SCOPES))
    problems.extend(wrong)
    if wrong:
        return None
    return ModelOptions(
        pattern,
        float(ttl),
        float(max_stale),
        max_rows,
        max_bytes,
        depends_on,
        delete_signal,
        tuple(scopes),
    )


_OPTIONS = ("TTL", "MAX_STALE", "MAX_ROWS", "MAX_BYTES", "DEPENDS_ON", "DELETE_SIGNAL", "SCOPES")
_HINT_OF_SCOPES = (
    "Give a list of fields of the model that hold whole numbers or UUIDs, or are foreign keys to "
    'such, as in ["category"].'
)


def options_of_models(
    patterns: Mapping[str, ModelOptions | None],
) -> dict[type[Model], ModelOptions]:
    """
    Map every opted-in model to its options.

    The most specific pattern wins. An auto-created many-to-many table follows the model that
    declares it. A multi-table parent, and the concrete model of a proxy, follow their child unless
    they are named themselves; then a proxy follows its concrete model, whose rows it shows.
    """
    found: dict[type[Model], ModelOptions | None] = {}
    models = apps.get_models(include_auto_created=True)
    for model in models:
        owner: type[Model] = model._meta.auto_created or model  # type: ignore[assignment]
        names = (model._meta.label.lower(), *_patterns_for(owner._meta.label))
        # A model without migrations may be a view, which changes with tables that nobody knows of:
        # it is opted in by its own name or not at all.
        matching = [
            name for name in names[: None if owner._meta.managed else 2] if name in patterns
        ]
        if matching:
            found[model] = patterns[matching[0]]
    for model in models:
        if found.get(model) is not None:
            for parent in model._meta.all_parents:
                found.setdefault(parent, found[model])
    for model in models:
        if model._meta.proxy and model._meta.concrete_model is not None:
            found[model] = found.get(model._meta.concrete_model)
    return {model: options for model, options in found.items() if options is not None}


def opted_in_tables(options_of: Mapping[type[Model], ModelOptions]) -> dict[str, Table]:
    """Map each table to its owner. A table that an excluded model shares is left out."""
    tables: dict[str, Table] = {}
    excluded = set()
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy:
            continue
        name = normalized_table(model._meta.db_table)
        options = options_of.get(model)
        if options is None:
            excluded.add(name)
        elif name not in tables or options.ttl < tables[name].options.ttl:
            tables[name] = Table(name, model._meta.label, options)
    return {name: table for name, table in tables.items() if name not in excluded}


def columns_of_scopes(
    options_of: Mapping[type[Model], ModelOptions],
    tables: AbstractSet[str],
    problems: list[Problem],
) -> dict[str, tuple[Column, ...]]:
    """
    Map each table to the columns whose values are scopes: its primary key, and what SCOPES names.

    A table that several models share has none, since one of them may have another primary key.
    """
    owners = Counter(
        normalized_table(model._meta.db_table)
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
    )
    columns: dict[str, tuple[Column, ...]] = {}
    unused = {(one.pattern, name) for one in options_of.values() for name in one.scopes}
    for model, options in options_of.items():
        table = normalized_table(model._meta.db_table)
        if model._meta.proxy or table not in tables or owners[table] != 1:
            continue
        key = key_of_model(model)
        found = {} if key is None else {key.name: key}
        fields = {field.name: field for field in model._meta.local_concrete_fields}
        for name in options.scopes:
            column = column_of(fields[name]) if name in fields else None
            if name in fields:
                unused.discard((options.pattern, name))
            if name in fields and (column is None or key is None):
                what = "primary key" if key is None else f"field {name!r}"
                problem = f"SCOPES of {options.pattern!r}: {model._meta.label} has a {what} that "
                problems.append(
                    Problem("E019", f"{problem}cannot tell its rows apart.", _HINT_OF_SCOPES)
                )
            elif column is not None:
                found.setdefault(column.name, column)
        if key is not None:
            columns[table] = tuple(found.values())
    for pattern, name in sorted(unused):
        problem = f"SCOPES of {pattern!r}: no model has a field {name!r} of its own."
        problems.append(Problem("E019", problem, _HINT_OF_SCOPES))
    return columns
