"""A browser that knows cookies, links and forms: what a person sees is what it sends."""

from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse
from django.test import Client

Attributes = dict[str, str | None]


class Form:
    def __init__(self, attributes: Attributes) -> None:
        self.id = attributes.get("id") or ""
        self.action = attributes.get("action") or ""
        self.writes = (attributes.get("method") or "").lower() == "post"
        self.fields: dict[str, list[str]] = {}

    def add(self, name: str | None, *values: str) -> None:
        if name and values:
            self.fields.setdefault(name, []).extend(values)

    def is_called(self, name: str) -> bool:
        """Whether its id or its action ends like this; the form without either is called ""."""
        if not name:
            return not self.id and not self.action
        return self.id.endswith(name) or self.action.partition("#")[0].endswith(name)


class Select:
    def __init__(self, attributes: Attributes) -> None:
        self.name = attributes.get("name")
        self.multiple = "multiple" in attributes
        self.options: list[str] = []
        self.selected: list[str] = []

    @property
    def values(self) -> list[str]:
        # A browser shows, and sends, the first choice of a list where none was chosen.
        return self.selected or ([] if self.multiple else self.options[:1])


class FormParser(HTMLParser):
    """Collects the forms of a page with what a browser would send of them."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select: Select | None = None
        self._textarea: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form":
            self._form = Form(attributes)
            self.forms.append(self._form)
        elif tag == "input" and self._form:
            self._input(self._form, attributes)
        elif tag == "textarea":
            self._textarea, self._text = attributes.get("name"), ""
        elif tag == "select":
            self._select = Select(attributes)
        elif tag == "option" and self._select:
            value = attributes.get("value") or ""
            self._select.options.append(value)
            if "selected" in attributes:
                self._select.selected.append(value)

    @staticmethod
    def _input(form: Form, attributes: Attributes) -> None:
        kind, value = attributes.get("type") or "text", attributes.get("value")
        if kind in {"checkbox", "radio"}:
            if "checked" in attributes:
                form.add(attributes.get("name"), "on" if value is None else value)
        elif kind not in {"submit", "button", "image", "file", "reset"}:
            form.add(attributes.get("name"), value or "")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._form:
            # A browser drops the line break that follows the opening tag.
            self._form.add(self._textarea, self._text.removeprefix("\r").removeprefix("\n"))
        elif tag == "select" and self._select:
            if self._form:
                self._form.add(self._select.name, *self._select.values)
            self._select = None


class Browser:
    """One visitor: a session of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = Client()

    def get(self, url: str) -> HttpResponse:
        return self.client.get(url)

    def submit(self, url: str, form: str = "", /, **changes: Any) -> HttpResponse:
        """
        Open a page, change fields of one of its forms and send it; return where that leads.

        A change to None takes a field out: an unticked box.
        """
        page = self.client.get(url)
        assert page.status_code == 200, f"{url} answered {page.status_code}"
        parser = FormParser()
        parser.feed(page.content.decode())
        found = [known for known in parser.forms if known.writes and known.is_called(form)]
        assert len(found) == 1, f"{len(found)} forms of {url} are called {form!r}"
        data = {**found[0].fields, **changes}
        return self.client.post(
            found[0].action or url,
            {name: value for name, value in data.items() if value is not None},
            follow=True,
        )
