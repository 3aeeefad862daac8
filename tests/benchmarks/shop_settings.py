"""
Settings of the demo shop for the benchmark of its pages: deployed, and with any variant.

Without the line of each page that counts its queries, which needs querycache.
"""

from demo_project.settings import *  # noqa: F403
from demo_project.settings import INSTALLED_APPS, MIDDLEWARE
from tests.benchmarks.settings import TASK, database
from tests.benchmarks.variants import VARIANTS

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {"default": database(TASK)}
QUERYCACHE: dict[str, object] = {}

values = VARIANTS[TASK.variant].settings(TASK)
INSTALLED_APPS = [
    *values.pop("INSTALLED_APPS", []),
    *(app for app in INSTALLED_APPS if app != "querycache"),
]
MIDDLEWARE = [name for name in MIDDLEWARE if "PageCosts" not in name]
globals().update(values)
