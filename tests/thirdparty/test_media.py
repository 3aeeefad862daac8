"""Images and documents, and the collections that they are in."""

import io

from django.core.files.uploadedfile import SimpleUploadedFile

from tests.thirdparty.forms import PUBLISH, article


def picture(colour):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return SimpleUploadedFile(f"{colour}.png", file.getvalue(), "image/png")


def document(text):
    return SimpleUploadedFile("text.txt", text.encode(), "text/plain")


def open_pages(magazine, visit, reader, boss, kind, chooser):
    visit.open(reader, "/", "/apples/")
    visit.open(
        boss, "/cms/", f"/cms/{kind}/", f"/cms/{kind}/?ordering=title", f"/cms/{kind}/?q=red",
        f"/cms/{kind}/?collection_id={magazine.collection.pk}", f"/cms/{kind}/add/",
        f"/cms/{kind}/chooser/", f"/cms/{kind}/{chooser}", "/cms/collections/",
        "/cms/reports/site-history/", f"/cms/pages/{magazine.first.pk}/edit/",
    )  # fmt: skip
    visit.compare("at the beginning")


def test_images_are_uploaded_used_changed_and_deleted(magazine, visit, reader, boss):
    from wagtail.images.models import Image
    from wagtail.models import Collection

    open_pages(magazine, visit, reader, boss, "images", "chooser/?q=red")
    new = {"title": "Red apple", "file": picture("red"), "tags": "fruit"}
    visit.submit(boss, "/cms/images/add/", "w-editor-form", **new)
    image = Image.objects.get()
    visit.open(boss, f"/cms/images/{image.pk}/", f"/cms/images/usage/{image.pk}/")
    visit.open(boss, f"/cms/images/{image.pk}/delete/")

    edit = f"/cms/pages/{magazine.first.pk}/edit/"
    body = [("picture", image.pk)]
    filled = article(picture=image.pk, body=body)
    visit.submit(boss, edit, "page-edit-form", **filled, **PUBLISH)
    assert reader.get("/apples/").content.decode().count("<img") == 2
    change = f"/cms/images/{image.pk}/"
    visit.submit(boss, change, "w-editor-form", title="A red apple", file=picture("green"))
    assert "A red apple" in reader.get("/apples/").content.decode()

    fields = {"name": "Fruit", "parent": magazine.collection.pk}
    visit.submit(boss, "/cms/collections/add/", "w-editor-form", **fields)
    fruit = Collection.objects.get(name="Fruit")
    visit.open(boss, f"/cms/images/?collection_id={fruit.pk}", f"/cms/collections/{fruit.pk}/")
    several = f"?id={image.pk}&next=/cms/"
    move = f"/cms/bulk/wagtailimages/image/add_to_collection/{several}"
    visit.submit(boss, move, several, collection=fruit.pk)
    tag = f"/cms/bulk/wagtailimages/image/add_tags/{several}"
    visit.submit(boss, tag, several, tags="green")
    another = {"title": "two.png", "files[]": picture("blue"), "collection": fruit.pk}
    visit.post(boss, "/cms/images/multiple/add/", another)
    assert Image.objects.count() == 2
    visit.submit(boss, change + "delete/", "delete/")
    assert b"<img" not in reader.get("/apples/").content
    visit.assert_not_vacuous()


def test_documents_are_uploaded_used_kept_private_and_deleted(magazine, visit, reader, boss):
    from wagtail.documents.models import Document
    from wagtail.models import Collection

    open_pages(magazine, visit, reader, boss, "documents", "chooser/?q=red")
    new = {"title": "Red list", "file": document("apples")}
    visit.submit(boss, "/cms/documents/add/", "w-editor-form", **new)
    listed = Document.objects.get()
    visit.open(reader, listed.url)
    visit.open(boss, f"/cms/documents/edit/{listed.pk}/", f"/cms/documents/usage/{listed.pk}/")
    edit = f"/cms/pages/{magazine.first.pk}/edit/"
    filled = article(body=[("document", listed.pk)])
    visit.submit(boss, edit, "page-edit-form", **filled, **PUBLISH)
    assert listed.url in reader.get("/apples/").content.decode()

    change = f"/cms/documents/edit/{listed.pk}/"
    visit.submit(boss, change, "w-editor-form", title="A longer list", file=document("beans"))
    listed.refresh_from_db()
    visit.open(reader, listed.url)
    private = magazine.collection.add_child(instance=Collection(name="Private"))
    visit.submit(boss, change, "w-editor-form", collection=private.pk)
    privacy = {"restriction_type": "login", "password": "", "groups": []}
    visit.post(boss, f"/cms/collections/{private.pk}/privacy/", privacy)
    assert reader.get(listed.url).status_code == 302
    privacy["restriction_type"] = "none"
    visit.post(boss, f"/cms/collections/{private.pk}/privacy/", privacy)
    assert reader.get(listed.url).status_code == 200
    visit.submit(boss, f"/cms/documents/delete/{listed.pk}/", f"delete/{listed.pk}/")
    assert reader.get(listed.url).status_code == 404
    visit.assert_not_vacuous()
