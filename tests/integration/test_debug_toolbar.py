"""The panel in django-debug-toolbar shows what the page has read, and nothing of other pages."""

import html
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.template.loader import render_to_string
from django.test import AsyncClient, Client, RequestFactory

from querycache.recorder import recorders
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

PANEL = "QueryCachePanel"


@pytest.fixture(autouse=True)
def toolbar(settings):
    settings.DEBUG_TOOLBAR_PANELS = ["querycache.contrib.debug_toolbar.QueryCachePanel"]
    settings.DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda request: True}
    settings.MIGRATION_MODULES = {}  # the toolbar writes into it
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware"]
    settings.ROOT_URLCONF = "tests.toolbar_urls"
    from debug_toolbar.store import get_store

    yield
    get_store().clear()


def shown(response):
    """What stands in the side bar, and what the panel shows when it is opened: lines of cells."""
    assert response.status_code == 200
    subtitle = re.search(r"Query cache.*?<small>(.*?)</small>", response.text, re.DOTALL)
    identity = re.search(r'data-request-id="(\w+)"', response.text)[1]
    content = content_of(identity)
    lines = re.findall(r"<tr>(.*?)</tr>", content, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", line, re.DOTALL) for line in lines]
    return subtitle[1].strip(), [[text_of(cell) for cell in line] for line in cells if line]


def content_of(identity):
    asked = {"request_id": identity, "panel_id": PANEL}
    return Client().get("/__debug__/render_panel/", asked).json()["content"]


def text_of(cell):
    return html.unescape(re.sub("<[^>]+>", "", cell))


BYPASS = ["testapp.Author", "bypass", "bypassed it ran inside bypass()"]


def test_a_page_and_its_reads():
    Author.objects.create(name="a")
    subtitle, (sums, *reads) = shown(Client().get("/page/"))
    assert subtitle == "0 hits, 1 miss, 1 bypass"
    assert sums[:3] == ["0", "1", "1"]
    assert [read[:3] for read in reads] == [["testapp.Author", "miss", ""], BYPASS]
    assert all(re.fullmatch(r"\d+\.\d\d ms", read[3]) for read in reads)
    subtitle, (_, *reads) = shown(Client().get("/page/"))
    assert subtitle == "1 hit, 0 misses, 1 bypass"
    assert reads[0][:3] == ["testapp.Author", "hit", ""]


def test_a_page_that_reads_nothing():
    subtitle, (sums, *reads) = shown(Client().get("/empty/"))
    assert subtitle == "0 hits, 0 misses, 0 bypasses"
    assert sums == ["0", "0", "0", "0.00 ms"]
    assert reads == []


def test_an_asynchronous_page():
    subtitle, (_, *reads) = shown(async_to_sync(AsyncClient().get)("/async/"))
    assert subtitle == "0 hits, 1 miss, 1 bypass"
    assert [read[:3] for read in reads] == [["testapp.Author", "miss", ""], BYPASS]
    assert recorders() == ()


def test_pages_at_the_same_time_have_their_own_reads():
    list(Author.objects.order_by("name"))

    def visit(number):
        try:
            return shown(Client().get("/page/" if number % 2 else "/empty/"))[0]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        subtitles = list(pool.map(visit, range(8)))
    assert subtitles == ["0 hits, 0 misses, 0 bypasses", "1 hit, 0 misses, 1 bypass"] * 4


def test_a_panel_that_is_turned_off_records_nothing():
    client = Client()
    client.cookies["djdt" + PANEL] = "off"
    response = client.get("/page/")
    assert "misses" not in response.text
    assert recorders() == ()


def test_a_page_that_fails_leaves_nothing_behind():
    from debug_toolbar.middleware import DebugToolbarMiddleware

    from querycache.contrib.debug_toolbar import QueryCachePanel

    def fail(request):
        assert len(recorders()) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        DebugToolbarMiddleware(fail)(RequestFactory().get("/page/"))
    assert recorders() == ()
    panel = QueryCachePanel(None, fail)
    panel.enable_instrumentation()
    panel.enable_instrumentation()
    assert len(recorders()) == 1
    panel.disable_instrumentation()
    panel.disable_instrumentation()
    assert recorders() == ()


def test_what_it_shows_is_escaped_and_has_no_script_or_style():
    read = {
        "model": "<script>1</script>",
        "outcome": "<i>",
        "reason": "<b>",
        "explanation": "'\"&",
        "milliseconds": 1.5,
    }
    content = render_to_string("querycache/debug_toolbar.html", {"reads": [read], "hits": "<u>"})
    assert "&lt;script&gt;1&lt;/script&gt;" in content
    assert not re.search(r"<(script|style|i|b|u)\b|style=|\son\w+=", content)
