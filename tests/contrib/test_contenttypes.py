"""django.contrib.contenttypes, whose manager keeps a cache of its own in each process."""

from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

from tests.contrib.conftest import forget
from tests.testapp.models import Author, Book, Note, Tag
from tests.threads import elsewhere


def anew(question):
    """Return the question as a process asks it that has just begun."""

    def ask():
        ContentType.objects.clear_cache()
        return question()

    return ask


def natural_key(content_type):
    return content_type and (content_type.pk, *content_type.natural_key())


def ask_about_types(questions):
    types = ContentType.objects
    questions.ask(
        for_model=anew(lambda: natural_key(types.get_for_model(Author))),
        for_models=anew(
            lambda: {
                model.__name__: natural_key(found)
                for model, found in types.get_for_models(Author, Book, Tag, Note).items()
            }
        ),
        by_key=anew(lambda: natural_key(types.filter(app_label="testapp", model="tag").first())),
        by_id=anew(lambda: natural_key(types.get_for_id(types.get(model="book").pk))),
        known=anew(lambda: [natural_key(found) for found in types.order_by("pk")]),
        about=anew(
            lambda: [
                (note.text, type(note.about).__name__, getattr(note.about, "name", None))
                for note in Note.objects.order_by("pk").prefetch_related("about")
            ]
        ),
        notes=anew(
            lambda: [note.text for author in Author.objects.all() for note in author.notes.all()]
        ),
    )


def test_content_types_are_made_renamed_and_removed(questions, using, do):
    ann = Author.objects.create(name="Ann")
    book = Book.objects.create(name="Beans", author=ann)
    Note.objects.create(text="Good", about=ann)
    Note.objects.create(text="Long", about=book)
    ask_about_types(questions)
    questions.compare()

    do(ann.notes.create, text="Very good")
    do(ContentType.objects.filter(app_label="testapp", model="tag").delete)
    made = do(anew(lambda: ContentType.objects.get_for_model(Tag)))
    assert natural_key(made)[1:] == ("testapp", "tag")
    renamed = ContentType.objects.filter(app_label="testapp", model="tag")
    do(renamed.update, model="label")
    assert ContentType.objects.filter(app_label="testapp", model="tag").exists()
    stale = ContentType.objects.filter(app_label="testapp", model="label")
    remove = {"database": using, "interactive": False, "verbosity": 0}
    do(call_command, "remove_stale_contenttypes", **remove)
    assert not stale.exists()
    do(Author.objects.filter(pk=ann.pk).update, name="Anna")
    do(book.delete)
    do(ann.notes.all().delete)
    questions.assert_not_vacuous()


def test_the_managers_own_cache_is_as_old_as_without_querycache():
    author = ContentType.objects.get_for_model(Author)
    elsewhere(ContentType.objects.filter(pk=author.pk).update, model="writer")
    assert ContentType.objects.get_for_model(Author) is author
    forget()
    assert ContentType.objects.get_for_model(Author) != author
    assert ContentType.objects.get_for_id(author.pk).model == "writer"


def test_content_types_are_made_with_the_tables(questions, using, do):
    from django.apps import apps

    questions.ask(known=lambda: list(ContentType.objects.order_by("pk").values_list("model")))
    ContentType.objects.filter(app_label="testapp").delete()
    questions.compare()
    testapp = apps.get_app_config("testapp")
    do(create_contenttypes, testapp, verbosity=0, interactive=False, using=using)
    assert ContentType.objects.filter(app_label="testapp", model="book").exists()
    questions.assert_not_vacuous()
