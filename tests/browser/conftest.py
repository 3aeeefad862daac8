"""The admin in a real Chromium: at a desk, and on a telephone."""

from typing import Any

import pytest
from django.contrib.auth.models import User

import querycache
from querycache import reports
from tests.browser.person import PANEL, Admin
from tests.counted import forget_queries
from tests.testapp.models import Author, Book, Secret, Tag


@pytest.fixture
def admin(browser: Any, live_server: Any, settings: Any) -> Any:
    """The panel, opened by a superuser, on a site with a strict Content-Security-Policy."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.browser.person.StrictPolicy"]
    User.objects.create_superuser("mia", password="secret")
    admin = Admin(browser, live_server.url)
    browser.get_log("browser")
    browser.set_window_size(1280, 900)
    admin.log_in()
    yield admin
    # The test project has no icon, and no page that says so.
    complaints = [
        entry["message"]
        for entry in browser.get_log("browser")
        if "/favicon.ico" not in entry["message"]
    ]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert complaints == []


@pytest.fixture
def phone(admin: Admin) -> Admin:
    """The panel on a telephone, 360 pixels wide."""
    admin.look_through(360, mobile=True)
    admin.open(PANEL)
    return admin


@pytest.fixture
def busy() -> str:
    """A site on which this has happened, and nothing else; return the name of a query."""
    forget_queries()
    authors = [Author.objects.create(name=name) for name in ("Ann", "Ben")]
    for _ in range(30):
        list(Author.objects.filter(name="Ann").order_by("-born"))
    for number in range(4):
        Book.objects.create(name=f"Book {number}", author=authors[0])
        list(Book.objects.select_related("author").filter(author__name__startswith="A"))
    list(Author.objects.order_by("?"))
    list(Secret.objects.all())
    querycache.invalidate(Tag)
    texts = reports.texts_of(query.name for query in reports.queries())
    return next(name for name, text in texts.items() if 'JOIN "testapp_author"' in text.sql)
