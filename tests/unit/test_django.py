"""
What ``querycache._django`` says of Django is so.

These fail where Django moves, and say where; how it then behaves is for the other tests to tell.
"""

import inspect
from typing import Any

import django
import pytest
from django.db.models import CharField, Model, base, query
from django.db.models.expressions import Col
from django.db.models.fields import files, mixins, related_descriptors
from django.db.models.options import Options
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from querycache._django import compilers, instances, relations
from tests.testapp.models import Author, Biography, Book, Edit, Tag

ASKED_OF_A_COMPILER = {
    "execute_sql",
    "results_iter",
    "select",
    "klass_info",
    "annotation_col_map",
}


def names_in(function: Any) -> set[str]:
    """The attributes and globals that a function names."""
    code = inspect.unwrap(function).__code__
    return set(code.co_names)


def strings_in(function: Any) -> set[str]:
    found: set[str] = set()
    for constant in inspect.unwrap(function).__code__.co_consts:
        found |= {constant} if isinstance(constant, str) else set()
    return found


def test_the_form_of_an_object_is_rendered_in_one_place():
    from querycache._django.admin import ModelAdmin

    render = inspect.unwrap(ModelAdmin.render_change_form)
    assert names_in(render) >= {"TemplateResponse", "change_form_template"}
    assert list(inspect.signature(ModelAdmin.get_object).parameters)[:3] == [
        "self", "request", "object_id"
    ]  # fmt: skip


def test_columns_are_alike_if_they_are_those_of_the_same_fields():
    def columns(*fields: str, alias: str = "t", output: Any = None) -> compilers.Columns:
        selected = [
            (Col(alias, Book._meta.get_field(name), output), ("the same SQL", []), None)
            for name in fields
        ]
        return compilers.Columns({"select": selected, "klass_info": None})

    assert compilers.are_alike(columns("name", "pages"), columns("name", "pages"))
    for others in (
        columns("name", "rating"),
        columns("name"),
        columns("name", "pages", alias="u"),
        columns("name", "pages", output=CharField()),
        compilers.Columns({"select": columns("name", "pages").known["select"]}),
        compilers.Columns({"select": None, "klass_info": None}),
    ):
        assert not compilers.are_alike(columns("name", "pages"), others)
        assert not compilers.are_alike(others, columns("name", "pages"))
    text = CharField()
    assert not compilers.are_alike(columns("name", output=text), columns("pages", output=text))
    shared = columns("name")
    ((column, _, _),) = shared.known["select"]
    for selected in ((column, ("other SQL", []), None), (column, ("the same SQL", []), "alias")):
        others = compilers.Columns({"select": [selected], "klass_info": None})
        assert not compilers.are_alike(shared, others)
        assert compilers.are_alike(others, others)


def test_the_instances_of_a_queryset_are_made_in_one_place():
    iterate = inspect.unwrap(query.ModelIterable.__iter__)
    assert inspect.isgeneratorfunction(iterate)
    asked = ASKED_OF_A_COMPILER | {"get_related_populators", "_known_related_objects"}
    assert names_in(iterate) >= asked
    assert strings_in(iterate) >= {"model", "select_fields"}


def test_the_iterables_of_models_are_those_that_are_known():
    assert query.ModelIterable.__subclasses__() == []


def test_related_instances_are_made_as_they_were():
    assert names_in(query.RelatedPopulator.populate) >= {
        "pk_idx",
        "local_setter",
        "remote_setter",
        "related_populators",
    }
    assert strings_in(query.RelatedPopulator.__init__) >= {
        "select_fields",
        "from_parent",
        "model",
        "local_setter",
        "remote_setter",
    }


def test_a_model_sets_what_it_set():
    assert names_in(Model.from_db) >= {"_meta", "concrete_fields", "_state", "adding", "db"}
    assert names_in(Model.__init__) >= {"pre_init", "post_init", "ModelState", "_state", "attname"}
    assert "__setattr__" not in vars(Model)
    assert "__getattribute__" not in vars(Model)
    assert "__new__" not in vars(Model)
    assert "__call__" not in vars(base.ModelBase)
    assert "__init__" not in vars(base.ModelState)
    assert not instances._IS_PATCHED


def test_the_state_of_an_instance_has_nothing_else():
    state = {name for name in vars(base.ModelState) if not name.startswith("__")}
    if django.VERSION >= (6, 1):
        assert state == {"db", "adding", "fields_cache", "fetch_mode", "peers"}
    else:
        assert state == {"db", "adding", "fields_cache"}


def test_a_deferred_attribute_does_not_hear_of_being_set():
    assert not hasattr(DeferredAttribute, "__set__")
    assert not hasattr(DeferredAttribute, "__delete__")


@pytest.mark.parametrize("descriptor", sorted(instances._WRITTEN, key=lambda kind: kind.__name__))
def test_to_set_a_descriptor_is_to_write(descriptor):
    allowed = {
        related_descriptors.ForeignKeyDeferredAttribute: {
            "__dict__", "get", "field", "attname", "is_cached", "delete_cached_value",
        },
        files.FileDescriptor: {"__dict__", "field", "attname"},
        files.ImageFileDescriptor: {
            "__dict__", "get", "field", "attname", "super", "__set__", "update_dimension_fields",
        },
    }  # fmt: skip
    assert names_in(descriptor.__set__) == allowed[descriptor]


def test_a_relation_is_kept_in_one_place():
    mixin = mixins.FieldCacheMixin
    assert names_in(mixin.set_cached_value) == {"_state", "fields_cache", "cache_name"}
    assert names_in(mixin.is_cached) == {"_state", "fields_cache", "cache_name"}
    assert relations.cached_under(Book._meta.get_field("author").set_cached_value) == "author"
    assert relations.cached_under(Author._meta.get_field("books").set_cached_value) == "books"
    assert relations.cached_under(lambda instance, value: None) is None


def test_a_foreign_key_is_set_as_it_was():
    setter = related_descriptors.ForwardManyToOneDescriptor.__set__
    assert names_in(setter) >= {"allow_relation", "related_fields", "set_cached_value", "multiple"}
    key = relations.plain_key(Book, Book._meta.get_field("author"))
    assert key == ("author", "author_id", "id", Author)
    assert relations.plain_key(Biography, Biography._meta.get_field("author")) is None


def test_signals_keep_their_receivers_where_they_are_looked_for():
    for signal in (pre_init, post_init):
        assert isinstance(signal.receivers, list)


def test_what_a_related_manager_knows_is_found():
    author = Author(pk=1)
    (known,) = relations.known_related(author.books.all())
    assert known.field is Book._meta.get_field("author")
    assert known.objects == {1: author}
    assert known.names == ["author_id"]
    assert known.key_of(Book(author_id=1)) == 1
    assert relations.known_related(Tag.objects.all()) == []


def test_the_model_of_a_queryset_is_found_without_its_query():
    edits = Edit.objects.all()
    assert instances.model_of(query.ModelIterable(edits)) is Edit
    assert isinstance(query.QuerySet.query, property)


def test_the_first_column_of_a_primary_key_is_known():
    assert "pk_fields" in vars(Options)
    assert [field.attname for field in Biography._meta.pk_fields] == ["author_id"]
