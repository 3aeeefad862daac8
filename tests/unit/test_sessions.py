"""What statements tell the session, and what is left of it after a rollback."""

import pytest

from querycache.sessions import MANY, Session, Told, told_by

TELLING = [
    ("postgresql", "SET search_path TO a", Told("search_path")),
    ("postgresql", "set Search_Path = a, b;", Told("search_path")),
    ("postgresql", "SET SESSION app.tenant = '5'", Told("app.tenant")),
    ("postgresql", 'SET "app.tenant" = 5', Told("app.tenant")),
    ("postgresql", "SET ROLE bob", Told("role")),
    ("postgresql", "SET SESSION AUTHORIZATION bob", Told("authorization")),
    ("postgresql", "SET TIME ZONE 'UTC'", Told("zone")),
    ("postgresql", "SET LOCAL app.tenant = 5", Told("app.tenant", "transaction")),
    ("postgresql", "RESET app.tenant", Told("app.tenant")),
    ("postgresql", "RESET ALL", Told("*")),
    ("postgresql", "DISCARD ALL", Told("*")),
    ("postgresql", "-- why\n/* so */ SET x = 1", Told("x")),
    ("postgresql", "SELECT set_config('app.Tenant', %s, false)", Told("app.tenant")),
    ("postgresql", "SELECT set_config('app.t', %s, true)", Told("app.t", "transaction")),
    ("postgresql", "SELECT set_config('app.t', %s, %s)", Told("app.t", "unknown")),
    ("postgresql", "SELECT set_config(%s, %s, false)", Told("")),
    ("postgresql", "SELECT 1; SET x = 1", Told("")),
    ("postgresql", "SET LOCAL x = 1; SELECT 1", Told("", "unknown")),
    ("mysql", "SET @tenant = 5", Told("@tenant")),
    ("mysql", "SET @a = 1, @b = 2", Told("")),
    ("mysql", "SET SESSION sql_mode = 'ANSI'", Told("sql_mode")),
    ("mysql", "SET NAMES latin1", Told("")),
    ("mysql", "/*!40101 SET NAMES utf8 */", Told("")),
    ("mysql", "USE `other`", Told("use")),
    ("sqlite", "PRAGMA case_sensitive_like = ON", Told("case_sensitive_like")),
    ("sqlite", "PRAGMA reverse_unordered_selects(1)", Told("reverse_unordered_selects")),
    ("sqlite", "ATTACH 'file' AS other", Told("attach", "unknown")),
    ("oracle", "ALTER SESSION SET CURRENT_SCHEMA = x", Told("", "unknown")),
]


@pytest.mark.parametrize(("vendor", "statement", "told"), TELLING)
def test_what_a_statement_tells_the_session(vendor, statement, told):
    assert told_by(statement, vendor) == told


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("postgresql", "SELECT 'SET x = 1'"),
        ("postgresql", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        ("postgresql", "SET CONSTRAINTS ALL IMMEDIATE"),
        ("postgresql", "UPDATE t SET a = 1"),
        ("mysql", "SET GLOBAL max_connections = 5"),
        ("sqlite", "PRAGMA foreign_keys = OFF"),
        ("sqlite", "PRAGMA table_info(shop_product)"),
        ("sqlite", "PRAGMA data_version"),
    ],
)
def test_what_tells_it_nothing(vendor, statement):
    assert told_by(statement, vendor) is None


@pytest.fixture
def session():
    return Session()


def tell(session, name, value, lasts="session", *, in_transaction=False):
    session.tell(Told(name, lasts), f"SET {name} = %s", [value], in_transaction=in_transaction)
    return session.apart


def test_sessions_that_were_told_the_same_are_alike_and_no_others(session):
    other = Session()
    assert session.apart == other.apart
    assert tell(session, "a", 1) == tell(other, "a", 1)
    assert tell(session, "a", 2) != other.apart
    assert tell(session, "a", 1) == other.apart
    assert tell(session, "a", "1") != other.apart


def test_the_order_counts_where_names_are_not_known(session):
    other = Session()
    assert tell(session, "", "x") == tell(other, "", "x")
    tell(session, "", "y")
    tell(session, "", "x")
    assert session.apart != tell(other, "", "y")


def test_what_was_told_for_a_transaction_ends_with_it(session):
    before = session.apart
    assert tell(session, "a", 1, "transaction", in_transaction=True) != before
    session.end_transaction(takes_back=False)
    assert session.apart == before
    assert tell(session, "a", 1, "transaction") == before  # outside of one, with its statement


def test_what_lasts_is_taken_back_by_a_rollback_and_not_by_a_commit(session):
    before = session.apart
    told = tell(session, "a", 1, in_transaction=True)
    session.end_transaction(takes_back=False)
    assert session.apart == told
    tell(session, "a", 2, in_transaction=True)
    session.end_transaction(takes_back=True)
    assert session.apart == told != before


def test_a_savepoint_takes_back_what_came_after_it(session):
    session.set_savepoint("outer")
    first = tell(session, "a", 1, in_transaction=True)
    session.set_savepoint("inner")
    tell(session, "a", 2, "transaction", in_transaction=True)
    session.set_savepoint("inner")
    third = tell(session, "b", 3, in_transaction=True)
    session.release_savepoint("inner")  # the second of this name
    assert session.apart == third
    session.roll_back_to_savepoint("inner")
    assert session.apart == first
    session.roll_back_to_savepoint("inner")
    session.roll_back_to_savepoint("outer")
    assert session.apart == ()
    session.roll_back_to_savepoint("unknown")
    assert session.apart == ()


def test_everything_is_reset_at_once(session):
    tell(session, "a", 1)
    tell(session, "b", 1)
    other = Session()
    assert tell(session, "*", None) == tell(other, "*", None)


def test_what_cannot_be_followed_is_not_known_any_more(session):
    tell(session, "a", 1, "unknown")
    assert session.apart is None
    tell(session, "a", 1)
    session.end_transaction(takes_back=True)
    assert session.apart is None


def test_a_session_that_is_told_very_much_is_not_known_any_more(session):
    for value in range(MANY):
        tell(session, "", value)
    assert session.apart is not None
    tell(session, "", "more")
    assert session.apart is None
