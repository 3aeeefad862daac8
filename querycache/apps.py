"""The Django app."""

from django.apps import AppConfig


class QueryCacheConfig(AppConfig):
    """Wires querycache into Django once all apps are loaded."""

    name = "querycache"
    verbose_name = "Query cache"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and install the hooks; nothing is read or connected."""
        from querycache import checks, hooks

        checks.register()
        hooks.install()
