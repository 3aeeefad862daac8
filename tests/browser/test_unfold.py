"""
The panel within django-unfold: another layout, another style sheet.

In a process of its own, since to import django-unfold replaces parts of Django's admin.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from selenium.webdriver.common.by import By

from demo_project.shop.models import Brand
from tests.browser.person import PANEL, Admin, axe_script, findings, pages

SETTINGS = "tests.browser.unfold_settings"
is_there = django_settings.ROOT_URLCONF == "tests.browser.unfold_site"
within = pytest.mark.skipif(not is_there, reason=f"needs settings of its own: --ds {SETTINGS}")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(is_there, reason="is what runs these tests")
def test_the_panel_fits_into_django_unfold(request):
    if importlib.util.find_spec("unfold") is None:
        pytest.skip("no django-unfold")
    environment = {name: os.environ[name] for name in os.environ if name not in OF_THIS_RUN}
    command = [sys.executable, "-m", "pytest", "-q", __file__, "--ds", SETTINGS]
    run = subprocess.run(
        command,
        env=environment,
        cwd=request.config.rootpath,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3_000:]


OF_THIS_RUN = {"QUERYCACHE_TEST_FOLDER", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST"}


@pytest.fixture
def admin(browser: Any, live_server: Any) -> Iterator[Admin]:
    """An administrator of a site whose admin is that of django-unfold, which needs scripts."""
    User.objects.create_superuser("mia", password="secret")
    admin = Admin(browser, live_server.url)
    browser.set_window_size(1280, 900)
    admin.open(PANEL)
    browser.find_element(By.NAME, "username").send_keys("mia")
    password = browser.find_element(By.NAME, "password")
    password.send_keys("secret")
    password.submit()
    admin.wait_for("#querycache")
    yield admin
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@within
@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_every_page_is_readable_in_its_layout(look, admin, busy):
    if look == "narrow":
        admin.look_through(360, mobile=True)
    admin.prefer("dark" if look == "dark" else "light")
    found = {}
    axe = axe_script()
    for name, url in pages(busy).items():
        admin.open(url)
        admin.wait_for("#querycache")
        admin.keep_picture(f"unfold-{name}-{look}")
        assert admin.overflow == 0
        if axe:
            found[name] = findings(admin, axe, "#querycache")
    assert {name: what for name, what in found.items() if what} == {}


@within
def test_an_object_is_invalidated_from_its_form(admin):
    brand = Brand.objects.create(name="Acme", slug="acme")
    admin.open(f"/admin/shop/brand/{brand.pk}/change/")
    link = admin.wait_for("a.querycache-invalidate")
    admin.keep_picture("unfold-object-light")
    admin.open(link.get_attribute("href").removeprefix(admin.url))
    admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]").click()
    admin.wait_for("#brand_form")
    assert "Invalidated what was read of Acme." in admin.driver.page_source
