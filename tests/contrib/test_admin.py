"""The admin: every page as the database has it, whoever has written."""

import datetime
import itertools
import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType

from demo_project.shop.models import Category
from tests.contrib.conftest import here
from tests.demo.browser import Browser
from tests.testapp.models import Author, Book, Note, Publisher, Tag
from tests.threads import elsewhere

pytestmark = [
    pytest.mark.slow,
    # The demo's shopkeeper has the admin on SQLite.
    pytest.mark.parametrize("using", ["postgresql"], indirect=True),
]

AUTHORS, BOOKS = "/admin/testapp/author/", "/admin/testapp/book/"
AUTOCOMPLETE = "/admin/autocomplete/?app_label=testapp&model_name=book&field_name=author&term="


@pytest.fixture
def library():
    """Two authors, five books, a publisher, two tags and a note."""
    publisher = Publisher.objects.create(name="Press")
    tags = [Tag.objects.create(name=name) for name in ("green", "red")]
    for year, name in [(1900, "Ann"), (1950, "Ben")]:
        author = Author.objects.create(name=name, born=datetime.date(year, 1, 1))
        for number in range(2):
            book = Book.objects.create(
                name=f"{name} {number}", author=author, publisher=publisher, in_print=number > 0
            )
            book.tags.add(tags[number])
    Note.objects.create(text="Good", about=author)
    Book.objects.create(name="Nobody's", author=author)
    return author


@pytest.fixture
def boss(everything):
    User.objects.create_superuser("boss", password="boss")
    browser = Browser("boss")
    browser.submit("/admin/login/", "login-form", username="boss", password="boss")
    return browser


@pytest.fixture
def do(questions):
    """Do something, every other time in another thread: these pages take their time."""
    ways = itertools.cycle([here, elsewhere])

    def act(function, /, *arguments, **options):
        result = next(ways)(function, *arguments, **options)
        questions.compare(f"{function} {arguments} {options}")
        return result

    return act


def open_library(questions, browser, author):
    book = author.books.earliest("pk")
    questions.open(
        browser, "/admin/", AUTHORS + "?q=ben", AUTHORS + "?born__year=1900",
        f"{AUTHORS}{author.pk}/change/", f"{AUTHORS}{author.pk}/delete/",
        f"{AUTHORS}{author.pk}/history/", BOOKS, BOOKS + "?in_print__exact=1&o=-1&p=2",
        f"{BOOKS}?author__id__exact={author.pk}&publisher__isnull=True",
        BOOKS + "?q=ben&all=", BOOKS + "add/", f"{BOOKS}{book.pk}/change/",
        f"{BOOKS}{book.pk}/history/", AUTOCOMPLETE + "ann",
    )  # fmt: skip
    questions.ask(
        log=lambda: [
            (str(entry), entry.get_change_message(), entry.user.username)
            for entry in LogEntry.objects.order_by("pk").select_related("user")
        ]
    )
    questions.compare()


def test_objects_are_added_changed_and_deleted(library, boss, questions, do):
    open_library(questions, boss, library)
    change = f"{AUTHORS}{library.pk}/change/"
    green = Tag.objects.get(name="green")
    book = {"name": "New", "author": library.pk, "price": "3.50", "tags": [green.pk]}
    book["publisher"] = Publisher.objects.get().pk
    do(boss.submit, BOOKS + "add/", "book_form", **book)
    assert Book.objects.get(name="New").tags.get() == green
    do(boss.submit, change, "author_form", name="Benjamin")
    assert "Benjamin" in boss.get(BOOKS).content.decode()
    inlines = {
        "books-0-name": "Renamed",
        "books-1-DELETE": "on",
        "testapp-note-content_type-object_id-1-text": "Very good",
    }
    do(boss.submit, change, "author_form", **inlines)
    assert Book.objects.filter(author=library, name="Renamed").exists()
    assert sorted(note.text for note in library.notes.all()) == ["Good", "Very good"]
    do(
        boss.submit,
        AUTHORS,
        "changelist-form",
        **{"form-0-email": "b@example.com", "_save": "Save"},
    )
    assert Author.objects.filter(email="b@example.com").exists()
    do(boss.submit, f"{AUTHORS}{library.pk}/delete/", "", post="yes")
    assert not Author.objects.filter(pk=library.pk).exists()
    assert boss.get(change).status_code == 302
    assert LogEntry.objects.count() == 5
    questions.assert_not_vacuous()


def test_actions_change_and_delete_what_is_chosen(library, boss, questions, do):
    open_library(questions, boss, library)

    def act(action, **data):
        chosen = [book.pk for book in Book.objects.filter(author=library)]
        data |= {"action": action, "_selected_action": chosen}
        return boss.client.post(BOOKS + "?all=", data, follow=True)

    do(act, "take_out_of_print")
    assert not Book.objects.filter(author=library, in_print=True).exists()
    page = do(act, "delete_selected")
    assert "Are you sure" in page.content.decode()
    do(act, "delete_selected", post="yes")
    assert not library.books.exists()
    questions.assert_not_vacuous()


def test_what_is_written_outside_of_the_admin_is_seen_in_it(library, boss, questions, do):
    open_library(questions, boss, library)
    book = Book.objects.earliest("pk")
    do(Book.objects.filter(pk=book.pk).update, name="Updated")
    do(book.tags.set, [])
    do(Publisher.objects.update, name="Another press")
    do(Book.objects.bulk_create, [Book(name="Bulk", author=library)])
    do(library.notes.all().delete)
    do(Tag.objects.all().delete)
    do(Author.objects.exclude(pk=library.pk).delete)
    assert "Bulk" in boss.get(BOOKS + "?all=").content.decode()
    questions.assert_not_vacuous()


def test_staff_see_what_they_may(library, boss, questions, do):
    clerk = User.objects.create_user("clerk", password="clerk", is_staff=True)
    browser = Browser("clerk")
    browser.submit("/admin/login/", "login-form", username="clerk", password="clerk")
    open_library(questions, browser, library)
    questions.open(boss, "/admin/auth/user/", f"/admin/auth/user/{clerk.pk}/change/")
    questions.open(boss, "/admin/auth/group/", "/admin/auth/group/add/", "/admin/auth/user/?q=cl")
    view, change = (
        Permission.objects.get(codename=f"{action}_book", content_type__app_label="testapp")
        for action in ("view", "change")
    )
    user = f"/admin/auth/user/{clerk.pk}/change/"
    assert browser.get(BOOKS).status_code == 403
    do(boss.submit, user, "user_form", user_permissions=[view.pk])
    assert "Add book" not in browser.get(BOOKS).content.decode()
    do(boss.submit, "/admin/auth/group/add/", "group_form", name="Help", permissions=[change.pk])
    do(boss.submit, user, "user_form", user_permissions=[], groups=[Group.objects.get().pk])
    book = Book.objects.earliest("pk")
    do(browser.submit, f"{BOOKS}{book.pk}/change/", "book_form", name="By the clerk")
    assert LogEntry.objects.filter(user=clerk).exists()
    do(boss.submit, user, "user_form", is_staff=None)
    assert browser.get(BOOKS).status_code == 302
    do(boss.submit, f"/admin/auth/user/{clerk.pk}/delete/", "", post="yes")
    assert not LogEntry.objects.filter(user_id=clerk.pk).exists()
    questions.assert_not_vacuous(but=(f"clerk: {AUTOCOMPLETE}ann",))


def test_autocomplete_offers_what_there_is(library, boss, questions, do):
    questions.open(boss, AUTOCOMPLETE + "an")
    questions.compare()

    def offered():
        found = json.loads(boss.get(AUTOCOMPLETE + "an").content)["results"]
        return [choice["text"] for choice in found]

    assert offered() == ["Ann"]
    do(Author.objects.create, name="Anton")
    assert sorted(offered()) == ["Ann", "Anton"]
    do(Author.objects.filter(name="Ann").delete)
    assert offered() == ["Anton"]
    questions.assert_not_vacuous()


def test_view_on_site_leads_to_where_the_object_is_now(boss, questions, do):
    plants = Category.objects.create(name="Plants", slug="plants")
    shortcut = f"/admin/r/{ContentType.objects.get_for_model(Category).pk}/{plants.pk}/"
    questions.open(boss, shortcut, f"/admin/shop/category/{plants.pk}/change/")
    questions.compare()
    assert boss.get(shortcut).url.endswith("/category/plants/")
    do(Category.objects.filter(pk=plants.pk).update, slug="herbs")
    assert boss.get(shortcut).url.endswith("/category/herbs/")
    do(plants.delete)
    assert boss.get(shortcut).status_code == 404
    questions.assert_not_vacuous()
