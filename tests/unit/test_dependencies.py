"""The tables of a query's tree, without a look at its SQL."""

import pytest
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Q, Subquery, Sum

from querycache import dependencies
from querycache.conf import get_config
from querycache.dependencies import tables_in_tree, tables_of
from tests.testapp.models import Author, Book, Publisher, Tag, Textbook

AUTHOR, BOOK, PUBLISHER = "testapp_author", "testapp_book", "testapp_publisher"
TAG, TAGS = "testapp_tag", "testapp_book_tags"


@pytest.mark.parametrize(
    ("queryset", "tables"),
    [
        (lambda: Book.objects.all(), {BOOK}),  # noqa: PLW0108
        (lambda: Book.objects.select_related("author", "publisher"), {BOOK, AUTHOR, PUBLISHER}),
        (lambda: Book.objects.order_by("author__name"), {BOOK, AUTHOR}),
        (lambda: Book.objects.filter(tags__name="x"), {BOOK, TAGS, TAG}),
        (lambda: Book.objects.exclude(tags__name="x"), {BOOK, TAGS, TAG}),
        (lambda: Book.objects.filter(author__in=Author.objects.filter(name="x")), {BOOK, AUTHOR}),
        (
            lambda: Author.objects.filter(Exists(Book.objects.filter(author=OuterRef("pk")))),
            {AUTHOR, BOOK},
        ),
        (
            lambda: Author.objects.annotate(
                first=Subquery(
                    Book.objects.filter(author=OuterRef("pk")).values("publisher__name")[:1]
                )
            ),
            {AUTHOR, BOOK, PUBLISHER},
        ),
        (lambda: Author.objects.order_by(Subquery(Tag.objects.values("name")[:1])), {AUTHOR, TAG}),
        (
            lambda: Author.objects.values("name").union(Publisher.objects.values("name")),
            {AUTHOR, PUBLISHER},
        ),
        (lambda: Author.objects.annotate(n=Count("books__tags")), {AUTHOR, BOOK, TAGS, TAG}),
        (
            lambda: Author.objects.annotate(
                cheap=FilteredRelation("books", condition=Q(books__price__lt=5))
            ).filter(cheap__isnull=False),
            {AUTHOR, BOOK},
        ),
        (lambda: Textbook.objects.all(), {BOOK, "testapp_textbook"}),  # noqa: PLW0108
        (
            lambda: Publisher.objects.annotate(total=Sum("books__price")).filter(total__gt=5),
            {PUBLISHER, BOOK},
        ),
    ],
)
def test_the_tree_names_every_table(queryset, tables):
    query = queryset().query
    query.get_compiler("default").as_sql()
    assert tables_in_tree(query) == tables


def test_a_join_that_was_trimmed_is_no_dependency():
    query = Book.objects.filter(author__pk=5).query
    statement, _ = query.get_compiler("default").as_sql()
    assert tables_in_tree(query) == {BOOK, AUTHOR}
    found = tables_of(query, statement, "sqlite", get_config().tables)
    assert [table.name for table in found] == [BOOK]


def test_a_table_that_only_the_tree_names_counts(monkeypatch):
    """The parser is another's work: what it does not see must not be missed."""
    query = Book.objects.select_related("author").query
    statement, _ = query.get_compiler("default").as_sql()
    monkeypatch.setattr(
        dependencies.sql, "tables_read", lambda statement, vendor: frozenset({BOOK})
    )
    found = tables_of(query, statement, "sqlite", get_config().tables)
    assert [table.name for table in found] == [AUTHOR, BOOK]
