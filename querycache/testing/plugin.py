"""
Fixtures for pytest. Add ``pytest_plugins = ["querycache.testing.plugin"]`` to a ``conftest.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from querycache import flush
from querycache.testing import override_querycache


@pytest.fixture
def querycache_settings() -> Iterator[Callable[..., None]]:
    """Return a function that changes keys of the setting QUERYCACHE until the test ends."""
    with ExitStack() as stack:

        def change(**keys: Any) -> None:
            stack.enter_context(override_querycache(**keys))

        yield change


@pytest.fixture
def empty_querycache() -> None:
    """Begin with an empty cache, where an earlier run of the tests may have left something."""
    flush()
