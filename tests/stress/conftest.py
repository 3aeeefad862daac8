import faulthandler

import pytest


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """How long to go on, ``--minutes``."""
    # What takes as long as it was told to does not hang; the run has deadlines of its own.
    faulthandler.cancel_dump_traceback_later()
    minutes: float = request.config.getoption("minutes")
    return minutes
