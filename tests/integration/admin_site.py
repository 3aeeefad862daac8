"""Admin pages as different users see them."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

PANEL = "/admin/querycache/querycache/"
MODELS = PANEL + "models/"
QUERIES = PANEL + "queries/"
EVENTS = PANEL + "events/"
FLUSH = PANEL + "flush/"
FLUSH_AUTHOR = FLUSH + "testapp.Author/"
FLUSH_APP = FLUSH + "app/testapp/"


def client_with(*permissions: str, is_staff: bool = True, **options: Any) -> Client:
    """Return a client of a new user with these permissions."""
    user = User.objects.create_user("mia", password="secret", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**options)
    client.force_login(user)
    return client
