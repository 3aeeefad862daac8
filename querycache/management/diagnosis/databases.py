"""Looks at the databases that opted-in models are read from."""

from collections.abc import Iterator
from contextlib import suppress

from django.db import connections, router

from querycache._django.connections import BaseDatabaseWrapper, is_snapshot, reads_uncommitted
from querycache.conf import get_config
from querycache.exceptions import StoreFailed, Uncacheable
from querycache.management.diagnosis.findings import Finding, ok, problem, warning
from querycache.management.secrets import reason_of
from querycache.stores import get_store
from querycache.transactions import state_of


def findings() -> Iterator[Finding]:
    for alias in _aliases():
        about = f"database {alias}"
        try:
            connection = connections[alias]
            text = _introduction(connection)
            state_of(connection).database(connection)
        except Uncacheable as refusal:
            yield problem(
                about,
                f"Nothing of it is cached: {refusal}.",
                f"The documentation says what to do, among the reasons: {refusal.reason}.",
            )
        except Exception as error:  # noqa: BLE001  whatever a driver raises, or lacks
            yield problem(
                about,
                f"It does not answer: {reason_of(error)}.",
                f"Is it running, and is DATABASES[{alias!r}] right?",
            )
        else:
            yield _transactions(about, text, connection)
            yield from _replica(about, alias)


def _aliases() -> list[str]:
    """Return the aliases that opted-in models are read from or written to, and their replicas."""
    config = get_config()
    used = {choose(model) for model in config.models for choose in _CHOICES}
    return [alias for alias in connections if alias in used or alias in config.replicas]


_CHOICES = (router.db_for_read, router.db_for_write)


def _introduction(connection: BaseDatabaseWrapper) -> str:
    """Return what a database is called, its version, and its isolation level as far as known."""
    connection.ensure_connection()
    version = ""
    with suppress(NotImplementedError):  # that of a backend of others
        version = " " + ".".join(map(str, connection.get_database_version()))
    level = getattr(connection, "isolation_level", None)
    if connection.vendor == "sqlite":
        isolation = "SERIALIZABLE"
    elif level is None or "isolation" in str(connection.settings_dict["OPTIONS"].get("options")):
        isolation = "the isolation level that it is told"
    else:
        isolation = (getattr(level, "name", None) or str(level)).upper().replace("_", " ")
    return f"{connection.display_name}{version}, {isolation}"


def _transactions(about: str, text: str, connection: BaseDatabaseWrapper) -> Finding:
    if reads_uncommitted(connection):
        return warning(
            about,
            f"{text}: nothing is cached, since it may read what is never committed.",
            'Set "OPTIONS": {"isolation_level": "read committed"}.',
        )
    why = ""
    if is_snapshot(connection):
        why = "since these read a snapshot"
    elif _has_the_store(connection):
        why = "since the cache is a table of it"
    if not why:
        return ok(about, f"{text}: reads are cached, in transactions too.")
    text = f"{text}: reads are cached, but not in transactions, {why}."
    given = connection.settings_dict
    always = "ATOMIC_REQUESTS is on" if given["ATOMIC_REQUESTS"] else ""
    always = always or ("" if given["AUTOCOMMIT"] else "AUTOCOMMIT is off")
    if not always:
        return ok(about, text)
    return warning(
        about,
        f"{text} And {always}.",
        "Leave transactions to the views that write, so that reads of the others are cached.",
    )


def _has_the_store(connection: BaseDatabaseWrapper) -> bool:
    try:
        return get_store().using == connection.alias
    except StoreFailed:  # that is said where the store is looked at
        return False


def _replica(about: str, alias: str) -> Iterator[Finding]:
    replica = get_config().replicas.get(alias)
    if replica is not None and replica.of is not None:
        yield ok(about, f"It follows {replica.of!r}, by at most {replica.max_lag:g} s.")
