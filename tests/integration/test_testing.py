"""What a project's own tests see of the cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connections, transaction
from django.test import TestCase

import querycache
from querycache import bypass, testing
from querycache.exceptions import Reason
from querycache.recorder import record_reads
from querycache.testing import assertCached, assertFresh, assertNotCached, override_querycache
from tests import servers
from tests.testapp.models import Author, Secret
from tests.threads import elsewhere

PROJECT = Path(__file__).parents[2]
STORES = ["locmem", "redis", "db"]


def names(using="default"):
    return sorted(author.name for author in Author.objects.using(using))


def outcome(using="default"):
    with record_reads() as reads:
        found = names(using)
    return found, reads[0].outcome


def rename(name, using="default"):
    Author.objects.using(using).update(name=name)


# In a TestCase ------------------------------------------------------------------------------------

in_test_case = pytest.mark.django_db(transaction=False)


@pytest.fixture
def author(using, request):
    return Author.objects.using(using).create(name="before")


@in_test_case
@pytest.mark.parametrize("store_alias", STORES, indirect=True)
def test_a_test_reads_from_the_cache_what_it_has_written(using, store, author):
    assert outcome(using) == (["before"], "miss")
    assert outcome(using) == (["before"], "hit")
    rename("after", using)
    assert outcome(using) == (["after"], "miss")
    assert outcome(using) == (["after"], "hit")
    Author.objects.using(using).bulk_create([Author(name="bulk")])
    assert outcome(using) == (["after", "bulk"], "miss")
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM testapp_author WHERE name = 'after'")
    assert outcome(using) == (["bulk"], "miss")
    # Also a store that is a table of this database has committed nothing.
    assert elsewhere(bypass()(names), using) == []


@in_test_case
@pytest.mark.parametrize("store_alias", STORES, indirect=True)
@pytest.mark.parametrize("savepoint", [True, False])
def test_atomic_in_a_test_is_a_transaction(using, store, author, savepoint):
    names(using)
    with transaction.atomic(using=using, savepoint=savepoint):
        rename("after", using)
        with record_reads() as reads:
            assert names(using) == ["after"]
        assert reads[0].reason in {Reason.WRITTEN_HERE, Reason.SNAPSHOT}
    assert outcome(using) == (["after"], "miss")
    assert outcome(using) == (["after"], "hit")


@in_test_case
@pytest.mark.parametrize("store_alias", STORES, indirect=True)
def test_what_atomic_rolls_back_was_never_there(using, store, author):
    names(using)
    for _ in range(2):
        with pytest.raises(RuntimeError), transaction.atomic(using=using):
            rename("after", using)
            assert names(using) == ["after"]
            raise RuntimeError
        assert names(using) == ["before"]
        assert outcome(using) == (["before"], "hit")


@in_test_case
def test_an_error_in_atomic_spoils_nothing_after_it(using, author):
    with pytest.raises(IntegrityError), transaction.atomic(using=using):
        Author.objects.using(using).create(pk=author.pk, name="the same key")
    assert names(using) == ["before"]
    with transaction.atomic(using=using):
        rename("after", using)
    assert names(using) == ["after"]
    assert outcome(using) == (["after"], "hit")


@in_test_case
def test_a_savepoint_of_a_test_takes_back_what_it_has_published(using, author):
    names(using)
    point = connections[using].savepoint()
    rename("after", using)
    assert outcome(using) == (["after"], "miss")
    connections[using].savepoint_rollback(point)
    assert names(using) == ["before"]


@in_test_case
def test_nobody_else_is_given_what_a_test_has_written(using, author):
    names(using)
    assert elsewhere(outcome, using) == ([], "miss")
    assert elsewhere(outcome, using) == ([], "hit")
    assert outcome(using) == (["before"], "hit")


@in_test_case
@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_what_others_commit_meanwhile_is_seen(using, author):
    names(using)
    try:
        elsewhere(Author.objects.using(using).create, name="committed")
        assert names(using) == ["before", "committed"]
        assert outcome(using) == (["before", "committed"], "hit")
    finally:
        elsewhere(Author.objects.using(using).filter(name="committed").delete)


@in_test_case
@pytest.mark.parametrize("using", ["default"], indirect=True)
def test_returning_on_sqlite_is_there_at_once_in_a_test(using, author):
    with connections[using].cursor() as cursor:
        cursor.execute("UPDATE testapp_author SET name = 'after' RETURNING id")
        cursor.fetchall()
    assert outcome(using) == (["after"], "miss")
    assert outcome(using) == (["after"], "hit")


class EachTestBeginsAnew(TestCase):
    """Each of these would see what the other has left behind."""

    @classmethod
    def setUpTestData(cls):
        Author.objects.create(name="of the class")
        names()
        cls.seen = outcome()

    def go_through(self):
        assert self.seen == (["of the class"], "hit")
        assert outcome() == (["of the class"], "miss")
        rename("of the test")
        assert outcome() == (["of the test"], "miss")
        assert outcome() == (["of the test"], "hit")

    def test_once(self):
        self.go_through()

    def test_again(self):
        self.go_through()


# Assertions ---------------------------------------------------------------------------------------

transactional = pytest.mark.django_db(transaction=True)


@transactional
def test_assert_cached():
    Author.objects.create(name="a")
    complaint = r"1 of 1 reads were not hits:\n  testapp.Author: miss"
    with pytest.raises(AssertionError, match=complaint), assertCached():
        names()
    with assertCached() as reads:
        names()
    assert len(reads) == 1
    with pytest.raises(AssertionError, match=r"Author: bypass \(uncached\)"), assertCached():
        list(querycache.uncached(Author.objects.all()))
    with pytest.raises(AssertionError, match="nothing was read"), assertCached():
        list(Secret.objects.all())


@transactional
def test_assert_not_cached():
    Author.objects.create(name="a")
    with assertNotCached():
        names()
    with pytest.raises(AssertionError, match="1 of 1 reads were hits"), assertNotCached():
        names()
    with assertNotCached(reason="uncached"):
        list(querycache.uncached(Author.objects.all()))
    iterator = assertNotCached(reason=Reason.ITERATOR)
    with pytest.raises(AssertionError, match="not for the reason 'iterator'"), iterator:
        list(querycache.uncached(Author.objects.all()))
    iterator = assertNotCached(reason=Reason.ITERATOR)
    with pytest.raises(AssertionError, match="nothing was read"), iterator:
        pass
    with assertNotCached():
        list(Secret.objects.all())


@transactional
def test_assert_fresh():
    Author.objects.create(name="before")
    names()
    with assertFresh():
        assert names() == ["before"]
    # Past querycache, as another program would do it.
    connections["default"].connection.execute("UPDATE testapp_author SET name = 'after'")
    complaint = r"A hit differs .* FROM \"testapp_author\""
    with pytest.raises(AssertionError, match=complaint), assertFresh():
        names()
    with pytest.raises(AssertionError, match="no hit"), assertFresh():
        list(querycache.uncached(Author.objects.all()))


@in_test_case
def test_assert_fresh_in_a_test_case(using, author):
    names(using)
    with assertFresh():
        assert names(using) == ["before"]
    with assertCached():
        names(using)


@transactional
def test_assert_fresh_sees_other_threads():
    Author.objects.create(name="before")
    names()
    with assertFresh():
        assert elsewhere(names) == ["before"]


# Settings -----------------------------------------------------------------------------------------


@transactional
def test_a_block_overrides_settings_and_leaves_the_others(settings):
    cache = settings.QUERYCACHE["CACHE"]
    with override_querycache(MODELS={"auth.Group": {"TTL": 60}}):
        assert settings.QUERYCACHE["CACHE"] == cache
        with assertNotCached(), pytest.raises(AssertionError), assertCached():
            names()
        list(Group.objects.all())
        with assertCached():
            list(Group.objects.all())
    names()
    with assertCached():
        names()


@transactional
@override_querycache(MODELS={})
def test_a_function_overrides_settings():
    with record_reads() as reads:
        names()
    assert not reads


@override_querycache(MODELS={"auth.Group": {"TTL": 60}})
class AClassOverridesSettings(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.explanation = querycache.explain(Group.objects.all())

    def test_in_its_tests_and_before_them(self):
        assert self.explanation.ttl == 60
        assert querycache.explain(Group.objects.all()).ttl == 60
        assert not querycache.explain(Author.objects.all()).cacheable


class AnotherClassDoesNotSeeThat(TestCase):
    def test_it(self):
        assert querycache.explain(Group.objects.all()).ttl != 60
        assert querycache.explain(Author.objects.all()).cacheable


@transactional
def test_fixtures(querycache_settings, empty_querycache):
    querycache_settings(MODELS={"auth.Group": {"TTL": 60}})
    assert querycache.explain(Group.objects.all()).ttl == 60
    querycache_settings(MODELS={})
    assert not querycache.explain(Group.objects.all()).cacheable


def test_the_settings_of_fixtures_end_with_the_test():
    assert querycache.explain(Group.objects.all()).ttl != 60


def test_what_it_offers():
    assert testing.__all__ == sorted(testing.__all__)


PARALLEL_TESTS = """
from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase
from querycache.testing import assertCached, assertFresh

class Own:
    def test_each_worker_sees_its_own_rows_and_has_hits(self):
        for number in range(25):
            name = f"{type(self).__name__}{number}"
            User.objects.all().delete()
            User.objects.create(username=name)
            self.assertEqual([user.username for user in User.objects.all()], [name])
            with assertCached(), assertFresh():
                self.assertEqual([user.username for user in User.objects.all()], [name])

class A(Own, TestCase): ...
class B(Own, TransactionTestCase): ...
class C(Own, TestCase): ...
class D(Own, TransactionTestCase): ...
"""


def test_parallel_workers_share_a_store_and_nothing_else(tmp_path):
    if reason := servers.missing("valkey"):
        pytest.skip(reason)
    (tmp_path / "test_parallel.py").write_text(PARALLEL_TESTS)
    (tmp_path / "own_settings.py").write_text(
        "SECRET_KEY = 'x'\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'querycache']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}\n"
        "CACHES = {'default': {'BACKEND': 'django_redis.cache.RedisCache',"
        f" 'LOCATION': '{servers.address('valkey')}/3'}}}}\n"
        "QUERYCACHE = {'MODELS': {'auth.*': {'TTL': 60}}}\n"
        "PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "django", "test", "--parallel", "2", "--settings", "own_settings"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 4 tests" in done.stderr
