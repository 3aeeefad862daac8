"""An entry is believed only if it is ours, whole, and under its own key."""

import datetime
import decimal
import ipaddress
import pickle
import sys
import threading
import uuid
import zoneinfo

import psycopg.types.multirange
import psycopg.types.range
import pytest

from querycache import conf, entries, readers
from querycache.entries import Loaded, decode, encode, is_fresh
from querycache.exceptions import Reason, Uncacheable

KEY = "0" * 40
TOKENS = b"a" * 16 + b"b" * 16
LOADED = Loaded(rows=[(1, "é😀", None, b"\x00")], at=1.5, cost=42)


def test_an_entry_gives_back_what_was_stored():
    entry = encode(KEY, TOKENS, LOADED)
    assert is_fresh(entry, TOKENS)
    assert decode(KEY, entry, TOKENS) == LOADED


def test_a_memoryview_comes_back_as_one():
    entry = encode(KEY, TOKENS, Loaded([(memoryview(b"abc"),)], 0.0, 0))
    value = decode(KEY, entry, TOKENS).rows[0][0]
    assert isinstance(value, memoryview)
    assert bytes(value) == b"abc"


def test_an_entry_is_stale_under_any_other_generation():
    entry = encode(KEY, TOKENS, LOADED)
    assert not is_fresh(entry, b"a" * 16 + b"c" * 16)
    assert not is_fresh(entry, b"b" * 16 + b"a" * 16)
    assert not is_fresh(b"", TOKENS)


@pytest.mark.parametrize("position", [0, 15, 16, 40, 48, -1])
def test_an_entry_with_a_single_changed_bit_is_not_believed(position):
    entry = bytearray(encode(KEY, TOKENS, LOADED))
    entry[position] ^= 1
    assert decode(KEY, bytes(entry), TOKENS) is None


def test_a_truncated_entry_is_not_believed():
    entry = encode(KEY, TOKENS, LOADED)
    for length in range(0, len(entry), 7):
        assert decode(KEY, entry[:length], TOKENS) is None


def test_an_entry_that_was_moved_to_another_key_is_not_believed():
    assert decode("1" * 40, encode(KEY, TOKENS, LOADED), TOKENS) is None


class Trap:
    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_a_pickle_that_is_not_signed_by_us_is_never_loaded():
    forged = b"\x00" * 16 + TOKENS + pickle.dumps(([Trap()], 0.0, 0))
    assert is_fresh(forged, TOKENS)
    assert decode(KEY, forged, TOKENS) is None
    assert not Trap.sprung


def test_an_entry_of_an_earlier_secret_key_is_believed_while_it_is_a_fallback(settings):
    entry = encode(KEY, TOKENS, LOADED)
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another"
    assert decode(KEY, entry, TOKENS) is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert decode(KEY, entry, TOKENS) == LOADED


def signed(value):
    content = TOKENS + pickle.dumps(([value], 0.0, 0))
    return entries._signature(entries._signing_keys()[0], KEY, content) + content


def test_a_value_of_a_class_that_no_driver_gives_is_not_stored():
    with pytest.raises(Uncacheable) as caught:
        encode(KEY, TOKENS, Loaded([(Trap(),)], 0.0, 0))
    assert caught.value.reason is Reason.UNKNOWN_VALUE


def test_a_pickle_makes_nothing_but_values_even_if_it_is_signed():
    assert decode(KEY, signed((1,)), TOKENS) is not None
    assert decode(KEY, signed(Trap()), TOKENS) is None
    assert not Trap.sprung
    assert decode(KEY, signed(psycopg.types.range.Range(1, 2)), TOKENS) is not None
    assert decode(KEY, signed(psycopg.types.range.register_range), TOKENS) is None


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, 2**70, 1.5, "é", b"x", [1, [2]], (1,), {"a": 1}, {1, 2}, frozenset({1}),
        bytearray(b"x"), 1j, decimal.Decimal("NaN"), decimal.Decimal("1.50"), uuid.UUID(int=5),
        datetime.date(2026, 1, 1), datetime.time(1, 2, fold=1), datetime.timedelta(1, 2, 3),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
        ipaddress.ip_address("::1"), ipaddress.ip_interface("10.0.0.1/8"),
        ipaddress.ip_network("10.0.0.0/8"), psycopg.types.range.Range(1, 5, "[]"),
        psycopg.types.multirange.Multirange([psycopg.types.range.Range(1, 5)]),
    ],
    ids=repr,
)  # fmt: skip
def test_the_values_that_drivers_give_come_back(value):
    [(found,)] = decode(KEY, encode(KEY, TOKENS, Loaded([(value,)], 0.0, 0)), TOKENS).rows
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_rows_that_cannot_be_pickled_are_refused_with_a_reason():
    with pytest.raises(Uncacheable) as caught:
        encode(KEY, TOKENS, Loaded([(threading.Lock(),)], 0.0, 0))
    assert caught.value.reason is Reason.UNKNOWN_VALUE


LARGE = Loaded([(number, "the same text again and again") for number in range(500)], 1.5, 42)


def test_an_entry_above_a_size_is_compressed_and_comes_back(settings):
    plain = encode(KEY, TOKENS, LARGE)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "COMPRESS_ABOVE": 1000}
    compressed, small = encode(KEY, TOKENS, LARGE), encode(KEY, TOKENS, LOADED)
    assert len(compressed) < len(plain) / 3
    assert is_fresh(compressed, TOKENS)
    assert decode(KEY, compressed, TOKENS) == decode(KEY, plain, TOKENS) == LARGE
    assert small == encode(KEY, TOKENS, LOADED)
    settings.QUERYCACHE = {**settings.QUERYCACHE, "COMPRESS_ABOVE": None}
    assert decode(KEY, compressed, TOKENS) == LARGE


def test_a_process_that_cannot_decompress_takes_an_entry_for_none(settings, monkeypatch):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "COMPRESS_ABOVE": 1000}
    compressed = encode(KEY, TOKENS, LARGE)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert decode(KEY, compressed, TOKENS) is None


def test_without_zstandard_nothing_is_compressed_and_a_check_says_so(monkeypatch):
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    config = conf.read_settings({"COMPRESS_ABOVE": 1000})
    assert config.compress_above is None
    assert [problem.id for problem in config.problems] == ["E024"]
    assert "zstd" in config.problems[0].hint
