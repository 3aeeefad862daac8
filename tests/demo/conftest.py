"""The tests of this folder see the demo's pages as the demo itself serves them."""

import pytest
from django.core.management import call_command

import querycache
from demo_project import settings as demo_settings

DEMO_SETTINGS = [
    "ROOT_URLCONF",
    "MIDDLEWARE",
    "TEMPLATES",
    "SITE_ID",
    "LOGIN_REDIRECT_URL",
    "LOGOUT_REDIRECT_URL",
    "QUERYCACHE",
]


@pytest.fixture
def demo(settings) -> None:
    for name in DEMO_SETTINGS:
        setattr(settings, name, getattr(demo_settings, name))
    # These settings belong to the project that runs the tests.
    settings.LOGIN_URL = "login"


@pytest.fixture
def shop(demo: None, transactional_db: None) -> None:
    """A small shop, with the demo's users in it, committed as in real life."""
    querycache.flush()
    call_command("seed_shop", products=16, reviews=80)
