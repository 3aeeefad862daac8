"""A small magazine, made anew for each test, and what its reads came to."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from tests.conftest import skip_if
from tests.demo.browser import Browser
from tests.thirdparty.visit import Visit, outcomes

HERE = Path(__file__).parent


def missing() -> str | None:
    if importlib.util.find_spec("wagtail") is None:
        return "no Wagtail: it is in the dependency group thirdparty"
    if settings.ROOT_URLCONF != "tests.thirdparty.urls":
        return "needs settings of its own: pytest tests/thirdparty --ds tests.thirdparty.settings"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.django_db(transaction=True))
            for warning in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                # Wagtail leaves the files of images open.
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{warning}"))
            skip_if(item, missing())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if outcomes:
        terminalreporter.section("reads of pages that were seen a moment ago")
        for name, number in outcomes.most_common():
            terminalreporter.write_line(f"{number:8,} {name}")


@pytest.fixture(scope="session")
def django_db_use_migrations() -> bool:
    """Wagtail's full text search has tables that only its migrations make."""
    return True


@pytest.fixture
def magazine(transactional_db: None) -> SimpleNamespace:
    """A home page with two articles, and people: a boss, a moderator, an editor."""
    from django.contrib.auth.models import Group, User
    from wagtail.contrib.forms.utils import get_form_types
    from wagtail.models import Site

    from tests.thirdparty.magazine.models import ArticlePage, HomePage, Menu, Topic, Writer

    # Wagtail remembers the content types of forms, and each test has new ones.
    get_form_types.cache_clear()
    found = SimpleNamespace(**roots())
    home = HomePage(title="The magazine", slug="magazine", intro="<p>Welcome</p>")
    found.home = found.root.add_child(instance=home)
    Site.objects.all().delete()
    found.site = Site.objects.create(
        hostname="testserver", root_page=home, is_default_site=True, site_name="Magazine"
    )
    found.writer = Writer.objects.create(name="Ann")
    found.topic = Topic.objects.create(name="Gardens", locale=found.locale)
    found.first, found.second = (
        home.add_child(
            instance=ArticlePage(title=title, slug=title.lower(), writer=found.writer, intro=intro)
        )
        for title, intro in [("Apples", "All about apples"), ("Beans", "No end of beans")]
    )
    found.menu = Menu.objects.create(name="main")
    User.objects.create_superuser("boss", password="boss")
    moderator = User.objects.create_user("moderator", password="moderator")
    moderator.groups.add(Group.objects.get(name="Moderators"))
    editor = User.objects.create_user("editor", password="editor")
    editor.groups.add(Group.objects.get(name="Editors"))
    return found


def roots() -> dict[str, Any]:
    """Return what a migration makes, and make what the test before has taken away."""
    from django.contrib.auth.models import Group, Permission
    from wagtail.models import (
        Collection,
        GroupApprovalTask,
        GroupPagePermission,
        Locale,
        Page,
        Workflow,
        WorkflowPage,
        WorkflowTask,
    )

    locale, _ = Locale.objects.get_or_create(language_code="en")
    root = Page.objects.filter(depth=1).first() or Page.add_root(
        instance=Page(title="Root", slug="root", locale=locale)
    )
    Page.objects.filter(depth__gt=1).delete()
    root.refresh_from_db()
    collection = Collection.objects.first() or Collection.add_root(name="Root")
    for name, actions in [
        ("Editors", ["add", "change"]),
        ("Moderators", ["add", "change", "publish"]),
    ]:
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(Permission.objects.get(codename="access_admin"))
        for action in actions:
            permission = Permission.objects.get(
                content_type__app_label="wagtailcore", codename=f"{action}_page"
            )
            GroupPagePermission.objects.get_or_create(group=group, page=root, permission=permission)
    workflow, _ = Workflow.objects.get_or_create(name="Moderators approval")
    task, _ = GroupApprovalTask.objects.get_or_create(name="Moderators approval")
    task.groups.add(Group.objects.get(name="Moderators"))
    WorkflowTask.objects.get_or_create(workflow=workflow, task=task)
    WorkflowPage.objects.get_or_create(workflow=workflow, page=root)
    return {"locale": locale, "root": root, "collection": collection, "workflow": workflow}


@pytest.fixture
def visit() -> Visit:
    return Visit()


@pytest.fixture
def reader() -> Browser:
    return Browser("reader")


def logged_in(name: str) -> Browser:
    browser = Browser(name)
    browser.submit("/cms/login/", "login/", username=name, password=name)
    assert browser.get("/cms/").status_code == 200
    return browser


@pytest.fixture
def boss(magazine: SimpleNamespace) -> Browser:
    return logged_in("boss")


@pytest.fixture
def moderator(magazine: SimpleNamespace) -> Browser:
    return logged_in("moderator")


@pytest.fixture
def editor(magazine: SimpleNamespace) -> Browser:
    return logged_in("editor")
