"""Pages for django-debug-toolbar to stand in."""

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

import querycache
from tests.testapp.models import Author, Secret

PAGE = "<html><head><title>A page</title></head><body>{}</body></html>"


def names() -> list[Any]:
    """A miss or a hit, a bypass, and a read of a model that is not opted in."""
    found = [author.name for author in Author.objects.order_by("name")]
    with querycache.bypass():
        Author.objects.count()
    list(Secret.objects.all())
    return found


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format(len(names())))


async def async_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format(len(await sync_to_async(names)())))


def empty_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format("nothing"))


urlpatterns = [
    path("page/", page),
    path("async/", async_page),
    path("empty/", empty_page),
    path("__debug__/", include("debug_toolbar.urls")),
]
