"""A headless Chromium of the system, driven by Selenium."""

import contextlib
import os
from collections.abc import Iterator

from selenium import webdriver

from tests.servers import on_path


def missing() -> str | None:
    """Return why there is no browser to test with, or None if there is one."""
    if on_path("chromedriver") is None:
        return "no chromium: chromedriver is not on PATH"
    if _binary() is None:
        return "no chromium: neither chromium nor google-chrome is on PATH"
    return None


def _binary() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((str(path) for path in map(on_path, names) if path), None)


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = _binary() or ""
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1280,900")
    options.add_argument("--disable-dev-shm-usage")  # small in containers
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to run as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=str(on_path("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
