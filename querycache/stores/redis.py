"""
A store on Redis or Valkey, over the connection of django-redis or of Django's own RedisCache.

A look is one MGET, a fill one SET. A fence and a release are one script for each dependency, each
of which touches that dependency's key alone, sent together in one round trip.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from itertools import chain
from typing import Any, Final, NamedTuple

from django.core.cache import caches

from querycache._django.connections import primary_client
from querycache.counting import KEPT_SECONDS, Batch
from querycache.stats import MOST_EVENTS, QUERIES
from querycache.stores.base import (
    FENCE_SECONDS,
    LEASE_SECONDS,
    Done,
    Found,
    Store,
    kept_for,
    new_token,
)
from querycache.stores.connections import Command, Connections

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
_SHA: Final = {
    script: sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (_FENCE, _RELEASE)
}
"""What a server calls a script that it knows."""


class _Unsettled(NamedTuple):
    """A release that was sent over a connection, and was not answered yet."""

    connection: Any
    answers: int
    done: Done


class RedisStore(Store):
    """Entries and generations as strings of a Redis or Valkey server, statistics as hashes."""

    supports_atomic_fence = True
    supports_atomic_count = True
    most_counters = 100_000

    def __init__(self, alias: str, client: Any) -> None:
        self._connections = Connections(client)
        # The prefix of the cache (KEY_PREFIX, VERSION, KEY_FUNCTION) keeps projects apart.
        prefix = str(caches[alias].make_key("querycache"))
        self._entry_prefix = f"{prefix}:e:"
        self._generation_prefix = f"{prefix}:g:"
        self._lease_prefix = f"{prefix}:l:"
        self._statistics_prefix = f"{prefix}:s:"
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with nothing sent: also in a child, where what was sent is its parent's to read."""
        self.unsettled: deque[_Unsettled] = deque()
        self._settling = threading.Lock()

    def look(self, key: str | None, dependencies: Sequence[str]) -> Found:
        prefix = self._generation_prefix
        names = [prefix + name for name in dependencies]
        if key is None:
            answers, incarnation = self._connections.ask(("MGET", *names))
            entry, tokens = None, answers[0]
        else:
            answers, incarnation = self._connections.ask(("MGET", self._entry_prefix + key, *names))
            entry, *tokens = answers[0]
        if None in tokens:
            seconds = [kept_for(name) for name in dependencies]
            tokens, incarnation = self._create(names, tokens, seconds)
        return Found(entry, tokens, incarnation)

    def _create(
        self, names: list[str], tokens: list[bytes | None], seconds: list[int]
    ) -> tuple[list[bytes], bytes]:
        commands: list[Command] = [
            ("SET", name, new_token(), "NX", "EX", ttl)
            for name, token, ttl in zip(names, tokens, seconds, strict=True)
            if token is None
        ]
        # Read back: of two that create it at once, one has it, and both must know which.
        answers, incarnation = self._connections.ask(*commands, ("MGET", *names))
        return [token or b"" for token in answers[-1]], incarnation

    def fill(self, key: str, entry: bytes, ttl: float, *, is_leased: bool = False) -> None:
        milliseconds = max(1, int(ttl * 1000))
        fill: Command = ("SET", self._entry_prefix + key, entry, "PX", milliseconds)
        ended: tuple[Command, ...] = (("DEL", self._lease_prefix + key),) if is_leased else ()
        self._connections.ask(fill, *ended)

    def lease(self, key: str) -> bool:
        lease = ("SET", self._lease_prefix + key, b"", "NX", "EX", LEASE_SECONDS)
        return self._connections.ask(lease)[0] != [None]

    def end_lease(self, key: str) -> None:
        self._connections.ask(("DEL", self._lease_prefix + key))

    def fence(self, dependencies: Sequence[str], writer: str) -> None:
        self._run(lambda: self._fences(dependencies, writer))

    def release(self, dependencies: Sequence[str], writer: str) -> int:
        return self._run(lambda: self._releases(dependencies, writer)).count(0)

    def release_unwaited(self, dependencies: Sequence[str], writer: str, done: Done) -> None:
        connection = self._connections.send(*self._releases(dependencies, writer))
        self.unsettled.append(_Unsettled(connection, len(dependencies), done))

    def settle(self) -> None:
        with self._settling:
            while self.unsettled:
                # It stays there until it is done, for others to see: their looks must wait for it.
                sent, lost = self.unsettled[0], None
                try:
                    lost = self._answer_to(sent)
                finally:
                    sent.done(lost)
                    self.unsettled.popleft()

    def _answer_to(self, sent: _Unsettled) -> int | None:
        """Return how many marks were lost before a release, None if nobody knows of it."""
        try:
            answers = self._connections.receive(sent.connection, sent.answers)
        except BaseException as error:
            self._connections.discard(sent.connection)
            if not isinstance(error, Exception):  # the request or the process is told to end
                raise
            return None  # whatever the client raises when a server goes away
        self._connections.give_back(sent.connection)
        if any(isinstance(answer, Exception) for answer in answers):  # it lost the script, perhaps
            return None
        return answers.count(0)

    def _fences(self, dependencies: Sequence[str], writer: str) -> list[Command]:
        return [self._call(_FENCE, name, writer, FENCE_SECONDS) for name in dependencies]

    def _releases(self, dependencies: Sequence[str], writer: str) -> list[Command]:
        return [
            self._call(_RELEASE, name, writer, new_token(), kept_for(name), FENCE_SECONDS)
            for name in dependencies
        ]

    def _call(self, script: str, dependency: str, *arguments: object) -> Command:
        return ("EVALSHA", _SHA[script], 1, self._generation_prefix + dependency, *arguments)

    def _run(self, calls: Callable[[], list[Command]]) -> list[int]:
        """Call scripts, all in one round trip, and return what each call returned."""
        from redis.exceptions import NoScriptError

        try:
            return self._connections.ask(*calls())[0]
        except NoScriptError:
            # The server was restarted. What has run for some of the calls may run again, with other
            # tokens: release(0) gives G, fill under G, a cycle of writer 1, release(0) gives G.
            self._connections.ask(*(("SCRIPT", "LOAD", script) for script in _SHA))
            return self._connections.ask(*calls())[0]

    def publish(self, batch: Batch) -> int:
        prefix = self._statistics_prefix
        commands: list[Command] = []
        for group in batch.groups:
            name = prefix + group.name
            commands += [("HINCRBY", name, *item) for item in group.counts.items()]
            commands.append(("EXPIRE", name, group.ttl))
        if batch.texts:
            name = prefix + _TEXTS
            commands.append(("HSET", name, *chain.from_iterable(batch.texts.items())))
            commands.append(("EXPIRE", name, KEPT_SECONDS))
        if batch.events:
            name = prefix + _EVENTS
            commands.append(("LPUSH", name, *batch.events))
            commands.append(("LTRIM", name, 0, MOST_EVENTS - 1))
            commands.append(("EXPIRE", name, KEPT_SECONDS))
        answers, _ = self._connections.ask(*commands, ("HLEN", prefix + QUERIES))
        return int(answers[-1])

    def read_counts(self, *groups: str) -> list[dict[str, int]]:
        prefix = self._statistics_prefix
        answers, _ = self._connections.ask(*(("HGETALL", prefix + name) for name in groups))
        return [
            {str(name, "utf-8", "replace"): int(value) for name, value in _pairs(answer)}
            for answer in answers
        ]

    def read_texts(self, names: Sequence[str]) -> dict[str, bytes]:
        if not names:
            return {}
        answers, _ = self._connections.ask(("HMGET", self._statistics_prefix + _TEXTS, *names))
        found = zip(names, answers[0], strict=True)
        return {name: text for name, text in found if text is not None}

    def read_events(self) -> list[bytes]:
        answers, _ = self._connections.ask(("LRANGE", self._statistics_prefix + _EVENTS, 0, -1))
        events: list[bytes] = answers[0]
        return events

    def drop(self, counters: Sequence[str], texts: Sequence[str]) -> None:
        prefix = self._statistics_prefix
        commands: list[Command] = []
        for name, fields in ((QUERIES, counters), (_TEXTS, texts)):
            if fields:
                commands.append(("HDEL", prefix + name, *fields))
        if commands:
            self._connections.ask(*commands)


_TEXTS: Final = "texts"
_EVENTS: Final = "events"


def _pairs(answer: Any) -> Iterable[tuple[bytes, bytes]]:
    """Return the fields of a hash, which RESP 2 gives one after the other."""
    return (
        answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    )


def client_of(alias: str) -> Any | None:
    """
    Return a redis-py client for a cache that is one Redis or Valkey primary, None for any other.

    The client is kept for the life of the process; its pool is safe in threads and after a fork.
    """
    cache = caches[alias]
    try:
        from django_redis.cache import RedisCache as DjangoRedisCache
        from django_redis.client import DefaultClient, SentinelClient
    except ImportError:
        pass
    else:
        if isinstance(cache, DjangoRedisCache):
            # Other clients of django-redis spread keys over servers: they are used as plain caches.
            if type(cache.client) in {DefaultClient, SentinelClient}:
                from django_redis import get_redis_connection

                return get_redis_connection(alias)
            return None
    from django.core.cache.backends.redis import RedisCache

    if isinstance(cache, RedisCache):
        return primary_client(cache)
    return None
