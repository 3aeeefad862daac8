"""What was worked out once is remembered within bounds, by threads at once and after a fork."""

import os
import sys
import threading

import pytest

from querycache.memory import Kept, Memory


def test_the_oldest_is_forgotten_first():
    memory = Memory(2)
    for number in range(4):
        memory.put(number, str(number))
    assert [memory.get(number) for number in range(4)] == [None, None, "2", "3"]
    memory.clear()
    assert memory.get(3) is None


def test_what_was_used_is_not_the_next_to_be_forgotten():
    memory = Memory(3)
    for name in "abc":
        memory.put(name, Kept())
    memory.get("a").was_used = True
    memory.put("d", Kept())
    assert [memory.get(name) is not None for name in "abcd"] == [True, False, True, True]
    # It came up, and was not used since: it is the third now, after c and d.
    for name in "efg":
        memory.put(name, Kept())
    assert [memory.get(name) is not None for name in "acdefg"] == [False] * 3 + [True] * 3


def test_where_all_were_used_one_is_forgotten_all_the_same():
    memory = Memory(3)
    for name in "abcd":
        kept = Kept()
        kept.was_used = True
        memory.put(name, kept)
    assert [memory.get(name) is not None for name in "abcd"] == [False, True, True, True]


def test_threads_that_remember_at_once_keep_to_the_bounds():
    memory, threads, failures = Memory(10), 4, []
    begin = threading.Barrier(threads)

    def remember(thread):
        try:
            begin.wait()
            for number in range(20_000):
                memory.put((thread, number % 50), number)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=remember, args=(one,)) for one in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert len(memory._values) <= 10 + threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here")
def test_a_child_of_a_fork_remembers_whatever_another_thread_was_doing():
    memory = Memory(10)
    ended = threading.Event()

    def remember():
        number = 0
        while not ended.is_set():
            memory.put(number, number)
            number += 1

    thread = threading.Thread(target=remember)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                memory.put("of the child", 1)
                os._exit(0 if memory.get("of the child") == 1 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        ended.set()
        thread.join()
