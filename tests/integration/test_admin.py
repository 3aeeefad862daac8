"""The panel in the admin: who sees it, who may flush, and what a dead store looks like."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse
from django.utils.html import escape

from querycache import querysets, reports
from querycache.recorder import record_reads
from tests.dead_stores import use_dead_store
from tests.integration.admin_site import (
    EVENTS,
    FLUSH,
    FLUSH_APP,
    FLUSH_AUTHOR,
    MODELS,
    PANEL,
    QUERIES,
    client_with,
)
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = [
    PANEL, MODELS, MODELS[:-1] + ".csv", MODELS[:-1] + ".json", QUERIES, QUERIES + "0123/", EVENTS
]  # fmt: skip
FLUSHES = [FLUSH, FLUSH_AUTHOR, FLUSH_APP]
ALL_URLS = [*PAGES, *FLUSHES, FLUSH + "query/0123/", FLUSH + "object/shop.Brand/1/"]


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


@pytest.mark.parametrize("url", PAGES)
def test_a_viewer_sees_figures_and_no_button(url, viewer, cached_author):
    page = viewer.get(url, follow=True)

    assert page.status_code == 200
    assert b"/flush/" not in page.content


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_a_page_is_there_to_be_read(method, url, flusher, cached_author):
    assert getattr(flusher, method)(url).status_code == 405
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize("url", ALL_URLS[len(PAGES) :])
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


# Flushing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", FLUSHES)
def test_a_flush_asks_before_it_is_done(url, flusher, cached_author):
    page = flusher.get(url)

    assert "Yes, I’m sure" in page.content.decode()
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("url", FLUSHES)
def test_only_post_flushes(method, url, flusher, cached_author):
    getattr(flusher, method)(url)

    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


def test_flushing_one_model_leaves_the_others(flusher, cached_author):
    from django.contrib.sites.models import Site

    list(Site.objects.all())
    response = flusher.post(FLUSH_AUTHOR, follow=True)

    assert response.redirect_chain == [(MODELS, 302)]
    assert "Flushed testapp.Author." in response.content.decode()
    assert outcome_of_reading() == "miss"
    with record_reads() as reads:
        list(Site.objects.all())
    assert [read.outcome for read in reads] == ["hit"]


def test_flushing_an_app_flushes_all_of_its_models_and_no_other(flusher, cached_author):
    from django.contrib.sites.models import Site

    list(Site.objects.all())
    question = flusher.get(FLUSH_APP).content.decode()
    assert "<strong>testapp.Book</strong>" in question
    assert "sites.Site" not in question
    response = flusher.post(FLUSH_APP, follow=True)

    assert "Flushed the app testapp." in response.content.decode()
    assert outcome_of_reading() == "miss"
    with record_reads() as reads:
        list(Site.objects.all())
    assert [read.outcome for read in reads] == ["hit"]


@pytest.mark.parametrize("label", ["plainapp", "nonsense", "<script>", "☃"])
def test_an_app_without_models_cannot_be_flushed(label, flusher, cached_author):
    url = reverse("admin:querycache_querycache_flush_app", args=[label])

    assert f"No model of an app {escape(label)} is opted in." in (
        flusher.post(url, follow=True).content.decode()
    )
    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


def test_flushing_a_query_forgets_all_models_that_it_reads(flusher, cached_author):
    list(Book.objects.select_related("author").order_by("author__name"))
    texts = reports.texts_of(query.name for query in reports.queries())
    name = next(name for name, text in texts.items() if 'JOIN "testapp_author"' in text.sql)
    url = reverse("admin:querycache_querycache_flush_query", args=[name])
    question = flusher.get(url).content.decode()
    assert "A query cannot be forgotten alone." in question
    assert "<strong>testapp.Author</strong>" in question
    assert "<strong>testapp.Book</strong>" in question
    assert outcome_of_reading() == "hit"
    response = flusher.post(url, follow=True)

    assert response.redirect_chain == [(f"{QUERIES}{name}/", 302)]
    assert "Flushed testapp.Author, testapp.Book." in response.content.decode()
    assert outcome_of_reading() == "miss"


def test_a_query_that_nobody_knows_any_more_cannot_be_flushed(flusher, cached_author):
    response = flusher.post(FLUSH + "query/0123/", follow=True)

    assert "It is not known which models the query 0123 reads." in response.content.decode()
    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


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

    for url in ALL_URLS:
        assert client.post(url).status_code in {403, 405}
    assert outcome_of_reading() == "hit"

    client.get(FLUSH)
    token = client.cookies["csrftoken"].value
    assert client.post(FLUSH_AUTHOR, {"csrfmiddlewaretoken": token}).status_code == 302
    assert outcome_of_reading() == "miss"


@pytest.mark.parametrize("label", ["testapp.Secret", "testapp.Nothing", "nonsense", "a/b", "☃"])
def test_what_is_not_opted_in_cannot_be_flushed(label, flusher):
    url = reverse("admin:querycache_querycache_flush_model", args=[label])

    for response in (flusher.get(url, follow=True), flusher.post(url, follow=True)):
        assert response.redirect_chain == [(MODELS, 302)]
        assert f"No model {label} is opted in." in response.content.decode()
    assert not LogEntry.objects.exists()


def test_a_superuser_may_do_all(admin_client, cached_author):
    assert admin_client.get(PANEL).status_code == 200
    assert admin_client.post(FLUSH_AUTHOR).status_code == 302
    assert outcome_of_reading() == "miss"


# A store that does not answer ---------------------------------------------------------------------


@pytest.mark.parametrize("url", ALL_URLS)
def test_no_page_needs_the_store(url, flusher, dead_store):
    page = flusher.get(url, follow=True)

    assert page.status_code == 200
    if url in PAGES:
        assert "The cache does not answer" in page.content.decode()


def test_the_models_are_shown_without_their_counts(flusher, dead_store):
    page = flusher.get(MODELS)

    assert "testapp.Author" in page.content.decode()
    (row,) = (row for row in page.context["rows"] if row.label == "testapp.Author")
    assert {figure.text for figure in row.figures} == {"5 min", "–"}


@pytest.mark.parametrize("url", FLUSHES)
def test_a_flush_of_a_dead_store_says_that_it_failed(url, flusher, dead_store):
    response = flusher.post(url, follow=True)

    assert "nothing was flushed" in response.content.decode()
    assert "Flushed" not in response.content.decode()
    assert not LogEntry.objects.exists()


def test_where_requests_are_transactions_a_flush_does_not_wait_to_fail(
    flusher, dead_store, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setattr(querysets, "connections", ["default"])  # the others have no transaction
    response = flusher.post(FLUSH_AUTHOR, follow=True)

    assert "nothing was flushed" in response.content.decode()
