"""Looks at the server behind a Redis store: memory, eviction, persistence, time-outs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.template.defaultfilters import filesizeformat

from querycache.management.diagnosis.findings import Finding, ok, problem, warning
from querycache.management.secrets import reason_of
from querycache.stores.base import FENCE_SECONDS
from querycache.stores.redis import client_of

Info = Mapping[str, Any]

_ADVICE: Final = (
    'Set "maxmemory-policy allkeys-lru", or volatile-lru if keys of others without a TTL must stay.'
)


def findings(alias: str) -> Iterator[Finding]:
    """Yield what a server says of itself, as far as its user may ask."""
    from redis.exceptions import RedisError

    client: Any = client_of(alias)
    yield from _time_outs(client.connection_pool)
    try:
        info: Info = client.info()
    except RedisError as error:
        yield warning(
            "server",
            f"It does not tell about itself: {reason_of(error)}. A restart from a dump, and a "
            "failover, are not seen.",
            "Let its user run INFO, or flush after each restart.",
        )
        return
    yield _version(info)
    yield _memory(info)
    yield _eviction(info)
    yield from _persistence(info, _saves(client))


def has_answered(error: BaseException) -> bool:
    """Say whether an error is the answer of a server, which is there and refuses something."""
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)


def _version(info: Info) -> Finding:
    is_valkey = "valkey_version" in info
    name = "Valkey" if is_valkey else "Redis"
    version = info["valkey_version"] if is_valkey else info.get("redis_version", "?")
    if info.get("cluster_enabled"):
        return problem(
            "server",
            f"{name} {version}, a node of a cluster, which is not supported.",
            "Use one primary, with replicas and Sentinel if need be.",
        )
    return ok("server", f"{name} {version}, {info.get('role', 'master')}.")


def _memory(info: Info) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if limit:
        return ok("server", f"It uses {_size(used)} of {_size(limit)}.")
    return warning(
        "server",
        f"It uses {_size(used)}, and has no maxmemory: it grows until the system has no more.",
        "Set maxmemory to what it may take.",
    )


def _size(number: int) -> str:
    return filesizeformat(number).replace("\xa0", " ")


def _eviction(info: Info) -> Finding:
    policy, limit = str(info.get("maxmemory_policy", "?")), int(info.get("maxmemory", 0))
    evicted = f"{int(info.get('evicted_keys', 0)):,} keys evicted since it was started"
    if policy == "noeviction" and not limit:
        return ok("server", f"It evicts nothing (noeviction), which matters with maxmemory only; "
                  f"{evicted}.")  # fmt: skip
    if policy == "noeviction":
        return warning(
            "server",
            "It evicts nothing (noeviction): when its memory is full it refuses entries and "
            "fences, and after a write that could not be fenced a process reads nothing from it.",
            _ADVICE,
        )
    kind, _, by = policy.partition("-")
    if by == "ttl":
        return warning(
            "server",
            f"It evicts first what expires soonest ({policy}), and a fence expires after "
            f"{FENCE_SECONDS} seconds: under pressure fences are lost, and with them for moments "
            f"the promise; {evicted}.",
            _ADVICE,
        )
    if by == "random":
        return warning(
            "server",
            f"It evicts anything ({policy}), fences and popular entries too; {evicted}.",
            _ADVICE,
        )
    if by not in _ORDERS:
        return ok("server", f"Its policy of eviction is not known here ({policy}); {evicted}.")
    what = "any key" if kind == "allkeys" else "only keys with a TTL, as all of querycache have,"
    return ok(
        "server", f"It evicts {what} used {_ORDERS[by]} ({policy}), which is safe; {evicted}."
    )


_ORDERS: Final = {"lru": "least recently", "lfu": "most rarely"}


def _saves(client: Any) -> bool | None:
    """Say whether the server writes dumps; None if its user may not ask."""
    from redis.exceptions import RedisError

    try:
        return bool(client.config_get("save").get("save"))
    except RedisError:
        return None


def _persistence(info: Info, saves: bool | None) -> Iterator[Finding]:
    if info.get("rdb_last_bgsave_status") == "err" and saves is not False:
        yield warning(
            "server",
            "Its last dump has failed: unless it is told otherwise, it refuses all writes until "
            "one succeeds.",
            "Make room on its disk, or switch dumps off (\"save ''\"); querycache needs none.",
        )
    kept = ["AOF"] * bool(info.get("aof_enabled")) + ["dumps"] * bool(saves)
    if not kept:
        unknown = " as far as it tells" if saves is None else ""
        yield ok("server", f"It keeps nothing on disk{unknown}, and querycache needs nothing kept.")
    elif info.get("run_id") or info.get("master_replid"):
        yield ok(
            "server",
            f"It keeps {' and '.join(kept)} on disk; after a restart nothing of it is believed.",
        )
    else:
        yield warning(
            "server",
            f"It keeps {' and '.join(kept)} on disk and has no run_id: what it knew before a "
            "restart is believed.",
            "Flush after each restart.",
        )


def _time_outs(pool: Any) -> Iterator[Finding]:
    """Look at the time-outs that a connection gets from the settings, or from its client."""
    connection = pool.connection_class(**pool.connection_kwargs)
    seconds = getattr(connection, "socket_timeout", None)
    if seconds is None:
        yield warning(
            "store",
            "It has no time-out: when the server hangs, each query hangs with it.",
            'Set one in CACHES: "OPTIONS": {"SOCKET_TIMEOUT": 0.5, "SOCKET_CONNECT_TIMEOUT": 0.5} '
            "for django-redis, in lower case for Django's own RedisCache.",
        )
    else:
        yield ok("store", f"A query waits at most {float(seconds):g} s for it.")
