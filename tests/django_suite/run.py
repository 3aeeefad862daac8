"""
One run of Django's own tests: ``python -m tests.django_suite.run FOLDER LABEL…``.

FOLDER holds Django's runtests.py. The environment says what is in the settings.
"""

import importlib
import sys

from querycache import checks
from tests.django_suite.settings import MODE, PLAIN


def main() -> int:
    folder, *labels = sys.argv[1:]
    sys.path.insert(0, folder)
    runtests = importlib.import_module("runtests")
    if MODE != PLAIN:
        runtests.ALWAYS_INSTALLED_APPS.append("querycache")
        checks.register = lambda: None  # it warns of a LocMemCache, and tests of checks do not
    failures = runtests.django_tests(
        verbosity=1,
        interactive=False,
        failfast=False,
        keepdb=False,
        reverse=False,
        test_labels=labels,
        debug_sql=False,
        parallel=1,
        tags=None,
        exclude_tags=["selenium"],
        test_name_patterns=None,
        start_at=None,
        start_after=None,
        pdb=False,
        buffer=True,
        timing=True,
        shuffle=False,
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
