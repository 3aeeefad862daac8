"""Around the pages: sites, settings, redirects, languages, users, groups, privacy, letters."""

from tests.demo.browser import Browser
from tests.thirdparty.forms import PUBLISH, article, inline


def test_sites_settings_and_redirects_are_made_changed_and_deleted(magazine, visit, reader, boss):
    from wagtail.contrib.redirects.models import Redirect
    from wagtail.models import Site

    from tests.thirdparty.magazine.models import Colours

    imprint = f"/cms/settings/magazine/imprint/{magazine.site.pk}/"
    colours = f"/cms/settings/magazine/colours/{Colours.load().pk}/"
    visit.open(reader, "/", "/apples/", "/old/", "/older/")
    visit.open(
        boss, "/cms/", "/cms/sites/", f"/cms/sites/edit/{magazine.site.pk}/", imprint,
        "/cms/redirects/", "/cms/redirects/?q=old", "/cms/redirects/add/", "/cms/sites/new/",
        f"/cms/pages/{magazine.home.pk}/", colours,
    )  # fmt: skip
    visit.compare("at the beginning")

    visit.submit(boss, imprint, "w-editor-form", text="The garden club")
    assert "The garden club" in reader.get("/").content.decode()
    visit.submit(boss, colours, "w-editor-form", background="green")
    assert "green" in reader.get("/").content.decode()
    fields = {"old_path": "/old/", "site": "", "redirect_page": magazine.first.pk}
    visit.submit(boss, "/cms/redirects/add/", "w-editor-form", **fields)
    assert reader.get("/old/").url == "/apples/"
    redirect = f"/cms/redirects/{Redirect.objects.get().pk}/"
    visit.submit(boss, redirect, "w-editor-form", redirect_page=magazine.second.pk)
    assert reader.get("/old/").url == "/beans/"
    link = {"redirect_page": "", "redirect_link": "http://example.com/"}
    visit.submit(boss, redirect, "w-editor-form", old_path="/older/", **link)
    assert reader.get("/older/").url == "http://example.com/"
    visit.submit(boss, redirect + "delete/", "delete/")
    assert reader.get("/older/").status_code == 404

    beans = {"hostname": "localhost", "port": 80, "root_page": magazine.second.pk}
    visit.submit(boss, "/cms/sites/new/", "w-editor-form", site_name="Beans", **beans)
    other = Site.objects.get(hostname="localhost")
    assert "Beans" in reader.client.get("/", headers={"host": "localhost"}).content.decode()
    swap = f"/cms/sites/edit/{magazine.site.pk}/"
    visit.submit(boss, swap, "w-editor-form", root_page=magazine.first.pk)
    assert "<h1>Apples" in reader.get("/").content.decode()
    visit.submit(boss, swap, "w-editor-form", root_page=magazine.home.pk)
    visit.submit(boss, f"/cms/sites/delete/{other.pk}/", f"delete/{other.pk}/")
    visit.assert_not_vacuous()


def test_pages_are_translated_and_languages_come_and_go(magazine, visit, reader, boss):
    from wagtail.models import Locale, Page

    home, first = magazine.home.pk, magazine.first.pk
    visit.open(reader, "/", "/apples/", "/search/?q=äpfel")
    visit.open(
        boss, "/cms/", "/cms/pages/", f"/cms/pages/{home}/", f"/cms/pages/{first}/edit/",
        "/cms/locales/", "/cms/locales/new/", "/cms/snippets/magazine/topic/",
        f"/cms/locales/edit/{magazine.locale.pk}/", f"/cms/translation/submit/page/{first}/",
    )  # fmt: skip
    visit.submit(boss, "/cms/locales/new/", "w-editor-form", language_code="de")
    german = Locale.objects.get(language_code="de")
    translate = {"locales": [german.pk]}
    visit.submit(boss, f"/cms/translation/submit/page/{home}/", **translate)
    visit.submit(boss, f"/cms/translation/submit/page/{first}/", **translate)
    translation = magazine.first.get_translation(german).pk
    edit = f"/cms/pages/{translation}/edit/"
    visit.open(boss, edit)
    visit.submit(boss, edit, "page-edit-form", **article(title="Äpfel", slug="apfel"), **PUBLISH)
    assert "Deutsch" in reader.get("/apples/").content.decode()
    snippet = f"/cms/translation/submit/snippet/magazine/topic/{magazine.topic.pk}/"
    visit.submit(boss, snippet, **translate)
    Page.objects.filter(locale=german, depth=2).first().delete()
    visit.compare("after the German pages were deleted")
    assert "Deutsch" not in reader.get("/apples/").content.decode()
    visit.assert_not_vacuous()


def test_users_and_groups_come_change_and_go(magazine, visit, boss, editor):
    from django.contrib.auth.models import Group, Permission, User

    editors = Group.objects.get(name="Editors").pk
    her = User.objects.get(username="editor").pk
    visit.open(editor, "/cms/", "/cms/account/", f"/cms/pages/{magazine.home.pk}/", "/cms/images/")
    visit.open(editor, f"/cms/pages/{magazine.first.pk}/edit/", "/cms/snippets/magazine/topic/")
    visit.open(
        boss, "/cms/users/", "/cms/users/?q=ed", f"/cms/users/edit/{her}/", "/cms/groups/",
        f"/cms/groups/edit/{editors}/", f"/cms/users/?group={editors}", f"/cms/users/delete/{her}/",
        "/cms/account/", "/cms/reports/site-history/",
    )  # fmt: skip
    visit.compare("at the beginning")

    password = {"password1": "", "password2": ""}
    user = f"/cms/users/edit/{her}/"
    names = {"email": "e@example.com", "first_name": "Edith", "last_name": "Or"}
    visit.submit(boss, user, "w-editor-form", **names, **password, groups=[editors])
    assert "Edith" in editor.get("/cms/").content.decode()
    none = {}
    for part in ["page", "document", "image", "collection"]:
        none |= inline(f"{part}_permissions")
    add_topics = Permission.objects.get(codename="add_topic").pk
    access = Permission.objects.get(codename="access_admin").pk
    group = {"name": "Editors!", **none, "permissions": [add_topics, access]}
    visit.submit(boss, f"/cms/groups/edit/{editors}/", "w-editor-form", **group)
    assert editor.get("/cms/snippets/magazine/topic/").status_code == 200
    visit.submit(boss, "/cms/groups/new/", "w-editor-form", **{**group, "name": "Others"})
    others = Group.objects.get(name="Others").pk
    new = {**names, "username": "new", "password1": "wagtail?8", "password2": "wagtail?8"}
    visit.submit(boss, "/cms/users/new/", "w-editor-form", **new, groups=[others])
    visit.submit(boss, user, "w-editor-form", **names, **password, groups=[])
    assert editor.get("/cms/").status_code == 302
    visit.submit(boss, user, "w-editor-form", **names, **password, is_superuser="on")
    assert editor.get("/cms/users/").status_code == 200
    visit.submit(boss, f"/cms/groups/delete/{others}/", f"delete/{others}/")
    visit.submit(boss, f"/cms/users/delete/{her}/", f"delete/{her}/")
    assert editor.get("/cms/").status_code == 302
    visit.assert_not_vacuous()


def test_pages_are_made_private_and_public_again(magazine, visit, reader, boss, editor):
    from django.contrib.auth.models import Group

    first = magazine.first.pk
    visitor = Browser("somebody with the password")
    for browser in (reader, visitor, editor, boss):
        visit.open(browser, "/", "/apples/", "/search/?q=apples")
    visit.open(boss, "/cms/", f"/cms/pages/{magazine.home.pk}/", f"/cms/pages/{first}/privacy/")

    def restrict(kind, **fields):
        data = {"restriction_type": kind, "password": "", "groups": [], **fields}
        visit.post(boss, f"/cms/pages/{first}/privacy/", data)

    restrict("password", password="pips")
    assert "All about apples" not in reader.get("/apples/").content.decode()
    visit.submit(visitor, "/apples/", f"/{first}/", password="pips")
    assert "All about apples" in visitor.get("/apples/").content.decode()
    restrict("login")
    assert reader.get("/apples/").status_code == 302
    restrict("groups", groups=[Group.objects.get(name="Editors").pk])
    assert editor.get("/apples/").status_code == 200
    editor_leaves(visit)
    assert editor.get("/apples/").status_code == 302
    restrict("none")
    assert "All about apples" in reader.get("/apples/").content.decode()
    visit.assert_not_vacuous()


def editor_leaves(visit):
    from django.contrib.auth.models import User

    User.objects.get(username="editor").groups.clear()
    visit.compare("after a user has left a group")


def test_letters_are_written_and_read_and_searches_are_promoted(magazine, visit, reader, boss):
    from wagtail.contrib.forms.models import FormSubmission
    from wagtail.contrib.search_promotions.models import Query

    home = magazine.home.pk
    visit.open(reader, "/", "/write/", "/search/?q=apples", "/search/?q=letter")
    visit.open(boss, "/cms/", "/cms/forms/", f"/cms/pages/{home}/", "/cms/searchpicks/")
    visit.open(boss, "/cms/searchpicks/reports/search-terms/", "/cms/searchpicks/queries/chooser/")
    asked = {"label": "Your letter", "field_type": "multiline", "required": "on"}
    asked |= {"help_text": "", "choices": "", "default_value": ""}
    visit.submit(
        boss, f"/cms/pages/add/magazine/letterpage/{home}/", "page-edit-form",
        title="Write a letter", slug="write", **inline("form_fields", asked),
        **inline("comments"), **PUBLISH,
    )  # fmt: skip
    letters = magazine.home.get_children().get(slug="write").pk
    visit.open(boss, f"/cms/forms/submissions/{letters}/", f"/cms/pages/{letters}/edit/")
    visit.submit(reader, "/write/", "/write/", your_letter="I like apples.")
    written = FormSubmission.objects.get()
    assert "I like apples." in boss.get(f"/cms/forms/submissions/{letters}/").content.decode()
    gone = f"/cms/forms/submissions/{letters}/delete/?selected-submissions={written.pk}"
    visit.post(boss, gone)
    assert not FormSubmission.objects.exists()

    pick = {"page": magazine.second.pk, "description": "Beans are better"}
    pick |= {"external_link_url": "", "external_link_text": ""}
    visit.submit(
        boss, "/cms/searchpicks/add/", "w-editor-form", query_string="apples",
        **inline("editors_picks", pick),
    )  # fmt: skip
    assert "Beans are better" in reader.get("/search/?q=apples").content.decode()
    query = Query.objects.get(query_string="apples")
    query.add_hit()
    visit.compare("after a search was counted")
    delete = f"/cms/searchpicks/{query.pk}/delete/"
    visit.submit(boss, delete, f"{query.pk}/delete/")
    assert "Beans are better" not in reader.get("/search/?q=apples").content.decode()
    visit.assert_not_vacuous()
