"""
What a hit, a miss and a write cost, in exact numbers: round trips, statements, calls.

A change that makes one of these larger has to say why.
"""

import sys

import pytest
from django.db import connections, transaction
from django.db.models import Max
from django.db.models.functions import Now
from redis.connection import Connection

from querycache import bypass
from querycache.counting import statistics
from tests.plainapp.models import Plain
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.parametrize("store_alias", ["redis"], indirect=True)


@pytest.fixture
def round_trips(monkeypatch):
    """Count what is sent to the store: one packet each, whatever it holds."""
    sent = []
    original = Connection.send_packed_command

    def send_packed_command(self, command, *args, **kwargs):
        sent.append(command)
        return original(self, command, *args, **kwargs)

    statistics.publish()
    monkeypatch.setattr(statistics, "_sink", None)  # counts are published in their own time
    monkeypatch.setattr(Connection, "send_packed_command", send_packed_command)
    return sent


@pytest.fixture
def author(using, store, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CHECK_PLANS": False}
    author = Author.objects.using(using).create(name="a")
    for _ in range(2):
        Author.objects.using(using).get(pk=author.pk)
    author.save()  # loads the scripts
    for _ in range(3):  # filled, remembered, and held
        Author.objects.using(using).get(pk=author.pk)
    return author


def test_a_hit_is_one_round_trip_and_no_statement(author, using, round_trips, count_sql):
    with count_sql(using) as statements:
        Author.objects.using(using).get(pk=author.pk)
    assert len(round_trips) == 1
    assert statements == []


def test_a_hit_needs_no_database_connection(author, using, round_trips):
    connections[using].close()
    Author.objects.using(using).get(pk=author.pk)
    assert connections[using].connection is None


def test_a_miss_is_a_look_and_a_fill(author, using, round_trips, count_sql):
    def first(name):
        del round_trips[:]
        with count_sql(using) as statements:
            Author.objects.using(using).filter(name=name).first()
        assert len(statements) == 1
        return len(round_trips)

    assert first("a") == 3  # and a lease, as long as nobody knows how long it takes
    assert first("b") == 2


def test_a_write_in_autocommit_is_a_fence_and_a_release(author, using, round_trips):
    Author.objects.using(using).update(name="b")
    assert len(round_trips) == 2


def test_saving_is_one_fence_and_one_release_with_its_signal(author, using, round_trips):
    author.save()
    assert len(round_trips) == 2


def test_a_transaction_is_one_fence_and_one_release_whatever_it_writes(author, using, round_trips):
    with transaction.atomic(using=using):
        for number in range(5):
            author.name = str(number)
            author.save()
            Book.objects.using(using).update(name=str(number))
    assert len(round_trips) == 2


def test_a_transaction_that_writes_nothing_asks_nothing(author, using, round_trips):
    with transaction.atomic(using=using), bypass():
        Author.objects.using(using).get(pk=author.pk)
    assert round_trips == []


def test_a_bypass_asks_nothing(author, using, round_trips):
    with bypass():
        Author.objects.using(using).get(pk=author.pk)
    assert round_trips == []


def calls_of(function, package="querycache."):
    """Count the calls of our own Python functions that a function makes, or of another package."""
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        calls += event == "call" and frame.f_globals.get("__name__", "").startswith(package)

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def on_311(calls):
    """Until Python 3.12 a comprehension is a call."""
    return calls if sys.version_info < (3, 12) else 0


def test_a_hit_makes_few_calls(author, using, round_trips):
    # Three of them speak to the server, where redis-py's own way takes 20 calls more. Ten make the
    # instance, one of them for each row, where Django's own way takes seven for each. Nine make the
    # filter and know it again, where Django takes fifty.
    assert calls_of(lambda: Author.objects.using(using).get(pk=author.pk)) <= 47 + on_311(2)


READS = {
    "get": lambda using: Author.objects.using(using).get(name="a"),
    "list": lambda using: list(Author.objects.using(using).filter(name="a").order_by("pk")[:20]),
    "values": lambda using: list(Author.objects.using(using).filter(name="a").values("name")[:20]),
    "count": lambda using: Author.objects.using(using).filter(name="a").count(),
    "exists": lambda using: Author.objects.using(using).exclude(name="a").exists(),
    "aggregate": lambda using: Author.objects.using(using).filter(name="a").aggregate(Max("pk")),
    "related": lambda using: list(Author(pk=1).books.using(using).order_by("pk")),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_hit_makes_at_most_three_fifths_of_the_calls_of_a_query(author, using, round_trips, read):
    """Of Django's own calls, of the client's and of ours."""
    for _ in range(4):
        read(using)
    of_a_hit = calls_of(lambda: read(using), "")
    with bypass():
        read(using)
        assert of_a_hit < calls_of(lambda: read(using), "") * 0.6


def test_a_miss_makes_few_calls(author, using, round_trips):
    def first():
        Author.objects.using(using).filter(name="a").first()

    first()
    Author.objects.using(using).update(name="a")
    # Two of them ask whether the SELECT sees what is committed: not so on a replica, in a snapshot.
    # Twelve see to it that others wait for this load, and learn what it costs.
    # Ten make the instance, as on a hit. Five count the entry that was found dead. Nine make the
    # filter and know it again, where Django takes fifty.
    assert calls_of(first) <= 101 + on_311(7)


def test_a_write_makes_few_calls(author, using, round_trips):
    # Four of them tell an outcome that is known from one that is not, and own marks from lost ones,
    # one has this process not answer by itself what it has changed, and two take a connection. A
    # dozen ask for rows and name what they touch: beside the table, what reads of rows depend on.
    assert calls_of(lambda: Author.objects.using(using).update(name="b")) <= 77 + on_311(5)


def test_a_row_more_makes_one_call_more(author, using, round_trips):
    for _ in range(4):
        Author.objects.using(using).create(name="a")
    some, all_ = Author.objects.using(using)[:2], Author.objects.using(using)[:5]
    for _ in range(2):
        list(some.all()), list(all_.all())
    # One makes the instance; the other is Python going on with the generator.
    assert calls_of(lambda: list(all_.all())) - calls_of(lambda: list(some.all())) == 2 * 3


def test_a_read_of_a_model_that_is_not_opted_in_makes_next_to_none(author, using, round_trips):
    # One finds out that Django is to make the instances, two run it; one is for the filter.
    assert calls_of(lambda: list(Plain.objects.using(using).all())) <= 3
    Plain.objects.using(using).create(pk=1, name="a")
    assert calls_of(lambda: Plain.objects.using(using).get(pk=1)) <= 4


def test_a_read_that_is_refused_like_those_before_it_makes_few_calls(author, using, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "ADMISSION": "cost"}

    def read():
        assert list(Author.objects.using(using).filter(born__lt=Now())) == []

    for _ in range(30):
        read()
    # Three find out that those before it were refused, one runs it, two are for the filter, and the
    # others have the instances made. It is compiled by Django alone.
    assert calls_of(read) <= 11 + on_311(2)
