"""The panel in the admin: who sees it, who may flush, and what a dead store looks like."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse
from django.utils.html import escape

import querycache
from querycache.exceptions import Reason
from querycache.options import ModelOptions, Table
from querycache.recorder import record_reads
from querycache.stats import ModelStats, Stats
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

PANEL = "/admin/querycache/querycache/"
FLUSH = PANEL + "flush/"
FLUSH_AUTHOR = FLUSH + "testapp.Author/"
ALL_URLS = [PANEL, FLUSH, FLUSH_AUTHOR]


def client_with(*permissions: str, is_staff: bool = True, **options: Any) -> Client:
    user = User.objects.create_user("mia", password="secret", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def viewer() -> Client:
    return client_with("view_querycache")


@pytest.fixture
def flusher() -> Client:
    return client_with("view_querycache", "flush_querycache")


@pytest.fixture
def cached_author() -> Iterator[None]:
    """An author whose list is in the cache."""
    Author.objects.create(name="Ann")
    assert outcome_of_reading() == "miss"
    assert outcome_of_reading() == "hit"


def outcome_of_reading() -> str:
    with record_reads() as reads:
        list(Author.objects.all())
    return reads[0].outcome


def row_of(client: Client, label: str) -> Any:
    rows = client.get(PANEL).context["rows"]
    return next(row for row in rows if row["label"] == label)


@pytest.fixture
def dead_store(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_dead_store(settings, monkeypatch)


# Who sees it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ALL_URLS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_stranger_is_sent_to_the_login(url, method, cached_author):
    response = getattr(Client(), method)(url)

    assert response.status_code == 302
    assert response.url.startswith(reverse("admin:login"))
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize("url", ALL_URLS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_staff_without_permission_see_and_do_nothing(url, method, cached_author):
    client = client_with()

    assert getattr(client, method)(url).status_code == 403
    assert outcome_of_reading() == "hit"
    assert b"Query cache" not in client.get("/admin/").content


def test_who_is_not_staff_is_sent_to_the_login_whatever_the_permissions(cached_author):
    client = client_with("view_querycache", "flush_querycache", is_staff=False)

    for url in ALL_URLS:
        assert client.post(url).status_code == 302
    assert outcome_of_reading() == "hit"


def test_a_viewer_sees_figures_and_no_button(viewer, cached_author):
    page = viewer.get(PANEL)

    assert page.status_code == 200
    assert b"testapp.Author" in page.content
    assert b"flush" not in page.content.lower()


@pytest.mark.parametrize("url", [FLUSH, FLUSH_AUTHOR])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_viewer_may_not_flush(url, method, viewer, cached_author):
    assert getattr(viewer, method)(url).status_code == 403
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize("url", ALL_URLS)
def test_flushing_needs_the_permission_to_view(url, cached_author):
    client = client_with("flush_querycache")

    assert client.post(url).status_code == 403
    assert outcome_of_reading() == "hit"


def test_the_index_names_the_panel(viewer):
    page = viewer.get("/admin/")
    (entry,) = page.context["app_list"][0]["models"]

    assert page.context["app_list"][0]["name"] == "Query cache"
    assert (entry["name"], entry["admin_url"], entry["add_url"]) == ("Query cache", PANEL, None)


@pytest.mark.parametrize("path", ["add/", "1/", "1/change/", "1/delete/", "1/history/"])
def test_there_is_no_page_of_an_object(path):
    assert resolve(PANEL + path).func.__name__ == "catch_all_view"


# What it shows ------------------------------------------------------------------------------------


def test_the_panel_counts_reads(viewer):
    before = row_of(viewer, "testapp.Author")["counts"]
    Author.objects.create(name="Ann")
    for _ in range(4):
        list(Author.objects.all())
    with querycache.bypass():
        list(Author.objects.all())
    after = row_of(viewer, "testapp.Author")["counts"]

    assert after.misses - before.misses == 1
    assert after.fills - before.fills == 1
    assert after.hits - before.hits == 3
    assert after.bypasses - before.bypasses == 1
    assert after.reads - before.reads == 5
    assert after.invalidations > before.invalidations


def test_the_panel_says_why_reads_went_to_the_database(viewer):
    list(Author.objects.order_by("?"))
    page = viewer.get(PANEL)
    found = {(label, reason.value): number for label, reason, number in page.context["bypasses"]}
    assert found["testapp.Author", "unknown-function"] >= 1
    assert escape(Reason.UNKNOWN_FUNCTION.explanation) in page.text


def test_the_panel_says_where_a_ttl_comes_from(viewer, settings):
    settings.QUERYCACHE = {"MODELS": {"testapp.*": {"TTL": 5400}, "testapp.Author": {"TTL": 90}}}

    assert row_of(viewer, "testapp.Author")["ttl"] == "1.5 min"
    assert row_of(viewer, "testapp.Author")["table"].options.pattern == "testapp.Author"
    assert row_of(viewer, "testapp.Book")["ttl"] == "1.5 h"
    assert "from testapp.*" in viewer.get(PANEL).content.decode()


def test_the_panel_names_its_store(viewer, settings):
    page = viewer.get(PANEL).content.decode()

    assert "Answers" in page
    assert "<code>default</code>" in page
    assert settings.CACHES["default"]["BACKEND"] in page


@pytest.mark.parametrize("mismatches", [0, 2])
def test_the_panel_says_what_else_there_is_to_say(viewer, monkeypatch, mismatches):
    counts = ModelStats(hits=9, verified=1200, mismatches=mismatches)
    stats = Stats({"testapp.Author": counts}, incidents=3, late_writes=4)
    monkeypatch.setattr("querycache.admin.get_stats", lambda: stats)
    html = viewer.get(PANEL).content.decode()
    trouble = " warning" if mismatches else ""
    verified = f"Verified hits: 1,200. Different from the database: {mismatches}."
    assert f'<div class="notice{trouble}">{verified}</div>' in html
    assert "lost before their release: 3." in html
    assert "because the cache did not answer: 4." in html


@pytest.mark.parametrize("value", [{}, {"MODELS": {}}])
def test_without_settings_the_panel_says_how_to_opt_in(value, flusher, settings):
    settings.QUERYCACHE = value
    page = flusher.get(PANEL).content.decode()

    assert "No model is opted in" in page
    assert "QUERYCACHE = {" in page


def test_the_panel_repeats_what_check_says_of_the_settings(viewer, settings):
    settings.QUERYCACHE = {"MODELS": {"testapp.Auhtor": {"TTL": 5}, "<script>.x": {"TTL": 5}}}
    page = viewer.get(PANEL).content.decode()

    assert "Did you mean &#x27;testapp.Author&#x27;?" in page
    assert "<script>.x" not in page
    assert "&lt;script&gt;.x" in page


def test_strange_names_are_escaped(flusher, monkeypatch):
    from querycache import admin
    from querycache.conf import get_config

    name = """a.<script>alert("✨'")</script>/b"""
    config = get_config()
    table = Table("x", name, ModelOptions(f"{name}.*"))
    strange = type(config)(config.cache, None, {}, {"x": table}, ())
    monkeypatch.setattr(admin, "get_config", lambda: strange)
    url = reverse("admin:querycache_querycache_flush_model", args=[name])

    for page in (flusher.get(PANEL), flusher.get(url)):
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
        assert "&lt;script&gt;alert(&quot;✨&#x27;&quot;)" in page.content.decode()


# Flushing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [FLUSH, FLUSH_AUTHOR])
def test_a_flush_asks_before_it_is_done(url, flusher, cached_author):
    page = flusher.get(url)

    assert "Yes, I’m sure" in page.content.decode()
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("url", [FLUSH, FLUSH_AUTHOR])
def test_only_post_flushes(method, url, flusher, cached_author):
    getattr(flusher, method)(url)

    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


def test_flushing_one_model_leaves_the_others(flusher, cached_author):
    from django.contrib.sites.models import Site

    list(Site.objects.all())
    response = flusher.post(FLUSH_AUTHOR, follow=True)

    assert response.redirect_chain == [(PANEL, 302)]
    assert "Flushed testapp.Author." in response.content.decode()
    assert outcome_of_reading() == "miss"
    with record_reads() as reads:
        list(Site.objects.all())
    assert [read.outcome for read in reads] == ["hit"]


def test_flushing_everything(flusher, cached_author):
    response = flusher.post(FLUSH, follow=True)

    assert "Flushed everything." in response.content.decode()
    assert outcome_of_reading() == "miss"


@pytest.mark.parametrize(("url", "what"), [(FLUSH, "everything"), (FLUSH_AUTHOR, "testapp.Author")])
def test_a_flush_is_logged_with_who_did_it(url, what, flusher):
    flusher.post(url)
    entry = LogEntry.objects.get()

    assert entry.user.username == "mia"
    assert entry.object_repr == f"Flushed {what}"
    assert entry.content_type.model == "querycache"
    assert entry.get_admin_url() is None
    assert f"Flushed {what}" in flusher.get("/admin/").content.decode()


def test_a_flush_needs_a_csrf_token(cached_author):
    client = client_with("view_querycache", "flush_querycache", enforce_csrf_checks=True)

    for url in (FLUSH, FLUSH_AUTHOR):
        assert client.post(url).status_code == 403
    assert outcome_of_reading() == "hit"

    client.get(FLUSH)
    token = client.cookies["csrftoken"].value
    assert client.post(FLUSH_AUTHOR, {"csrfmiddlewaretoken": token}).status_code == 302
    assert outcome_of_reading() == "miss"


@pytest.mark.parametrize("label", ["testapp.Secret", "testapp.Nothing", "nonsense", "a/b", "☃"])
def test_what_is_not_opted_in_cannot_be_flushed(label, flusher):
    url = reverse("admin:querycache_querycache_flush_model", args=[label])

    for response in (flusher.get(url, follow=True), flusher.post(url, follow=True)):
        assert response.redirect_chain == [(PANEL, 302)]
        assert f"No model {label} is opted in." in response.content.decode()
    assert not LogEntry.objects.exists()


def test_a_superuser_may_do_all(admin_client, cached_author):
    assert admin_client.get(PANEL).status_code == 200
    assert admin_client.post(FLUSH_AUTHOR).status_code == 302
    assert outcome_of_reading() == "miss"


# A store that does not answer ---------------------------------------------------------------------


def test_the_panel_says_that_the_store_does_not_answer(flusher, dead_store):
    page = flusher.get(PANEL)

    assert page.status_code == 200
    assert "The cache does not answer." in page.content.decode()
    assert "testapp.Author" in page.content.decode()
    assert row_of(flusher, "testapp.Author")["reads"] == "–"


@pytest.mark.parametrize("url", [FLUSH, FLUSH_AUTHOR])
def test_a_flush_of_a_dead_store_says_that_it_failed(url, flusher, dead_store):
    response = flusher.post(url, follow=True)

    assert "nothing was flushed" in response.content.decode()
    assert "Flushed" not in response.content.decode()
    assert not LogEntry.objects.exists()


def test_where_requests_are_transactions_a_flush_does_not_wait_to_fail(
    flusher, dead_store, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    response = flusher.post(FLUSH_AUTHOR, follow=True)

    assert "nothing was flushed" in response.content.decode()
