"""The ``QUERYCACHE`` setting, understood: what each pattern, table and key of it says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from django.db.models import Model

from querycache.scopes import Column

DEFAULT_CACHE = "default"
DEFAULT_TTL = 300.0
"""Seconds an entry lives where a model names no TTL of its own."""
MAX_TTL = 365 * 24 * 3600.0
"""Seconds; a TTL is always finite, and this is the longest."""
DEFAULT_MAX_ROWS = 10_000
"""Rows of the largest answer that is stored where a model names no number of its own."""
DEFAULT_MAX_BYTES = 4 * 1024 * 1024
"""The same for the bytes of its entry."""
DEFAULT_LOCAL_BYTES = 16 * 1024 * 1024
"""Bytes of the entries that a process holds itself."""


Admission = Literal["cost", "all"]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """
    What one pattern of ``MODELS`` says.

    ``ttl`` is in seconds, and so is ``max_stale``: how old an answer may be. Answers of more than
    ``max_rows`` rows, or whose entry has more than ``max_bytes`` bytes, are not stored.
    ``depends_on`` are tables that those of a view are made of, ``scopes`` names of fields.
    """

    pattern: str
    ttl: float = DEFAULT_TTL
    max_stale: float = 0.0
    max_rows: int = DEFAULT_MAX_ROWS
    max_bytes: int = DEFAULT_MAX_BYTES
    depends_on: frozenset[str] = frozenset()
    delete_signal: bool = True
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows may be cached, and the model that it belongs to."""

    name: str
    label: str
    options: ModelOptions


@dataclass(frozen=True, slots=True)
class Replica:
    """
    A database alias that follows another, ``of``, by at most ``max_lag`` seconds.

    ``of`` is None where the setting is wrong: then nothing is known of the alias.
    """

    of: str | None = None
    max_lag: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the settings, for ``manage.py check``."""

    id: str
    message: str
    hint: str
    error: bool = True


@dataclass(frozen=True, slots=True)
class Config:
    """
    The setting, understood.

    ``models`` and ``tables`` hold what is opted in and nothing else; a proxy has the table of its
    concrete model. ``depends_on`` holds, by table, the tables that it is made of, and those that
    they are made of; ``published`` are all tables whose changes make something stale. ``triggers``
    holds, by table, those that change along with it, ``writes`` those that a function or procedure
    changes, by its name in lower case. ``verify`` is the share of hits to compare with the
    database, 0.0 to 1.0. ``scopes`` holds, by table, the columns whose values are scopes, the
    primary key first; a table that is not in it has none. ``admission`` says which queries are
    worth an entry; None stands for "all" in tests, and for "cost" elsewhere. ``local_bytes`` bounds
    the entries that a process holds itself. ``compress_above`` are the bytes above which an entry
    is compressed, None for never. ``checks_plans`` says that a remembered plan is compared with a
    new one each time, ``shows_parameters`` that statistics hold those of an example of a query.
    """

    cache: str = DEFAULT_CACHE
    namespace: Callable[[], str] | None = None
    models: Mapping[type[Model], Table] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    depends_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    triggers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    writes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replicas: Mapping[str, Replica] = field(default_factory=dict)
    verify: float = 0.0
    admission: Admission | None = None
    compress_above: int | None = None
    local_bytes: int = DEFAULT_LOCAL_BYTES
    checks_plans: bool = False
    shows_parameters: bool = False
    refuses_writes: bool = False
    scopes: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def primary_of(self, alias: str) -> str | None:
        """The alias of the database that a replica follows; None if that is not known."""
        replica = self.replicas.get(alias)
        return alias if replica is None else replica.of


def normalized_table(name: str) -> str:
    """
    The name under which a table is known here: unquoted, without schema, case folded.

    Two tables that fall together this way share their invalidations, which costs hits and never
    correctness.
    """
    return name.rsplit('"."', 1)[-1].strip('"`').casefold()
