"""The panel in Django's admin: what the cache does, and buttons to make it forget."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.translation import gettext as _

from querycache._django.admin import object_of
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.models import QueryCache
from querycache.panel import events, exports, models, overview, queries, targets
from querycache.panel.targets import EVERYTHING, Target
from querycache.querysets import bypass, flush, invalidate

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[QueryCache]
else:
    ModelAdmin = admin.ModelAdmin

View = Callable[..., HttpResponse]

_NAME = "querycache_querycache"
_READING = ["GET", "HEAD"]


@admin.register(QueryCache)
class QueryCacheAdmin(ModelAdmin):
    """Has no objects to list or edit: its change list is the first page of the panel."""

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: View, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"{_NAME}_{name}")

        return [
            at("", self.changelist_view, "changelist"),
            at("models/", self.models_view, "models"),
            at("models.csv", self.csv_view, "models_csv"),
            at("models.json", self.json_view, "models_json"),
            at("queries/", self.queries_view, "queries"),
            at("queries/<path:name>/", self.query_view, "query"),
            at("events/", self.events_view, "events"),
            at("flush/", self.flush_view, "flush"),
            at("flush/app/<str:label>/", self.flush_app_view, "flush_app"),
            at("flush/query/<path:name>/", self.flush_query_view, "flush_query"),
            at("flush/object/<str:label>/<path:pk>/", self.flush_object_view, "flush_object"),
            at("flush/<path:label>/", self.flush_model_view, "flush_model"),
        ]

    # Who may what ---------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission

    def has_flush_permission(self, request: HttpRequest) -> bool:
        may_flush = request.user.has_perm("querycache.flush_querycache")
        return may_flush and self.has_view_permission(request)

    # Pages ----------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the state of the store, the sums of all counts, and charts."""
        more = extra_context or {}
        return self._show(
            request, "overview", _("Query cache"), lambda: overview.overview(request) | more
        )

    def models_view(self, request: HttpRequest) -> HttpResponse:
        """Show the options and counts of every model."""
        return self._show(request, "models", _("Cached models"), lambda: models.page(request))

    def queries_view(self, request: HttpRequest) -> HttpResponse:
        """Show the counts of every query, by text of SQL."""
        return self._show(request, "queries", _("Cached queries"), lambda: queries.page(request))

    def events_view(self, request: HttpRequest) -> HttpResponse:
        """Show the last invalidations."""
        return self._show(request, "events", _("Invalidations"), lambda: events.page(request))

    def query_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show all that is known of a query."""

        def show() -> HttpResponse:
            context = queries.detail(name)
            if context is None:
                messages.warning(request, _("No query %s is known.") % name)
                return self._to("queries")
            return self._page(request, "query", _("Query %s") % name, context)

        return self._read(request, show, "queries")

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """Export the counts of models as CSV."""
        return self._read(
            request, lambda: exports.as_csv("models", models.records(request)), "models"
        )

    def json_view(self, request: HttpRequest) -> HttpResponse:
        """Export the counts of models as JSON."""
        return self._read(
            request, lambda: exports.as_json("models", models.records(request)), "models"
        )

    # Flushes --------------------------------------------------------------------------------------

    # A flush is not to wait for the commit of its request.
    @transaction.non_atomic_requests
    def flush_view(self, request: HttpRequest) -> HttpResponse:
        """Ask on GET, flush everything on POST."""
        return self._flush(request, targets.everything, "", self._to("changelist"))

    @transaction.non_atomic_requests
    def flush_app_view(self, request: HttpRequest, label: str) -> HttpResponse:
        """Ask on GET, flush the models of an app on POST."""
        missing = _("No model of an app %s is opted in.") % label
        return self._flush(request, lambda: targets.app_named(label), missing, self._to("models"))

    @transaction.non_atomic_requests
    def flush_model_view(self, request: HttpRequest, label: str) -> HttpResponse:
        """Ask on GET, flush a model on POST."""
        missing = _("No model %s is opted in.") % label
        return self._flush(request, lambda: targets.model_named(label), missing, self._to("models"))

    @transaction.non_atomic_requests
    def flush_query_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask on GET, flush the models that a query reads on POST."""
        missing = _("It is not known which models the query %s reads.") % name
        back = self._to("query", name)
        return self._flush(request, lambda: targets.query_named(name), missing, back)

    @transaction.non_atomic_requests
    def flush_object_view(self, request: HttpRequest, label: str, pk: str) -> HttpResponse:
        """Ask on GET, invalidate what depends on an object on POST."""
        self._require_flush_permission(request)
        with bypass():  # who comes here may not trust what is cached
            instance = object_of(self.admin_site, request, label, unquote(pk))
        if instance is None or type(instance) not in get_config().models:
            messages.warning(request, _("There is no such object of a model that is opted in."))
            return self._to("models")
        back = redirect(self._change_page(label, pk))

        def act() -> None:
            invalidate(instance)
            log_invalidation(request, instance)
            text = _("Invalidated what was read of %s. The next reads ask the database.")
            messages.success(request, text % instance)

        context = {"kind": "object", "what": label, "object": instance, "back": back["Location"]}
        return self._ask_or(request, _("Invalidate cached data?"), context, act, back)

    def _change_page(self, label: str, pk: str) -> str:
        name = label.lower().replace(".", "_")
        try:
            return reverse(f"{self.admin_site.name}:{name}_change", args=[pk])
        except NoReverseMatch:  # an admin with addresses of its own
            return reverse(f"{self.admin_site.name}:index")

    # The common part of all -----------------------------------------------------------------------

    def _flush(
        self,
        request: HttpRequest,
        find: Callable[[], Target | None],
        missing: str,
        back: HttpResponse,
    ) -> HttpResponse:
        self._require_flush_permission(request)
        try:
            target = find()
        except StoreFailed as error:
            return self._failed(request, error, back)
        if target is None:
            messages.warning(request, missing)
            return back

        def act() -> None:
            flush() if target.kind == EVERYTHING else invalidate(*target.labels)
            log_flush(request, target.what)
            text = _("Flushed %s. The next reads ask the database.") % target.what
            messages.success(request, text)

        context = {
            "kind": target.kind,
            "what": target.what,
            "labels": target.labels,
            "back": back["Location"],
        }
        return self._ask_or(request, _("Flush %s?") % target.what, context, act, back)

    def _ask_or(
        self,
        request: HttpRequest,
        question: str,
        context: dict[str, Any],
        act: Callable[[], None],
        back: HttpResponse,
    ) -> HttpResponse:
        """Show a question on GET; on POST, do what was asked and go back."""
        if request.method in _READING:
            return self._page(request, "flush", question, context)
        if request.method != "POST":
            return HttpResponseNotAllowed([*_READING, "POST"])
        try:
            act()
        except StoreFailed as error:
            return self._failed(request, error, back)
        return back

    def _failed(self, request: HttpRequest, error: StoreFailed, back: HttpResponse) -> HttpResponse:
        text = _("The cache does not answer, nothing was flushed: %s") % error
        messages.error(request, text)
        return back

    def _require_flush_permission(self, request: HttpRequest) -> None:
        if not self.has_flush_permission(request):
            raise PermissionDenied

    def _show(
        self, request: HttpRequest, name: str, title: str, context: Callable[[], dict[str, Any]]
    ) -> HttpResponse:
        """Show a page that says itself that the store does not answer."""
        return self._read(
            request, lambda: self._page(request, name, title, context()), "changelist"
        )

    def _read(
        self, request: HttpRequest, show: Callable[[], HttpResponse], back: str
    ) -> HttpResponse:
        """Answer whoever may view the panel; if the store does not answer, go back to a page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in _READING:
            return HttpResponseNotAllowed(_READING)
        try:
            return show()
        except StoreFailed as error:
            messages.error(request, _("The cache does not answer: %s") % error)
            return self._to(back)

    def _to(self, page: str, *args: str) -> HttpResponse:
        return redirect(f"{self.admin_site.name}:{_NAME}_{page}", *args)

    def _page(self, request: HttpRequest, name: str, title: str, context: Any) -> HttpResponse:
        page = self.admin_site.each_context(request) | {
            "title": title,
            "opts": self.opts,
            "page": name,
            "may_flush": self.has_flush_permission(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/querycache/{name}.html", page | context)


def log_flush(request: HttpRequest, what: str) -> None:
    """Tell the other administrators, in the admin's recent actions, who flushed what."""
    LogEntry.objects.create(
        user_id=request.user.pk,  # type: ignore[misc]
        content_type=ContentType.objects.get_for_model(QueryCache),
        object_repr=_("Flushed %s") % what[:180],
        action_flag=CHANGE,
        change_message=_("Flushed %s") % what,
    )


def log_invalidation(request: HttpRequest, instance: Model) -> None:
    """Tell the other administrators, in the history of an object, who invalidated it."""
    LogEntry.objects.create(
        user_id=request.user.pk,  # type: ignore[misc]
        content_type=ContentType.objects.get_for_model(instance, for_concrete_model=False),
        object_id=str(instance.pk),
        object_repr=str(instance)[:200],
        action_flag=CHANGE,
        change_message=_("Invalidated its cached data."),
    )
