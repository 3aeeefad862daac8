"""The test project with the admin of django-unfold, which replaces parts of Django's for good."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as OWN_APPS

INSTALLED_APPS = ["unfold.apps.BasicAppConfig", *OWN_APPS]
ROOT_URLCONF = "tests.browser.unfold_site"
