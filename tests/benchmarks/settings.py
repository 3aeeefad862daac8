"""Settings of a worker; what it is, its parent says in the environment."""

from typing import Any

from tests.benchmarks.variants import VARIANTS, Task

TASK = Task.from_environment()


def database(task: Task) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        # TCP, as between two machines: a socket of the file system is half as dear.
        "HOST": "127.0.0.1",
        "PORT": task.database_port,
        "NAME": task.database_name,
        "USER": "postgres",
        "CONN_MAX_AGE": None,
    }


SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database(TASK)}

values = VARIANTS[TASK.variant].settings(TASK)
INSTALLED_APPS = [*values.pop("INSTALLED_APPS", []), "tests.benchmarks.shop"]
globals().update(values)
