"""The panel within django-unfold: another layout, another style sheet."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from selenium.webdriver.common.by import By

from demo_project.shop.models import Brand
from tests.browser.person import PANEL, Admin, axe_script, findings, pages

pytest.importorskip("unfold")


@pytest.fixture
def admin(browser: Any, live_server: Any, settings: Any) -> Iterator[Admin]:
    """An administrator of a site whose admin is that of django-unfold, which needs scripts."""
    settings.INSTALLED_APPS = ["unfold.apps.BasicAppConfig", *settings.INSTALLED_APPS]
    settings.ROOT_URLCONF = "tests.browser.unfold_site"
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


def test_an_object_is_invalidated_from_its_form(admin):
    brand = Brand.objects.create(name="Acme", slug="acme")
    admin.open(f"/admin/shop/brand/{brand.pk}/change/")
    link = admin.wait_for("a.querycache-invalidate")
    admin.keep_picture("unfold-object-light")
    admin.open(link.get_attribute("href").removeprefix(admin.url))
    admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]").click()
    admin.wait_for("#brand_form")
    assert "Invalidated what was read of shop.Brand." in admin.driver.page_source
