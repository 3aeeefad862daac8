"""A proxy in front of a Redis server that counts what passes over the wire."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

NOBODY = 1
"""A port on which nobody listens."""


@dataclass
class Traffic:
    """
    ``round_trips`` are turns of requests and their answers, ``commands`` what was sent in them.

    A client that sends two commands before it reads an answer has made one round trip.
    """

    round_trips: int = 0
    commands: list[str] = field(default_factory=list)


class Wire:
    """
    Listens on a port of its own and passes everything on to the server.

    While ``may_answer`` is not set, what the server answers is kept back; while ``may_release`` is
    not, what runs a script does not come to it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._traffic = Traffic()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.may_release = threading.Event()
        self.may_release.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """Cut everybody off; nobody comes through until ``lead_to()``."""
        self.lead_to("127.0.0.1", NOBODY)

    def lead_to(self, host: str, port: int) -> None:
        """Cut everybody off; who comes again is led to another server."""
        self._server_address = (host, port)
        for open_socket in self._sockets[1:]:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        self._traffic = traffic = Traffic()
        yield traffic
        self._traffic = Traffic()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.may_answer.set()
        self.may_release.set()
        for open_socket in self._sockets:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._server_address)
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                thread = threading.Thread(target=self._pass_on, args=(client, server))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                commands = self._read_commands(client, b"")
                if commands is None:
                    return
                names, request = commands
                self._traffic.round_trips += 1
                self._traffic.commands += names
                if "EVALSHA" in names:
                    self.may_release.wait()
                server.sendall(request)
                answers = Answers(server)
                for _ in names:
                    answers.read()
                self.may_answer.wait()
                client.sendall(bytes(answers.received))

    def _read_commands(self, client: socket.socket, data: bytes) -> tuple[list[str], bytes] | None:
        """Read until the commands that were sent at once are complete."""
        while True:
            received = client.recv(1 << 20)
            if not received:
                return None
            data += received
            names = command_names(data)
            if names is not None:
                return names, data


def command_names(data: bytes) -> list[str] | None:
    """Return the names of the commands in a request, None if it is not complete."""
    names, position = [], 0
    while position < len(data):
        words = []
        count, position = number_at(data, position)
        for _ in range(count):
            length, position = number_at(data, position)
            words.append(data[position : position + length])
            position += length + 2
        if position < 0 or position > len(data) or len(words) != count:
            return None
        names.append(words[0].decode())
    return names


def number_at(data: bytes, position: int) -> tuple[int, int]:
    """Return the number of an array's or a string's header, and where the header ends."""
    end = data.find(b"\r\n", position)
    if end < 0:
        return 0, len(data) + 1
    return int(data[position + 1 : end]), end + 2


class Answers:
    """Reads answers of the server, as far as the protocol must be known to see where one ends."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.received = bytearray()
        self._position = 0

    def read(self) -> None:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in b"$=!" and rest != b"-1":
            self._skip(int(rest) + 2)
        elif kind in b"*~>" and rest != b"-1":
            for _ in range(int(rest)):
                self.read()
        elif kind in b"%|":
            for _ in range(2 * int(rest)):
                self.read()

    def _line(self) -> bytes:
        while True:
            end = self.received.find(b"\r\n", self._position)
            if end >= 0:
                line = bytes(self.received[self._position : end])
                self._position = end + 2
                return line
            self._receive()

    def _skip(self, length: int) -> None:
        while len(self.received) < self._position + length:
            self._receive()
        self._position += length

    def _receive(self) -> None:
        received = self._server.recv(1 << 20)
        if not received:
            raise OSError("the server has closed")
        self.received += received
