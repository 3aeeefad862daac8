"""
A store on Redis or Valkey, over the connection of django-redis or of Django's own RedisCache.

A look is one MGET, a fill one SET. A fence and a release are one script for each dependency, each
of which touches that dependency's key alone, sent together in one round trip.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.cache import caches

from querycache._django import primary_client
from querycache.stores.base import FENCE_SECONDS, GENERATION_TTL, STATISTICS_TTL, Store, new_token

# The marks are those of ``base.fenced`` and ``base.released``, with the clock of the server, so
# that deadlines of different machines compare. Writers beyond their deadline are dropped on the
# way.
_OTHER_WRITERS: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local value = redis.call('GET', KEYS[1])
local others, held = '!', 0
if value and string.sub(value, 1, 1) == '!' then
    for writer, deadline in string.gmatch(string.sub(value, 2), '([^:;]+):([^;]+);') do
        if writer == ARGV[1] then
            if (tonumber(deadline) or 0) > now then held = 1 end
        elseif (tonumber(deadline) or 0) > now then
            others = others .. writer .. ':' .. deadline .. ';'
        end
    end
end
"""
_FENCE: Final = (
    _OTHER_WRITERS
    + """
local deadline = string.format('%.3f', now + tonumber(ARGV[2]))
redis.call('SET', KEYS[1], others .. ARGV[1] .. ':' .. deadline .. ';', 'EX', ARGV[2])
return held
"""
)
_RELEASE: Final = (
    _OTHER_WRITERS
    + """
if others == '!' then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
else
    redis.call('SET', KEYS[1], others, 'EX', ARGV[4])
end
return held
"""
)


class RedisStore(Store):
    """Entries and generations as strings of a Redis or Valkey server, statistics as one hash."""

    supports_atomic_fence = True
    supports_atomic_count = True

    def __init__(self, alias: str, client: Any) -> None:
        self._client = client
        # The prefix of the cache (KEY_PREFIX, VERSION, KEY_FUNCTION) keeps projects apart.
        prefix = str(caches[alias].make_key("querycache"))
        self._entry_prefix = f"{prefix}:e:"
        self._generation_prefix = f"{prefix}:g:"
        self._counts_name = f"{prefix}:s"
        self._scripts: dict[str, str] = {}

    def look(self, key: str, dependencies: Sequence[str]) -> tuple[bytes | None, list[bytes]]:
        prefix = self._generation_prefix
        names = [prefix + name for name in dependencies]
        entry, *tokens = self._client.execute_command("MGET", self._entry_prefix + key, *names)
        if None in tokens:
            tokens = self._create(names, tokens)
        return entry, tokens

    def _create(self, names: list[str], tokens: list[bytes | None]) -> list[bytes]:
        pipeline = self._client.pipeline(transaction=False)
        for name, token in zip(names, tokens, strict=True):
            if token is None:
                pipeline.set(name, new_token(), nx=True, ex=GENERATION_TTL)
        # Read back: of two that create it at once, one has it, and both must know which.
        pipeline.mget(names)
        return [token or b"" for token in pipeline.execute()[-1]]

    def fill(self, key: str, entry: bytes, ttl: float) -> None:
        milliseconds = max(1, int(ttl * 1000))
        self._client.execute_command("SET", self._entry_prefix + key, entry, "PX", milliseconds)

    def fence(self, dependencies: Sequence[str], writer: str) -> None:
        self._run(_FENCE, [(name, writer, FENCE_SECONDS) for name in dependencies])

    def release(self, dependencies: Sequence[str], writer: str) -> int:
        calls = [
            (name, writer, new_token(), GENERATION_TTL, FENCE_SECONDS) for name in dependencies
        ]
        return self._run(_RELEASE, calls).count(0)

    def _run(self, script: str, calls: Sequence[tuple[Any, ...]]) -> list[int]:
        """Run a script once for each call, all in one round trip, and return what each returned."""
        from redis.exceptions import NoScriptError

        for attempt in range(2):
            sha = self._scripts.get(script)
            if sha is None:
                sha = self._scripts[script] = self._client.script_load(script)
            pipeline = self._client.pipeline(transaction=False)
            for name, *arguments in calls:
                pipeline.evalsha(sha, 1, self._generation_prefix + name, *arguments)
            try:
                results: list[int] = pipeline.execute()
            except NoScriptError:
                # The server was restarted. A script that ran for some of the calls may run again.
                del self._scripts[script]
                if attempt:
                    raise
            else:
                return results
        raise AssertionError("unreachable")

    def add_counts(self, counts: Mapping[str, int]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name, amount in counts.items():
            pipeline.hincrby(self._counts_name, name, amount)
        pipeline.expire(self._counts_name, STATISTICS_TTL)
        pipeline.execute()

    def read_counts(self, names: Sequence[str]) -> dict[str, int]:
        values = self._client.hmget(self._counts_name, names) if names else []
        return {
            name: int(value) for name, value in zip(names, values, strict=True) if value is not None
        }


def client_of(alias: str) -> Any | None:
    """
    Return a redis-py client for a cache that is one Redis or Valkey primary, None for any other.

    The client is kept for the life of the process; its pool is safe in threads and after a fork.
    """
    cache = caches[alias]
    try:
        from django_redis.cache import RedisCache as DjangoRedisCache
        from django_redis.client.default import DefaultClient
    except ImportError:
        pass
    else:
        if isinstance(cache, DjangoRedisCache):
            # Other clients of django-redis spread keys over servers: they are used as plain caches.
            if type(cache.client) is DefaultClient:
                from django_redis import get_redis_connection

                return get_redis_connection(alias)
            return None
    from django.core.cache.backends.redis import RedisCache

    if isinstance(cache, RedisCache):
        return primary_client(cache)
    return None
