"""
Starts the servers that the tests need before the settings are read, and stops them at the end.

QUERYCACHE_REQUIRE names what must be there: valkey, redis, postgresql, mariadb, memcached,
chromium, spin. Without it, tests that need a missing server are skipped, and say why.
"""

import contextlib
import os
import signal
import tempfile
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import browsers, servers
from tests.model import spin


@pytest.hookimpl(wrapper=True)  # before every other plugin's: pytest-django's reads the settings
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    if not servers.told():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as orderly as by Ctrl-C
        resources = contextlib.ExitStack()
        early_config.add_cleanup(resources.close)
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="querycache-tests-"))
        os.environ["QUERYCACHE_TEST_FOLDER"] = folder
        start_servers(resources)
        refuse_missing()
    return (yield)


def start_servers(resources: contextlib.ExitStack) -> None:
    addresses: dict[str, str] = {}
    missing: dict[str, str] = {}

    def start(name: str) -> None:
        server = servers.SERVERS[name]()
        if reason := server.available():
            missing[name] = reason
            return
        try:
            server.start()
        except servers.ServerError as error:
            missing[name] = str(error)
            return
        resources.callback(server.stop)
        addresses[name] = server.address

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(start, servers.SERVERS):
            pass  # an unexpected exception comes out here
    servers.tell(addresses, missing)


def refuse_missing() -> None:
    required = os.environ.get("QUERYCACHE_REQUIRE", "").replace(",", " ").split()
    for name in required:
        others = {"chromium": browsers.missing, "spin": spin.missing}
        reason = others[name]() if name in others else servers.missing(name)
        if reason:
            raise pytest.UsageError(f"QUERYCACHE_REQUIRE: {reason}")


def pytest_report_header() -> list[str]:
    return [f"{name}: {servers.address(name) or servers.missing(name)}" for name in servers.SERVERS]
