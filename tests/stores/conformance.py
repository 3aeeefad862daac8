"""
What every store must do. A store is tested by a subclass of ``StoreConformance`` in a test module.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def alias(self):
            return "alias in CACHES"
"""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections

from querycache import stores
from querycache.counting import Batch, Group
from querycache.entries import TOKEN_SIZE
from querycache.stats import MOST_EVENTS, QUERIES
from querycache.stores import Store

PAST = 1.0
"""A deadline, in Unix seconds, that everyone has passed."""


class StoreConformance:
    """
    ``dependency`` and ``key`` are names that no other test uses.

    ``put``, ``found`` and ``evict`` reach below the store: they set, return and remove the bytes
    that it keeps of a generation ("g") or an entry ("e").
    """

    @pytest.fixture
    def alias(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store(self, alias: str, settings: Any) -> Store:
        settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": alias}
        return stores.get_store()

    @pytest.fixture
    def dependency(self) -> str:
        return uuid.uuid4().hex

    @pytest.fixture
    def key(self) -> str:
        return uuid.uuid4().hex

    @pytest.fixture
    def group(self) -> str:
        """A group of counters that no other test uses."""
        return uuid.uuid4().hex

    def put(self, alias: str, kind: str, name: str, value: Any) -> None:
        caches[alias].set(f"querycache:{kind}:{name}", value, 60)

    def found(self, alias: str, kind: str, name: str) -> Any:
        return caches[alias].get(f"querycache:{kind}:{name}")

    def evict(self, alias: str, kind: str, name: str) -> None:
        caches[alias].delete(f"querycache:{kind}:{name}")

    # Look and fill

    def test_a_look_at_nothing_finds_no_entry_and_makes_a_token(self, store, key, dependency):
        entry, [token], _ = store.look(key, [dependency])
        assert entry is None
        assert is_token(token)

    def test_a_token_stays_the_same(self, store, key, dependency):
        assert store.look(key, [dependency]) == store.look(key, [dependency])

    def test_each_dependency_has_a_token_of_its_own_in_the_order_that_was_asked_for(
        self, store, key
    ):
        names = [uuid.uuid4().hex for _ in range(4)]
        store.look(key, names[:2])
        _, tokens, _ = store.look(key, names)
        assert len(set(tokens)) == len(names)
        assert store.look(key, names[::-1])[1] == tokens[::-1]

    def test_a_look_without_dependencies_finds_its_entry(self, store, key):
        store.fill(key, b"entry", 30)
        assert store.look(key, [])[:2] == (b"entry", [])

    def test_what_was_filled_is_found(self, store, key, dependency):
        entry = bytes(range(256)) * 400
        store.fill(key, entry, 30)
        assert store.look(key, [dependency])[0] == entry

    def test_a_fill_takes_the_place_of_the_one_before(self, store, key, dependency):
        store.fill(key, b"first", 30)
        store.fill(key, b"second", 30)
        assert store.look(key, [dependency])[0] == b"second"

    def test_a_fill_touches_no_generation(self, store, key, dependency):
        before = store.look(key, [dependency])[1]
        store.fill(key, b"entry", 30)
        assert store.look(key, [dependency])[1] == before

    def test_a_fill_for_less_than_a_second_is_no_error(self, store, key):
        store.fill(key, b"entry", 0.001)

    def test_those_who_create_a_generation_at_once_agree_on_a_token(self, store, key, dependency):
        barrier = threading.Barrier(4)

        def look() -> bytes:
            barrier.wait()
            try:
                return store.look(key, [dependency])[1][0]
            finally:
                close_all()

        with ThreadPoolExecutor(4) as threads:
            tokens = {look.result() for look in [threads.submit(look) for _ in range(4)]}
        # Where creating is not atomic, one may be left with a token of its own: it only misses.
        assert store.look(key, [dependency])[1][0] in tokens
        assert len(tokens) == 1 or not store.supports_atomic_fence

    # Fence and release

    def test_a_fence_is_no_token(self, store, key, dependency):
        store.fence([dependency], "writer")
        assert not is_token(store.look(key, [dependency])[1][0])

    def test_marks_are_never_taken_for_tokens_also_side_by_side(self, store, key):
        names = [uuid.uuid4().hex for _ in range(3)]
        for writers in ("a", "bb", "a" * 32):
            store.fence(names[:2], writers)
            joined = b"".join(store.look(key, names)[1])
            assert len(joined) != len(names) * TOKEN_SIZE

    def test_a_release_gives_a_new_token(self, store, key, dependency):
        seen = {store.look(key, [dependency])[1][0]}
        for _ in range(3):
            store.fence([dependency], "writer")
            assert store.release([dependency], "writer") == 0
            seen.add(store.look(key, [dependency])[1][0])
        assert len(seen) == 4
        assert all(map(is_token, seen))

    def test_a_fence_leaves_other_dependencies_alone(self, store, key, dependency):
        other = uuid.uuid4().hex
        _, [before], _ = store.look(key, [other])
        store.fence([dependency], "writer")
        store.release([dependency], "writer")
        assert store.look(key, [other])[1] == [before]

    def test_a_release_that_is_not_waited_for_is_a_release(self, store, alias, key):
        names = [uuid.uuid4().hex for _ in range(3)]
        _, before, _ = store.look(key, names)
        store.fence(names, "writer")
        self.evict(alias, "g", names[1])
        answers: list[int | None] = []
        store.release_unwaited(names, "writer", answers.append)
        store.settle()
        assert answers == [1]
        _, after, _ = store.look(key, names)
        assert all(map(is_token, after))
        assert not set(before) & set(after)
        assert not store.unsettled
        store.settle()
        assert answers == [1]

    def test_several_dependencies_are_fenced_and_released_at_once(self, store, key):
        names = [uuid.uuid4().hex for _ in range(3)]
        _, before, _ = store.look(key, names)
        store.fence(names, "writer")
        assert not any(map(is_token, store.look(key, names)[1]))
        assert store.release(names, "writer") == 0
        after = store.look(key, names)[1]
        assert all(map(is_token, after))
        assert not set(before) & set(after)

    def test_the_first_of_two_writers_does_not_lift_the_fence_of_the_second(
        self, store, key, dependency
    ):
        store.fence([dependency], "first")
        store.fence([dependency], "second")
        assert store.release([dependency], "first") == 0
        assert not is_token(store.look(key, [dependency])[1][0])
        assert store.release([dependency], "second") == 0
        assert is_token(store.look(key, [dependency])[1][0])

    def test_a_writer_who_fences_twice_releases_once(self, store, key, dependency):
        store.fence([dependency], "writer")
        store.fence([dependency], "writer")
        store.release([dependency], "writer")
        assert is_token(store.look(key, [dependency])[1][0])

    def test_no_mark_of_many_writers_is_lost(self, store, alias, key, dependency):
        if not store.supports_atomic_fence:
            pytest.skip("this store may lose a mark")
        barrier = threading.Barrier(8)

        def fence(writer: str) -> None:
            barrier.wait()
            try:
                store.fence([dependency], writer)
            finally:
                close_all()

        writers = [f"writer{number}" for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(fence, writers))
        for writer in writers:
            assert not is_token(store.look(key, [dependency])[1][0])
            assert store.release([dependency], writer) == 0
        assert is_token(store.look(key, [dependency])[1][0])

    def test_a_release_without_a_fence_is_told_and_gives_a_new_token(self, store, key, dependency):
        _, [before], _ = store.look(key, [dependency])
        assert store.release([dependency], "nobody") == 1
        _, [after], _ = store.look(key, [dependency])
        assert is_token(after)
        assert after != before

    def test_a_release_counts_only_the_marks_that_were_lost(self, store, alias, key):
        names = [uuid.uuid4().hex for _ in range(3)]
        store.fence(names, "writer")
        self.evict(alias, "g", names[1])
        assert store.release(names, "writer") == 1
        assert all(map(is_token, store.look(key, names)[1]))

    def test_a_release_by_another_does_not_lift_a_fence(self, store, key, dependency):
        store.fence([dependency], "writer")
        assert store.release([dependency], "another") == 1
        assert not is_token(store.look(key, [dependency])[1][0])

    def test_an_evicted_mark_makes_room_for_a_new_token_and_the_release_for_another(
        self, store, alias, key, dependency
    ):
        _, [before], _ = store.look(key, [dependency])
        store.fence([dependency], "writer")
        self.evict(alias, "g", dependency)
        _, [between], _ = store.look(key, [dependency])
        assert store.release([dependency], "writer") == 1
        _, [after], _ = store.look(key, [dependency])
        assert len({before, between, after}) == 3
        assert is_token(after)

    # Deadlines

    def test_the_mark_of_a_writer_who_died_falls_with_the_next_release(
        self, store, alias, key, dependency
    ):
        self.put(alias, "g", dependency, f"!dead:{PAST:.3f};".encode())
        store.fence([dependency], "writer")
        assert store.release([dependency], "writer") == 0
        assert is_token(store.look(key, [dependency])[1][0])

    def test_a_writer_beyond_its_deadline_has_lost_its_mark(self, store, alias, key, dependency):
        self.put(alias, "g", dependency, f"!late:{PAST:.3f};".encode())
        assert store.release([dependency], "late") == 1
        assert is_token(store.look(key, [dependency])[1][0])

    def test_a_writer_beyond_its_deadline_leaves_the_fence_of_another(
        self, store, alias, key, dependency
    ):
        alive = time.time() + 1000
        mark = f"!late:{PAST:.3f};alive:{alive:.3f};"
        self.put(alias, "g", dependency, mark.encode())
        assert store.release([dependency], "late") == 1
        assert not is_token(store.look(key, [dependency])[1][0])
        assert store.release([dependency], "alive") == 0
        assert is_token(store.look(key, [dependency])[1][0])

    # Eviction

    def test_an_evicted_generation_comes_back_as_another(self, store, alias, key, dependency):
        _, [before], _ = store.look(key, [dependency])
        self.evict(alias, "g", dependency)
        _, [after], _ = store.look(key, [dependency])
        assert is_token(after)
        assert after != before

    def test_an_evicted_entry_is_not_found_and_costs_no_generation(
        self, store, alias, key, dependency
    ):
        store.fill(key, b"entry", 30)
        tokens = store.look(key, [dependency])[1]
        self.evict(alias, "e", key)
        assert store.look(key, [dependency])[:2] == (None, tokens)

    # What others left behind

    @pytest.mark.parametrize("garbage", [b"", b"short", b"x" * 17, "text", 17, None, ["list"]])
    def test_garbage_in_place_of_a_generation_is_no_token(
        self, store, alias, key, dependency, garbage
    ):
        self.put(alias, "g", dependency, garbage)
        _, [token], _ = store.look(key, [dependency])
        assert len(token) != TOKEN_SIZE or is_token(token)

    @pytest.mark.parametrize(
        "garbage",
        [b"", b"short", b"!", b"!;;", b"!a", b"!a:b;", b"!\xff:9;", b"!a:1", "text", 17, ["list"]],
    )
    def test_garbage_in_place_of_a_generation_does_not_outlive_a_write(
        self, store, alias, key, dependency, garbage
    ):
        self.put(alias, "g", dependency, garbage)
        store.fence([dependency], "writer")
        assert not is_token(store.look(key, [dependency])[1][0])
        store.release([dependency], "writer")
        assert is_token(store.look(key, [dependency])[1][0])

    @pytest.mark.parametrize("garbage", [b"", b"\x80\x05garbage", "text", 17, ["list"]])
    def test_garbage_in_place_of_an_entry_is_bytes_or_nothing(
        self, store, alias, key, dependency, garbage
    ):
        self.put(alias, "e", key, garbage)
        entry, [token], _ = store.look(key, [dependency])
        assert entry is None or isinstance(entry, bytes)
        assert is_token(token)

    # Statistics

    def test_counts_add_up(self, store, group):
        add(store, group, hits=2, misses=1)
        add(store, group, hits=3)
        assert store.read_counts(group) == [{"hits": 5, "misses": 1}]

    def test_groups_do_not_mix(self, store, group):
        other = f"{group}:other"
        add(store, group, hits=1)
        add(store, other, hits=2)
        assert store.read_counts(other, group) == [{"hits": 2}, {"hits": 1}]

    def test_a_group_that_is_not_there_is_empty(self, store, group):
        assert store.read_counts(group) == [{}]

    def test_nothing_to_publish_is_no_error(self, store):
        store.publish(Batch([], {}, []))
        assert store.read_counts() == []
        assert store.read_texts([]) == {}

    def test_large_counts_are_kept(self, store, group):
        add(store, group, hits=3_000_000_000)
        add(store, group, hits=3_000_000_000)
        assert store.read_counts(group) == [{"hits": 6_000_000_000}]

    def test_names_of_any_letters_are_kept(self, store, group):
        store.publish(Batch([Group(group, {'"Bücher" 📚': 1}, 60)], {}, []))
        assert store.read_counts(group) == [{'"Bücher" 📚': 1}]

    def test_counts_of_several_threads_add_up(self, store, group):
        if not store.supports_atomic_count:
            pytest.skip("this store may lose a count")

        def add_often() -> None:
            try:
                for _ in range(20):
                    add(store, group, hits=1)
            finally:
                close_all()

        run_at_once(add_often, threads=4)
        assert store.read_counts(group) == [{"hits": 80}]

    def test_texts_are_kept_until_they_are_dropped(self, store, key):
        one, two = f"{key}:1", f"{key}:2"
        store.publish(Batch([], {one: b"a", two: b"b"}, []))
        store.publish(Batch([], {one: b"c"}, []))
        assert store.read_texts([one, two, key]) == {one: b"c", two: b"b"}
        store.drop([], [one])
        assert store.read_texts([one, two]) == {two: b"b"}

    def test_counters_of_queries_are_told_and_dropped(self, store, key):
        one, two = f"{key}:hits", f"{key}:misses"
        before = add(store, QUERIES, **{one: 1})
        assert before >= 1
        assert add(store, QUERIES, **{one: 1, two: 1}) == before + 1
        store.drop([one], [])
        (counts,) = store.read_counts(QUERIES)
        assert one not in counts
        assert counts[two] == 1
        store.drop([two], [])

    def test_the_newest_events_come_first(self, store):
        store.publish(Batch([], {}, [b"1", b"2"]))
        store.publish(Batch([], {}, [b"3"]))
        assert store.read_events()[:3] == [b"3", b"2", b"1"]

    def test_no_more_than_some_events_are_kept(self, store):
        for _ in range(3):
            store.publish(Batch([], {}, [b"x"] * (MOST_EVENTS - 1)))
        assert len(store.read_events()) == MOST_EVENTS


def add(store: Store, group: str, **counts: int) -> int:
    return store.publish(Batch([Group(group, counts, 60)], {}, []))


def is_token(value: bytes) -> bool:
    return len(value) == TOKEN_SIZE and not value.startswith(b"!")


def run_at_once(function: Callable[[], None], *, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(function) for _ in range(threads)]:
            done.result()


def close_all() -> None:
    """Close what this thread has opened: caches and connections are each thread's own."""
    caches.close_all()
    connections.close_all()
