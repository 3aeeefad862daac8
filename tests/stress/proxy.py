"""The way to the store, which can be cut and slowed for all processes at once."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Proxy:
    """
    Passes connections on to a port of this machine.

    ``delay`` are seconds that each packet is held up, either way. What a client has sent before it
    lost patience, or before the way was cut, may arrive all the same, and late.
    """

    def __init__(self, target_port: int) -> None:
        self.delay = 0.0
        self._target = ("127.0.0.1", target_port)
        self._is_cut = self._is_closed = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = self._start(self._accept)

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        with self._lock:
            self._is_cut = True
            for end in self._sockets:
                hang_up(end)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._is_closed = True
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes whoever accepts
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._is_closed:
                client.close()
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(self._start(self._serve, client))

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            both = {client, server}
            with self._lock:
                if self._is_cut:
                    return
                self._sockets |= both
            replies = self._start(self._pump, server, client)
            self._pump(client, server)
            replies.join()
            with self._lock:
                self._sockets -= both

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        hang_up(source)
        hang_up(target)

    @staticmethod
    def _start(task: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=task, args=arguments)
        thread.start()
        return thread


def hang_up(end: socket.socket) -> None:
    """Wake whoever waits for this socket; it is closed by whoever has opened it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
