"""The panel in Django's admin: what the cache does, by model, and buttons to make it forget."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from querycache.checks import check_settings
from querycache.conf import get_config
from querycache.exceptions import StoreFailed
from querycache.management.figures import bypasses, human_duration, percentage, remarks
from querycache.models import QueryCache
from querycache.options import Table
from querycache.querysets import flush, get_stats, invalidate
from querycache.stats import ModelStats

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[QueryCache]
else:
    ModelAdmin = admin.ModelAdmin


def row(label: str, counts: ModelStats | None, table: Table | None = None) -> dict[str, Any]:
    """Return a line of the panel; without counts, of a store that does not answer, with dashes."""

    def number(name: str) -> str:
        if counts is None:
            return "–"
        return number_format(getattr(counts, name), use_l10n=True, force_grouping=True)

    reads, time_saved = number("reads"), human_duration(counts.saved_seconds) if counts else "–"
    return {
        "label": label,
        "table": table,
        "ttl": human_duration(table.options.ttl) if table else "",
        "counts": counts,
        "hit_rate": percentage(counts.hit_rate) if counts and counts.reads else "–",
        "reads": reads,
        "time_saved": time_saved,
        "figures": [
            (_("Reads"), reads),
            (_("Hits"), number("hits")),
            (_("Misses"), number("misses")),
            (_("Fills"), number("fills")),
            (_("Bypasses"), number("bypasses")),
            (_("Invalidations"), number("invalidations")),
            (_("Time saved"), time_saved),
        ],
    }


@admin.register(QueryCache)
class QueryCacheAdmin(ModelAdmin):
    """Has no objects to list or edit: its change list is the panel."""

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "querycache_querycache"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("flush/", view(self.flush_view), name=f"{name}_flush"),
            path("flush/<path:label>/", view(self.flush_view), name=f"{name}_flush_model"),
        ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission

    def has_flush_permission(self, request: HttpRequest) -> bool:
        may_flush = request.user.has_perm("querycache.flush_querycache")
        return may_flush and self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the state of the store and the counts of every opted-in model."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        config, stats, failure = get_config(), None, None
        try:
            stats = get_stats()
        except StoreFailed as error:
            failure = str(error)
        context = {
            "alias": config.cache,
            "backend": settings.CACHES.get(config.cache, {}).get("BACKEND"),
            "failure": failure,
            "problems": check_settings(),
            "rows": [
                row(table.label, stats.models.get(table.label) if stats else None, table)
                for table in sorted(config.tables.values(), key=lambda table: table.label)
            ],
            "remarks": list(remarks(stats)) if stats else [],
            "bypasses": bypasses(stats) if stats else [],
            "total": row(_("All models"), stats.total if stats else None),
            "may_flush": self.has_flush_permission(request),
        }
        return self._page(request, "panel", _("Query cache"), context | (extra_context or {}))

    @transaction.non_atomic_requests  # a flush is not to wait for the commit of its request
    def flush_view(self, request: HttpRequest, label: str | None = None) -> HttpResponse:
        """Ask on GET, flush on POST: one model, or everything."""
        if not self.has_flush_permission(request):
            raise PermissionDenied
        if label and label not in {table.label for table in get_config().tables.values()}:
            messages.warning(request, _("No model %s is opted in.") % label)
            return self._to_panel()
        what = label or _("everything")
        if request.method in {"GET", "HEAD"}:
            return self._page(request, "flush", _("Flush %s?") % what, {"label": label})
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        try:
            invalidate(label) if label else flush()
        except StoreFailed as error:
            text = _("The cache does not answer, nothing was flushed: %s") % error
            messages.error(request, text)
        else:
            log_flush(request, what)
            messages.success(request, _("Flushed %s. The next reads ask the database.") % what)
        return self._to_panel()

    def _to_panel(self) -> HttpResponse:
        return redirect(f"{self.admin_site.name}:querycache_querycache_changelist")

    def _page(self, request: HttpRequest, name: str, title: str, context: Any) -> HttpResponse:
        page = self.admin_site.each_context(request) | {"title": title, "opts": self.opts}
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
