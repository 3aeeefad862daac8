"""Reads share a key if and only if SQL, typed parameters and shape of the result are equal."""

import datetime
import enum
import struct
import uuid
from decimal import Decimal
from ipaddress import ip_address
from itertools import combinations
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import mark_safe
from hypothesis import strategies as st

from querycache import planning
from querycache.keys import key_of
from tests.differential.examples import PAIRS, taken, try_out
from tests.differential.querysets import families, namespace
from tests.differential.shelf import Library


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.StrEnum):
    RED = "1"


class Level(enum.IntEnum):
    ONE = 1


class Share(float, enum.Enum):
    ONE = 1.0


NEAR = [
    *(1, True, 1.0, Decimal(1), Decimal("1.0"), "1", b"1", Text("1"), Number(1), Colour.RED),
    *(Level.ONE, Share.ONE, mark_safe("1"), uuid.UUID(int=1)),
    *(bytearray(b"1"), memoryview(b"1"), ip_address("0.0.0.1"), ip_address("::1"), "::1"),
    *(0, False, 0.0, -0.0, Decimal(0), Decimal("-0"), Decimal("0E+1"), "", b"", None, "None"),
    *(float("nan"), Decimal("NaN"), Decimal("sNaN"), "nan", float("inf"), Decimal("Infinity")),
    *(2**63, 2.0**63, -1, "é", "e\u0301", "\ud800", datetime.timedelta(0), datetime.time(0)),
    *(datetime.date(2024, 10, 27), datetime.datetime(2024, 10, 27), "2024-10-27"),
    *(
        datetime.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone)
        for fold in (0, 1)
        for zone in (
            None,
            datetime.UTC,
            datetime.timezone(datetime.timedelta(0), "UTC"),
            datetime.timezone(datetime.timedelta(0), "GMT"),
            datetime.timezone(datetime.timedelta(hours=2)),
            ZoneInfo("Europe/Berlin"),
            ZoneInfo("Europe/Vienna"),
        )
    ),
    *(
        datetime.time(2, 30, fold=fold, tzinfo=zone)
        for fold in (0, 1)
        for zone in (None, datetime.UTC)
    ),
    *([], (), {}, [[]], ([],), [()], {"": []}, [None]),
]
"""Values of which some are equal, some look alike, and all are sent to a database differently."""

near = st.sampled_from(NEAR)
parameters = st.recursive(
    near | st.text(max_size=3) | st.integers() | st.floats() | st.decimals() | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["", "a", "1"]), inner, max_size=2)
    ),
    max_leaves=4,
)
structures = st.tuples(
    st.sampled_from(["SELECT %s", "SELECT %s, %s", "SELECT %s "]),
    st.lists(near, max_size=2) | st.lists(parameters, max_size=3),
    st.sampled_from([("multi", None), ("multi", 1), ("multi", 2), ("single", 1), ("single", 2)]),
)


@st.composite
def pairs(draw):
    """Two structures, of which the second is often the first, with one part changed or none."""
    first = draw(structures)
    second = draw(structures)
    taken_over = draw(st.sampled_from([{0, 1, 2}, {0, 1, 2}, {0, 2}, {0, 1}, {1, 2}, set()]))
    second = tuple((first if number in taken_over else second)[number] for number in range(3))
    if first[1] and draw(st.booleans()):
        params = list(second[1]) or [None]
        params[draw(st.integers(0, len(params) - 1))] = draw(near)
        second = (second[0], params, second[2])
    return first, copy_of(second)


def copy_of(value):
    """Make the same value of other objects, where there can be others."""
    if type(value) in (list, tuple):
        return type(value)(copy_of(item) for item in value)
    if type(value) is dict:
        return {copy_of(key): copy_of(item) for key, item in value.items()}
    if type(value) is str:
        return "".join(list(value))
    return value


def exactly(value):
    """What tells a value from every other that a database may take for another one."""
    match value:
        case list() | tuple():
            content = [exactly(item) for item in value]
        case dict():
            content = [(exactly(key), exactly(item)) for key, item in value.items()]
        case float():
            content = struct.pack(">d", value)
        case datetime.datetime() | datetime.time():
            content = (value.isoformat(), repr(value.tzinfo), value.fold)
        case memoryview():
            content = value.tobytes()
        case object(obj=wrapped, dumps=dumps):  # psycopg's Jsonb, which is the text that it sends
            content = dumps(wrapped)
        case object(obj=wrapped):  # psycopg's Binary
            content = exactly(wrapped)
        case _:
            content = repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}", content


def test_keys_are_equal_if_and_only_if_sql_typed_parameters_and_shape_are():
    def check(pair):
        one, other = (key_of(b"db", "", *structure) for structure in pair)
        assert (one == other) is (exactly(pair[0]) == exactly(pair[1]))

    try_out(check, pairs(), examples=1000, of="keys")


def test_values_that_look_alike_have_other_keys():
    def key(value):
        return key_of(b"db", "", "SELECT %s", [value], ("multi", None))

    taken_for_one = [(one, other) for one, other in combinations(NEAR, 2) if key(one) == key(other)]
    assert taken_for_one == []


@pytest.mark.parametrize(("using", "store_alias"), PAIRS, indirect=True)
def test_reads_share_a_key_if_and_only_if_they_are_compiled_alike(using, store, monkeypatch):
    Library(using).build()
    names = namespace(using)
    made: set[tuple[str, str]] = set()

    def recorded(database, tenant, sql, params, shape):
        key = key_of(database, tenant, sql, params, shape)
        made.add((key, repr((database, sql, exactly(list(params)), shape))))
        return key

    monkeypatch.setattr(planning, "key_of", recorded)

    def check(family):
        for read in family:
            taken(read, names)
        assert len({key for key, _ in made}) == len({structure for _, structure in made})
        assert len({key for key, _ in made}) == len(made)

    try_out(check, families(), examples=100, of=using)
    assert len(made) > 80
