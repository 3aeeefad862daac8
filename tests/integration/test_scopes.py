"""A write to some rows of a table leaves what was read of others alone, and nothing else."""

import uuid
from contextlib import closing

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import Count, F, Q, Value
from django.db.models.signals import post_delete, post_save
from django.db.models.sql import UpdateQuery

from querycache import bypass, explain, invalidate
from querycache.recorder import record_reads
from querycache.scopes import MOST_VALUES
from querycache.writes import wrap_write
from tests.testapp.models import (
    Author,
    Biography,
    Book,
    Odd,
    Publisher,
    Shelf,
    Tag,
    Textbook,
)
from tests.threads import elsewhere


class Reads:
    """Reads that were filled, to be asked again what became of their entries."""

    def __init__(self, using):
        self.using = using
        self._reads = []

    def fill(self, *functions):
        """Read each until it is a hit."""
        for function in functions:
            function()
            function()
            assert self.outcome(function) == "hit"
        self._reads = functions

    @staticmethod
    def outcome(function):
        with record_reads() as reads:
            function()
        outcomes = {read.outcome for read in reads}
        assert len(outcomes) == 1, outcomes
        return outcomes.pop()

    def outcomes(self):
        """Say of each read, in their order, whether it is a hit."""
        return [self.outcome(function) for function in self._reads]


@pytest.fixture
def reads(using):
    return Reads(using)


@pytest.fixture
def tags(using):
    return Tag.objects.using(using)


@pytest.fixture
def two(tags):
    return tags.create(name="one"), tags.create(name="two")


def get(tags, pk):
    return lambda: tags.filter(pk=pk).first()


def rows(tags, *pks):
    return lambda: list(tags.filter(pk__in=pks).values_list("name", flat=True))


WRITES = {
    "save": lambda tags, tag: tag.save(),
    "save of some fields": lambda tags, tag: tag.save(update_fields=["name"]),
    "update": lambda tags, tag: tags.filter(pk=tag.pk).update(name="new"),
    "update of an expression": lambda tags, tag: tags.filter(pk=tag.pk).update(name=F("name")),
    "update of a list": lambda tags, tag: tags.filter(pk__in=[tag.pk]).update(name="new"),
    "update with more conditions": lambda tags, tag: tags.filter(
        Q(name="one") | Q(name="two"), pk=tag.pk
    ).update(name="new"),
    "bulk_update": lambda tags, tag: tags.bulk_update([tag], ["name"]),
    "update_or_create": lambda tags, tag: tags.update_or_create(
        pk=tag.pk, defaults={"name": "new"}
    ),
    "delete": lambda tags, tag: tag.delete(),
    "delete of a queryset": lambda tags, tag: tags.filter(pk=tag.pk).delete(),
}


@pytest.mark.parametrize("in_transaction", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_to_a_row_leaves_reads_of_another_alone(
    using, tags, two, reads, write, in_transaction, count_sql
):
    one, other = two
    reads.fill(
        get(tags, other.pk),
        get(tags, one.pk),
        rows(tags, other.pk, one.pk),
        lambda: list(tags.all()),
    )
    one.name = "new"
    if in_transaction:
        with transaction.atomic(using=using):
            write(tags, one)
    else:
        write(tags, one)
    with count_sql(using) as statements:
        assert get(tags, other.pk)().name == "two"
    assert statements == []
    assert reads.outcomes() == ["hit", "miss", "miss", "miss"]


def execute(using, statement):
    with connections[using].cursor() as cursor:
        cursor.execute(statement)


def upsert(tags):
    options = {"update_conflicts": True, "update_fields": ["name"]}
    if connections[tags.db].features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["id"]
    tags.bulk_create([Tag(pk=tags.first().pk, name="new")], **options)


BROAD_WRITES = {
    "update of all": lambda tags: tags.update(name="new"),
    "update by another column": lambda tags: tags.filter(name="one").update(name="new"),
    "update by OR": lambda tags: tags.filter(Q(pk=1) | Q(name="one")).update(name="new"),
    "update by NOT": lambda tags: tags.exclude(pk=0).update(name="new"),
    "update by more": lambda tags: tags.filter(pk__gt=0).update(name="new"),
    "update of many": lambda tags: tags.filter(pk__in=range(MOST_VALUES + 1)).update(name="new"),
    "update of the key": lambda tags: tags.filter(name="one").update(id=F("id") + 1000),
    "update of the key by key": lambda tags: tags.filter(pk=tags.get(name="one").pk).update(
        id=9999
    ),
    "raw SQL": lambda tags: execute(tags.db, "UPDATE testapp_tag SET name = 'new' WHERE id = 1"),
    "a signal by hand": lambda tags: post_save.send(Tag, instance=tags.first(), using=tags.db),
    "a signal of no row": lambda tags: post_save.send(Tag, instance=None, using=tags.db),
    "invalidate": lambda tags: invalidate(Tag, using=tags.db),
    "bulk_create that updates": upsert,
    "delete of many": lambda tags: (
        tags.filter(name="one").delete()
        and tags.filter(pk__in=range(MOST_VALUES + 1))._raw_delete(tags.db)
    ),
}


@pytest.mark.parametrize("write", BROAD_WRITES.values(), ids=BROAD_WRITES)
def test_a_write_whose_rows_are_not_known_is_one_to_every_row(tags, two, reads, write):
    reads.fill(get(tags, two[1].pk), rows(tags, two[1].pk), lambda: list(tags.all()))
    write(tags)
    assert reads.outcomes() == ["miss", "miss", "miss"]


READS = {
    "OR": lambda tags, pk: tags.filter(Q(pk=pk) | Q(name="one")),
    "NOT": lambda tags, pk: tags.exclude(pk=pk),
    "more": lambda tags, pk: tags.filter(pk__gte=pk),
    "expression": lambda tags, pk: tags.filter(pk=F("id")),
    "many": lambda tags, pk: tags.filter(pk__in=[pk, *range(1000, 1000 + MOST_VALUES)]),
    "union": lambda tags, pk: (
        tags.filter(pk=pk).order_by().union(tags.filter(name="one").order_by())
    ),
    "subquery": lambda tags, pk: tags.filter(pk__in=tags.filter(pk=pk).values("pk")),
    "twice": lambda tags, pk: tags.filter(pk=pk).annotate(n=Count("books__tags__name")),
    "raw": lambda tags, pk: tags.extra(where=["testapp_tag.id = %s OR 1 = 1"], params=[pk]),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_of_rows_that_are_not_known_is_one_of_every_row(tags, two, reads, read):
    reads.fill(lambda: list(read(tags, two[1].pk)))
    two[0].save()
    assert reads.outcomes() == ["miss"]


# INSERT -------------------------------------------------------------------------------------------


def test_a_row_that_is_there_is_untouched_by_one_that_is_inserted(tags, two, reads):
    reads.fill(
        get(tags, two[0].pk),
        rows(tags, two[0].pk, two[1].pk),
        lambda: tags.filter(pk=two[0].pk).exists(),
        lambda: tags.get(pk=two[0].pk),
    )
    tags.create(name="three")
    tags.bulk_create([Tag(name="four"), Tag(name="five")])
    assert reads.outcomes() == ["hit"] * 4


def test_a_row_that_is_not_there_may_be_one_that_is_inserted(tags, two, reads):
    new = two[1].pk + 1
    reads.fill(
        get(tags, new),
        rows(tags, two[1].pk, new),
        lambda: tags.filter(pk=new).exists(),
        lambda: tags.filter(pk=new).count(),
        lambda: tags.filter(pk=two[0].pk).count(),
    )
    assert tags.create(name="three").pk == new
    assert reads.outcomes() == ["miss"] * 5
    assert get(tags, new)().name == "three"
    assert sorted(rows(tags, two[1].pk, new)()) == ["three", "two"]


INSERTS = {
    "create": lambda tags, pk: tags.create(pk=pk, name="new"),
    "save": lambda tags, pk: Tag(pk=pk, name="new").save(using=tags.db),
    "bulk_create": lambda tags, pk: tags.bulk_create([Tag(pk=pk, name="new")]),
    "bulk_create, ignoring conflicts": lambda tags, pk: tags.bulk_create(
        [Tag(pk=pk, name="new")], ignore_conflicts=True
    ),
    "get_or_create": lambda tags, pk: tags.get_or_create(pk=pk, defaults={"name": "new"}),
    "update of another key": lambda tags, pk: tags.filter(name="one").update(id=pk, name="new"),
    "raw SQL": lambda tags, pk: execute(
        tags.db, f"INSERT INTO testapp_tag (id, name) VALUES ({pk}, 'new')"
    ),
}


@pytest.mark.parametrize("insert", INSERTS.values(), ids=INSERTS)
def test_a_row_that_was_not_there_is_read_once_it_is(tags, two, insert):
    pk = two[1].pk + 100
    read, listed = get(tags, pk), rows(tags, pk, two[1].pk)
    for _ in range(2):
        assert read() is None
        assert listed() == ["two"]
    insert(tags, pk)
    assert read().name == "new"
    assert sorted(listed()) == ["new", "two"]


def test_a_row_that_is_deleted_and_inserted_again_is_read_as_it_is(using, tags, two, reads):
    one = two[0]
    reads.fill(get(tags, one.pk))
    with transaction.atomic(using=using):
        tags.filter(pk=one.pk).delete()
        tags.create(pk=one.pk, name="again")
    assert get(tags, one.pk)().name == "again"


def test_an_insert_that_is_not_over_keeps_no_row_that_is_there_from_the_cache(using, tags, two):
    read, absent = get(tags, two[0].pk), get(tags, 9999)
    for function in (read, read, absent, absent):
        function()
    seen = []

    def look(execute, sql, params, many, context):
        seen.extend(elsewhere(Reads.outcome, function) for function in (read, absent))
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(look):
        tags.create(name="three")
    assert seen[:2] == ["hit", "miss"]


# Transactions -------------------------------------------------------------------------------------


def test_a_transaction_reads_what_it_has_written_from_the_database(using, tags, two):
    for _ in range(2):
        assert get(tags, two[0].pk)().name == "one"
    with transaction.atomic(using=using):
        tags.filter(pk=two[0].pk).update(name="new")
        assert get(tags, two[0].pk)().name == "new"
        assert get(tags, two[1].pk)().name == "two"
        assert elsewhere(get(tags, two[0].pk)).name == "one"
    assert get(tags, two[0].pk)().name == "new"


def test_a_savepoint_that_is_rolled_back_leaves_other_rows_alone(using, tags, two, reads):
    third = tags.create(name="three")
    reads.fill(*(get(tags, tag.pk) for tag in (*two, third)))
    with transaction.atomic(using=using):
        tags.filter(pk=two[0].pk).update(name="new")
        with transaction.atomic(using=using):
            tags.filter(pk=two[1].pk).update(name="lost")
            transaction.set_rollback(True, using=using)
    assert [read().name for read in reads._reads] == ["new", "two", "three"]
    tags.filter(pk=two[0].pk).update(name="newer")
    assert reads.outcomes() == ["miss", "hit", "hit"]


def test_a_transaction_that_is_rolled_back_leaves_everything(using, tags, two, reads):
    reads.fill(get(tags, two[0].pk), get(tags, two[1].pk))
    with transaction.atomic(using=using):
        tags.filter(pk=two[0].pk).update(name="lost")
        transaction.set_rollback(True, using=using)
    assert reads.outcomes() == ["hit", "hit"]


@pytest.mark.parametrize(("writes", "outcome"), [(MOST_VALUES, "hit"), (MOST_VALUES + 1, "miss")])
def test_a_transaction_of_many_rows_is_a_write_to_all(using, tags, two, reads, writes, outcome):
    others = tags.bulk_create([Tag(name="other") for _ in range(writes)])
    pks = sorted(tags.filter(name="other").values_list("pk", flat=True))
    assert len(pks) == len(others)
    reads.fill(get(tags, two[0].pk))
    with transaction.atomic(using=using):
        for pk in pks:
            tags.filter(pk=pk).update(name="new")
    assert reads.outcomes() == [outcome]


@pytest.mark.django_db
def test_a_test_case_sees_its_own_writes():
    tags = Tag.objects.all()
    one, two = tags.create(name="one"), tags.create(name="two")
    for _ in range(2):
        assert get(tags, one.pk)().name == "one"
    with transaction.atomic():
        tags.filter(pk=one.pk).update(name="new")
    assert get(tags, one.pk)().name == "new"
    pk = two.pk
    two.delete()
    assert get(tags, pk)() is None
    tags.create(pk=pk, name="again")
    assert get(tags, pk)().name == "again"


# Signals ------------------------------------------------------------------------------------------


def test_a_signal_by_hand_after_that_of_the_row_is_one_to_every_row(using, tags, two, reads):
    reads.fill(get(tags, two[1].pk))
    two[0].save()
    assert reads.outcomes() == ["hit"]
    post_save.send(Tag, instance=two[0], created=False, using=using)
    assert reads.outcomes() == ["miss"]
    reads.fill(get(tags, two[1].pk))
    with transaction.atomic(using=using):
        two[0].save()
        post_delete.send(Tag, instance=two[0], using=using)
    assert reads.outcomes() == ["miss"]


def test_a_signal_by_hand_after_a_rollback_is_not_that_of_what_was_taken_back(
    using, tags, two, reads
):
    reads.fill(get(tags, two[0].pk))
    with transaction.atomic(using=using):
        tags.filter(pk=two[0].pk).update(name="lost")
        transaction.set_rollback(True, using=using)
    assert reads.outcomes() == ["hit"]
    post_save.send(Tag, instance=two[0], created=False, using=using)
    assert reads.outcomes() == ["miss"]


def test_several_rows_are_deleted_with_a_signal_for_each(using, tags, two, reads):
    third = tags.create(name="three")
    reads.fill(*(get(tags, tag.pk) for tag in (third, *two)))
    tags.filter(pk__in=[tag.pk for tag in two]).delete()
    assert reads.outcomes() == ["hit", "miss", "miss"]


# Relations ----------------------------------------------------------------------------------------


@pytest.fixture
def books(using):
    author = Author.objects.using(using).create(name="author")
    create = Book.objects.using(using).create
    return create(name="one", author=author), create(name="two", author=author)


def test_a_read_of_a_row_and_of_related_ones_depends_on_their_tables(using, books, reads):
    one, other = books
    objects = Book.objects.using(using)
    reads.fill(
        lambda: objects.select_related("author").get(pk=other.pk),
        lambda: objects.get(pk=other.pk),
    )
    one.save()
    assert reads.outcomes() == ["hit", "hit"]
    Author.objects.using(using).create(name="another")
    assert reads.outcomes() == ["miss", "hit"]
    one.author.name = "renamed"
    one.author.save()
    assert objects.select_related("author").get(pk=other.pk).author.name == "renamed"


def test_a_cascade_takes_the_rows_along(using, reads):
    authors = [Author.objects.using(using).create(name=name) for name in "ab"]
    objects = Biography.objects.using(using)
    pks = [objects.create(author=author, text="old").pk for author in authors]
    reads.fill(*(get(objects, pk) for pk in pks))
    authors[0].delete()
    assert reads.outcomes() == ["miss", "hit"]
    assert get(objects, pks[0])() is None


def test_what_is_set_null_is_read_as_null(using, books):
    publisher = Publisher.objects.using(using).create(name="publisher")
    objects = Book.objects.using(using)
    objects.filter(pk=books[0].pk).update(publisher=publisher)
    for _ in range(2):
        assert get(objects, books[0].pk)().publisher_id == publisher.pk
    publisher.delete()
    assert get(objects, books[0].pk)().publisher_id is None


def test_many_to_many_rows_are_read_as_they_are(using, books, two, reads):
    objects = Book.objects.using(using)
    reads.fill(
        lambda: objects.get(pk=books[0].pk),
        lambda: list(books[0].tags.all()),
        lambda: list(objects.filter(pk=books[0].pk).values_list("tags__name", flat=True)),
    )
    books[0].tags.add(*two)
    assert reads.outcomes() == ["hit", "miss", "miss"]
    books[0].tags.set([two[0]])
    assert reads.outcomes() == ["hit", "miss", "miss"]
    assert list(books[0].tags.all()) == [two[0]]


def test_parents_and_children_of_multi_table_inheritance_are_told_apart_by_row(using, reads):
    author = Author.objects.using(using).create(name="author")
    objects = Textbook.objects.using(using)
    one, other = (objects.create(name=name, author=author, subject="x") for name in "ab")
    parents = Book.objects.using(using)
    reads.fill(
        lambda: parents.get(pk=other.pk),
        lambda: parents.get(pk=one.pk),
        lambda: objects.get(pk=one.pk),
    )
    one.subject, one.name = "new", "renamed"
    one.save()
    assert reads.outcomes() == ["hit", "miss", "miss"]
    assert (objects.get(pk=one.pk).subject, objects.get(pk=one.pk).name) == ("new", "renamed")
    objects.filter(pk=one.pk).update(name="newer", subject="newest")
    assert parents.get(pk=one.pk).name == "newer"
    assert objects.get(pk=one.pk).subject == "newest"
    reads.fill(lambda: objects.get(pk=other.pk), lambda: parents.get(pk=other.pk))
    parents.filter(pk=one.pk).update(name="new")
    Textbook.objects.using(using).filter(pk=one.pk).update(subject="new")
    assert reads.outcomes() == ["miss", "hit"]  # the first depends on all parents
    one.delete()
    assert not parents.filter(pk=one.pk).exists()


def test_a_row_of_a_model_with_the_key_of_another(using, reads):
    authors = [Author.objects.using(using).create(name=name) for name in "ab"]
    objects = Biography.objects.using(using)
    one, other = (objects.create(author=author, text="old") for author in authors)
    reads.fill(lambda: objects.get(pk=other.pk), lambda: objects.get(pk=one.pk))
    one.text = "new"
    one.save()
    assert reads.outcomes() == ["hit", "miss"]
    assert objects.get(author=authors[0]).text == "new"


def test_a_row_with_a_uuid_as_its_key(using, reads):
    objects = Publisher.objects.using(using)
    one, other = (objects.create(name=name) for name in "ab")
    absent = uuid.uuid4()
    reads.fill(get(objects, other.pk), get(objects, one.pk), get(objects, absent))
    one.name = "new"
    one.save()
    assert reads.outcomes() == ["hit", "miss", "hit"]
    objects.create(pk=absent, name="new")
    assert reads.outcomes() == ["hit", "hit", "miss"]
    assert get(objects, absent)().name == "new"


def test_a_table_with_an_odd_name(using, reads):
    objects = Odd.objects.using(using)
    one, other = (objects.create(name=name) for name in "ab")
    reads.fill(get(objects, other.pk), get(objects, one.pk))
    one.save()
    assert reads.outcomes() == ["hit", "miss"]


def test_rows_that_the_database_deletes_along_are_any_rows(using, reads):
    models = pytest.importorskip("tests.testapp.models")
    placement = getattr(models, "DatabasePlacement", None)
    if placement is None:
        pytest.skip("DB_CASCADE came with Django 6.1")
    shelves = [Shelf.objects.using(using).create(name=name) for name in "ab"]
    objects = placement.objects.using(using)
    placed, other = (objects.create(cascades=shelf) for shelf in shelves)
    reads.fill(get(objects, placed.pk), get(objects, other.pk))
    shelves[0].delete()
    assert reads.outcomes() == ["miss", "miss"]
    assert get(objects, placed.pk)() is None


# invalidate() of an instance ----------------------------------------------------------------------


def outside(using, statement, *params):
    """Run SQL of which querycache does not hear."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        statement = statement.replace("%s", "?")
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement, params)


def test_invalidate_of_an_instance_is_a_write_to_its_row(using, tags, two, reads):
    one, other = two
    reads.fill(get(tags, other.pk), get(tags, one.pk), lambda: list(tags.all()))
    outside(using, "UPDATE testapp_tag SET name = 'new' WHERE id = %s", one.pk)
    invalidate(one)
    assert reads.outcomes() == ["hit", "miss", "miss"]
    assert get(tags, one.pk)().name == "new"


def test_invalidate_of_an_instance_in_a_transaction_takes_place_with_its_commit(
    using, tags, two, reads
):
    one, other = two
    reads.fill(get(tags, other.pk), get(tags, one.pk))
    with transaction.atomic(using=using):
        outside(using, "UPDATE testapp_tag SET name = 'new' WHERE id = %s", one.pk)
        invalidate(one)
        assert get(tags, one.pk)().name == "new"
        assert elsewhere(lambda: get(tags, one.pk)().name) == "one"
    assert reads.outcomes() == ["hit", "miss"]


def test_invalidate_of_an_instance_that_was_not_there_has_it_read(using, tags, two, reads):
    absent = Tag(pk=two[1].pk + 1000)
    reads.fill(get(tags, absent.pk), rows(tags, two[0].pk, absent.pk), get(tags, two[0].pk))
    outside(using, "INSERT INTO testapp_tag (id, name) VALUES (%s, 'new')", absent.pk)
    invalidate(absent, using=using)
    assert reads.outcomes() == ["miss", "miss", "hit"]
    assert get(tags, absent.pk)().name == "new"


def test_invalidate_of_an_instance_is_one_of_its_parents_rows(using, reads):
    author = Author.objects.using(using).create(name="author")
    objects, parents = Textbook.objects.using(using), Book.objects.using(using)
    one, other = (objects.create(name=name, author=author, subject="x") for name in "ab")
    reads.fill(
        lambda: parents.get(pk=other.pk),
        lambda: parents.get(pk=one.pk),
        lambda: objects.get(pk=one.pk),
    )
    invalidate(one)
    assert reads.outcomes() == ["hit", "miss", "miss"]


@pytest.mark.parametrize("pk", [None, "1"])
def test_invalidate_of_an_instance_without_a_key_is_one_of_all_rows(using, tags, two, reads, pk):
    reads.fill(get(tags, two[0].pk))
    invalidate(Tag(pk=pk), using=using)
    assert reads.outcomes() == ["miss"]


def test_invalidate_of_an_instance_whose_table_has_a_trigger_is_one_of_all_rows(
    tags, two, reads, settings
):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "TRIGGERS": {"testapp.Tag": ["testapp.Tag"]}}
    reads.fill(get(tags, two[1].pk))
    invalidate(two[0])
    assert reads.outcomes() == ["miss"]


# Settings -----------------------------------------------------------------------------------------


def test_a_trigger_that_writes_its_own_table_makes_every_row_stale(tags, two, reads, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "TRIGGERS": {"testapp.Tag": ["testapp.Tag"]}}
    reads.fill(get(tags, two[1].pk))
    two[0].save()
    assert reads.outcomes() == ["miss"]


def test_a_trigger_makes_every_row_of_the_other_table_stale(using, tags, two, reads, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "TRIGGERS": {"testapp.Author": ["testapp.Tag"]}}
    reads.fill(get(tags, two[1].pk))
    Author.objects.using(using).create(name="author")
    assert reads.outcomes() == ["miss"]


def test_explain_names_the_rows(two):
    tag = two[0]
    explanation = explain(Tag.objects.using(tag._state.db).filter(pk=tag.pk))
    assert explanation.tables == ("testapp_tag",)
    assert explanation.depends_on == (f"testapp_tag.id = {tag.pk}",)
    assert f"depends on    testapp_tag.id = {tag.pk}" in str(explanation)


def test_explain_says_which_write_a_read_of_rows_has_died_of(tags, two):
    queryset = tags.filter(pk=two[0].pk)
    list(queryset.all())
    two[0].save()
    assert explain(queryset).died == f"a write to testapp_tag.id = {two[0].pk}"
    list(queryset.all())
    tags.update(name="new")
    assert explain(queryset).died == "a write of unknown rows to testapp_tag"
    absent = tags.filter(pk=9999)
    list(absent)
    tags.create(name="three")
    assert explain(absent).died == "an INSERT into testapp_tag"


# Other columns ------------------------------------------------------------------------------------


@pytest.fixture
def by_author(using, settings):
    """Two authors with a book each, whose books are told apart by author and by publisher."""
    scoped = {"testapp.Book": {"SCOPES": ["author", "publisher"]}}
    models = settings.QUERYCACHE["MODELS"] | scoped
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    authors = [Author.objects.using(using).create(name=name) for name in "ab"]
    for author in authors:
        Book.objects.using(using).create(name="book", author=author)
    return authors


def books_of(author):
    return lambda: sorted(author.books.values_list("name", "pages"))


BY_AUTHOR = {
    "create": lambda books, author: books.create(author=author, name="new"),
    "bulk_create": lambda books, author: books.bulk_create([Book(author=author, name="new")]),
    "related manager": lambda books, author: author.books.create(name="new"),
    "update": lambda books, author: books.filter(author=author).update(pages=1),
    "update by related manager": lambda books, author: author.books.update(pages=1),
    "update of an expression": lambda books, author: author.books.update(pages=F("pages") + 1),
}


@pytest.mark.parametrize("in_transaction", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("write", BY_AUTHOR.values(), ids=BY_AUTHOR)
def test_a_write_to_rows_of_one_value_leaves_those_of_another_alone(
    using, by_author, reads, write, in_transaction
):
    one, other = by_author
    books = Book.objects.using(using)
    reads.fill(books_of(other), books_of(one), lambda: list(books.all()))
    before = books_of(one)()
    if in_transaction:
        with transaction.atomic(using=using):
            write(books, one)
    else:
        write(books, one)
    assert reads.outcomes() == ["hit", "miss", "miss"]
    assert books_of(one)() != before


def test_invalidate_of_an_instance_is_one_of_all_values_of_other_columns(using, by_author, reads):
    """It may have come from anywhere."""
    one, other = by_author
    book = one.books.get()
    reads.fill(books_of(one), books_of(other))
    outside(using, "UPDATE testapp_book SET author_id = %s WHERE id = %s", other.pk, book.pk)
    invalidate(book)
    assert reads.outcomes() == ["miss", "miss"]
    assert (len(books_of(one)()), len(books_of(other)())) == (0, 2)


UNKNOWN_VALUES = {
    "save": lambda books, book, other: save_of(book, other),
    "update": lambda books, book, other: books.filter(pk=book.pk).update(author=other),
    "update of those": lambda books, book, other: book.author.books.update(author=other),
    "update of an expression": lambda books, book, other: books.filter(pk=book.pk).update(
        author=book.author_id + (other.pk - F("author"))
    ),
    "delete": lambda books, book, other: book.delete(),
    "other column": lambda books, book, other: books.filter(pages=100).update(pages=1),
    "raw": lambda books, book, other: execute(books.db, "DELETE FROM testapp_book"),
    "insert of an expression": lambda books, book, other: books.create(
        name="new", author_id=Value(other.pk)
    ),
}


def save_of(book, author):
    book.author = author
    book.save()


@pytest.mark.parametrize("write", UNKNOWN_VALUES.values(), ids=UNKNOWN_VALUES)
def test_a_write_that_does_not_tell_old_and_new_values_is_one_to_all(
    using, by_author, reads, write
):
    one, other = by_author
    books = Book.objects.using(using)
    reads.fill(books_of(other), books_of(one))
    write(books, one.books.get(), other)
    assert reads.outcomes() == ["miss", "miss"]


KNOWN_ROWS = {
    "save": (lambda books, book, other: book.save(), ["miss", "hit", "hit"]),
    "save with another value": (
        lambda books, book, other: save_of(book, other),
        ["miss", "miss", "hit"],
    ),
    "update": (
        lambda books, book, other: books.filter(pk=book.pk).update(author=other),
        ["miss", "miss", "hit"],
    ),
    "bulk_update": (
        lambda books, book, other: books.bulk_update([book], ["pages"]),
        ["miss", "hit", "hit"],
    ),
    # Not delete(), which sets another column to NULL by a condition that tells no rows.
    "delete": (
        lambda books, book, other: books.filter(pk=book.pk)._raw_delete(books.db),
        ["miss", "hit", "hit"],
    ),
    "update of an expression": (
        lambda books, book, other: books.filter(pk=book.pk).update(author=F("author")),
        ["miss", "miss", "miss"],
    ),
    "update of a row that is not there": (
        lambda books, book, other: books.filter(pk__in=[book.pk, 9999]).update(pages=1),
        ["miss", "miss", "miss"],
    ),
}


@pytest.mark.parametrize(("write", "outcomes"), KNOWN_ROWS.values(), ids=KNOWN_ROWS)
def test_a_write_to_known_rows_in_a_transaction_asks_for_their_old_values(
    using, by_author, reads, write, outcomes
):
    if connections[using].vendor == "sqlite":
        outcomes = ["miss", "miss", "miss"]  # it cannot lock a row
    one, other = by_author
    third = Author.objects.using(using).create(name="c")
    book = one.books.create(name="to be written", pages=5)
    reads.fill(books_of(one), books_of(other), books_of(third))
    with transaction.atomic(using=using):
        book.pages = 6
        write(Book.objects.using(using), book, other)
    assert reads.outcomes() == outcomes
    with bypass():
        truth = [read() for read in reads._reads]
    assert [read() for read in reads._reads] == truth


@pytest.mark.parametrize("write", ["update", "delete"])
def test_a_row_whose_old_values_are_known_is_locked_until_it_is_written(using, by_author, write):
    if connections[using].vendor == "sqlite":
        pytest.skip("it cannot lock a row")
    book = by_author[0].books.get()
    seen = []

    def take():
        with transaction.atomic(using=using):
            Book.objects.using(using).select_for_update(nowait=True).get(pk=book.pk)

    def look(execute, sql, params, many, context):
        if sql.startswith(("UPDATE", "DELETE")) and "testapp_book" in sql.split("WHERE")[0]:
            with pytest.raises(DatabaseError):
                elsewhere_raising(take)
            seen.append(sql)
        return execute(sql, params, many, context)

    with transaction.atomic(using=using), connections[using].execute_wrapper(look):
        books = Book.objects.using(using).filter(pk=book.pk)
        books.update(author=by_author[1]) if write == "update" else books._raw_delete(using)
    assert len(seen) == 1


def elsewhere_raising(function):
    def catch():
        try:
            function()
        except DatabaseError as error:
            return error
        return None

    error = elsewhere(catch)
    if error is not None:
        raise error


def test_a_transaction_that_a_savepoint_takes_back_leaves_what_is_there(using, by_author, reads):
    one, other = by_author
    book = one.books.get()
    reads.fill(books_of(one), books_of(other))
    with transaction.atomic(using=using):
        with transaction.atomic(using=using):
            save_of(book, other)
            transaction.set_rollback(True, using=using)
        assert books_of(one)() == [("book", 100)]
        Book.objects.using(using).filter(pk=book.pk).update(author=other)
    assert books_of(one)() == []
    assert books_of(other)() == [("book", 100)] * 2


def test_a_row_without_a_value_is_in_the_scope_of_none(using, by_author, reads):
    publisher = Publisher.objects.using(using).create(name="publisher")
    reads.fill(books_of(by_author[1]), lambda: list(publisher.books.all()))
    by_author[0].books.create(name="new")
    assert reads.outcomes() == ["hit", "hit"]
    by_author[0].books.create(name="newer", publisher=publisher)
    assert reads.outcomes() == ["hit", "miss"]
    assert [book.name for book in publisher.books.all()] == ["newer"]


def test_reads_by_primary_key_stay_apart_whatever_else_is_a_scope(using, by_author, reads):
    books = [author.books.get() for author in by_author]
    objects = Book.objects.using(using)
    reads.fill(get(objects, books[1].pk), get(objects, books[0].pk))
    save_of(books[0], by_author[1])
    assert reads.outcomes() == ["hit", "miss"]
    by_author[1].books.update(pages=1)
    assert reads.outcomes() == ["miss", "miss"]


def test_a_number_without_room_is_stored_as_the_database_likes(using, reads, settings):
    """On MariaDB an INSERT IGNORE makes the largest number of it."""
    models = settings.QUERYCACHE["MODELS"] | {"testapp.Book": {"SCOPES": ["pages"]}}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "MODELS": models}
    author = Author.objects.using(using).create(name="author")
    objects, most = Book.objects.using(using), 2**31 - 1
    reads.fill(lambda: list(objects.filter(pages=most)))
    book = Book(name="new", author=author, pages=most + 1)
    try:
        objects.bulk_create([book], ignore_conflicts=True)
    except DatabaseError:
        pytest.skip("the database refuses it")
    assert (
        len(objects.filter(pages=most)) == objects.filter(pages__gte=most, pages__lte=most).count()
    )


# What must not be lost ----------------------------------------------------------------------------


def test_a_compiler_that_makes_its_sql_in_its_own_way_is_watched(using, tags, two):
    """Those of other backends may not ask for ``as_sql()``."""

    def execute_sql(compiler):
        execute(using, "UPDATE testapp_tag SET name = 'new'")

    for _ in range(2):
        assert get(tags, two[0].pk)().name == "one"
    wrap_write(execute_sql)(UpdateQuery(Tag).get_compiler(using))
    assert get(tags, two[0].pk)().name == "new"


def test_what_verification_finds_gone_may_be_inserted_again(using, tags, two, settings):
    pk, read = two[0].pk, get(tags, two[0].pk)
    read()
    connection = connections[using]
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(f"DELETE FROM testapp_tag WHERE id = {pk}")
    settings.QUERYCACHE = {**settings.QUERYCACHE, "VERIFY": 1.0}
    assert read() is None
    settings.QUERYCACHE = {**settings.QUERYCACHE, "VERIFY": 0.0}
    tags.create(pk=pk, name="again")
    assert read().name == "again"
