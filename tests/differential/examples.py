"""
How generated reads are run, and what is made of them.

The examples are the same ones on every run. QUERYCACHE_TEST_EXAMPLES is a number of examples to try
instead, and then each run tries other ones:

    QUERYCACHE_TEST_EXAMPLES=1000 uv run pytest tests/differential/test_generated.py
"""

import os
import zlib
from random import getrandbits
from typing import Any, NamedTuple

from django.contrib.contenttypes.models import ContentType
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.differential.picture import picture
from tests.differential.querysets import Read

EXAMPLES = int(os.environ.get("QUERYCACHE_TEST_EXAMPLES", "0"))
PAIRS = [
    ("default", "locmem"),
    ("postgresql", "redis"),
    ("mariadb", "locmem"),
]
"""Each database, and not with every store."""

_ROUND = 10
"""
How many examples are made at once. After these, Hypothesis would go on to vary each example, and
five of six would hardly be new ones.
"""


def try_out(check: Any, *strategies: Any, examples: int, of: str) -> None:
    """Let Hypothesis call a function with examples; ``of`` decides which."""
    options = settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    for number in range((EXAMPLES or examples) // _ROUND):
        chosen = getrandbits(64) if EXAMPLES else zlib.crc32(f"{of} {number}".encode())
        options(seed(chosen)(given(*strategies)(check)))()


def taken(read: Read, names: dict[str, Any]) -> Any:
    # Django keeps content types in memory: each time they are to be read anew.
    ContentType.objects.clear_cache()
    try:
        result = read.run(names)
        return picture(result) if read.is_ordered else sorted(repr(picture(row)) for row in result)
    except Exception as error:  # noqa: BLE001  to raise is an answer, too
        return Raised(type(error), str(error))


class Raised(NamedTuple):
    kind: type[Exception]
    message: str
