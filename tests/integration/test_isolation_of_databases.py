"""Two databases never share an answer, and one database always shares its invalidations."""

from contextlib import closing

import pytest
from django.core.cache import caches
from django.db import connections

import querycache
from querycache.recorder import record_reads
from tests.testapp.models import Tag


def names(using):
    return sorted(Tag.objects.using(using).order_by("pk").values_list("name", flat=True))


def outcome(using):
    with record_reads() as reads:
        names(using)
    return reads[0].outcome


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request, django_db_setup, django_db_blocker):
    """The alias of each database that has a server."""
    if request.param not in connections:
        pytest.skip(f"no {request.param}")
    with django_db_blocker.unblock():
        yield request.param
        Tag.objects.using(request.param).all().delete()
        connections[request.param].close()


def with_a_tag(using, name):
    """Make the table and a row by the driver alone: nothing is invalidated by it."""
    connections[using].ensure_connection()
    with closing(connections[using].connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE testapp_tag (id INTEGER PRIMARY KEY, name VARCHAR(100))")
        cursor.execute(f"INSERT INTO testapp_tag VALUES (1, '{name}')")


def sqlite(name, **options):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, **options}


def test_two_files_behind_one_alias_share_nothing(new_alias, tmp_path):
    for name in ("one", "two"):
        with_a_tag(new_alias("other", **sqlite(tmp_path / name)), name)
        assert names("other") == [name]
    for name in ("one", "two"):
        new_alias("other", **sqlite(tmp_path / name))
        assert outcome("other") == "hit"
        assert names("other") == [name]


def test_a_file_that_takes_the_place_of_another_shares_nothing_with_it(new_alias, tmp_path):
    place = tmp_path / "database"
    with_a_tag(new_alias("other", **sqlite(place)), "old")
    assert names("other") == ["old"]
    connections["other"].close()
    place.rename(tmp_path / "kept")  # or else the new file may be given its number
    with_a_tag("other", "new")
    assert names("other") == ["new"]


def test_two_paths_of_one_file_share_their_invalidations(new_alias, tmp_path):
    place = tmp_path / "database"
    with_a_tag(new_alias("other", **sqlite(place)), "old")
    (tmp_path / "link").symlink_to(place)
    new_alias("linked", **sqlite(tmp_path / "link"))
    assert names("other") == names("linked") == ["old"]
    Tag.objects.using("linked").update(name="new")
    assert names("other") == ["new"]


def test_databases_in_memory_share_nothing(new_alias):
    with_a_tag(new_alias("memory", **sqlite(":memory:")), "first")
    with_a_tag(new_alias("memory too", **sqlite(":memory:")), "second")
    assert names("memory") == ["first"]
    assert names("memory too") == ["second"]
    assert names("memory") == ["first"]


def test_a_database_in_memory_that_is_opened_again_is_another_one(new_alias):
    with_a_tag(new_alias("memory", **sqlite(":memory:")), "first")
    assert names("memory") == ["first"]
    new_alias("memory", **sqlite(":memory:"))
    with_a_tag("memory", "second")
    assert names("memory") == ["second"]


def test_a_database_in_memory_is_cached_while_it_is_open(new_alias):
    with_a_tag(new_alias("memory", **sqlite(":memory:")), "tag")
    names("memory")
    assert outcome("memory") == "hit"
    Tag.objects.using("memory").update(name="new")
    assert names("memory") == ["new"]


def test_two_aliases_of_one_server_share_their_invalidations(server, new_alias):
    other = new_alias("other", **connections[server].settings_dict)
    Tag.objects.using(server).create(name="old")
    assert names(server) == names(other) == ["old"]
    Tag.objects.using(other).update(name="new")
    assert names(server) == names(other) == ["new"]
    Tag.objects.using(server).update(name="newer")
    assert names(server) == names(other) == ["newer"]


def test_an_alias_with_other_options_shares_invalidations_but_no_answers(server, new_alias):
    if connections[server].vendor != "postgresql":
        pytest.skip("search_path is PostgreSQL's")
    given = connections[server].settings_dict
    options = {**given["OPTIONS"], "options": "-c search_path=elsewhere"}
    with connections[server].cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
    try:
        other = new_alias("other", **{**given, "OPTIONS": options})
        Tag.objects.using(server).create(name="public")
        with_a_tag(other, "hidden")
        assert names(server) == ["public"]
        assert names(other) == ["hidden"]
        assert names(server) == ["public"]
        Tag.objects.using(other).update(name="changed")
        assert names(server) == ["public"]
        assert names(other) == ["changed"]
    finally:
        connections["other"].close()
        with connections[server].cursor() as cursor:
            cursor.execute("DROP SCHEMA elsewhere CASCADE")


def test_search_path_that_was_set_shares_no_answers(using):
    if connections[using].vendor != "postgresql":
        pytest.skip("search_path is PostgreSQL's")
    Tag.objects.using(using).create(name="public")
    assert names(using) == ["public"]
    with connections[using].cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute(
            "CREATE TABLE elsewhere.testapp_tag AS SELECT id, 'hidden' AS name FROM testapp_tag"
        )
        try:
            cursor.execute("SET search_path TO elsewhere")
            assert names(using) == ["hidden"]
        finally:
            cursor.execute("RESET search_path")
            cursor.execute("DROP SCHEMA elsewhere CASCADE")
    assert names(using) == ["public"]


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_databases_of_different_kinds_share_nothing():
    for using in connections:
        assert names(using) == []
    for using in connections:
        Tag.objects.using(using).create(name=using)
    for using in connections:
        assert names(using) == [using]


@pytest.mark.django_db(transaction=True)
def test_caches_with_different_prefixes_share_nothing(store, settings):
    Tag.objects.create(name="old")
    assert names("default") == ["old"]
    assert outcome("default") == "hit"
    given = settings.CACHES[store]
    settings.CACHES = {**settings.CACHES, store: {**given, "KEY_PREFIX": "another"}}
    try:
        assert outcome("default") == "miss"
        querycache.flush()
    finally:
        caches[store].close()
    settings.CACHES = {**settings.CACHES, store: given}
    assert outcome("default") == "hit"


@pytest.mark.django_db(transaction=True)
def test_caches_with_different_versions_share_nothing(store, settings):
    Tag.objects.create(name="old")
    assert names("default") == ["old"]
    given = settings.CACHES[store]
    settings.CACHES = {**settings.CACHES, store: {**given, "VERSION": 7}}
    try:
        assert outcome("default") == "miss"
    finally:
        caches[store].close()
