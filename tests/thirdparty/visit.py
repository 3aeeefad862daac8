"""What visitors and editors see: with the cache, again with the cache, and without it."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpResponse

import querycache
from querycache.recorder import Read, record_reads
from tests.demo.browser import Browser
from tests.threads import elsewhere

VARYING = [
    (re.compile(r'(name=\\?"csrfmiddlewaretoken\\?" value=\\?")\w+'), r"\1…"),
    (re.compile(r'("CSRF_TOKEN": ")\w+'), r"\1…"),
    (re.compile(r"(/editing-sessions/(ping/\w+/\w+/\d+|release)/)\d+"), r"\1…"),
    # Of a paragraph in the editor of rich text.
    (re.compile(r'(key\\*(?:&quot;|"): \\*(?:&quot;|"))\w{5}\b'), r"\1…"),
    (re.compile(r'("updated_at": ")[^"]*'), r"\1…"),  # Wagtail says "now" of every comment
    (re.compile(r"(\d+|a)\s+(second|minute)s?\s+ago|[jJ]ust now"), "now"),
]
"""What differs between two answers to the same question, and may."""

outcomes: Counter[str] = Counter()
"""How the reads of pages that had been seen a moment ago were answered, over all tests."""


def what_one_sees(response: HttpResponse) -> str:
    body = b"".join(response) if response.streaming else response.content
    text = body.decode(errors="replace")
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return f"{response.status_code} {response.headers.get('Location', '')}\n{text}"


class Visit:
    """Some people and the pages that each of them has open."""

    def __init__(self) -> None:
        self.pages: list[tuple[Browser, str]] = []
        self.by_another_thread = False
        self.comparisons = 0
        self.hits = 0

    def open(self, browser: Browser, *urls: str) -> None:
        self.pages += [(browser, url) for url in urls]

    def submit(self, browser: Browser, url: str, form: str = "", /, **changes: Any) -> HttpResponse:
        """
        Fill in a form and send it, every other time in another thread; then look at every page.
        """
        return self._do(browser.submit, url, form, **changes)

    def post(self, browser: Browser, url: str, data: dict[str, Any] | None = None) -> HttpResponse:
        """Send what no form of a page sends, such as a script's request; then look."""
        return self._do(browser.client.post, url, data or {}, follow=True)

    def _do(self, send: Any, url: str, *arguments: Any, **options: Any) -> HttpResponse:
        if self.by_another_thread:
            response = elsewhere(send, url, *arguments, **options)
        else:
            response = send(url, *arguments, **options)
        self.by_another_thread = not self.by_another_thread
        assert response.status_code == 200, f"{url} answered {response.status_code}"
        assert b"could not be" not in response.content, f"{url}: {complaints(response)}"
        assert not (wrong := complaints(response)), f"{url}: {wrong}"
        self.compare(f"after {url} with {arguments} {options}")
        return response

    def compare(self, when: str) -> None:
        for browser, url in self.pages:
            first = get(browser, url)
            with counted() as reads:
                second = get(browser, url)
            with querycache.bypass():
                truth = get(browser, url)
            expected = what_one_sees(truth)
            for name, seen in [("first", first), ("second", second)]:
                assert_same(what_one_sees(seen), expected, f"{browser.name}, {url}, {name}, {when}")
            self.comparisons += 1
            self.hits += sum(read.outcome == "hit" for read in reads)

    def assert_not_vacuous(self) -> None:
        assert self.hits > 3 * self.comparisons > 0, f"{self.hits} hits, {self.comparisons} pages"


def get(browser: Browser, url: str) -> HttpResponse:
    browser.client.cookies.pop("messages", None)  # of the page before; they are shown once
    return browser.get(url)


@contextmanager
def counted() -> Iterator[list[Read]]:
    with record_reads() as reads:
        yield reads
    for read in reads:
        is_hit = read.outcome == "hit"
        outcomes["hit" if is_hit else f"{read.reason or read.outcome}: {read.label}"] += 1


def assert_same(seen: str, expected: str, where: str) -> None:
    if seen != expected:
        raise AssertionError("\n".join([where, *differences(seen, expected)]))


def differences(seen: str, expected: str) -> Iterator[str]:
    """Yield where two pages differ, and not the kilobytes around it."""
    parts = [re.split(r"(?<=[>},])", text) for text in (expected, seen)]
    for line in difflib.unified_diff(*parts, "truth", "cache", n=0, lineterm=""):
        if line.strip("+- \n"):
            yield line.replace("\n", "")[:200]


def complaints(response: HttpResponse) -> list[str]:
    """Return what a form says that it does not like."""
    html = response.content.decode(errors="replace")
    return re.findall(r'<[^>]*class="(?:error-message|errorlist)[^"]*".*?</', html, re.DOTALL)
