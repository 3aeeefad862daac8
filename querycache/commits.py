"""
The end of a transaction: COMMIT publishes what the journal says, ROLLBACK forgets it.

Django ends transactions by methods of the connection, and not by statements that would be watched.
"""

import functools
from collections.abc import Callable
from typing import Any

from querycache._django.connections import BaseDatabaseWrapper
from querycache.events import tell
from querycache.invalidation import publishing, takes_back
from querycache.statements import NOTHING
from querycache.transactions import state_of


def wrap_commit(commit: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.commit``."""

    @functools.wraps(commit)
    def fenced_commit(connection: BaseDatabaseWrapper) -> None:
        state = state_of(connection)
        with publishing(connection, state.written()):
            commit(connection)
        # Not if it failed: SQLite leaves the transaction open, to be tried again.
        state.forget(takes_back=takes_back(connection, state.broken))

    return fenced_commit


def wrap_rollback(rollback: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.rollback``, which publishes nothing."""

    @functools.wraps(rollback)
    def forgetting_rollback(connection: BaseDatabaseWrapper) -> None:
        rollback(connection)
        state = state_of(connection)
        state.forget(takes_back=takes_back(connection, rolls_back=True))
        state.published = NOTHING

    return forgetting_rollback


def wrap_close(close: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``BaseDatabaseWrapper.close``, which publishes nothing."""

    @functools.wraps(close)
    def forgetting_close(connection: BaseDatabaseWrapper) -> None:
        close(connection)
        state_of(connection).forget_session()

    return forgetting_close


def wrap_set_autocommit(set_autocommit: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``set_autocommit``, which may commit an open transaction."""

    @functools.wraps(set_autocommit)
    def fenced_set_autocommit(
        connection: BaseDatabaseWrapper, autocommit: bool, *args: Any, **kwargs: Any
    ) -> None:
        state = state_of(connection)
        if not autocommit:
            set_autocommit(connection, autocommit, *args, **kwargs)
            return
        try:
            with publishing(connection, state.written()):
                # The hooks of on_commit run in here: after a commit, the journal is empty already.
                set_autocommit(connection, autocommit, *args, **kwargs)
            state.forget()
        finally:
            if state.untold:
                tell(connection, state)

    return fenced_set_autocommit
