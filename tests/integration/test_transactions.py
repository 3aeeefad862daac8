"""What a transaction publishes, when, and what it sees itself."""

import asyncio
import threading
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import caches
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction

from querycache import bypass
from querycache.exceptions import Reason
from querycache.recall import forget_plans
from querycache.recorder import record_reads
from querycache.transactions import state_of
from tests.testapp.models import Author, Publisher
from tests.threads import elsewhere

SERVERS = ["postgresql", "mariadb"]
"""Databases whose transactions read what others commit."""


@pytest.fixture
def author(using):
    return Author.objects.using(using).create(name="before")


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def outcomes(read, *arguments):
    with record_reads() as reads:
        value = read(*arguments)
    return value, [(found.outcome, found.reason) for found in reads]


def warm(author):
    name(author)
    assert outcomes(name, author) == ("before", [("hit", None)])


def rename(author, new):
    Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


def test_a_write_is_published_at_commit_and_not_before(author, using):
    warm(author)
    with transaction.atomic(using=using):
        rename(author, "after")
        assert elsewhere(outcomes, name, author) == ("before", [("hit", None)])
    assert name(author) == "after"
    assert elsewhere(name, author) == "after"


def test_a_rollback_publishes_nothing(author, using):
    warm(author)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        rename(author, "after")
        raise ZeroDivisionError
    assert outcomes(name, author) == ("before", [("hit", None)])


def test_a_transaction_sees_its_own_writes(author, using):
    warm(author)
    with transaction.atomic(using=using):
        rename(author, "after")
        value, reads = outcomes(name, author)
        assert value == "after"
        reason = Reason.SNAPSHOT if using == "default" else Reason.WRITTEN_HERE
        assert reads == [("bypass", reason)]


def test_a_query_whose_plan_is_new_sees_its_own_writes(author, using):
    warm(author)
    forget_plans()
    with transaction.atomic(using=using):
        rename(author, "after")
        assert name(author) == "after"


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_transaction_reads_and_fills_what_it_has_not_written(author, using):
    with transaction.atomic(using=using):
        Publisher.objects.using(using).create(name="p")
        assert outcomes(name, author) == ("before", [("miss", None)])
        assert outcomes(name, author) == ("before", [("hit", None)])


def test_a_savepoint_that_is_rolled_back_leaves_the_truth(author, using):
    warm(author)
    with transaction.atomic(using=using):
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
            rename(author, "after")
            raise ZeroDivisionError
        assert name(author) == "before"
    assert name(author) == "before"


def test_manual_savepoints_and_autocommit_off(author, using):
    warm(author)
    connection = connections[using]
    transaction.set_autocommit(False, using=using)
    try:
        sid = connection.savepoint()
        rename(author, "lost")
        connection.savepoint_rollback(sid)
        rename(author, "after")
        assert name(author) == "after"
        assert elsewhere(name, author) == "before"
        transaction.commit(using=using)
        assert elsewhere(name, author) == "after"
        rename(author, "rolled back")
        transaction.rollback(using=using)
        assert not state_of(connection).written()
    finally:
        transaction.set_autocommit(True, using=using)
    assert name(author) == "after"


def test_hooks_of_on_commit_read_fresh_data(author, using):
    warm(author)
    seen = []
    with transaction.atomic(using=using):
        transaction.on_commit(lambda: seen.append(name(author)), using=using)
        rename(author, "after")
    assert seen == ["after"]


def test_a_hook_that_raises_drops_no_invalidation(author, using):
    warm(author)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        transaction.on_commit(lambda: 1 / 0, using=using)
        rename(author, "after")
    assert name(author) == "after"


@pytest.fixture
def own_store(settings):
    """A store for tests that leave fences standing, which only time would take away."""
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem"}
    yield
    caches["locmem"].clear()


class Lost(Exception):
    """What a driver raises when its server has gone: it has no number, and no SQLSTATE."""


def lose_answer(monkeypatch, connection, before):
    """Let the next COMMIT take effect, and its answer be lost; ``before`` is done in between."""
    commit = connection._commit

    def commit_and_lose_the_answer():
        commit()
        before()
        raise OperationalError("server closed the connection unexpectedly") from Lost()

    monkeypatch.setattr(connection, "_commit", commit_and_lose_the_answer)


def test_an_exception_out_of_commit_leaves_the_truth(author, using, monkeypatch, own_store):
    warm(author)
    lose_answer(monkeypatch, connections[using], lambda: None)
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        rename(author, "after")
    monkeypatch.undo()
    with bypass():
        truth = name(author)
    assert name(author) == truth == "after"


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
@pytest.mark.parametrize("in_autocommit", [False, True])
def test_a_commit_that_takes_effect_after_its_connection_was_lost_is_not_missed(
    author, using, monkeypatch, own_store, in_autocommit
):
    """fence COMMIT(sent) connection lost; look SELECT (reader) COMMIT takes effect; look(reader)"""
    warm(author)
    late, other = [], connections[using].copy()

    def send_and_lose_the_connection(*arguments):
        # Another session does later what the server may go on with.
        late.append(f"UPDATE testapp_author SET name = 'after' WHERE id = {author.pk}")
        raise OperationalError("server closed the connection unexpectedly") from Lost()

    if in_autocommit:
        with (
            pytest.raises(OperationalError),
            connections[using].execute_wrapper(send_and_lose_the_connection),
        ):
            rename(author, "after")
    else:
        monkeypatch.setattr(connections[using], "_commit", send_and_lose_the_connection)
        with pytest.raises(OperationalError), transaction.atomic(using=using):
            rename(author, "after")
        monkeypatch.undo()
    assert name(author) == elsewhere(name, author) == "before"
    other.ensure_connection()
    other.connection.execute(late.pop())
    other.close()
    assert name(author) == elsewhere(name, author) == "after"


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_statement_that_the_server_refuses_is_over(author, using):
    """A fence that was left to its deadline would keep everybody from the cache for a minute."""
    warm(author)
    with pytest.raises(IntegrityError):
        Author.objects.using(using).create(pk=author.pk, name="again")
    with pytest.raises(DatabaseError), connections[using].cursor() as cursor:
        cursor.execute("UPDATE testapp_author SET no_such_column = 1")
    with pytest.raises((DatabaseError, TypeError, ValueError)):
        Author.objects.using(using).filter(pk=author.pk).update(born=object())
    assert outcomes(name, author) == ("before", [("miss", None)])
    assert outcomes(name, author) == ("before", [("hit", None)])


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_commit_that_is_interrupted_may_still_take_effect(author, using, monkeypatch, own_store):
    warm(author)

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(connections[using], "_commit", interrupt)
    # Django goes on with a connection that is still in its transaction, and psycopg refuses.
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        rename(author, "after")
    monkeypatch.undo()
    connections[using].close()
    assert outcomes(name, author) == ("before", [("miss", None)])
    assert outcomes(name, author) == ("before", [("miss", None)])  # not stored


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_closing_a_connection_in_a_transaction_loses_its_writes_and_its_journal(author, using):
    warm(author)
    connection = connections[using]
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        rename(author, "after")
        connection.close()
        name(author)
    assert not state_of(connection).written()
    assert outcomes(name, author) == ("before", [("hit", None)])


def test_a_broken_transaction_is_as_broken_with_the_cache_as_without(author, using):
    warm(author)
    with transaction.atomic(using=using):
        with pytest.raises(IntegrityError), transaction.atomic(using=using, savepoint=False):
            Author.objects.using(using).create(pk=author.pk, name="again")
        with pytest.raises(transaction.TransactionManagementError):
            name(author)
        transaction.set_rollback(True, using=using)


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_an_error_that_was_caught_still_aborts_postgresql(author, using):
    warm(author)
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        with pytest.raises(DatabaseError), connections[using].cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM testapp_author")
        name(author)


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_savepoint_mends_a_transaction(author, using):
    warm(author)
    with transaction.atomic(using=using):
        with pytest.raises(DatabaseError), transaction.atomic(using=using):
            connections[using].cursor().execute("SELECT no_such_column FROM testapp_author")
        assert outcomes(name, author) == ("before", [("hit", None)])


@pytest.mark.parametrize("using", SERVERS, indirect=True)
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_reads_a_snapshot_neither_reads_nor_fills(author, using, level):
    warm(author)
    connection = connections[using]
    if connection.vendor == "mysql":
        connection.cursor().execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    try:
        with transaction.atomic(using=using):
            if connection.vendor == "postgresql":
                connection.cursor().execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            assert outcomes(name, author) == ("before", [("bypass", Reason.SNAPSHOT)])
    finally:
        connection.close()


def test_sqlite_reads_a_snapshot_in_every_transaction(transactional_db):
    author = Author.objects.create(name="before")
    warm(author)
    with transaction.atomic():
        assert outcomes(name, author) == ("before", [("bypass", Reason.SNAPSHOT)])


def test_a_transaction_by_hand_is_a_transaction(author, using):
    warm(author)
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE testapp_author SET name = 'after'")
        assert name(author) == "after"
        assert elsewhere(name, author) == "before"
        cursor.execute("COMMIT")
    assert name(author) == "after"
    assert elsewhere(name, author) == "after"
    assert not state_of(connection).opened


def test_rows_of_a_raw_returning_on_sqlite_are_not_seen_before_they_are_committed(
    transactional_db, own_store
):
    """sqlite3 commits it when its last row is fetched; a reader may come before that."""
    author = Author.objects.create(name="before")
    warm(author)
    cursor = connections["default"].cursor()
    cursor.execute("UPDATE testapp_author SET name = 'after' RETURNING id")
    assert elsewhere(name, author) == "before"
    cursor.fetchall()
    cursor.close()
    assert name(author) == "after"
    assert elsewhere(name, author) == "after"


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_ddl_that_commits_implicitly_publishes_what_came_before_it(author, using):
    warm(author)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        rename(author, "after")
        cursor.execute("CREATE TABLE scratch (x integer)")
        cursor.execute("DROP TABLE scratch")
        truth = elsewhere(bypass()(name), author)
        assert elsewhere(name, author) == truth
        assert truth == ("after" if using == "mariadb" else "before")
    assert name(author) == "after"


@pytest.mark.parametrize("using", ["mariadb"], indirect=True)
def test_what_is_not_committed_is_never_cached(author, using, monkeypatch):
    """READ UNCOMMITTED: SELECT fill ROLLBACK would leave a row that never was."""
    connection = connections[using]
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", "read uncommitted")
    assert outcomes(name, author) == ("before", [("bypass", Reason.UNCOMMITTED)])
    rename(author, "after")
    monkeypatch.undo()
    assert name(author) == "after"


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_an_isolation_level_in_the_options_of_libpq_is_seen(author, using, monkeypatch):
    connection = connections[using]
    isolation = "-c default_transaction_isolation=serializable"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", isolation)
    with transaction.atomic(using=using):
        assert outcomes(name, author) == ("before", [("bypass", Reason.SNAPSHOT)])


def test_what_sqlite_commits_by_itself_is_published(transactional_db):
    """Without BEGIN, the release of the outermost savepoint is a commit; so is WITH … UPDATE."""
    author = Author.objects.create(name="before")
    transaction.set_autocommit(False)
    try:
        warm_elsewhere = elsewhere(outcomes, name, author)
        assert warm_elsewhere[0] == "before"
        with connections["default"].cursor() as cursor:
            cursor.execute("SAVEPOINT by_hand")
            cursor.execute("UPDATE testapp_author SET name = 'first'")
            cursor.execute("RELEASE SAVEPOINT by_hand")
            assert elsewhere(name, author) == elsewhere(bypass()(name), author)
            cursor.execute("WITH t AS (SELECT 1) UPDATE testapp_author SET name = 'second'")
            assert elsewhere(name, author) == elsewhere(bypass()(name), author)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert name(author) == elsewhere(bypass()(name), author)


def test_a_commit_that_failed_and_is_tried_again_is_published(author, using, monkeypatch):
    """SQLite leaves the transaction open if another connection is in the way."""
    warm(author)
    connection = connections[using]

    def fail():
        raise OperationalError("database is locked")

    transaction.set_autocommit(False, using=using)
    try:
        rename(author, "after")
        with monkeypatch.context() as patch:
            patch.setattr(connection, "_commit", fail)
            with pytest.raises(OperationalError):
                transaction.commit(using=using)
        assert elsewhere(name, author) == "before"
        transaction.commit(using=using)
        assert elsewhere(name, author) == "after"
    finally:
        transaction.set_autocommit(True, using=using)


@pytest.mark.parametrize(
    "statement", ["COMMIT", "INSERT OR ROLLBACK INTO testapp_author (id) VALUES (1)"]
)
def test_what_follows_sql_that_has_ended_a_transaction_of_sqlite_is_published(
    transactional_db, statement
):
    author = Author.objects.create(name="before")
    warm(author)
    with transaction.atomic():
        with connections["default"].cursor() as cursor, suppress(IntegrityError):
            cursor.execute(statement)
        rename(author, "after")
        assert elsewhere(bypass()(name), author) == "after"
        assert elsewhere(name, author) == "after"
    assert name(author) == "after"


@pytest.mark.parametrize(
    "statement", ["COMMIT", "INSERT OR ROLLBACK INTO testapp_author (id) VALUES (1)"]
)
def test_a_savepoint_after_sql_that_has_ended_a_transaction_of_sqlite_is_a_transaction(
    transactional_db, statement
):
    author = Author.objects.create(name="before")
    warm(author)
    with pytest.raises(RuntimeError), transaction.atomic():
        with connections["default"].cursor() as cursor, suppress(IntegrityError):
            cursor.execute(statement)
        with transaction.atomic():
            rename(author, "after")
        assert elsewhere(bypass()(name), author) == "after"
        assert elsewhere(name, author) == "after"
        raise RuntimeError
    assert name(author) == "after"


@pytest.mark.parametrize("using", ["mariadb"], indirect=True)
def test_what_follows_a_deadlock_in_a_transaction_by_hand_is_published(author, using):
    """InnoDB ends the transaction of the one who loses: the connection is in autocommit again."""
    others = [Author.objects.using(using).create(name="other") for _ in range(5)]
    warm(author)
    winner_holds = threading.Event()

    def win():
        with transaction.atomic(using=using):
            for other in others:
                rename(other, "won")
            winner_holds.set()
            rename(author, "won")

    with connections[using].cursor() as cursor:
        cursor.execute("BEGIN")
        rename(author, "lost")
        winner = threading.Thread(target=lambda: (win(), connections.close_all()))
        winner.start()
        assert winner_holds.wait(10)
        with pytest.raises(OperationalError, match="Deadlock"):
            rename(others[0], "lost")
        winner.join()
        assert elsewhere(name, author) == "won"
        rename(author, "after")
        assert elsewhere(bypass()(name), author) == "after"
        assert elsewhere(name, author) == "after"
        cursor.execute("ROLLBACK")
    assert name(author) == "after"


def test_a_rollback_by_hand_publishes_nothing(author, using):
    warm(author)
    with connections[using].cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE testapp_author SET name = 'after'")
        cursor.execute("ROLLBACK")
    assert outcomes(name, author) == ("before", [("hit", None)])


def test_a_database_without_autocommit_publishes_at_commit(author, using, monkeypatch):
    """Its transaction begins with the first statement, which also opens the connection."""
    warm(author)
    connection = connections[using]
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    try:
        rename(author, "after")
        assert name(author) == "after"
        assert elsewhere(name, author) == "before"
        connection.commit()
    finally:
        connection.close()
        monkeypatch.undo()
    assert name(author) == "after"
    assert elsewhere(name, author) == "after"


def test_a_begin_that_fails_begins_nothing(author, using, monkeypatch):
    connection = connections[using]
    connection.ensure_connection()

    def fail(execute, sql, params, many, context):
        raise DatabaseError("no")

    with pytest.raises(DatabaseError), connection.execute_wrapper(fail):
        connection.cursor().execute("BEGIN")
    rename(author, "after")
    assert elsewhere(name, author) == "after"


def test_a_statement_that_a_field_runs_while_an_insert_is_compiled_is_published(
    author, using, monkeypatch
):
    """A field's pre_save() may do anything: take a number from a table of counters, for example."""
    warm(author)
    field = Publisher._meta.get_field("name")

    def pre_save(instance, add):
        with connections[using].cursor() as cursor:
            cursor.execute("UPDATE testapp_author SET name = 'after'")
        return instance.name

    monkeypatch.setattr(field, "pre_save", pre_save)
    Publisher.objects.using(using).bulk_create([Publisher(name="p")])
    assert name(author) == "after"


def test_a_durable_transaction_is_published_when_it_ends(author, using):
    warm(author)
    with transaction.atomic(using=using, durable=True):
        with transaction.atomic(using=using):
            rename(author, "after")
        assert elsewhere(outcomes, name, author) == ("before", [("hit", None)])
    assert elsewhere(name, author) == "after"


def test_what_a_rolled_back_block_wrote_does_not_hide_what_the_outer_one_wrote(author, using):
    warm(author)
    with transaction.atomic(using=using):
        rename(author, "after")
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
            Publisher.objects.using(using).create(name="p")
            rename(author, "lost")
            raise ZeroDivisionError
        assert name(author) == "after"
    assert name(author) == "after"
    assert elsewhere(name, author) == "after"


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_each_of_several_databases_publishes_with_its_own_commit(author, using):
    other = Author.objects.using("default").create(name="before")
    warm(author)
    warm(other)
    with transaction.atomic(using=using):
        rename(author, "after")
        with transaction.atomic(using="default"):
            rename(other, "after")
        assert elsewhere(name, other) == "after"
        assert elsewhere(outcomes, name, author) == ("before", [("hit", None)])
    assert elsewhere(name, author) == "after"


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_rollback_of_one_of_several_databases_leaves_the_other(author, using):
    other = Author.objects.using("default").create(name="before")
    warm(author)
    warm(other)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        rename(author, "after")
        rename(other, "after")
        raise ZeroDivisionError
    assert name(other) == "after"
    assert outcomes(name, author) == ("before", [("hit", None)])


def end_session(author):
    """Let the server end the connection of this thread, as a restart or an administrator does."""
    connection = connections[author._state.db]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_backend_pid()")
        else:
            cursor.execute("SELECT CONNECTION_ID()")
        (session,) = cursor.fetchone()

    def end():
        with connections[connection.alias].cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [session])
            else:
                cursor.execute(f"KILL CONNECTION {session}")

    elsewhere(end)


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_connection_lost_in_the_middle_of_a_transaction_loses_its_writes_and_its_journal(
    author, using
):
    warm(author)
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        rename(author, "after")
        end_session(author)
        rename(author, "later")
    assert not state_of(connections[using]).written()
    connections[using].close()
    assert outcomes(name, author) == ("before", [("hit", None)])


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_connection_lost_before_the_commit_leaves_the_truth(author, using, own_store):
    warm(author)
    with pytest.raises(DatabaseError), transaction.atomic(using=using):
        rename(author, "after")
        end_session(author)
    connections[using].close()
    with bypass():
        assert name(author) == "before"
    # The outcome was not known: the fence stands, and nothing is stored.
    assert outcomes(name, author) == ("before", [("miss", None)])
    assert elsewhere(outcomes, name, author) == ("before", [("miss", None)])


def test_threads_have_journals_of_their_own(author, using):
    warm(author)
    with transaction.atomic(using=using):
        rename(author, "after")
        assert elsewhere(lambda: bool(state_of(connections[using]).written())) is False
        assert state_of(connections[using]).written()


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_tasks_see_what_was_committed_and_nothing_else(author, using):
    """Each task's queries run in one thread; the transaction is that thread's."""
    query = Author.objects.using(using).filter(pk=author.pk)

    def change_in_transaction():
        with transaction.atomic(using=using):
            query.update(name="changed")
            return elsewhere(name, author), name(author)

    async def visit():
        found = await Author.objects.using(using).aget(pk=author.pk)
        assert found.name == "before"
        assert await sync_to_async(change_in_transaction)() == ("before", "changed")
        names = await asyncio.gather(*(query.values_list("name", flat=True).aget() for _ in "abc"))
        assert names == ["changed"] * 3
        found.name = "saved"
        await found.asave()
        assert (await query.aget()).name == "saved"
        await query.aupdate(name="updated")
        assert (await query.aget()).name == "updated"

    async_to_sync(visit)()
    assert name(author) == elsewhere(name, author) == "updated"


@pytest.mark.parametrize("using", SERVERS, indirect=True)
def test_a_task_that_is_cancelled_in_a_transaction_publishes_nothing(author, using):
    warm(author)
    with pytest.raises(asyncio.CancelledError), transaction.atomic(using=using):
        rename(author, "after")
        raise asyncio.CancelledError
    assert outcomes(name, author) == ("before", [("hit", None)])
