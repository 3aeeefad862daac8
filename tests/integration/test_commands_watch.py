"""``manage.py querycache stats --watch``: what it draws, and how it ends."""

import signal
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError
from django.core.management.base import OutputWrapper

from querycache import debts
from querycache.counting import statistics
from querycache.exceptions import StoreFailed
from querycache.management import terminal
from querycache.management.subcommands import stats
from querycache.management.terminal import Line, Redrawn, cut, one_line
from tests.commands import on_terminal, outcome_of_reading, run, run_program_for_a_line
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author, Tag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def meanwhile(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """
    A list of what happens between drawings, two seconds each; with the last of it comes Ctrl-C.
    """
    models = {"testapp.Author": {"TTL": 60}, "testapp.Tag": {"TTL": 60}}
    settings.QUERYCACHE = {"CACHE": "locmem", "MODELS": models}
    debts.settle()
    statistics.publish()
    caches["locmem"].clear()
    happenings: list[Any] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        if not happenings:
            raise KeyboardInterrupt
        happenings.pop(0)()
        clock[0] += 2

    monkeypatch.setattr(stats, "sleep", sleep)
    monkeypatch.setattr(stats, "monotonic", lambda: clock[0])
    monkeypatch.setattr(stats, "strftime", lambda form: "12:00:00")
    return happenings


def read(queryset: Any, times: int) -> None:
    for _ in range(times):
        outcome_of_reading(queryset)


FIRST = """\
12:00:00, every 2 s until Ctrl-C
model           reads  hit rate  reads/s  hits/s  misses/s  fills/s  bypasses/s  invalidations/s
total               1      0.0%        -       -         -        -           -                -
testapp.Author      1      0.0%        -       -         -        -           -                -
testapp.Tag         0         -        -       -         -        -           -                -

"""
SECOND = """\
12:00:00, every 2 s until Ctrl-C
model           reads  hit rate  reads/s  hits/s  misses/s  fills/s  bypasses/s  invalidations/s
total             206     99.0%      102     102       0.5      0.5           0                0
testapp.Tag       203     99.5%      102     101       0.5      0.5           0                0
testapp.Author      3     66.7%      1.0     1.0         0        0           0                0

"""


THIRD = """\
12:00:00, every 2 s until Ctrl-C
model           reads  hit rate  reads/s  hits/s  misses/s  fills/s  bypasses/s  invalidations/s
total             206     99.0%        0       0         0        0           0                0
testapp.Tag       203     99.5%        0       0         0        0           0                0
testapp.Author      3     66.7%        0       0         0        0           0                0

"""


def test_a_table_follows_the_other_where_nothing_can_be_redrawn(meanwhile):
    read(Author.objects, 1)
    meanwhile += [lambda: (read(Tag.objects, 203), read(Author.objects, 2)), lambda: None]

    assert run("stats", "--watch") == f"{FIRST}{SECOND}{THIRD}"


def test_reasons_and_remarks_stand_below(meanwhile):
    read(Author.objects.order_by("?"), 2)

    lines = run("stats", "--watch", "0.5").splitlines()
    assert lines[0] == "12:00:00, every 0.5 s until Ctrl-C"
    assert lines[5:7] == ["", "bypasses of     reads  reason"]
    assert lines[7].split()[:3] == ["testapp.Author", "2", "unknown-function"]


def test_counts_that_began_anew_have_no_rate(meanwhile):
    read(Author.objects, 5)
    meanwhile.append(caches["locmem"].clear)

    total = run("stats", "--watch").splitlines()[8].split()
    assert total == ["total", "0", "-", "-", "-", "-", "-", "0", "0"]


def test_a_store_that_fails_later_is_waited_for(meanwhile, monkeypatch):
    def fail():
        raise StoreFailed("gone")

    works = stats.get_stats
    read(Author.objects, 1)
    meanwhile += [
        lambda: monkeypatch.setattr(stats, "get_stats", fail),
        lambda: (monkeypatch.setattr(stats, "get_stats", works), read(Author.objects, 8)),
    ]
    first, outage, after, end = run("stats", "--watch").split("\n\n")

    assert f"{first}\n\n" == FIRST
    assert outage == "12:00:00, every 2 s until Ctrl-C\nThe cache does not answer."
    # Eight reads since the last figures, four seconds ago.
    assert after.splitlines()[2].split()[:4] == ["total", "9", "88.9%", "2.0"]
    assert end == ""


def test_a_store_that_is_dead_from_the_beginning_is_an_error(settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    with pytest.raises(CommandError, match="the cache 'dead' does not answer: "):
        run("stats", "--watch")


def test_nothing_opted_in_is_said_and_watched(meanwhile, settings):
    settings.QUERYCACHE = {"CACHE": "locmem"}
    assert "\nNo model is opted in, so nothing is cached.\n" in run("stats", "--watch")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_an_interval_is_a_number_above_0(seconds):
    with pytest.raises(CommandError, match=f"'{seconds}' is no number of seconds above 0"):
        run("stats", f"--watch={seconds}")


def test_live_is_not_for_programs():
    with pytest.raises(CommandError, match="not allowed with argument"):
        run("stats", "--json", "--watch")


def test_a_terminal_is_redrawn_until_ctrl_c_and_that_is_no_failure():
    output = ""
    with on_terminal("stats", "--watch", "0.01") as (process, pieces):
        for piece in pieces:
            output += piece
            if output.count("every 0.01 s") == 3:
                break
        process.send_signal(signal.SIGINT)
        output += "".join(pieces)
        code = process.wait(60)

    assert code == 0
    assert "Traceback" not in output
    first, second, *_ = output.split("\x1b[J")
    height = first.count("\n")
    assert second.rpartition("\n")[2] == f"\x1b[{second.count(chr(10))}F"
    assert first.rpartition("\n")[2] == f"\x1b[{height}F"
    assert height < 24


def test_it_ends_when_nobody_reads_it_any_more():
    line, errors, code = run_program_for_a_line("stats", "--watch", "0.01")
    assert line.endswith(", every 0.01 s until Ctrl-C\n")
    assert (errors, code) == ("", 141)


# Lines of a terminal ------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    from io import StringIO

    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda **_: (8, 3))
    return StringIO()


def test_a_drawing_takes_the_place_of_the_last_and_has_no_more_than_fits(screen):
    redrawn = Redrawn(OutputWrapper(screen))
    redrawn.draw([Line("0123456789"), Line("b", "<{}>".format), Line("c")])
    redrawn.draw([Line("d")])
    redrawn.clear()
    redrawn.clear()

    assert screen.getvalue() == "0123456\n<b>\n\x1b[2F\x1b[Jd\n\x1b[1F\x1b[J"


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [("abc", 3, "abc"), ("abc", 2, "ab"), ("a🩺c", 3, "a🩺"), ("a🩺c", 2, "a"), ("", 0, "")],
)
def test_a_line_is_cut_by_the_columns_that_it_takes(text, columns, shown):
    assert cut(text, columns) == shown


def test_one_line_is_no_command_for_a_terminal():
    assert one_line("a\n b\t\x1b[31m'\"🩺\x07") == "a b ?[31m'\"🩺?"
