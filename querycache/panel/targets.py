"""What can be made to be forgotten: everything, an app, a model, the tables of a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from querycache import reports
from querycache.conf import get_config
from querycache.panel.models import apps_of
from querycache.panel.queries import known_models, labels_of

EVERYTHING: Final = "everything"
"""The kind of all that is in the store."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    What is to be forgotten: the models of ``labels``.

    ``kind`` is "everything", "app", "model" or "query", and ``what`` names it in a sentence.
    """

    kind: str
    what: str
    labels: Sequence[str] = ()


def everything() -> Target:
    """Return all that is in the store."""
    return Target(EVERYTHING, _("everything"))


def app_named(label: str) -> Target | None:
    """Return the models of an app that are opted in, None if it has none."""
    if label not in apps_of(get_config().tables.values()):
        return None
    labels = [model for model in known_models() if model.partition(".")[0] == label]
    return Target("app", _("the app %s") % label, labels)


def model_named(label: str) -> Target | None:
    """Return a model that is opted in, None if it is none."""
    return Target("model", label, [label]) if label in known_models() else None


def query_named(name: str) -> Target | None:
    """
    Return the models whose tables a query reads, None if nobody knows them any more.

    Raises ``StoreFailed``.
    """
    labels = labels_of(reports.texts_of([name])[name])
    return Target("query", ", ".join(labels), labels) if labels else None
