"""
The ``QUERYCACHE`` setting, read once and again whenever it changes.

A wrong setting never breaks a site: what is wrong is left out (its models are not cached), and
``manage.py check`` names it. ``read_settings`` is where both come from.
"""

import difflib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from importlib.util import find_spec
from typing import Any, TypeGuard

from django.apps import apps
from django.conf import settings
from django.db.models import Model
from django.utils.module_loading import import_string

from querycache.exceptions import Reason, Uncacheable
from querycache.options import (
    DEFAULT_CACHE,
    DEFAULT_LOCAL_BYTES,
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_ROWS,
    DEFAULT_TTL,
    MAX_TTL,
    Admission,
    Config,
    ModelOptions,
    Problem,
    Replica,
    Table,
    normalized_table,
)
from querycache.scopes import Column, column_of, key_of_model


@functools.cache
def get_config() -> Config:
    """Return the current settings. Needs loaded apps."""
    return read_settings(getattr(settings, "QUERYCACHE", {}))


def read_settings(raw: Any) -> Config:
    """Understand ``raw``, the value of the setting; what is wrong ends up in ``problems``."""
    if not isinstance(raw, dict):
        problem = Problem(
            "E001", "QUERYCACHE must be a dict.", 'Write QUERYCACHE = {"MODELS": {…}}.'
        )
        return Config(problems=(problem,))
    problems = list(_unknown_keys(raw, _KEYS, "QUERYCACHE"))
    cache = raw.get("CACHE", DEFAULT_CACHE)
    if not isinstance(cache, str):
        problems.append(
            Problem("E002", "QUERYCACHE['CACHE'] must be a string.", "Name an alias of CACHES.")
        )
        cache = DEFAULT_CACHE
    patterns = _read_patterns(raw.get("MODELS", {}), problems)
    namespace = _read_namespace(raw.get("NAMESPACE"), problems)
    options = _options_of_models(patterns)
    tables = _opted_in_tables(options)
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
        triggers=_transitively(_read_triggers(raw.get("TRIGGERS", {}), problems)),
        writes=_read_writes(raw.get("WRITES", {}), problems),
        replicas=_read_replicas(raw.get("REPLICAS", {}), problems),
        verify=_read_verify(raw.get("VERIFY", 0.0), problems),
        admission=_read_admission(raw.get("ADMISSION"), problems),
        compress_above=_read_compress_above(raw.get("COMPRESS_ABOVE"), problems),
        local_bytes=_read_local(raw.get("LOCAL", {}), problems),
        checks_plans=_read_flag(raw.get("CHECK_PLANS", False), problems),
        refuses_writes=_read_on_failure(raw.get("ON_STORE_FAILURE", "continue"), problems),
        scopes=_columns_of_scopes(options, tables.keys() - depends_on.keys(), problems),
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
    "TRIGGERS",
    "VERIFY",
    "WRITES",
)


def _unknown_keys(raw: dict[Any, Any], known: tuple[str, ...], where: str) -> Iterator[Problem]:
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(str(key).upper(), known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
            yield Problem("E003", f"{where} has an unknown key {key!r}.", hint)


def _read_namespace(path: Any, problems: list[Problem]) -> Callable[[], str] | None:
    if path is None:
        return None
    try:
        namespace = import_string(path)
        if not callable(namespace):
            raise ImportError(f"{path!r} is not callable")
    except (ImportError, TypeError, AttributeError) as error:
        hint = "Give the dotted path of a callable that takes nothing and returns a string."
        problems.append(Problem("E004", f"QUERYCACHE['NAMESPACE']: {error}.", hint))
        # Without its namespace a query might be answered with another tenant's rows.
        return _broken_namespace
    return namespace  # type: ignore[no-any-return]


def _broken_namespace() -> str:
    raise Uncacheable(Reason.MISCONFIGURED, "QUERYCACHE['NAMESPACE']")


def _read_replicas(raw: Any, problems: list[Problem]) -> dict[str, Replica]:
    hint = (
        'Write {"replica": {"OF": "default", "MAX_LAG": 5}}, two aliases of DATABASES and seconds.'
    )
    if not isinstance(raw, dict):
        problems.append(Problem("E011", "QUERYCACHE['REPLICAS'] must be a dict.", hint))
        return {}
    replicas = {}
    for alias, value in raw.items():
        replica, wrong = _read_replica(alias, value, raw)
        # One whose options are wrong is not taken for a database in its own right either.
        replicas[alias] = Replica() if wrong else replica
        where = f"QUERYCACHE['REPLICAS'][{alias!r}]"
        problems.extend(Problem("E012", f"{where} {reason}.", hint) for reason in wrong)
    return replicas


def _read_replica(alias: Any, value: Any, replicas: dict[Any, Any]) -> tuple[Replica, list[str]]:
    """Return what the options of a replica say, and what is wrong with them."""
    if not isinstance(value, dict) or not value.keys() <= {"OF", "MAX_LAG"}:
        return Replica(), ["must be a dict of OF and MAX_LAG"]
    primary, lag = value.get("OF"), value.get("MAX_LAG")
    wrong = []
    if alias not in settings.DATABASES:
        wrong.append("is not in DATABASES")
    if primary not in settings.DATABASES:
        wrong.append(f"is OF {primary!r}, which is not in DATABASES")
    elif primary in replicas:
        wrong.append(f"is OF {primary!r}, which is a replica itself")
    if not _is_number(lag) or lag <= 0:
        wrong.append(f"has the MAX_LAG {lag!r}, which is no number of seconds above 0")
        return Replica(), wrong
    return Replica(primary, float(lag)), wrong


def _read_verify(share: Any, problems: list[Problem]) -> float:
    if _is_number(share) and 0 <= share <= 1:
        return float(share)
    hint = "Give a share of all hits, 0.0 to 1.0, such as 0.01."
    problems.append(Problem("E013", f"QUERYCACHE['VERIFY'] is {share!r}.", hint))
    return 0.0


def _read_admission(value: Any, problems: list[Problem]) -> Admission | None:
    if value in (None, "cost", "all"):
        return value  # type: ignore[no-any-return]
    problem = f"QUERYCACHE['ADMISSION'] is {value!r}."
    problems.append(Problem("E023", problem, 'Give "cost" or "all".'))
    return "all"


def _read_compress_above(value: Any, problems: list[Problem]) -> int | None:
    if value is None:
        return None
    where = f"QUERYCACHE['COMPRESS_ABOVE'] is {value!r}"
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        hint = "Give a whole number of bytes from 0, or None for never."
        problems.append(Problem("E024", f"{where}.", hint))
        return None
    if find_spec("zstandard") is None:
        hint = 'Install it: pip install "django-orm-querycache[zstd]".'
        problems.append(Problem("E024", f"{where}, but zstandard is not installed.", hint))
        return None
    return value


def _read_local(raw: Any, problems: list[Problem]) -> int:
    size = raw.get("MAX_BYTES", DEFAULT_LOCAL_BYTES) if isinstance(raw, dict) else None
    is_known = isinstance(raw, dict) and raw.keys() <= {"MAX_BYTES"}
    if is_known and isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    hint = 'Write {"MAX_BYTES": 16_000_000}; 0 for none.'
    problems.append(Problem("E021", f"QUERYCACHE['LOCAL'] is {raw!r}.", hint))
    return DEFAULT_LOCAL_BYTES


def _read_flag(value: Any, problems: list[Problem]) -> bool:
    if not isinstance(value, bool):
        problem = f"QUERYCACHE['CHECK_PLANS'] is {value!r}."
        problems.append(Problem("E022", problem, "Give True or False."))
    return value is True


def _read_on_failure(value: Any, problems: list[Problem]) -> bool:
    if value not in ("continue", "refuse"):
        hint = 'Give "continue" or "refuse".'
        problems.append(Problem("E014", f"QUERYCACHE['ON_STORE_FAILURE'] is {value!r}.", hint))
    return bool(value == "refuse")


def _read_patterns(raw: Any, problems: list[Problem]) -> dict[str, ModelOptions | None]:
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
    wrong = list(_unknown_keys(value, _OPTIONS, where))
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
    depends_on = _read_labels(value.get("DEPENDS_ON", []), f"{where}['DEPENDS_ON']", "E016", wrong)
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


def _columns_of_scopes(
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


def _read_labels(raw: Any, where: str, problem: str, problems: list[Problem]) -> frozenset[str]:
    """Return the tables of a list of names like "shop.Order"; what is wrong is left out."""
    hint = 'Give a list of models, such as ["shop.Order"].'
    if not isinstance(raw, list | tuple):
        problems.append(Problem(problem, f"{where} is {raw!r}.", hint))
        return frozenset()
    tables = set()
    for label in raw:
        model = _model_of(label)
        if model is None:
            labels = [model._meta.label for model in apps.get_models(include_auto_created=True)]
            close = difflib.get_close_matches(str(label), labels, 1)
            suggestion = f"Did you mean {close[0]!r}?" if close else hint
            problems.append(Problem(problem, f"{where}: no model {label!r}.", suggestion))
        else:
            parts = [model, *model._meta.all_parents]
            tables |= {normalized_table(part._meta.db_table) for part in parts}
    return frozenset(tables)


def _model_of(label: Any) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError, AttributeError, TypeError):
        return None


def _read_triggers(raw: Any, problems: list[Problem]) -> dict[str, frozenset[str]]:
    hint = (
        'Write {"shop.Order": ["shop.Stock"]}: the model that is written, what its trigger writes.'
    )
    if not isinstance(raw, dict):
        problems.append(Problem("E017", "QUERYCACHE['TRIGGERS'] must be a dict.", hint))
        return {}
    triggers: dict[str, frozenset[str]] = {}
    for label, labels in raw.items():
        where = f"QUERYCACHE['TRIGGERS'][{label!r}]"
        written = _read_labels([label], where, "E017", problems)
        changed = _read_labels(labels, where, "E017", problems)
        for table in written:
            triggers[table] = triggers.get(table, frozenset()) | changed
    return triggers


def _read_writes(raw: Any, problems: list[Problem]) -> dict[str, frozenset[str]]:
    hint = 'Write {"refresh_totals": ["shop.Product"]}: a function or procedure, what it writes.'
    if not isinstance(raw, dict):
        problems.append(Problem("E018", "QUERYCACHE['WRITES'] must be a dict.", hint))
        return {}
    writes = {}
    for name, labels in raw.items():
        where, wrong = f"QUERYCACHE['WRITES'][{name!r}]", list[Problem]()
        if not isinstance(name, str) or not name.isidentifier():
            wrong.append(Problem("E018", f"{where} is not the name of a function.", hint))
        tables = _read_labels(labels, where, "E018", wrong)
        problems.extend(wrong)
        if not wrong:  # otherwise it may write anything, as one that is not named here
            writes[name.casefold()] = tables
    return writes


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


def is_valid_ttl(seconds: object) -> bool:
    """Say whether this is a TTL: a number of seconds above 0, and not for ever."""
    return _is_number(seconds) and 0 < seconds <= MAX_TTL


def is_valid_max_stale(seconds: object) -> bool:
    """Say whether this is a MAX_STALE: a number of seconds, 0 for never older."""
    return _is_number(seconds) and 0 <= seconds <= MAX_TTL


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _options_of_models(
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


def _opted_in_tables(options_of: Mapping[type[Model], ModelOptions]) -> dict[str, Table]:
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
