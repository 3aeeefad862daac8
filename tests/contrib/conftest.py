"""Everything is opted in and lies in each database in turn."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.contrib.sites.models import Site

from tests.contrib.questions import Questions
from tests.threads import elsewhere


class Router:
    """Sends whatever Django's apps read and write to one database."""

    def __init__(self, using: str) -> None:
        self.using = using

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.using

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return self.using

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


@pytest.fixture(params=["default", "postgresql"])
def using(request: pytest.FixtureRequest) -> str:
    """The alias of each database in turn; to these apps they are all alike."""
    alias: str = request.param
    return alias


@pytest.fixture(autouse=True)
def everything(using: str, settings: Any, fresh_cache: None) -> Iterator[None]:
    settings.QUERYCACHE = {"CACHE": "default", "MODELS": {"*": {"TTL": 600}}}
    settings.ROOT_URLCONF = "tests.contrib.site"
    settings.DATABASE_ROUTERS = [Router(using)]
    forget()
    yield
    forget()


def forget() -> None:
    """Empty the caches that Django itself keeps in the process."""
    ContentType.objects.clear_cache()
    Site.objects.clear_cache()


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture(params=["here", "elsewhere"])
def do(request: pytest.FixtureRequest, questions: Questions) -> Callable[..., Any]:
    """
    Return a function that does something, in this thread or in another, and asks all questions.
    """

    def act(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        run = elsewhere if request.param == "elsewhere" else here
        result = run(function, *arguments, **options)
        questions.compare(f"{function} {arguments} {options}")
        return result

    return act


def here(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
    return function(*arguments, **options)
