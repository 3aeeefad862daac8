"""The link on the form of an object that forgets its cached data."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse

from demo_project.shop.models import Brand
from querycache import hooks
from querycache._django.admin import ModelAdmin
from querycache.recorder import record_reads
from tests.dead_stores import use_dead_store
from tests.integration.admin_site import FLUSH, PANEL, client_with

pytestmark = pytest.mark.django_db(transaction=True)

LINK = "Invalidate cached data of this object"
OF_BRANDS = ("view_brand", "change_brand")


@pytest.fixture
def brand() -> Brand:
    return Brand.objects.create(name="<b>Acme</b>", slug="acme")


@pytest.fixture
def flusher() -> Client:
    return client_with("view_querycache", "flush_querycache", *OF_BRANDS)


def form_of(brand: Brand) -> str:
    return reverse("admin:shop_brand_change", args=[brand.pk])


def url_for(brand: Brand) -> str:
    return f"{FLUSH}object/shop.Brand/{brand.pk}/"


def outcome_of_reading() -> str:
    with record_reads() as reads:
        list(Brand.objects.all())
    return reads[0].outcome


def test_the_form_of_an_object_leads_to_the_question(flusher, brand):
    page = flusher.get(form_of(brand)).content.decode()

    assert f'href="{url_for(brand)}"' in page
    assert LINK in page
    assert "historylink" in page
    question = flusher.get(url_for(brand)).content.decode()
    assert "&lt;b&gt;Acme&lt;/b&gt;" in question
    assert "<b>Acme" not in question
    assert f'href="{form_of(brand)}"' in question


def test_an_answer_forgets_what_was_read_and_goes_back_to_the_object(flusher, brand):
    outcome_of_reading()
    flusher.get(url_for(brand))
    assert outcome_of_reading() == "hit"
    response = flusher.post(url_for(brand), follow=True)

    assert response.redirect_chain == [(form_of(brand), 302)]
    assert "Invalidated what was read of &lt;b&gt;Acme&lt;/b&gt;." in response.content.decode()
    assert outcome_of_reading() == "miss"
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("mia", str(brand.pk))
    assert entry.get_edited_object() == brand
    history = flusher.get(reverse("admin:shop_brand_history", args=[brand.pk])).content.decode()
    assert "Invalidated its cached data." in history


@pytest.mark.parametrize(
    "permissions",
    [
        OF_BRANDS,
        (*OF_BRANDS, "view_querycache"),
        (*OF_BRANDS, "flush_querycache"),
    ],
)
def test_who_may_not_flush_sees_no_link_and_does_nothing(permissions, brand):
    client = client_with(*permissions)
    outcome_of_reading()

    assert LINK not in client.get(form_of(brand)).content.decode()
    assert client.get(url_for(brand)).status_code == 403
    assert client.post(url_for(brand)).status_code == 403
    assert outcome_of_reading() == "hit"


def test_an_object_that_one_may_not_see_is_not_shown(brand):
    client = client_with("view_querycache", "flush_querycache")
    outcome_of_reading()
    for response in (
        client.get(url_for(brand), follow=True),
        client.post(url_for(brand), follow=True),
    ):
        assert "Acme" not in response.content.decode()
        assert "There is no such object" in response.content.decode()
    assert outcome_of_reading() == "hit"


@pytest.mark.parametrize(
    "path",
    ["shop.Brand/0", "shop.Brand/x", "shop.Nothing/1", "nonsense/1", "plainapp.Plain/1", "☃/a/b/c"],
)
def test_what_is_not_there_cannot_be_invalidated(path, admin_client):
    response = admin_client.post(f"{FLUSH}object/{path}/", follow=True)

    assert "There is no such object" in response.content.decode()
    assert not LogEntry.objects.exists()


def test_an_answer_needs_a_csrf_token(brand):
    client = client_with(
        "view_querycache", "flush_querycache", *OF_BRANDS, enforce_csrf_checks=True
    )
    outcome_of_reading()
    assert client.post(url_for(brand)).status_code == 403
    assert outcome_of_reading() == "hit"


def test_a_stranger_is_sent_to_the_login(brand):
    for method in ("get", "post"):
        assert getattr(Client(), method)(url_for(brand)).url.startswith(reverse("admin:login"))


def test_a_model_that_is_not_opted_in_has_no_link(flusher, brand, settings):
    settings.QUERYCACHE = {"MODELS": {"shop.*": {"TTL": 9}, "shop.Brand": None}}

    assert LINK not in flusher.get(form_of(brand)).content.decode()
    assert "There is no such object" in flusher.get(url_for(brand), follow=True).content.decode()


def test_there_is_no_link_on_the_form_of_a_new_object(admin_client):
    page = admin_client.get(reverse("admin:shop_brand_add"))

    assert page.status_code == 200
    assert LINK not in page.content.decode()


def test_the_form_shows_its_errors_and_the_link(admin_client, brand):
    page = admin_client.post(form_of(brand), {"name": "", "slug": ""})

    assert "Please correct the errors below." in page.content.decode()
    assert LINK in page.content.decode()


@pytest.mark.parametrize("atomic", [False, True], ids=["", "requests are transactions"])
def test_a_dead_store_is_told(flusher, brand, settings, monkeypatch, atomic):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    use_dead_store(settings, monkeypatch)
    response = flusher.post(url_for(brand), follow=True)

    assert "The cache does not answer, nothing was flushed" in response.content.decode()
    assert not LogEntry.objects.exists()


@pytest.fixture
def own_template(tmp_path: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the form of brands have a template of its own."""

    def use(text: str) -> None:
        (tmp_path / "own.html").write_text(text)
        (engine,) = settings.TEMPLATES
        settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]
        monkeypatch.setattr(
            type(admin.site.get_model_admin(Brand)), "change_form_template", "own.html"
        )

    return use


def test_a_form_with_a_template_of_its_own_has_the_link_too(own_template, admin_client, brand):
    own_template(
        '{% extends "admin/change_form.html" %}{% block object-tools-items %}'
        "<li>mine</li>{% endblock %}"
    )
    page = admin_client.get(form_of(brand)).content.decode()

    assert "<li>mine</li>" in page
    assert LINK in page


def test_a_template_without_a_place_for_it_has_no_link(own_template, admin_client, brand):
    own_template("<p>{{ original }}</p>")
    page = admin_client.get(form_of(brand)).content.decode()

    assert page == "<p>&lt;b&gt;Acme&lt;/b&gt;</p>"


def test_a_form_that_is_no_template_response_is_left_alone(admin_client, brand, monkeypatch):
    from django.http import HttpResponse

    monkeypatch.setattr(
        type(admin.site.get_model_admin(Brand)),
        "render_change_form",
        lambda *args, **options: HttpResponse("plain"),
    )
    assert admin_client.get(form_of(brand)).content == b"plain"


def test_an_admin_without_the_panel_has_no_link(admin_client, brand, monkeypatch):
    from querycache.models import QueryCache

    registered = admin.site.is_registered
    monkeypatch.setattr(
        admin.site, "is_registered", lambda model: model is not QueryCache and registered(model)
    )
    assert LINK not in admin_client.get(form_of(brand)).content.decode()


def test_where_the_app_was_taken_out_there_is_no_link(admin_client, brand, settings):
    request = admin_client.get(form_of(brand)).wsgi_request
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "querycache"]
    settings.QUERYCACHE = {"MODELS": {"shop.*": {"TTL": 9}}}
    site = admin.AdminSite()
    site.register(Brand)
    form = site.get_model_admin(Brand).change_view(request, str(brand.pk))
    assert form.status_code == 200
    assert form.template_name != "admin/querycache/change_form.html"


def test_the_hook_can_be_taken_out(admin_client, brand):
    hooks.uninstall()
    try:
        assert ModelAdmin.render_change_form.__module__ == "django.contrib.admin.options"
        assert not hasattr(ModelAdmin.render_change_form, "__wrapped__")
        assert LINK not in admin_client.get(form_of(brand)).content.decode()
    finally:
        hooks.install()
    assert LINK in admin_client.get(form_of(brand)).content.decode()


def test_the_panel_has_no_form_of_an_object(admin_client):
    assert LINK not in admin_client.get(PANEL).content.decode()
