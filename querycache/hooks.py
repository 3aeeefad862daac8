"""The only module that assigns to Django's classes. What it installs, it can take out again."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from django.apps import apps
from django.core.signals import request_finished, setting_changed
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from querycache import (
    breaker,
    changes,
    commits,
    conf,
    counts,
    cursors,
    debts,
    derivations,
    entries,
    filters,
    hydration,
    invalidation,
    layouts,
    reads,
    recall,
    replicas,
    stores,
    writes,
)
from querycache._django.compilers import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from querycache._django.connections import (
    BaseDatabaseWrapper,
    CursorWrapper,
    debug_cursor_with_copy,
)
from querycache._django.derivations import (
    Query,
    RegisterLookupMixin,
    on_registration,
)
from querycache._django.instances import ModelIterable
from querycache.counting import statistics
from querycache.local import local
from querycache.sessions import Session
from querycache.transactions import state_of

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def _wrap_connect(connect: Callable[..., Any]) -> Callable[..., Any]:
    """
    Return what takes the place of ``BaseDatabaseWrapper.connect``.

    If it fails half way, Django keeps the connection and sends no ``connection_created``.
    """

    @functools.wraps(connect)
    def watched_connect(connection: BaseDatabaseWrapper) -> None:
        _watch_connection(connection)
        connect(connection)

    return watched_connect


_METHODS: Final[tuple[tuple[type, str, Wrap], ...]] = (
    (SQLCompiler, "execute_sql", reads.wrap_execute_sql),
    (ModelIterable, "__iter__", hydration.wrap_iter),
    (Query, "add_q", filters.wrap_add_q),
    (Query, "set_values", filters.wrap_set_values),
    (Query, "get_count", derivations.wrap_get_count),
    (Query, "get_aggregation", derivations.wrap_get_aggregation),
    (Query, "has_results", derivations.wrap_has_results),
    (SQLInsertCompiler, "execute_sql", writes.wrap_write),
    (SQLUpdateCompiler, "execute_sql", writes.wrap_write),
    (SQLUpdateCompiler, "execute_returning_sql", writes.wrap_write),  # Django 6.0
    (SQLDeleteCompiler, "execute_sql", writes.wrap_write),
    (CursorWrapper, "callproc", cursors.wrap_callproc),
    (BaseDatabaseWrapper, "connect", _wrap_connect),
    (BaseDatabaseWrapper, "commit", commits.wrap_commit),
    (BaseDatabaseWrapper, "rollback", commits.wrap_rollback),
    (BaseDatabaseWrapper, "close", commits.wrap_close),
    (BaseDatabaseWrapper, "set_autocommit", commits.wrap_set_autocommit),
)
_ATTRIBUTES: Final[tuple[tuple[type, str, Any], ...]] = (
    # What is passed on to the driver's cursor; where that has none, neither has this.
    (CursorWrapper, "copy", property(cursors.watched_copy)),
    (CursorWrapper, "executescript", property(cursors.watched_executescript)),
    (CursorWrapper, "stream", property(cursors.watched_stream)),
    *(
        (RegisterLookupMixin, name, on_registration(name, recall.forget_queries))
        for name in ("register_lookup", "_unregister_lookup")
    ),
)


def _methods() -> tuple[tuple[type, str, Wrap], ...]:
    """Return what is wrapped: of the admin, too, where a project has it."""
    if not apps.is_installed("django.contrib.admin"):
        return _METHODS
    from querycache._django.admin import ModelAdmin
    from querycache.change_forms import wrap_render_change_form

    return (*_METHODS, (ModelAdmin, "render_change_form", wrap_render_change_form))


_UID: Final = "querycache"

_replaced: list[tuple[type, str, Callable[..., Any] | None]] = []


def install() -> None:
    """
    Begin to answer reads from the cache and to watch writes. Does nothing if that is so already.
    """
    if _replaced:
        _settings_changed(setting="INSTALLED_APPS")  # the apps were made ready again
        return
    for owner, name, wrap in _methods():
        if hasattr(owner, name):
            # None stands for a method that is inherited, and is inherited again afterwards.
            _replaced.append((owner, name, owner.__dict__.get(name)))
            setattr(owner, name, wrap(getattr(owner, name)))
    for owner, name, attribute in _ATTRIBUTES:
        _replaced.append((owner, name, owner.__dict__.get(name)))
        setattr(owner, name, attribute)
    connection_created.connect(_watch_new_connection, dispatch_uid=_UID)
    for connection in connections.all(initialized_only=True):
        _watch_connection(connection)
    statistics.connect(counts.publish, counts.counts_in_background)
    request_finished.connect(_request_finished, dispatch_uid=_UID)
    _connect_models()
    setting_changed.connect(_settings_changed, dispatch_uid=_UID)


def uninstall() -> None:
    """
    Leave Django as it was. Other threads' open connections go on being watched until they close.
    """
    while _replaced:
        owner, name, method = _replaced.pop()
        if method is None:
            delattr(owner, name)
        else:
            setattr(owner, name, method)
    connection_created.disconnect(dispatch_uid=_UID)
    for connection in connections.all(initialized_only=True):
        if invalidation.watch_statement in connection.execute_wrappers:
            connection.execute_wrappers.remove(invalidation.watch_statement)
    statistics.publish()
    statistics.connect(None)
    request_finished.disconnect(dispatch_uid=_UID)
    _disconnect(_connected)
    setting_changed.disconnect(dispatch_uid=_UID)


def _watch_new_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    _watch_connection(connection)
    # What Django itself tells every session of these settings tells none of them apart.
    state_of(connection).session = Session()


def _watch_connection(connection: BaseDatabaseWrapper) -> None:
    if invalidation.watch_statement not in connection.execute_wrappers:
        # Not at the end: ``with connection.execute_wrapper(…)`` takes off the last one when it
        # ends.
        connection.execute_wrappers.insert(0, invalidation.watch_statement)
    cursor = debug_cursor_with_copy(connection)
    if cursor is not None and (cursor, "copy") not in {item[:2] for item in _replaced}:
        _replaced.append((cursor, "copy", cursor.copy))
        cursor.copy = cursors.wrap_copy(cursor.copy)


def _request_finished(**kwargs: Any) -> None:
    if not counts.counts_in_background():
        statistics.publish_if_due()


_connected: set[tuple[Any, type[Model]]] = set()


def _connect_models() -> None:
    """Listen to the models that are opted in, and to no other: see ``DELETE_SIGNAL``."""
    wanted = set(_signals_of_models())
    _disconnect(_connected - wanted)
    for signal, model in wanted - _connected:
        signal.connect(invalidation.rows_changed, sender=model, dispatch_uid=_UID)
        _connected.add((signal, model))


def _disconnect(connected: Iterable[tuple[Any, type[Model]]]) -> None:
    for signal, model in tuple(connected):
        signal.disconnect(sender=model, dispatch_uid=_UID)
        _connected.discard((signal, model))


def _signals_of_models() -> Iterator[tuple[Any, type[Model]]]:
    models = conf.get_config().models
    for model, table in models.items():
        yield post_save, model
        if table.options.delete_signal:
            yield post_delete, model
        for field in model._meta.local_many_to_many:
            through: type[Model] = field.remote_field.through  # type: ignore[assignment]
            # With a receiver, Django asks which rows are there before it adds some.
            if through in models and models[through].options.delete_signal:
                yield m2m_changed, through


def _settings_changed(*, setting: str, **kwargs: Any) -> None:
    """Forget whatever was made of a setting; tests change them."""
    if setting in {"SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        entries.forget_signing_keys()
        local.clear()
    recall.forget_plans()  # compiling may read any of them
    if setting in {"QUERYCACHE", "INSTALLED_APPS", "CACHES"}:
        debts.settle()
        statistics.publish()
        statistics.tell_again()
        conf.forget_config()
        stores.forget_store()
        breaker.forget_failure()
        local.clear()
        layouts.forget_layouts()
        replicas.forget_sightings()
        changes.forget_changes()
        for connection in connections.all(initialized_only=True):
            state_of(connection).forget_database()
        _connect_models()
