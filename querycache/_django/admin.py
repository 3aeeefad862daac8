"""
What Django's admin calls on the way to the form of an object. Imported only if it is installed.

Checked on Django 5.2 to 6.1.
"""

from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.exceptions import NotRegistered
from django.db.models import Model
from django.http import HttpRequest

__all__ = ["ModelAdmin", "object_of"]


def object_of(site: AdminSite, request: HttpRequest, label: str, pk: str) -> Model | None:
    """
    Return an object that this user may view in this admin, None if there is none.

    ``get_object()`` is what the change form calls: it knows what the project's ``get_queryset()``
    leaves out, and an invalid key is no error.
    """
    try:
        model: type[Model] = apps.get_model(label)
        model_admin: ModelAdmin[Any] = site.get_model_admin(model)
    except (LookupError, ValueError, NotRegistered):
        return None
    instance: Model | None = model_admin.get_object(request, pk)
    if instance is None or not model_admin.has_view_permission(request, instance):
        return None
    return instance
