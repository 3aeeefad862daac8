"""Pages: made, drafted, published, moved, copied, put in order, deleted, commented on."""

from django.core.management import call_command
from django.utils import timezone

from tests.thirdparty.forms import PUBLISH, article, inline, rich

PUBLIC = ["/", "/apples/", "/beans/", "/cherries/", "/apples/beans/", "/search/?q=apples"]


def pages_of_an_editor(magazine):
    home, first = magazine.home.pk, magazine.first.pk
    yield "/cms/"
    yield f"/cms/pages/{home}/"
    yield f"/cms/pages/{home}/?ordering=ord&q=app"
    yield "/cms/pages/search/?q=apples"
    for page in ["edit", "history", "usage", "view_draft", "delete", "copy", "privacy"]:
        yield f"/cms/pages/{first}/{page}/"
    yield f"/cms/pages/{first}/revisions/compare/earliest...latest/"
    yield f"/cms/choose-page/{home}/"
    yield "/cms/reports/site-history/"
    yield "/cms/reports/page-types-usage/"
    yield "/cms/reports/locked/"


def test_pages_are_made_drafted_published_and_taken_back(magazine, visit, reader, boss):
    first = magazine.first.pk
    visit.open(reader, *PUBLIC)
    visit.open(boss, "/apples/", *pages_of_an_editor(magazine))
    visit.compare("at the beginning")

    edit = f"/cms/pages/{first}/edit/"
    visit.submit(boss, edit, "page-edit-form", **article(title="Apples, a draft"))
    assert "draft" not in reader.get("/apples/").content.decode()
    assert "draft" in boss.get(f"/cms/pages/{first}/view_draft/").content.decode()
    body = [
        ("heading", "What they are"),
        ("text", rich("<p>Red <b>or</b> green</p>")),
        ("page", magazine.second.pk),
    ]
    links = inline("links", {"label": "More", "url": "http://example.com/"})
    fields = {"title": "Apples!", "topics": [magazine.topic.pk], "tags": "fruit, red"}
    filled = article(body=body, **fields, **links)
    visit.submit(boss, edit, "page-edit-form", **filled, **PUBLISH)
    seen = reader.get("/apples/").content.decode()
    for text in ("Apples!", "Red <b>or</b> green", "More", "Gardens", "#fruit"):
        assert text in seen

    new = {"title": "Cherries", "slug": "cherries", "intro": "Sweet", "show_in_menus": "on"}
    add = f"/cms/pages/add/magazine/articlepage/{magazine.home.pk}/"
    visit.submit(boss, add, "page-edit-form", **article(**new), **PUBLISH)
    assert "Cherries" in reader.get("/").content.decode()

    visit.submit(boss, f"/cms/pages/{first}/unpublish/", "unpublish/")
    assert reader.get("/apples/").status_code == 404
    visit.submit(boss, edit, "page-edit-form", **article(title="Apples, again"), **PUBLISH)
    assert "Apples, again" in reader.get("/").content.decode()

    revision = magazine.first.revisions.earliest("pk").pk
    revert = f"/cms/pages/{first}/revisions/{revision}/revert/"
    visit.open(boss, revert, f"/cms/pages/{first}/revisions/{revision}/view/")
    visit.submit(boss, revert, "page-edit-form", **article(), **PUBLISH)
    assert "Apples, a draft" in reader.get("/").content.decode()
    visit.assert_not_vacuous()


def test_pages_are_moved_copied_ordered_and_deleted(magazine, visit, reader, boss):
    home, first, second = magazine.home.pk, magazine.first.pk, magazine.second.pk
    visit.open(reader, *PUBLIC, "/copied/", "/alias/")
    visit.open(boss, *pages_of_an_editor(magazine))

    visit.submit(boss, f"/cms/pages/{second}/move/{first}/confirm/", "confirm/")
    assert reader.get("/apples/beans/").status_code == 200
    visit.submit(boss, f"/cms/pages/{second}/move/{home}/confirm/", "confirm/")
    assert reader.get("/beans/").status_code == 200
    visit.post(boss, f"/cms/pages/{second}/set_position/?position=0")
    assert magazine.home.get_children().first().pk == second
    visit.submit(
        boss, f"/cms/pages/{first}/copy/", "copy/",
        new_title="Copied", new_slug="copied", publish_copies="on",
    )  # fmt: skip
    assert "Copied" in reader.get("/").content.decode()
    visit.submit(
        boss, f"/cms/pages/{first}/copy/", "copy/",
        new_title="Alias", new_slug="alias", alias="on",
    )  # fmt: skip
    visit.submit(
        boss, f"/cms/pages/{first}/edit/", "page-edit-form",
        **article(intro="Told to the alias too"), **PUBLISH,
    )  # fmt: skip
    assert "Told to the alias too" in reader.get("/alias/").content.decode()
    alias = magazine.first.aliases.get().pk
    visit.submit(boss, f"/cms/pages/{alias}/convert_alias/", "convert_alias/")

    both = f"?id={first}&id={second}&next=/cms/"
    visit.submit(boss, f"/cms/bulk/wagtailcore/page/unpublish/{both}", both)
    assert reader.get("/apples/").status_code == 404
    visit.submit(boss, f"/cms/bulk/wagtailcore/page/publish/{both}", both)
    assert reader.get("/apples/").status_code == reader.get("/beans/").status_code == 200
    visit.post(boss, f"/cms/pages/{first}/lock/")
    assert "Apples" in boss.get("/cms/reports/locked/").content.decode()
    visit.post(boss, f"/cms/pages/{first}/unlock/")
    visit.submit(boss, f"/cms/pages/{second}/delete/", "delete/")
    assert "Beans" not in reader.get("/").content.decode()
    visit.submit(boss, f"/cms/bulk/wagtailcore/page/delete/?id={alias}&next=/cms/", "/cms/")
    visit.assert_not_vacuous()


def test_a_page_is_published_and_expires_when_its_time_has_come(magazine, visit, reader, boss):
    from wagtail.models import Page, Revision

    visit.open(reader, *PUBLIC)
    visit.open(boss, *pages_of_an_editor(magazine))
    tomorrow = (timezone.now() + timezone.timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    edit = f"/cms/pages/{magazine.first.pk}/edit/"
    scheduled = article(title="Tomorrow's apples", go_live_at=tomorrow)
    visit.submit(boss, edit, "page-edit-form", **scheduled, **PUBLISH)
    assert "Tomorrow" not in reader.get("/").content.decode()
    call_command("publish_scheduled")
    visit.compare("after nothing was due")
    revision = Revision.objects.exclude(approved_go_live_at=None).get()
    revision.approved_go_live_at = timezone.now()
    revision.content["go_live_at"] = None
    revision.save()
    call_command("publish_scheduled")
    visit.compare("after a page was published because it was due")
    assert "Tomorrow" in reader.get("/").content.decode()
    Page.objects.filter(pk=magazine.first.pk).update(expire_at=timezone.now())
    call_command("publish_scheduled")
    visit.compare("after a page has expired")
    assert reader.get("/apples/").status_code == 404
    visit.assert_not_vacuous()


def test_comments_are_made_answered_resolved_and_deleted(magazine, visit, boss, moderator):
    from wagtail.models import Comment

    first = magazine.first.pk
    edit = f"/cms/pages/{first}/edit/"
    for browser in (boss, moderator):
        visit.open(browser, edit, f"/cms/pages/{first}/history/", f"/cms/pages/{magazine.home.pk}/")
        visit.open(browser, "/cms/", "/cms/account/")

    none = inline("comments-0-replies")
    new = {"text": "Really?", "contentpath": "title", "position": ""}
    commented = article(comments=[new], **none, comment_notifications="on")
    visit.submit(moderator, edit, "page-edit-form", **commented)
    comment = Comment.objects.get()
    assert "Really?" in boss.get(edit).content.decode()
    old = {**new, "id": comment.pk}
    answer = inline("comments-0-replies", {"text": "Really."})
    visit.submit(boss, edit, "page-edit-form", **article(comments=[old], **answer))
    assert comment.replies.get().text == "Really."
    changed = {**old, "text": "Truly?"}
    answers = inline("comments-0-replies", {"id": comment.replies.get().pk, "text": "Really."})
    visit.submit(moderator, edit, "page-edit-form", **article(comments=[changed], **answers))
    resolved = {**changed, "resolved": "on"}
    visit.submit(boss, edit, "page-edit-form", **article(comments=[resolved], **answers))
    assert "Truly?" not in boss.get(edit).content.decode()
    visit.assert_not_vacuous()
