"""What only the settings can say: views, triggers, routines of the database; and limits."""

import pytest
from django.db import connections, transaction
from django.db.models import F, Func, IntegerField

import querycache
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.testapp.models import Author, Book, Busiest, Note, Publisher, Summary, Tag
from tests.threads import elsewhere


def execute(using, *statements):
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def declare(settings):
    """Return a function that adds keys to the setting, and options to its models."""

    def declare(models=None, **keys):
        given = settings.QUERYCACHE
        settings.QUERYCACHE = {**given, **keys, "MODELS": {**given["MODELS"], **(models or {})}}

    return declare


def outcome(queryset):
    with record_reads() as reads:
        found = list(queryset.all())
    return found, reads[0].outcome, reads[0].reason


# Views --------------------------------------------------------------------------------------------

SUMMARY = (
    "CREATE VIEW testapp_summary AS SELECT a.name AS name, COUNT(b.id) AS books"
    " FROM testapp_author a LEFT JOIN testapp_book b ON b.author_id = a.id GROUP BY a.name"
)
BUSIEST = "CREATE VIEW testapp_busiest AS SELECT name FROM testapp_summary WHERE books > 1"


@pytest.fixture
def views(using, declare):
    execute(using, SUMMARY, BUSIEST)
    declare(
        {
            "testapp.Summary": {"DEPENDS_ON": ["testapp.Author", "testapp.Book"]},
            "testapp.Busiest": {"TTL": 60, "DEPENDS_ON": ["testapp.Summary"]},
        }
    )
    yield
    execute(using, "DROP VIEW testapp_busiest", "DROP VIEW testapp_summary")


def counts(using):
    return dict(Summary.objects.using(using).values_list("name", "books"))


def busiest(using):
    return [row.name for row in Busiest.objects.using(using)]


def test_a_view_changes_with_the_tables_that_it_depends_on(using, views, count_sql):
    author = Author.objects.using(using).create(name="Herbert")
    assert (counts(using), busiest(using)) == ({"Herbert": 0}, [])
    for number in (1, 2):
        Book.objects.using(using).create(name="b", author=author, pages=1)
        assert counts(using) == {"Herbert": number}
    assert busiest(using) == ["Herbert"]
    with count_sql(using) as statements:
        assert (counts(using), busiest(using)) == ({"Herbert": 2}, ["Herbert"])
    assert statements == []
    execute(using, "UPDATE testapp_author SET name = 'Frank'")
    assert (counts(using), busiest(using)) == ({"Frank": 2}, ["Frank"])


@pytest.mark.parametrize("using", ["postgresql", "mariadb"], indirect=True)
def test_a_write_to_a_view_is_a_write_to_what_it_is_made_of(using, declare):
    execute(using, "CREATE VIEW testapp_summary AS SELECT name, 1 AS books FROM testapp_tag")
    declare({"testapp.Summary": {"DEPENDS_ON": ["testapp.Tag"]}})
    try:
        Tag.objects.using(using).create(name="old")
        outcome(Tag.objects.using(using))
        Summary.objects.using(using).filter(name="old").update(name="new")
        assert [tag.name for tag in Tag.objects.using(using)] == ["new"]
    finally:
        execute(using, "DROP VIEW testapp_summary")


def test_a_view_is_read_from_the_database_in_a_transaction_that_wrote_its_tables(using, views):
    counts(using)
    with transaction.atomic(using=using):
        Author.objects.using(using).create(name="Herbert")
        assert counts(using) == {"Herbert": 0}
    assert counts(using) == {"Herbert": 0}


def test_a_table_that_is_not_opted_in_may_be_depended_on(using, views, declare):
    declare({"testapp.Book": None, "testapp.Author": None})
    author = Author.objects.using(using).create(name="Herbert")
    assert counts(using) == {"Herbert": 0}
    Book.objects.using(using).create(name="b", author=author, pages=1)
    assert counts(using) == {"Herbert": 1}
    assert not querycache.explain(Book.objects.using(using).all()).cacheable


def test_explain_names_what_a_view_depends_on(using, views):
    explanation = querycache.explain(Busiest.objects.using(using).all())
    tables = {"testapp_busiest", "testapp_summary", "testapp_author", "testapp_book"}
    assert set(explanation.tables) == tables
    assert explanation.ttl == 60


# Triggers -----------------------------------------------------------------------------------------

COUNT_UP = "UPDATE testapp_publisher SET founded = founded + 1;"
ON_INSERT = "CREATE TRIGGER noted AFTER INSERT ON testapp_tag"
NOTE_IT = (
    "CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN {COUNT_UP} RETURN NULL; END $$"
)
TRIGGER = {
    "default": [f"{ON_INSERT} BEGIN {COUNT_UP} END"],
    "postgresql": [NOTE_IT, f"{ON_INSERT} FOR EACH ROW EXECUTE FUNCTION note_it()"],
    "mariadb": [f"{ON_INSERT} FOR EACH ROW {COUNT_UP}"],
}


@pytest.fixture
def trigger(using):
    execute(using, *TRIGGER[using])
    yield
    if using == "postgresql":
        execute(using, "DROP TRIGGER noted ON testapp_tag", "DROP FUNCTION note_it")
    else:
        execute(using, "DROP TRIGGER noted")


def founded(using):
    return Publisher.objects.using(using).get().founded


def test_what_a_trigger_writes_is_stale_with_its_table(using, trigger, declare):
    declare(TRIGGERS={"testapp.Tag": ["testapp.Publisher"]})
    Publisher.objects.using(using).create(name="Ace", founded=0)
    assert founded(using) == 0
    Tag.objects.using(using).create(name="one")
    assert founded(using) == 1
    Tag.objects.using(using).bulk_create([Tag(name="two")])
    assert founded(using) == 2
    execute(using, "INSERT INTO testapp_tag (name) VALUES ('three')")
    assert founded(using) == 3
    with transaction.atomic(using=using):
        Tag.objects.using(using).create(name="four")
        assert founded(using) == 4
    assert founded(using) == 4
    querycache.invalidate(Tag, using=using)
    assert outcome(Publisher.objects.using(using))[1] == "miss"


def test_triggers_follow_one_another(declare, transactional_db):
    declare(
        TRIGGERS={
            "testapp.Tag": ["testapp.Publisher"],
            "testapp.Publisher": ["testapp.Note"],
            "testapp.Note": ["testapp.Tag"],
        }
    )
    list(Note.objects.all())
    Tag.objects.create(name="one")
    assert outcome(Note.objects)[1] == "miss"


# Routines -----------------------------------------------------------------------------------------

FUNCTION = {
    "postgresql": "CREATE FUNCTION refresh_tags() RETURNS integer LANGUAGE sql AS"
    " $$ UPDATE testapp_tag SET name = name || '!'; SELECT 1 $$",
    "mariadb": "CREATE FUNCTION refresh_tags() RETURNS integer MODIFIES SQL DATA BEGIN"
    " UPDATE testapp_tag SET name = CONCAT(name, '!'); RETURN 1; END",
}
PROCEDURE = {
    "postgresql": "CREATE PROCEDURE refresh_all() LANGUAGE sql AS"
    " $$ UPDATE testapp_tag SET name = name || '!' $$",
    "mariadb": "CREATE PROCEDURE refresh_all() UPDATE testapp_tag SET name = CONCAT(name, '!')",
}
servers = pytest.mark.parametrize("using", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def routines(using, declare):
    execute(using, FUNCTION[using], PROCEDURE[using])
    Tag.objects.using(using).create(name="tag")
    Author.objects.using(using).create(name="Herbert")
    yield
    execute(using, "DROP FUNCTION refresh_tags", "DROP PROCEDURE refresh_all")


def tag_and_author(using):
    tags = outcome(Tag.objects.using(using))
    return tags[0][0].name, tags[1], outcome(Author.objects.using(using))[1]


CALLS = ["SELECT refresh_tags()", "select Refresh_Tags ( )", "CALL refresh_all()"]


@servers
@pytest.mark.parametrize("statement", CALLS)
def test_a_routine_writes_what_was_declared_and_nothing_else(using, routines, declare, statement):
    declare(WRITES={"refresh_tags": ["testapp.Tag"], "Refresh_All": ["testapp.Tag"]})
    tag_and_author(using)
    assert tag_and_author(using) == ("tag", "hit", "hit")
    execute(using, statement)
    assert tag_and_author(using) == ("tag!", "miss", "hit")


@servers
@pytest.mark.parametrize("statement", CALLS)
def test_a_routine_that_is_not_declared_may_write_anything(using, routines, statement):
    tag_and_author(using)
    execute(using, statement)
    assert tag_and_author(using) == ("tag!", "miss", "miss")


@servers
def test_callproc_writes_what_was_declared(using, routines, declare):
    declare(WRITES={"refresh_all": ["testapp.Tag"], "refresh_tags": ["testapp.Tag"]})
    tag_and_author(using)
    with connections[using].cursor() as cursor:
        cursor.callproc("refresh_all" if using == "mariadb" else "refresh_tags")
    assert tag_and_author(using) == ("tag!", "miss", "hit")


@pytest.mark.parametrize("using", ["mariadb"], indirect=True)
def test_a_procedure_that_goes_on_after_its_first_rows_stays_fenced(using):
    Tag.objects.using(using).create(name="tag")
    execute(
        using,
        "CREATE PROCEDURE slow() BEGIN SELECT 1; DO GET_LOCK('querycache', 10);"
        " UPDATE testapp_tag SET name = 'slow'; END",
    )
    try:
        elsewhere(outcome, Tag.objects.using(using))
        with connections[using].cursor() as cursor:
            cursor.execute("CALL slow()")  # its first rows are here, and the others are to come
            for _ in range(2):
                assert elsewhere(outcome, Tag.objects.using(using))[1] == "miss"
            while cursor.nextset():
                pass
            cursor.execute("DO RELEASE_LOCK('querycache')")
        assert [tag.name for tag in Tag.objects.using(using)] == ["slow"]
        found, how, _ = elsewhere(outcome, Tag.objects.using(using))
        assert ([tag.name for tag in found], how) == (["slow"], "hit")
    finally:
        execute(using, "DROP PROCEDURE slow")


@servers
def test_a_routine_that_writes_nothing_invalidates_nothing(using, routines, declare):
    declare(WRITES={"refresh_tags": [], "refresh_all": []})
    tag_and_author(using)
    execute(using, "SELECT refresh_tags()", "CALL refresh_all()")
    assert tag_and_author(using) == ("tag", "hit", "hit")  # it was said so


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
@pytest.mark.parametrize("model", [Author, Note])
def test_a_declared_function_that_a_query_calls_is_seen(using, routines, model, declare):
    """Also where the model of the query is not opted in."""
    declare({"testapp.Note": None}, WRITES={"refresh_tags": ["testapp.Tag"]})
    Note.objects.using(using).create(text="note", about=Author.objects.using(using).get())
    tag_and_author(using)
    refresh = Func(function="refresh_tags", output_field=IntegerField())
    list(model.objects.using(using).annotate(done=refresh))
    assert tag_and_author(using) == ("tag!", "miss", "hit")
    list(model.objects.using(using).extra(select={"done": "Refresh_Tags()"}))
    assert tag_and_author(using) == ("tag!!", "miss", "hit")
    list(model.objects.using(using).filter(pk__gt=refresh).iterator())
    assert tag_and_author(using)[1:] == ("miss", "hit")


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_function_that_writes_in_a_raw_write_is_seen(using, routines):
    tag_and_author(using)
    execute(using, "UPDATE testapp_author SET email = refresh_tags()::text")
    assert tag_and_author(using)[:2] == ("tag!", "miss")


# Limits -------------------------------------------------------------------------------------------


def test_an_answer_of_too_many_rows_is_not_stored(declare, transactional_db):
    declare({"testapp.Tag": {"MAX_ROWS": 3}})
    Tag.objects.bulk_create(Tag(name=str(number)) for number in range(4))
    for _ in range(2):
        assert outcome(Tag.objects)[1:] == ("bypass", Reason.TOO_LARGE)
    assert outcome(Tag.objects.filter(name__gt="0"))[1] == "miss"
    assert outcome(Tag.objects.filter(name__gt="0"))[1] == "hit"


def test_an_answer_of_too_many_bytes_is_not_stored(declare, transactional_db):
    declare({"testapp.Tag": {"MAX_BYTES": 300}})
    Tag.objects.create(name="x" * 90)
    assert [outcome(Tag.objects)[1] for _ in range(2)] == ["miss", "hit"]
    Tag.objects.bulk_create(Tag(name=str(number) * 90) for number in range(3))
    assert outcome(Tag.objects)[1:] == ("bypass", Reason.TOO_LARGE)


def test_the_smallest_limit_counts(declare, transactional_db):
    declare({"testapp.Author": {"MAX_ROWS": 1}, "testapp.Book": {"MAX_ROWS": 100}})
    author = Author.objects.create(name="Herbert")
    Book.objects.bulk_create(Book(name="b", author=author, pages=1) for _ in range(2))
    assert outcome(Book.objects)[1] == "miss"
    assert outcome(Book.objects.filter(author__name="Herbert"))[2] == Reason.TOO_LARGE


def test_there_is_a_limit_by_default(transactional_db):
    Tag.objects.bulk_create(Tag(name=str(number)) for number in range(10_001))
    assert outcome(Tag.objects.all()[:10_000])[1] == "miss"
    assert outcome(Tag.objects)[2] == Reason.TOO_LARGE
    assert outcome(Tag.objects.annotate(n=F("pk")).values("n"))[2] == Reason.TOO_LARGE
