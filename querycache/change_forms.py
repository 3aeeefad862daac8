"""
A link on the form of each object in Django's admin, to what forgets its cached data.

Whatever template the form has, ours extends it: so the order of ``INSTALLED_APPS`` does not matter,
nor does a project change a line.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

from django.apps import apps
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from querycache.conf import get_config

_TEMPLATE: Final = "admin/querycache/change_form.html"
_PERMISSIONS: Final = ("querycache.view_querycache", "querycache.flush_querycache")


def wrap_render_change_form(render: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``ModelAdmin.render_change_form``."""

    @functools.wraps(render)
    def render_with_link(
        model_admin: Any, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> Any:
        response = render(model_admin, request, context, *args, **options)
        return with_link(response, model_admin, request)

    return render_with_link


def with_link(response: Any, model_admin: Any, request: HttpRequest) -> Any:
    """Return the form with the link, if its object may be invalidated by this user."""
    if not isinstance(response, TemplateResponse) or response.is_rendered:
        return response
    context = response.context_data or {}
    instance = context.get("original")
    url = _url_for(instance, model_admin, request) if isinstance(instance, Model) else None
    if url is not None:
        original = response.resolve_template(response.template_name)
        response.context_data = context | {"querycache_original": original, "querycache_url": url}
        response.template_name = _TEMPLATE
    return response


def _url_for(instance: Model, model_admin: Any, request: HttpRequest) -> str | None:
    """Return where an object is invalidated, None if it cannot be, or not by this user."""
    site = model_admin.admin_site
    if type(instance) not in get_config().models or not _has_panel(site):
        return None
    if not request.user.has_perms(_PERMISSIONS):
        return None
    try:
        name = f"{site.name}:querycache_querycache_flush_object"
        return reverse(name, args=[model_admin.opts.label, quote(instance.pk)])
    except NoReverseMatch:  # an admin with addresses of its own
        return None


def _has_panel(site: Any) -> bool:
    try:
        panel = apps.get_model("querycache.QueryCache")
    except LookupError:  # a test has taken the app out; what is wrapped stays so
        return False
    registered: bool = site.is_registered(panel)
    return registered
