"""
Connections to a Redis or Valkey server, opened as the project's cache opens its own.

Not by the methods of the client, which do not say which server has answered, and wait for every
answer. And not out of its pool, which takes longer than the server does to answer, except where the
pool does more than keep connections: Sentinel, a limit, credentials that change.
"""

import logging
import os
from collections import deque
from hashlib import blake2b
from inspect import Parameter, signature
from typing import Any, Final

from querycache.entries import TOKEN_SIZE

logger = logging.getLogger("querycache")

Command = tuple[Any, ...]
"""Name and arguments, as the protocol has them."""


class Connections:
    """
    Connections for one request each, safe in threads and after a fork.

    There are as many as threads have asked at once.
    """

    def __init__(self, client: Any) -> None:
        from redis.connection import ConnectionPool
        from redis.exceptions import ResponseError

        self._error = ResponseError
        self._pool = client.connection_pool
        kwargs = self._pool.connection_kwargs
        self._is_plain = (
            type(self._pool) is ConnectionPool
            and self._pool.max_connections >= _NO_LIMIT
            and not getattr(self._pool, "cache", None)
            and not kwargs.get("credential_provider")
        )
        # redis-py 5 wants to be told which command a connection is for, later ones do not.
        parameter = signature(self._pool.get_connection).parameters.get("command_name")
        self._needs_name = parameter is not None and parameter.default is Parameter.empty
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with no connection: also in a child, whose parent goes on using its own."""
        self._idle: deque[Any] = deque()
        # Not by way of a method: giving back is on the path of a hit.
        self.give_back = self._idle.append if self._is_plain else self._pool.release

    def _take(self) -> Any:
        if not self._is_plain:
            return self._pool.get_connection(*[None] * self._needs_name)
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            is_closed = connection.can_read(timeout=0)  # or there is what nobody asked for
        except Exception:  # noqa: BLE001  whatever the client raises of a connection that is gone
            is_closed = True
        if is_closed:
            connection.disconnect()  # and opened again by what is sent
        return connection

    def ask(self, *commands: Command) -> tuple[list[Any], bytes]:
        """
        Send commands in one packet; return their answers, and the incarnation of who answered.

        Raises what an answer that is an error says.
        """
        connection = self.send(*commands)
        try:
            answers = self.receive(connection, len(commands))
        except BaseException:
            self.discard(connection)
            raise
        # Now and not before: a connection that was found closed has been opened again.
        incarnation: bytes = connection.__dict__[_ATTRIBUTE]
        self.give_back(connection)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers, incarnation

    def send(self, *commands: Command) -> Any:
        """Send commands in one packet, and return the connection to receive their answers from."""
        connection = self._take()
        try:
            if _ATTRIBUTE not in connection.__dict__:
                _greeter.greet(connection)
                connection.register_connect_callback(_greeter.greet)
            connection.send_packed_command(connection.pack_commands(commands))
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def receive(self, connection: Any, count: int) -> list[Any]:
        """Read answers, as bytes whatever the options of the cache say; errors are among them."""
        answers = []
        for _ in range(count):
            try:
                answers.append(connection.read_response(disable_decoding=True))
            except self._error as error:
                answers.append(error)
        return answers

    def discard(self, connection: Any) -> None:
        """Close a connection that may have answers in it that nobody will read."""
        connection.disconnect()
        self.give_back(connection)


_NO_LIMIT: Final = 100
"""Connections that a pool has room for if nobody has said how many; redis-py 8 is the strictest."""
_ATTRIBUTE: Final = "_querycache_incarnation"


class _Greeter:
    """
    Asks each connection, as it is opened, which life of which server it has come to.

    A server that was restarted has another ``run_id``, and one that was promoted another
    ``master_replid``, also where the same process is promoted again. What was stored in another
    life may be older than what was released since: a dump, or a replica that missed writes.
    """

    def greet(self, connection: Any) -> None:
        answers = []
        try:
            for section in ("SERVER", "REPLICATION"):
                connection.send_command("INFO", section, check_health=False)
                answers.append(connection.read_response(disable_decoding=True))
        except BaseException as error:
            if not _is_refused(error):
                connection.disconnect()
                raise
            message = "The cache does not say who it is, a restart from a dump is not seen"
            logger.warning(message, extra={"querycache_event": "restart-unseen"})
        setattr(connection, _ATTRIBUTE, incarnation_from(b"\r\n".join(answers)))


_greeter: Final = _Greeter()  # redis-py keeps a weak reference to its method


def incarnation_from(info: bytes) -> bytes:
    """
    Return the incarnation that an answer to INFO tells, empty if it does not.

    Raises ``ConnectionError`` for a replica: it may not have heard of a release.
    """
    fields = dict(line.partition(b":")[::2] for line in info.splitlines())
    if fields.get(b"role", b"master") != b"master":
        raise ConnectionError("the server is a replica, which may lag behind its primary")
    run, replication = fields.get(b"run_id", b""), fields.get(b"master_replid", b"")
    if not run and not replication:
        return b""
    return blake2b(run + b" " + replication, digest_size=TOKEN_SIZE).digest()


def _is_refused(error: BaseException) -> bool:
    """Say whether the server answers, but not this: a user without the right to ask."""
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)
