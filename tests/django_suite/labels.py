"""Which of Django's own tests are of its ORM."""

from pathlib import Path

_APART = """
    admin_default_site admin_scripts app_loading apps asgi bash_completion builtin_server cache
    csrf_tests dbshell decorators dispatch file_storage files gis_tests httpwrappers humanize_tests
    i18n import_error_package logging_tests mail middleware no_models postgres_tests
    project_template requests_tests requirements resolve_url responses settings_tests signing sphinx
    staticfiles_tests template_backends template_loader template_tests test_runner test_runner_apps
    urlpatterns urlpatterns_reverse user_commands utils_tests validators version wsgi
"""
"""
Apps that read and write no rows, or hardly any: named one by one, so that a new app is not missed.

And those that need what is not here: GDAL, the extensions of PostgreSQL, or a CACHES of their own.
"""
_NEED_ICU = ("inspectdb", "model_fields")
"""Apps whose tables PostgreSQL makes only if it was built with ICU; that of the wheel was not."""


def labels_in(tests: Path, database: str) -> list[str]:
    """Return the apps in the folder of Django's tests that are of the ORM, in a fixed order."""
    apart = {*_APART.split(), *(_NEED_ICU if database == "postgresql" else ())}
    return sorted(
        folder.name
        for folder in tests.iterdir()
        if (folder / "__init__.py").exists() and folder.name not in apart
    )
