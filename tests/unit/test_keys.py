"""Two queries have one key if and only if the database cannot tell them apart."""

import datetime
import decimal
import enum
import uuid

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from querycache.exceptions import Reason, Uncacheable
from querycache.keys import key_of


def key(*params, sql="SELECT 1", database=b"db", namespace="", shape=("multi", None)):
    return key_of(database, namespace, sql, params, shape)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
values = scalars | st.lists(scalars, max_size=3) | st.tuples(scalars)


def exactly(value):
    """A value with its type, so that 1, True and 1.0 are three."""
    if isinstance(value, list | tuple):
        return type(value), tuple(exactly(item) for item in value)
    return type(value), repr(value)


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_keys_are_equal_if_and_only_if_the_typed_parameters_are(first, second):
    same = [exactly(value) for value in first] == [exactly(value) for value in second]
    assert (key(*first) == key(*second)) is same


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, "1"),
        (1, 1.0),
        (0.0, -0.0),
        ("1", b"1"),
        (1, decimal.Decimal(1)),
        (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
        (1, Colour.RED),
        ("a", Text("a")),
        ("a", mark_safe("a")),
        (None, "None"),
        ("2024-01-01", datetime.date(2024, 1, 1)),
        (datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1)),
        (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)),
        (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, fold=1)),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        ([1, 2], (1, 2)),
        ([1, [2]], [1, 2]),
        ({"a": 1}, {"a": "1"}),
        (b"x", Text("x")),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!r}",
)
def test_values_of_other_types_have_other_keys(one, other):
    assert key(one) != key(other)


def test_parameters_do_not_run_together():
    assert key("a", "b") != key("ab", "")
    assert key("a,b") != key("a", "b")
    assert key("') --") != key("')", " --")


@pytest.mark.parametrize(
    "other",
    [
        {"sql": "SELECT 2"},
        {"database": b"other"},
        {"namespace": "tenant"},
        {"shape": ("single", None)},
        {"shape": ("multi", 2)},
    ],
)
def test_everything_that_makes_the_answer_is_in_the_key(other):
    assert key("x") != key("x", **other)


def test_equal_values_in_other_objects_have_the_same_key():
    text = "".join(["a", "b"])
    assert key("ab", "ab") == key(text, "ab")
    assert key(10**30) == key(10**30 + 0)


def test_a_key_is_short_whatever_the_parameters_are():
    assert len(key("x" * 1_000_000)) == 40


def test_a_parameter_of_an_unknown_type_is_refused():
    with pytest.raises(Uncacheable) as caught:
        key(object())
    assert caught.value.reason is Reason.UNKNOWN_PARAMETER


def test_parameters_of_psycopg_are_told_apart():
    numeric = pytest.importorskip("psycopg.types.numeric")
    json = pytest.importorskip("psycopg.types.json")
    ranges = pytest.importorskip("psycopg.types.range")
    assert key(numeric.Int4(1)) != key(numeric.Int8(1))
    assert key(numeric.Int4(1)) != key(numeric.Int4(2))
    assert key(json.Jsonb({"a": 1})) == key(json.Jsonb({"a": 1}))
    assert key(json.Jsonb({"a": 1})) != key(json.Jsonb({"a": "1"}))
    assert key(json.Jsonb({"a": 1})) != key(json.Json({"a": 1}))
    assert key(ranges.Range(1, 5)) != key(ranges.Range(1, 5, bounds="[]"))
    assert key(ranges.Range(1, 5)) != key(ranges.Range(1, 6))
