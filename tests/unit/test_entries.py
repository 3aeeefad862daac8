"""An entry is believed only if it is ours, whole, and under its own key."""

import pickle
import threading

import pytest

from querycache import entries
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


def test_a_value_whose_class_has_gone_is_a_miss(monkeypatch):
    monkeypatch.setattr(entries, "Gone", type("Gone", (), {"__module__": entries.__name__}), False)
    entry = encode(KEY, TOKENS, Loaded([entries.Gone()], 0.0, 0))
    monkeypatch.delattr(entries, "Gone")
    assert decode(KEY, entry, TOKENS) is None


def test_rows_that_cannot_be_pickled_are_refused_with_a_reason():
    with pytest.raises(Uncacheable) as caught:
        encode(KEY, TOKENS, Loaded([(threading.Lock(),)], 0.0, 0))
    assert caught.value.reason is Reason.UNKNOWN_VALUE
