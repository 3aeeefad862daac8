"""
What each key of the ``QUERYCACHE`` setting says by itself, and what is wrong with it.

A reader takes the value as it stands in the setting, and a list to which it adds each problem that
it finds. In the place of what is wrong it returns what does no harm.
"""

import difflib
import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeGuard

from django.apps import apps
from django.conf import settings
from django.db.models import Model
from django.utils.module_loading import import_string

from querycache.exceptions import Reason, Uncacheable
from querycache.options import (
    DEFAULT_LOCAL_BYTES,
    MAX_TTL,
    Admission,
    Problem,
    Replica,
    normalized_table,
)


def unknown_keys(raw: dict[Any, Any], known: tuple[str, ...], where: str) -> Iterator[Problem]:
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(str(key).upper(), known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
            yield Problem("E003", f"{where} has an unknown key {key!r}.", hint)


def read_namespace(path: Any, problems: list[Problem]) -> Callable[[], str] | None:
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


def read_replicas(raw: Any, problems: list[Problem]) -> dict[str, Replica]:
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
    if not is_number(lag) or lag <= 0:
        wrong.append(f"has the MAX_LAG {lag!r}, which is no number of seconds above 0")
        return Replica(), wrong
    return Replica(primary, float(lag)), wrong


def read_verify(share: Any, problems: list[Problem]) -> float:
    if is_number(share) and 0 <= share <= 1:
        return float(share)
    hint = "Give a share of all hits, 0.0 to 1.0, such as 0.01."
    problems.append(Problem("E013", f"QUERYCACHE['VERIFY'] is {share!r}.", hint))
    return 0.0


def read_admission(value: Any, problems: list[Problem]) -> Admission | None:
    if value in (None, "cost", "all"):
        return value  # type: ignore[no-any-return]
    problem = f"QUERYCACHE['ADMISSION'] is {value!r}."
    problems.append(Problem("E023", problem, 'Give "cost" or "all".'))
    return "all"


def read_compress_above(value: Any, problems: list[Problem]) -> int | None:
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


def read_local(raw: Any, problems: list[Problem]) -> int:
    size = raw.get("MAX_BYTES", DEFAULT_LOCAL_BYTES) if isinstance(raw, dict) else None
    is_known = isinstance(raw, dict) and raw.keys() <= {"MAX_BYTES"}
    if is_known and isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    hint = 'Write {"MAX_BYTES": 16_000_000}; 0 for none.'
    problems.append(Problem("E021", f"QUERYCACHE['LOCAL'] is {raw!r}.", hint))
    return DEFAULT_LOCAL_BYTES


def read_flag(name: str, value: Any, problems: list[Problem]) -> bool:
    if not isinstance(value, bool):
        problem = f"QUERYCACHE[{name!r}] is {value!r}."
        problems.append(Problem("E022", problem, "Give True or False."))
    return value is True


def read_on_failure(value: Any, problems: list[Problem]) -> bool:
    if value not in ("continue", "refuse"):
        hint = 'Give "continue" or "refuse".'
        problems.append(Problem("E014", f"QUERYCACHE['ON_STORE_FAILURE'] is {value!r}.", hint))
    return bool(value == "refuse")


def read_triggers(raw: Any, problems: list[Problem]) -> dict[str, frozenset[str]]:
    hint = (
        'Write {"shop.Order": ["shop.Stock"]}: the model that is written, what its trigger writes.'
    )
    if not isinstance(raw, dict):
        problems.append(Problem("E017", "QUERYCACHE['TRIGGERS'] must be a dict.", hint))
        return {}
    triggers: dict[str, frozenset[str]] = {}
    for label, labels in raw.items():
        where = f"QUERYCACHE['TRIGGERS'][{label!r}]"
        written = read_labels([label], where, "E017", problems)
        changed = read_labels(labels, where, "E017", problems)
        for table in written:
            triggers[table] = triggers.get(table, frozenset()) | changed
    return triggers


def read_writes(raw: Any, problems: list[Problem]) -> dict[str, frozenset[str]]:
    hint = 'Write {"refresh_totals": ["shop.Product"]}: a function or procedure, what it writes.'
    if not isinstance(raw, dict):
        problems.append(Problem("E018", "QUERYCACHE['WRITES'] must be a dict.", hint))
        return {}
    writes = {}
    for name, labels in raw.items():
        where, wrong = f"QUERYCACHE['WRITES'][{name!r}]", list[Problem]()
        if not isinstance(name, str) or not name.isidentifier():
            wrong.append(Problem("E018", f"{where} is not the name of a function.", hint))
        tables = read_labels(labels, where, "E018", wrong)
        problems.extend(wrong)
        if not wrong:  # otherwise it may write anything, as one that is not named here
            writes[name.casefold()] = tables
    return writes


def read_labels(raw: Any, where: str, problem: str, problems: list[Problem]) -> frozenset[str]:
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


def is_valid_ttl(seconds: object) -> bool:
    """Say whether this is a TTL: a number of seconds above 0, and not for ever."""
    return is_number(seconds) and 0 < seconds <= MAX_TTL


def is_valid_max_stale(seconds: object) -> bool:
    """Say whether this is a MAX_STALE: a number of seconds, 0 for never older."""
    return is_number(seconds) and 0 <= seconds <= MAX_TTL


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
