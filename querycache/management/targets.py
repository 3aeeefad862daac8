"""
What ``manage.py querycache warm`` is told to read: paths of URLs and names of querysets.
"""

import pkgutil
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet

from querycache.exceptions import QueryCacheError
from querycache.management.expressions import queryset_from

LOCAL: Final = "localhost"


class TargetFailed(QueryCacheError):
    """A target cannot be read; the message says why."""


def default_host() -> str:
    """Return the first name in ALLOWED_HOSTS that is one, ``localhost`` if none is."""
    for host in settings.ALLOWED_HOSTS:
        if name := host.removeprefix(".").replace("*", ""):
            return str(name)
    return LOCAL


class Reader:
    """Reads targets: pages as an anonymous visitor of ``host``, querysets as they are."""

    def __init__(self, host: str) -> None:
        from django.test import Client

        self._client = Client(headers={"host": host})

    def read(self, target: str) -> str:
        """
        Read what a target names, and return in a few words what that was.

        Raises ``TargetFailed``, or what a view or a function raises.
        """
        if target.startswith("/"):
            return self._fetch(target)
        found, count = _found_by(target), 0
        for queryset in [found] if isinstance(found, _QUERYSETS) else _iterated(found):
            _evaluate(queryset)
            count += 1
        return "1 queryset" if count == 1 else f"{count} querysets"

    def _fetch(self, path: str) -> str:
        response = self._client.get(path, secure=settings.SECURE_SSL_REDIRECT)
        status = response.status_code
        if status >= HTTPStatus.BAD_REQUEST:
            raise TargetFailed(f"{status} {response.reason_phrase}")
        location = response.headers.get("Location")
        return f"{status}, to {location}" if location else str(status)


_QUERYSETS: Final = (QuerySet, RawQuerySet, BaseManager)


def _found_by(target: str) -> Any:
    """Return what a target names, which is called if it can be."""
    if "(" in target or "[" in target:
        return queryset_from(target)
    try:
        found = pkgutil.resolve_name(target)
    except ValueError as error:
        reason = "neither a path that begins with / nor the path of a queryset"
        raise TargetFailed(reason) from error
    except (ImportError, AttributeError) as error:
        raise TargetFailed(str(error)) from error
    is_queryset = isinstance(found, _QUERYSETS)
    return found() if callable(found) and not is_queryset else found


def _iterated(found: Any) -> Iterable[Any]:
    if not isinstance(found, Iterable) or isinstance(found, str):
        raise TargetFailed(f"{type(found).__name__} is no queryset")
    return found


def _evaluate(queryset: Any) -> None:
    if not isinstance(queryset, _QUERYSETS):
        raise TargetFailed(f"{type(queryset).__name__} is no queryset")
    # A copy: what a module keeps is not to hold its rows from now on, nor those that it has.
    list(queryset if isinstance(queryset, RawQuerySet) else queryset.all())
