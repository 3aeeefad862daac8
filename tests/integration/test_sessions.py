"""What a session was told is in the key: search_path, row-level security, USE, PRAGMA."""

from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests import servers
from tests.testapp.models import Tag
from tests.threads import elsewhere

pytestmark = pytest.mark.usefixtures("using")


def execute(using, statement, params=None):
    with connections[using].cursor() as cursor:
        cursor.execute(statement, params)


def names(using):
    with record_reads() as reads:
        found = sorted(tag.name for tag in Tag.objects.using(using))
    return found, reads[0].outcome


@pytest.fixture
def fresh(using):
    """The session that a test has told something is not given to another test."""
    yield
    connections[using].close()


# PostgreSQL ---------------------------------------------------------------------------------------

postgresql = pytest.mark.parametrize("using", ["postgresql"], indirect=True)


@pytest.fixture
def two_schemas(using, fresh):
    execute(using, "CREATE SCHEMA elsewhere")
    execute(using, "CREATE TABLE elsewhere.testapp_tag (LIKE public.testapp_tag INCLUDING ALL)")
    execute(using, "INSERT INTO elsewhere.testapp_tag (id, name) VALUES (1, 'elsewhere')")
    Tag.objects.using(using).create(name="public")
    assert names(using) == (["public"], "miss")
    assert names(using) == (["public"], "hit")
    yield
    execute(using, "DROP SCHEMA elsewhere CASCADE")


@postgresql
def test_schemas_share_no_answers(using, two_schemas):
    execute(using, "SET search_path TO elsewhere")
    assert names(using) == (["elsewhere"], "miss")
    assert names(using) == (["elsewhere"], "hit")
    execute(using, "SET search_path TO public")
    assert names(using) == (["public"], "miss")
    execute(using, "SET search_path TO elsewhere")
    assert names(using) == (["elsewhere"], "hit")
    # A write to either makes both stale.
    Tag.objects.using(using).update(name="changed")
    assert names(using) == (["changed"], "miss")


@postgresql
def test_sessions_that_were_told_the_same_share_their_answers(using, two_schemas):
    def told():
        execute(using, "SET search_path TO elsewhere")
        return names(using)

    assert elsewhere(told) == (["elsewhere"], "miss")
    assert elsewhere(told) == (["elsewhere"], "hit")
    assert names(using) == (["public"], "hit")


@postgresql
def test_what_a_rollback_takes_back_is_forgotten(using, two_schemas):
    with pytest.raises(RuntimeError), transaction.atomic(using=using):
        execute(using, "SET search_path TO elsewhere")
        assert names(using)[0] == ["elsewhere"]
        raise RuntimeError
    assert names(using) == (["public"], "hit")


@postgresql
def test_what_a_savepoint_takes_back_is_forgotten(using, two_schemas):
    with transaction.atomic(using=using):
        with pytest.raises(RuntimeError), transaction.atomic(using=using):
            execute(using, "SET search_path TO elsewhere")
            assert names(using)[0] == ["elsewhere"]
            raise RuntimeError
        assert names(using) == (["public"], "hit")
        with transaction.atomic(using=using):
            execute(using, "SET search_path TO elsewhere")
        assert names(using) == (["elsewhere"], "hit")
    assert names(using) == (["elsewhere"], "hit")


@postgresql
def test_set_local_ends_with_its_transaction(using, two_schemas):
    with transaction.atomic(using=using):
        execute(using, "SET LOCAL search_path TO elsewhere")
        assert names(using)[0] == ["elsewhere"]
    assert names(using) == (["public"], "hit")
    execute(using, "SET LOCAL search_path TO elsewhere")  # a warning, and no more
    assert names(using) == (["public"], "hit")


@postgresql
def test_a_set_that_failed_has_told_nothing(using, two_schemas):
    with pytest.raises(Exception, match="nobody"):
        execute(using, "SET ROLE nobody")
    assert names(using) == (["public"], "hit")


@postgresql
def test_rows_are_not_shown_to_another_tenant(using, fresh):
    """Row-level security by a variable, in the way of most tenant middleware."""
    Tag.objects.using(using).create(name="one")
    Tag.objects.using(using).create(name="two")
    execute(using, "CREATE ROLE visitor")
    execute(using, "GRANT SELECT ON testapp_tag TO visitor")
    execute(using, "ALTER TABLE testapp_tag ENABLE ROW LEVEL SECURITY")
    execute(
        using,
        "CREATE POLICY own ON testapp_tag TO visitor USING (name = current_setting('app.tenant'))",
    )
    try:
        execute(using, "SET ROLE visitor")
        for tenant in ("one", "two", "one", "two"):
            execute(using, "SELECT set_config('app.tenant', %s, false)", [tenant])
            assert names(using)[0] == [tenant]
        assert names(using) == (["two"], "hit")
        execute(using, "SELECT set_config('app.tenant', %s, %s)", ["one", False])
        with record_reads() as reads:
            assert [tag.name for tag in Tag.objects.using(using)] == ["one"]
        assert reads[0].reason == Reason.UNKNOWN_SESSION
    finally:
        execute(using, "RESET ROLE")
        execute(using, "DROP POLICY own ON testapp_tag")
        execute(using, "ALTER TABLE testapp_tag DISABLE ROW LEVEL SECURITY")
        execute(using, "DROP OWNED BY visitor")
        execute(using, "DROP ROLE visitor")


@postgresql
def test_a_write_of_a_session_that_cannot_be_followed_is_published(using, fresh):
    Tag.objects.using(using).create(name="before")
    assert elsewhere(names, using) == (["before"], "miss")
    execute(using, "SELECT set_config('app.tenant', %s, %s)", ["one", False])
    Tag.objects.using(using).update(name="after")
    assert elsewhere(names, using) == (["after"], "miss")


# MariaDB ------------------------------------------------------------------------------------------

mariadb = pytest.mark.parametrize("using", ["mariadb"], indirect=True)


@contextmanager
def another_database(using):
    execute(using, "CREATE DATABASE querycache_other")
    try:
        execute(using, "CREATE TABLE querycache_other.testapp_tag LIKE testapp_tag")
        execute(using, "INSERT INTO querycache_other.testapp_tag (name) VALUES ('other')")
        yield "querycache_other"
    finally:
        execute(using, "DROP DATABASE querycache_other")


@mariadb
def test_the_database_that_use_has_chosen_is_read_and_written(using, fresh, new_alias):
    given = connections[using].settings_dict
    Tag.objects.using(using).create(name="own")
    assert names(using)[0] == ["own"]
    with another_database(using) as name:
        new_alias("other", **{**given, "NAME": name})
        assert names("other") == (["other"], "miss")
        execute(using, f"USE `{name}`")
        assert names(using)[0] == ["other"]
        Tag.objects.using(using).update(name="changed")
        assert names("other") == (["changed"], "miss")
        execute(using, f"USE {given['NAME']}")
        assert names(using)[0] == ["own"]


@mariadb
def test_a_write_to_another_database_of_the_server_is_published_there(using, new_alias):
    given = connections[using].settings_dict
    with another_database(using) as name:
        new_alias("other", **{**given, "NAME": name})
        assert names("other") == (["other"], "miss")
        execute(using, f"UPDATE {name}.testapp_tag SET name = 'changed'")
        assert names("other") == (["changed"], "miss")
        with transaction.atomic(using=using):
            execute(using, f"UPDATE `{name}`.`testapp_tag` SET name = 'again'")
        assert names("other") == (["again"], "miss")


@mariadb
def test_without_autocommit_by_hand_a_write_is_published_at_its_commit(using, fresh):
    Tag.objects.using(using).create(name="before")
    assert elsewhere(names, using) == (["before"], "miss")
    execute(using, "SET autocommit = 0")
    for name in ("first", "second"):
        Tag.objects.using(using).update(name=name)
        assert elsewhere(names, using)[0] != [name]
        execute(using, "COMMIT")
        assert elsewhere(names, using)[0] == [name]
    Tag.objects.using(using).update(name="third")
    execute(using, "SET autocommit = 1")
    assert elsewhere(names, using)[0] == ["third"]


# SQLite -------------------------------------------------------------------------------------------

sqlite = pytest.mark.parametrize("using", ["default"], indirect=True)


@sqlite
def test_a_pragma_that_changes_answers_is_in_the_key(using, fresh):
    Tag.objects.create(name="Upper")
    upper = Tag.objects.filter(name__contains="upper")
    assert len(upper.all()) == 1
    execute(using, "PRAGMA case_sensitive_like = ON")
    assert len(upper.all()) == 0


@sqlite
def test_a_database_that_is_attached_is_not_followed(using, fresh, tmp_path):
    Tag.objects.create(name="own")
    names(using)
    execute(using, f"ATTACH '{tmp_path / 'other'}' AS other")
    with record_reads() as reads:
        list(Tag.objects.all())
    assert reads[0].reason == Reason.UNKNOWN_SESSION


# django-tenants -----------------------------------------------------------------------------------


@pytest.fixture
def tenants(new_alias):
    """An alias with the backend of django-tenants, and a schema for each of two tenants."""
    if "postgresql" not in connections:
        pytest.skip(servers.missing("postgresql") or "there is no PostgreSQL")
    given = connections["postgresql"].settings_dict
    alias = new_alias("tenants", **{**given, "ENGINE": "django_tenants.postgresql_backend"})
    for name in ("one", "two"):
        execute("postgresql", f"CREATE SCHEMA {name}")
        execute("postgresql", f"CREATE TABLE {name}.testapp_tag (LIKE public.testapp_tag)")
        execute("postgresql", f"INSERT INTO {name}.testapp_tag (id, name) VALUES (1, '{name}')")
    yield alias
    connections[alias].close()
    for name in ("one", "two"):
        execute("postgresql", f"DROP SCHEMA {name} CASCADE")


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_each_tenant_of_django_tenants_sees_its_own(using, tenants):
    connection = connections[tenants]
    for expected in ("miss", "hit", "hit"):
        for name in ("one", "two"):
            # It tells the session as it makes a cursor, and for a hit there is none.
            connection.set_schema(name)
            assert names(tenants) == ([name], expected)
    connection.set_schema("one")
    Tag.objects.using(tenants).update(name="changed")
    assert names(tenants)[0] == ["changed"]
    connection.set_schema("two")
    assert names(tenants)[0] == ["two"]
    connection.set_schema_to_public()
    assert names(tenants)[0] == []


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_tenants_keep_apart_in_transactions_and_with_their_session_lost(using, tenants):
    connection = connections[tenants]
    for name in ("one", "two"):
        with transaction.atomic(using=tenants):
            connection.set_schema(name)
            assert names(tenants)[0] == [name]
        connection.close()
        assert names(tenants)[0] == [name]
