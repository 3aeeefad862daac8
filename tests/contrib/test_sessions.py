"""django.contrib.sessions, in the database and in the database behind a cache."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from querycache.recorder import record_reads
from tests.demo.browser import Browser


@pytest.fixture(params=["db", "cached_db"])
def store(request, settings):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    return import_module(settings.SESSION_ENGINE).SessionStore


def new_session(store, **values):
    session = store()
    session.update(values)
    session.create()
    return session


def loaded(store, key):
    return dict(store(key).items())


def rows():
    return [(row.pk, row.get_decoded()) for row in Session.objects.order_by("pk")]


def test_a_session_is_what_was_saved_last(store, questions, do):
    session = new_session(store, number=1)
    keys = [session.session_key, new_session(store, number=2).session_key]
    questions.ask(
        loaded=lambda: [loaded(store, key) for key in keys],
        exists=lambda: [store().exists(key) for key in keys],
        rows=rows,
    )
    questions.compare()

    def change(key, **values):
        changed = store(key)
        changed.update(values)
        changed.save()

    do(change, keys[0], number=3)
    assert loaded(store, keys[0]) == {"number": 3}
    cycled = store(keys[0])
    do(cycled.cycle_key)
    assert loaded(store, keys[0]) == {}
    keys.append(cycled.session_key)
    questions.compare("a session has got another key")
    do(store(keys[2]).flush)
    assert loaded(store, keys[2]) == {}
    do(store().delete, keys[1])
    assert [store().exists(key) for key in keys] == [False] * 3
    questions.assert_not_vacuous(but=("loaded",))


def test_sessions_expire_and_are_cleared(store, questions, do):
    key = new_session(store, number=1).session_key
    questions.ask(loaded=lambda: loaded(store, key), rows=rows)
    questions.compare()

    def expire():
        session = store(key)
        session.set_expiry(timezone.now() - timedelta(days=1))
        session.save()

    do(expire)
    assert loaded(store, key) == {}
    new_session(store, number=2)
    do(store.clear_expired)
    assert [decoded for _, decoded in rows()] == [{"number": 2}]
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    do(call_command, "clearsessions")
    assert rows() == []
    questions.assert_not_vacuous(but=("loaded",))


def test_browsers_keep_their_sessions_apart(store, questions, do):
    one, other = Browser("one"), Browser("other")
    questions.open(one, "/me/")
    questions.open(other, "/me/")
    questions.ask(rows=rows)
    for number in (1, 2, 3):
        do(one.get, f"/me/?number={number}")
        assert f", {number}]" in one.get("/me/").content.decode()
        assert ", None]" in other.get("/me/").content.decode()
    do(other.get, "/me/?number=9")
    do(Session.objects.all().delete)
    if store.__module__.endswith(".db"):
        assert ", None]" in one.get("/me/").content.decode()
    questions.assert_not_vacuous(but=("one: /me/", "other: /me/"))


def test_a_session_is_read_from_the_database_each_time():
    """Its query asks for what expires after now, and now is never the same."""
    from django.contrib.sessions.backends.db import SessionStore

    key = new_session(SessionStore, number=1).session_key
    with record_reads() as reads:
        for _ in range(3):
            assert loaded(SessionStore, key) == {"number": 1}
    assert {read.outcome for read in reads} == {"miss"}
