"""
Plays the protocol once, with the store as it is: one reader, and a writer beside it.

    reader                                  writer
    look: nothing; fill; look: a hit
                                            fence
    look: a fence, nothing may be filled
                                            fence of another writer, release of the first
    look: still a fence
                                            release of the other: a new generation
    look: stale
    fill, late, under the old generation
    look: stale all the same

The reader is ``generations``, as in every read. The writer has a thread and a store of its own,
with connections of its own, as if it were another process. What they agree on is a dependency that
is no table's; whatever they leave behind expires.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from time import time
from typing import Final

from django.core.cache import caches
from django.db import connections

from querycache import generations
from querycache.conf import get_config
from querycache.entries import Loaded
from querycache.management.diagnosis.findings import Finding, ok, problem
from querycache.management.diagnosis.store import name_of_a_dependency
from querycache.management.secrets import reason_of
from querycache.plans import Plan, Shape
from querycache.stores import DjangoStore, RedisStore, Store
from querycache.stores.redis import client_of
from querycache.transactions import state_of

_TTL: Final = 60.0
_ROWS: Final = [('it\'s a "test" 🩺', 1)]
_HINT: Final = (
    "Do not trust answers from this cache. Is there something between this process and it that "
    "keeps values itself, a proxy or a backend of your own?"
)


class _DiffersError(Exception):
    """The store has not done what the protocol needs of it."""


def findings() -> Iterator[Finding]:
    try:
        _play()
    except _DiffersError as difference:
        yield problem("protocol", f"{difference}.", _HINT)
    except Exception as error:  # noqa: BLE001  StoreFailed, or what a writer's client raises
        yield problem(
            "protocol",
            f"The store failed in the middle of it: {reason_of(error.__cause__ or error)}.",
            "See what is found of it above, and try again.",
        )
    else:
        yield ok(
            "protocol",
            "Look, fill, hit, fence of two writers, release, stale: as it should, over two "
            "connections.",
        )


def _play() -> None:
    dependency = name_of_a_dependency()
    plan = Plan(uuid.uuid4().hex, "", Shape(max_bytes=1024), (dependency,), _TTL, "", 0.0)
    loaded = Loaded(_ROWS, time(), 0)
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    store = _another_store()

    look = _look(plan)
    _insist(look.tokens, "A look gets no generation")
    _insist(look.loaded is None, "A look finds an entry that nobody has filled")
    generations.fill(plan, look, loaded)
    hit = _look(plan)
    _insist(hit.loaded == loaded, "What was filled is not found")

    _elsewhere(store, lambda: store.fence([dependency], first))
    _insist_on_fence(plan, "A fence of another connection is not seen")
    _elsewhere(store, lambda: store.fence([dependency], second))
    lost = _elsewhere(store, lambda: store.release([dependency], first))
    _insist(lost == 0, "A fence was lost")
    _insist_on_fence(plan, "One writer lifts the fence of another")
    lost = _elsewhere(store, lambda: store.release([dependency], second))
    _insist(lost == 0, "A fence was lost")

    stale = _look(plan)
    _insist(stale.loaded is None, "An entry is fresh after a release")
    _insist(stale.tokens not in (b"", look.tokens), "A release gives no new generation")
    generations.fill(plan, look, loaded)
    _insist(_look(plan).loaded is None, "An entry is fresh that was read before a release")


def _look(plan: Plan) -> generations.Look:
    return generations.look(plan.key, plan.dependencies)


def _insist_on_fence(plan: Plan, otherwise: str) -> None:
    look = _look(plan)
    _insist(look.loaded is None and not look.tokens, otherwise)


def _insist(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise _DiffersError(otherwise)


def _elsewhere(store: Store, work: Callable[[], int | None]) -> int | None:
    """Do something with a store in a thread of its own; return or raise what it does."""
    results: list[int | None] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            if store.using is None:
                results.append(work())
            else:  # the statements of a store that is a table are nobody's change
                results.append(state_of(connections[store.using]).cover(work))
        except Exception as error:  # noqa: BLE001  raised below, in the thread that waits for it
            errors.append(error)
        finally:
            caches.close_all()
            connections.close_all()

    thread = threading.Thread(target=run, name="querycache-doctor")
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]


def _another_store() -> Store:
    alias = get_config().cache
    client = client_of(alias)
    return DjangoStore(alias) if client is None else RedisStore(alias, client)
