"""What is asked again and again: with the cache, again with the cache, and without it."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import querycache
from querycache.recorder import record_reads
from tests.demo.browser import Browser

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')


class Questions:
    def __init__(self) -> None:
        self._asked: dict[str, Callable[[], Any]] = {}
        self._hits: Counter[str] = Counter()

    def ask(self, **questions: Callable[[], Any]) -> None:
        self._asked |= questions

    def open(self, browser: Browser, *urls: str) -> None:
        for url in urls:
            self._asked[f"{browser.name}: {url}"] = lambda url=url: page(browser, url)

    def compare(self, after: str = "nothing") -> None:
        for name, question in self._asked.items():
            with record_reads() as reads:
                first, second = question(), question()
            with querycache.bypass():
                truth = question()
            assert first == truth, f"{name}, after {after}"
            assert second == truth, f"{name}, the second time, after {after}"
            self._hits[name] += sum(read.outcome == "hit" for read in reads)

    def assert_not_vacuous(self, *, but: tuple[str, ...] = ()) -> None:
        never = [name for name in self._asked if not self._hits[name] and name not in but]
        assert not never, "never answered from the cache"


def page(browser: Browser, url: str) -> str:
    browser.client.cookies.pop("messages", None)  # of the page before; they are shown once
    response = browser.get(url)
    html = CSRF.sub("CSRF", response.content.decode())
    return f"{response.status_code} {response.headers.get('Location', '')}\n{html}"
