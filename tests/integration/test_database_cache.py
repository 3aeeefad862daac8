"""A store that is a table of a database: of the one that is cached, or of another."""

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction

from querycache import debts, stores
from querycache.counting import statistics
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from tests.testapp.models import Author
from tests.threads import elsewhere


class Router:
    """Keeps the cache's table in one database, and all other models in another."""

    store = data = "default"

    def db_for_read(self, model, **hints):
        return self.store if model._meta.app_label == "django_cache" else self.data

    db_for_write = db_for_read


@pytest.fixture
def put_cache(settings, monkeypatch):
    """Return a function that puts the store into a database."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    # It is published when a request ends, of which there is none.
    monkeypatch.setattr(statistics, "_sink", None)

    def put(using, *, of):
        monkeypatch.setattr(Router, "store", using)
        monkeypatch.setattr(Router, "data", of)
        call_command("createcachetable", settings.CACHE_TABLE, database=using)
        settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "db"}
        assert stores.get_store().using == using
        caches["db"].clear()

    yield put
    debts.owed.clear()
    debts.unfenced.clear()


@pytest.fixture
def author(using, put_cache):
    put_cache(using, of=using)
    return Author.objects.using(using).create(name="before")


def name(author):
    return Author.objects.using(author._state.db).values_list("name", flat=True).get(pk=author.pk)


def rename(author, new):
    Author.objects.using(author._state.db).filter(pk=author.pk).update(name=new)


def read(author):
    with record_reads() as reads:
        value = name(author)
    return value, reads[0].outcome, reads[0].reason


def warm(author):
    name(author)
    assert read(author) == ("before", "hit", None)


def test_a_transaction_takes_its_fence_with_it(author, using):
    warm(author)
    with transaction.atomic(using=using):
        rename(author, "after")
        assert elsewhere(read, author) == ("before", "hit", None)
    assert connections[using].get_autocommit()
    assert elsewhere(read, author) == ("after", "miss", None)
    assert read(author) == ("after", "hit", None)


def test_a_rollback_takes_nothing_with_it(author, using):
    warm(author)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=using):
        rename(author, "after")
        raise ZeroDivisionError
    assert read(author) == ("before", "hit", None)


def test_commits_by_hand_leave_no_transaction_open(author, using):
    warm(author)
    transaction.set_autocommit(False, using=using)
    try:
        rename(author, "after")
        transaction.commit(using=using)
        assert elsewhere(read, author) == ("after", "miss", None)
    finally:
        transaction.set_autocommit(True, using=using)
    assert read(author) == ("after", "hit", None)


def test_autocommit_and_errors(author, using):
    warm(author)
    rename(author, "after")
    assert read(author) == ("after", "miss", None)
    with pytest.raises(IntegrityError):
        Author.objects.using(using).create(pk=author.pk, name="again")
    with pytest.raises(IntegrityError), transaction.atomic(using=using):
        Author.objects.using(using).create(pk=author.pk, name="again")
    assert read(author)[0] == "after"
    assert read(author) == ("after", "hit", None)


def test_inside_its_own_transactions_it_is_not_used(author, using):
    warm(author)
    reason = Reason.SNAPSHOT if using == "default" else Reason.STORE_IN_TRANSACTION
    with transaction.atomic(using=using):
        assert read(author) == ("before", "bypass", reason)


@pytest.mark.parametrize("using", ["postgresql", "mariadb"], indirect=True)
def test_a_commit_that_another_transaction_hides_is_published_after_that(using, put_cache):
    """begin(store's database) COMMIT(data) … : the fence would not be seen before its end."""
    put_cache("default", of=using)
    author = Author.objects.using(using).create(name="before")
    warm(author)
    with transaction.atomic(using="default"):
        rename(author, "after")
        assert debts.owed
        assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    assert read(author) == ("after", "miss", None)
    assert not debts.owed
    assert elsewhere(read, author) == ("after", "hit", None)


@pytest.mark.parametrize("using", ["mariadb"], indirect=True)
def test_a_snapshot_of_the_stores_database_is_not_looked_at(using, put_cache):
    """begin(store's database) COMMIT(data, elsewhere) look: an old generation, an old entry"""
    put_cache(using, of="default")
    author = Author.objects.create(name="before")
    warm(author)
    store = connections[using]
    with store.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with transaction.atomic(using=using):
            with store.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM testapp_author")
            elsewhere(rename, author, "after")
            assert read(author) == ("after", "bypass", Reason.STORE_FAILED)
    finally:
        store.close()
    assert read(author)[0] == "after"
