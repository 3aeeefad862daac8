"""What all processes of the run do at this moment, without a word between them."""

import random
import time
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FASHION_SECONDS = 0.1


def in_fashion(things: Sequence[T], number: int) -> list[T]:
    """
    Return a few things out of all, the same in every process, others in the next moment.

    The windows that the readers look into are short. In each of them several writers must write one
    table, and several readers must ask the same: one to fill, and another to look.
    """
    moment = random.Random(int(time.monotonic() / FASHION_SECONDS))
    return moment.sample(things, number)
