"""A person who uses the admin in a browser, on a site with a strict Content-Security-Policy."""

import base64
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PANEL = "/admin/querycache/querycache/"
MODELS = PANEL + "models/"
QUERIES = PANEL + "queries/"
EVENTS = PANEL + "events/"
FLUSH = PANEL + "flush/"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class StrictPolicy:
    """A middleware that lets a page load what its own site serves, and run nothing inline."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response


SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
"""What is kept to be looked at."""


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
                By.CSS_SELECTOR, "#querycache table[aria-labelledby$=models] tbody tr"
            )
            if row.find_element(By.CSS_SELECTOR, "th a").text == label
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

    def wait_for(self, selector: str) -> Any:
        """Return an element as soon as it is there, and the page with it."""
        wait = WebDriverWait(self.driver, 10)
        element = wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))
        wait.until(lambda driver: driver.execute_script("return document.readyState") == "complete")
        return element

    def prefer(self, scheme: str) -> None:
        """Let the system of the browser be "light" or "dark"."""
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)

    def look_through(self, width: int, *, mobile: bool = False) -> None:
        """Let the window have this many pixels, those of a telephone or not."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def keep_picture(self, name: str) -> None:
        """Write what the whole page looks like into a folder that Git does not know."""
        SCREENSHOTS.mkdir(exist_ok=True)
        picture = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True}
        )
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))

    @property
    def overflow(self) -> int:
        """The pixels by which the page is wider than the window."""
        pixels: int = self.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return pixels


def pages(query: str) -> dict[str, str]:
    """What there is to look at, by its name."""
    return {
        "overview": PANEL,
        "overview-week": f"{PANEL}?span=week",
        "models": MODELS,
        "queries": QUERIES,
        "queries-uncacheable": f"{QUERIES}?view=uncacheable",
        "query": f"{QUERIES}{query}/",
        "events": EVENTS,
        "flush": FLUSH,
        "flush-app": f"{FLUSH}app/testapp/",
        "flush-query": f"{FLUSH}query/{query}/",
    }


def axe_script() -> str:
    """Return the source of axe-core, nothing where its package is not there (Python 3.11)."""
    spec = importlib.util.find_spec("axe_selenium_python")
    if spec is None or spec.origin is None:
        return ""
    path = Path(spec.origin).parent / "node_modules" / "axe-core" / "axe.min.js"
    return path.read_text(encoding="utf-8")


def findings(admin: Admin, axe: str, selector: str = "html") -> list[str]:
    """Return what axe-core finds in a part of the page that is serious."""
    admin.run(axe)
    violations = admin.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(arguments[0]).then(result => done(result.violations));",
        selector,
    )
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in violations
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]
