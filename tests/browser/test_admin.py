"""The panel in the admin, as a person uses it: a real Chromium, a real store, a strict CSP."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from querycache.recorder import record_reads
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author

PANEL = "/admin/querycache/querycache/"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class StrictPolicy:
    """A middleware that lets a page load what its own site serves, and run nothing inline."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response


class Admin:
    """What a person does in the admin."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def log_in(self) -> None:
        self.open(PANEL)
        self.driver.find_element(By.NAME, "username").send_keys("mia")
        self.driver.find_element(By.NAME, "password").send_keys("secret")
        self.follow(self.driver.find_element(By.CSS_SELECTOR, "input[type=submit]"))

    def follow(self, element: Any, *keys: str) -> None:
        """Click an element, or press keys on it, and wait for the page that it leads to."""
        page = self.driver.find_element(By.TAG_NAME, "html")
        if keys:
            element.send_keys(*keys)
        else:
            element.click()
        wait = WebDriverWait(self.driver, 10)
        wait.until(lambda driver: driver.find_element(By.TAG_NAME, "html") != page)
        wait.until(lambda driver: driver.execute_script("return document.readyState") == "complete")

    @property
    def text(self) -> str:
        text: str = self.driver.find_element(By.ID, "content-start").text
        return text

    @property
    def messages(self) -> list[str]:
        return [item.text for item in self.driver.find_elements(By.CSS_SELECTOR, ".messagelist li")]

    def row(self, label: str) -> dict[str, str]:
        """The figures of a model, by the heading of their column."""
        (cells,) = (
            row.find_elements(By.XPATH, "./*")
            for row in self.driver.find_elements(
                By.CSS_SELECTOR, "#querycache table:not([aria-labelledby$=bypasses]) tbody tr"
            )
            if row.find_element(By.TAG_NAME, "th").text == label
        )
        return {cell.get_attribute("data-heading"): " ".join(cell.text.split()) for cell in cells}

    def button(self, label: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, f"#querycache a[href$='flush/{label}/']")

    def press_tab_until(self, element: Any) -> None:
        for _ in range(200):
            if self.driver.switch_to.active_element == element:
                return
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
        raise AssertionError("the element cannot be reached by the keyboard")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    @property
    def overflow(self) -> int:
        """The pixels by which the page is wider than the window."""
        pixels: int = self.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return pixels


@pytest.fixture
def admin(browser: Any, live_server: Any, settings: Any) -> Any:
    """The panel, opened by a superuser, on a site with a strict Content-Security-Policy."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.{StrictPolicy.__name__}"]
    User.objects.create_superuser("mia", password="secret")
    admin = Admin(browser, live_server.url)
    browser.get_log("browser")
    browser.set_window_size(1280, 900)
    admin.log_in()
    yield admin
    # The test project has no icon, and no page that says so.
    complaints = [
        entry["message"]
        for entry in browser.get_log("browser")
        if "/favicon.ico" not in entry["message"]
    ]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert complaints == []


@pytest.fixture
def phone(admin: Admin) -> Admin:
    """The panel on a telephone, 360 pixels wide."""
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    admin.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    admin.open(PANEL)
    return admin


def outcome_of_reading() -> str:
    with record_reads() as reads:
        list(Author.objects.all())
    return reads[0].outcome


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_model_is_flushed_with_two_clicks(admin):
    before = admin.row("testapp.Author")
    assert outcome_of_reading() == "miss"
    for _ in range(3):
        assert outcome_of_reading() == "hit"

    admin.open(PANEL)
    after = admin.row("testapp.Author")
    for name, reads in {"Hits": 3, "Misses": 1, "Fills": 1}.items():
        assert number(after[name]) - number(before[name]) == reads
    assert after["TTL"] == "5 min from testapp.*"

    admin.follow(admin.button("testapp.Author"))
    assert "Everything that was read of testapp.Author will be forgotten" in admin.text
    assert outcome_of_reading() == "hit"

    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    assert admin.messages == ["Flushed testapp.Author. The next reads ask the database."]
    assert outcome_of_reading() == "miss"

    admin.open("/admin/")
    recent_actions = admin.driver.find_element(By.ID, "recent-actions-module").text
    assert "Flushed testapp.Author" in recent_actions


def test_a_flush_can_be_called_off(admin):
    outcome_of_reading()
    admin.follow(admin.button("testapp.Author"))
    admin.follow(admin.driver.find_element(By.LINK_TEXT, "No, take me back"))

    assert admin.driver.current_url.endswith(PANEL)
    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


def test_everything_is_flushed_by_keyboard_alone(admin):
    outcome_of_reading()
    button = admin.driver.find_element(By.LINK_TEXT, "Flush everything")
    admin.press_tab_until(button)
    assert admin.run("return getComputedStyle(arguments[0]).outlineStyle", button) == "solid"
    admin.follow(button, Keys.ENTER)

    sure = admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]")
    admin.press_tab_until(sure)
    admin.follow(sure, Keys.ENTER)

    assert admin.messages == ["Flushed everything. The next reads ask the database."]
    assert outcome_of_reading() == "miss"


def test_a_narrow_page_does_not_scroll_sideways(phone):
    assert phone.overflow == 0
    assert phone.row("testapp.Author")["TTL"] == "5 min from testapp.*"
    table = phone.driver.find_element(By.CSS_SELECTOR, "#querycache .module")
    assert phone.run("return arguments[0].scrollWidth <= arguments[0].clientWidth", table)

    phone.follow(phone.button("testapp.Author"))
    assert phone.overflow == 0


@pytest.mark.parametrize("width", [768, 900, 1024, 1280, 1920])
def test_no_width_makes_the_page_scroll_sideways(width, admin):
    admin.driver.set_window_size(width, 900)

    assert admin.overflow == 0


def test_the_panel_follows_a_dark_system(admin):
    def luminance(selector: str, name: str) -> float:
        color = admin.run(
            f"return getComputedStyle(document.querySelector(arguments[0])).{name}", selector
        )
        return sum(map(float, color.strip("rgba()").split(",")[:3])) / 3

    assert luminance("#querycache .tile", "backgroundColor") > 200
    assert luminance("#querycache .figure", "color") < 100

    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    admin.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)

    assert luminance("#querycache .tile", "backgroundColor") < 60
    assert luminance("#querycache .figure", "color") > 200
    assert luminance("#querycache tbody th", "color") > 200


def test_a_dead_store_is_shown_and_a_flush_of_it_fails_politely(admin, settings, monkeypatch):
    use_dead_store(settings, monkeypatch)

    admin.open(PANEL)
    assert "The cache does not answer." in admin.text
    assert "No answer" in admin.text

    admin.follow(admin.button("testapp.Author"))
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    (message,) = admin.messages
    assert message.startswith("The cache does not answer, nothing was flushed: ")
