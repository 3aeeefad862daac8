"""What is installed, on which classes, and that it can be taken out again."""

import subprocess
import sys
import threading

import pytest
from django.db import OperationalError, connection, connections, models
from django.db.models.signals import m2m_changed, post_delete, post_save

from querycache import hooks, invalidation
from querycache.recorder import record_reads
from tests.plainapp.models import Plain
from tests.testapp.models import Author, Book, Tag


@pytest.fixture
def uninstalled():
    hooks.uninstall()
    yield
    hooks.install()


def classes():
    return {
        (owner, name): owner.__dict__.get(name)
        for owner, name, _ in hooks._METHODS
        if hasattr(owner, name)
    }


def test_uninstalling_leaves_django_as_it_was(uninstalled):
    script = (
        "from querycache._django.compilers import *\n"
        "from querycache._django.connections import *\n"
        "from querycache._django.derivations import *\n"
        "from querycache._django.instances import *\n"
        "print(sorted(f'{c.__name__}.{n}' for c in (SQLCompiler, SQLInsertCompiler,"
        " SQLUpdateCompiler, SQLDeleteCompiler, CursorWrapper, BaseDatabaseWrapper, ModelIterable,"
        " Query, RegisterLookupMixin) for n in vars(c)))"
    )
    pristine = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    owners = {owner for owner, _, _ in (*hooks._METHODS, *hooks._ATTRIBUTES)}
    ours = sorted(f"{owner.__name__}.{name}" for owner in owners for name in vars(owner))
    assert str(ours) == pristine.strip()
    assert all(
        method is None or method.__module__.startswith("django.") for method in classes().values()
    )
    assert invalidation.watch_statement not in connection.execute_wrappers
    for signal in (post_save, post_delete, m2m_changed):
        assert not [r for r in signal.receivers if r[0][0] == hooks._UID]


def test_installing_twice_installs_once():
    before = classes()
    hooks.install()
    assert classes() == before
    assert connection.execute_wrappers.count(invalidation.watch_statement) <= 1


@pytest.mark.django_db(transaction=True)
def test_it_works_again_after_it_was_taken_out_and_put_back():
    author = Author.objects.create(name="a")
    hooks.uninstall()
    with record_reads() as reads:
        Author.objects.get(pk=author.pk)
    assert reads == []
    hooks.install()
    with record_reads() as reads:
        Author.objects.get(pk=author.pk)
        Author.objects.get(pk=author.pk)
        Author.objects.update(name="b")
        assert Author.objects.get(pk=author.pk).name == "b"
    assert [read.outcome for read in reads] == ["miss", "hit", "miss"]


def test_importing_the_package_does_nothing():
    script = (
        "import sys, querycache\n"
        "from django.db.models.sql.compiler import SQLCompiler\n"
        "from django.conf import settings\n"
        "assert SQLCompiler.execute_sql.__module__ == 'django.db.models.sql.compiler'\n"
        "assert not settings.configured\n"
        "assert 'sqlglot' not in sys.modules\n"
        "assert 'redis' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def listens(signal, model):
    return bool(signal.has_listeners(model))


def test_signals_are_connected_for_opted_in_models_only(settings):
    assert listens(post_save, Author)
    assert listens(post_delete, Author)
    assert not listens(post_save, Plain)
    assert not listens(post_delete, Plain)
    settings.QUERYCACHE = {"MODELS": {"plainapp.Plain": {}}}
    assert listens(post_delete, Plain)
    assert not listens(post_delete, Author)


def test_many_to_many_signals_are_connected_for_every_kind_of_through_model():
    for field in Book._meta.local_many_to_many:
        assert listens(m2m_changed, field.remote_field.through)


def test_a_model_without_the_delete_signal_keeps_its_fast_deletes(settings):
    from django.db.models.deletion import Collector

    with_signal = Collector(using="default", origin=None)
    assert not with_signal.can_fast_delete(Plain.objects.none()) or not listens(post_delete, Plain)
    settings.QUERYCACHE = {"MODELS": {"plainapp.Plain": {"DELETE_SIGNAL": False}}}
    assert listens(post_save, Plain)
    assert Collector(using="default", origin=None).can_fast_delete(Plain.objects.all())
    settings.QUERYCACHE = {"MODELS": {"plainapp.Plain": {}}}
    assert not Collector(using="default", origin=None).can_fast_delete(Plain.objects.all())


@pytest.mark.django_db(transaction=True)
def test_a_wrapper_of_the_user_is_taken_off_and_ours_stays():
    """``with execute_wrapper()`` takes the last one off its list, whichever that is."""

    def wrapper(execute, *args):
        return execute(*args)

    seen = []

    def in_a_new_thread():
        try:
            new = connections["default"]
            with new.execute_wrapper(wrapper):
                new.cursor().close()  # connects only now
                seen.append(list(new.execute_wrappers))
            seen.append(list(new.execute_wrappers))
        finally:
            connections["default"].close()

    thread = threading.Thread(target=in_a_new_thread)
    thread.start()
    thread.join()
    assert seen == [[invalidation.watch_statement, wrapper], [invalidation.watch_statement]]


def test_models_of_migrations_are_left_alone():
    from django.db.migrations.state import ModelState, ProjectState

    state = ProjectState()
    state.add_model(ModelState.from_model(Author))
    historical = state.apps.get_model("testapp", "Author")
    assert issubclass(historical, models.Model)
    from querycache.conf import get_config

    assert historical not in get_config().models


def test_a_connection_that_failed_to_begin_is_watched(using, monkeypatch):
    """Django keeps it, and goes on with it without another signal."""
    Tag.objects.using(using).create(name="before")
    assert [tag.name for tag in Tag.objects.using(using)] == ["before"]
    connections[using].close()
    connection = connections.create_connection(using)

    def fail():
        raise OperationalError("timed out")

    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(connection, "init_connection_state", fail)
        connection.ensure_connection()
    assert connection.connection is not None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_tag SET name = 'after'")
    if not connection.get_autocommit():
        connection.commit()
    connection.close()
    assert [tag.name for tag in Tag.objects.using(using)] == ["after"]
