"""
Fixtures for every test.

A test that takes ``using`` runs once for each database, and is marked to reach it in real
transactions; one that takes ``store`` (or ``store_alias``) runs once for each kind of store.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections

from tests import browsers, servers

pytest_plugins = ["querycache.testing.plugin"]

DATABASES = {"default": None, "postgresql": "postgresql", "mariadb": "mariadb"}
"""Alias: the server that it needs."""

STORES = {
    "locmem": None,
    "file": None,
    "db": None,
    "memcached": "memcached",
    "redis": "valkey",
    "redis_builtin": "valkey",
}
"""Alias in CACHES: the server that it needs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    # Here, and not with the stress tests: an option must be known before their folder is looked at.
    parser.addoption("--minutes", type=float, default=0.5, help="how long the stress test runs")


@pytest.hookimpl(tryfirst=True)  # pytest-django sorts the tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if using := parameters.get("using"):
            item.add_marker(database_marker(item, using), append=False)
            skip_if(item, missing_database(using))
        if store_alias := parameters.get("store_alias"):
            skip_if(item, missing_store(store_alias))
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            skip_if(item, browsers.missing())


def skip_if(item: pytest.Item, reason: str | None) -> None:
    if reason:
        item.add_marker(pytest.mark.skip(reason=reason))


def database_marker(item: pytest.Item, using: str) -> pytest.MarkDecorator:
    own_marker = item.get_closest_marker("django_db")
    options: dict[str, Any] = {"transaction": True, **(own_marker.kwargs if own_marker else {})}
    # Sessions and the DatabaseCache stay in the default database.
    return pytest.mark.django_db(**options | {"databases": sorted({"default", using})})


def missing_database(alias: str) -> str | None:
    if alias in connections:
        return None
    server = DATABASES[alias]
    return (server and servers.missing(server)) or f"QUERYCACHE_TEST_DATABASES has no {alias}"


def missing_store(alias: str) -> str | None:
    server = STORES[alias]
    return servers.missing(server) if server else None


@pytest.fixture(params=DATABASES)
def using(request: pytest.FixtureRequest) -> str:
    """The alias of each database in turn."""
    alias: str = request.param
    return alias


@pytest.fixture(params=STORES)
def store_alias(request: pytest.FixtureRequest) -> str:
    """The alias of each kind of store in turn."""
    alias: str = request.param
    return alias


@pytest.fixture
def store(store_alias: str, settings: Any) -> str:
    """Let querycache keep its entries in each kind of store in turn; return its alias."""
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": store_alias}
    return store_alias


@pytest.fixture
def use_cache(settings: Any) -> Callable[..., None]:
    """
    Return a function that lets querycache keep its entries in another cache, of the alias "own".
    """

    def use(
        location: str, *, backend: str = "django_redis.cache.RedisCache", **options: Any
    ) -> None:
        own = {"BACKEND": backend, "LOCATION": location, **options}
        settings.CACHES = {**settings.CACHES, "own": own}
        settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "own"}

    return use


@pytest.fixture(autouse=True)
def fresh_cache(request: pytest.FixtureRequest) -> None:
    """Begin every test that may reach a database with nothing in the cache."""
    names = request.fixturenames
    if not request.node.get_closest_marker("django_db") and not (
        {"db", "transactional_db", "live_server"} & set(names)
    ):
        return
    for earlier in ("_django_db_helper", "store"):
        if earlier in names:
            request.getfixturevalue(earlier)
    import querycache

    querycache.flush()


@pytest.fixture(autouse=True)
def no_plan_is_anothers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if a query was taken for another; ``QUERYCACHE_CHECK_PLANS=1`` has each one compared."""
    from querycache import derivations, recall

    caplog = request.getfixturevalue("caplog")
    yield
    if "a_plan_differs" not in request.keywords:
        another = {recall.ANOTHER_PLAN, derivations.ANOTHER_QUERY}
        assert not [one for one in caplog.get_records("call") if one.msg in another]


@pytest.fixture
def new_alias(django_db_blocker: Any) -> Iterator[Callable[..., str]]:
    """
    Return a function that points an alias of DATABASES, if need be a new one, to a database.

    For tests without the ``django_db`` mark, under which Django refuses new aliases.
    """
    added: set[str] = set()

    def point(name: str, **given: Any) -> str:
        if name in connections.databases:
            forget(name)
        connections.databases[name] = given
        connections.configure_settings(connections.databases)
        added.add(name)
        return name

    def forget(name: str) -> None:
        connection = connections[name]
        connection.close()
        if connection.connection is not None:  # Django keeps a database in memory open
            connection.connection.close()
        del connections[name]

    with django_db_blocker.unblock():
        yield point
    for name in added:
        forget(name)
        del connections.databases[name]


@pytest.fixture
def count_sql() -> Callable[..., AbstractContextManager[list[str]]]:
    """
    Record the SQL that reaches a database in this thread.

        with count_sql(using) as statements:
            Book.objects.using(using).get(pk=1)
        assert len(statements) == 1

    Transaction control is not recorded, nor what a DatabaseCache does in its own table.
    """
    return recorded_sql


@contextlib.contextmanager
def recorded_sql(using: str = "default") -> Iterator[list[str]]:
    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        verb = sql.lstrip().split(" ", 1)[0].upper()
        is_control = verb in {"BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT"}
        if not is_control and django_settings.CACHE_TABLE not in sql:
            statements.append(sql)
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(record):
        yield statements


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with browsers.chromium() as driver:
        yield driver


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Any:
    """A headless Chromium (Selenium's WebDriver) without cookies; use it with ``live_server``."""
    driver = request.getfixturevalue("chromium")
    driver.get("about:blank")
    driver.delete_all_cookies()
    return driver
