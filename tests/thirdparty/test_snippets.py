"""Snippets: one as plain as can be, one that can do what pages can, and a menu."""

from tests.thirdparty.forms import PUBLISH, inline


def test_a_writer_is_drafted_published_locked_and_taken_back(magazine, visit, reader, boss):
    writers, pk = "/cms/snippets/magazine/writer", magazine.writer.pk
    edit = f"{writers}/edit/{pk}/"
    visit.open(reader, "/", "/apples/", "/beans/")
    visit.open(
        boss, "/cms/", "/cms/snippets/", f"{writers}/", f"{writers}/?q=ann", edit,
        f"{writers}/usage/{pk}/", f"{writers}/history/{pk}/", f"{writers}/workflow_history/{pk}/",
        f"{writers}/delete/{pk}/", f"{writers}/history/{pk}/revisions/compare/earliest...latest/",
        "/cms/snippets/choose/magazine/writer/", "/cms/snippets/choose/magazine/writer/?q=ann",
        "/cms/reports/site-history/", f"/cms/pages/{magazine.first.pk}/edit/",
    )  # fmt: skip
    visit.compare("at the beginning")

    visit.submit(boss, edit, "w-editor-form", name="Anna")
    assert "by Ann " in reader.get("/").content.decode()
    visit.submit(boss, edit, "w-editor-form", name="Annabel", **PUBLISH)
    assert "by Annabel " in reader.get("/").content.decode()
    visit.submit(boss, f"{writers}/add/", "w-editor-form", name="Ben", **PUBLISH)
    visit.submit(boss, f"{writers}/unpublish/{pk}/", f"unpublish/{pk}/")
    visit.post(boss, f"{writers}/lock/{pk}/")
    visit.post(boss, f"{writers}/unlock/{pk}/")
    revision = magazine.writer.revisions.earliest("pk").pk
    revert = f"{writers}/history/{pk}/revisions/{revision}/revert/"
    visit.submit(boss, revert, "w-editor-form", **PUBLISH)
    assert "by Anna " in reader.get("/").content.decode()
    visit.submit(boss, f"{writers}/delete/{pk}/", f"delete/{pk}/")
    assert "by None" in reader.get("/apples/").content.decode()
    visit.assert_not_vacuous()


def test_topics_and_menus_are_made_changed_and_deleted(magazine, visit, reader, boss):
    from tests.thirdparty.magazine.models import Topic

    magazine.first.topics.add(magazine.topic)
    magazine.first.save()
    topics, menus = "/cms/snippets/magazine/topic", "/cms/snippets/magazine/menu"
    pk, menu = magazine.topic.pk, magazine.menu.pk
    visit.open(reader, "/", "/apples/", "/beans/")
    visit.open(
        boss, "/cms/", "/cms/snippets/", f"{topics}/", f"{topics}/?ordering=-name", f"{menus}/",
        f"{topics}/edit/{pk}/", f"{topics}/usage/{pk}/", f"{menus}/edit/{menu}/",
        f"{menus}/history/{menu}/", f"/cms/pages/{magazine.first.pk}/edit/",
    )  # fmt: skip
    visit.compare("at the beginning")

    visit.submit(boss, f"{topics}/edit/{pk}/", "w-editor-form", name="The garden")
    assert "The garden" in reader.get("/apples/").content.decode()
    visit.submit(boss, f"{topics}/add/", "w-editor-form", name="The kitchen")
    kitchen = Topic.objects.get(name="The kitchen").pk
    apples = {"label": "To the apples", "page": magazine.first.pk}
    beans = {"label": "To the beans", "page": magazine.second.pk}
    edit = f"{menus}/edit/{menu}/"
    visit.submit(boss, edit, "w-editor-form", name="main", **inline("items", apples, beans))
    assert "To the beans" in reader.get("/").content.decode()
    old = [{"id": item.pk, "label": item.label, "page": item.page_id} for item in menu_items()]
    old[0]["ORDER"] = 9
    old[1]["label"] = "Beans"
    visit.submit(boss, edit, "w-editor-form", name="main", **inline("items", *old))
    first, _, last = reader.get("/").content.decode().partition("To the apples")
    assert "Beans" in first
    assert last
    old[1]["DELETE"] = "on"
    visit.submit(boss, edit, "w-editor-form", name="main", **inline("items", *old))
    several = f"?id={pk}&id={kitchen}&next=/cms/"
    visit.submit(boss, f"/cms/bulk/magazine/topic/delete/{several}", several)
    assert "The garden" not in reader.get("/apples/").content.decode()
    visit.submit(boss, f"{menus}/delete/{menu}/", f"delete/{menu}/")
    assert "To the apples" not in reader.get("/").content.decode()
    visit.assert_not_vacuous()


def menu_items():
    from tests.thirdparty.magazine.models import MenuItem

    return MenuItem.objects.all()
