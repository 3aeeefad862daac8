"""``manage.py querycache``: what it prints, how it fails, and what it refuses to run."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.management import CommandError

import querycache
from querycache import debts, generations
from querycache.counting import statistics
from querycache.exceptions import Reason
from querycache.management.expressions import EXPRESSIONS, METHODS, NotUnderstood, queryset_from
from querycache.management.figures import human_duration, percentage
from tests.commands import on_terminal, outcome_of_reading, run, run_program
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dead_store(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_dead_store(settings, monkeypatch)


# From a shell -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], "{flush,invalidate,stats,explain,doctor,warm}"),
        (["flush"], "manage.py querycache flush shop.Product"),
        (["stats"], "manage.py querycache stats --json"),
        (["explain"], 'manage.py querycache explain "shop.Product.objects.filter'),
        (["doctor"], "manage.py querycache doctor --json"),
        (["warm"], "manage.py querycache warm --host shop.example.com --from warm.txt"),
    ],
)
def test_help_has_examples(arguments, shown):
    done = run_program(*arguments, "--help")

    assert done.returncode == 0
    assert shown in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["stats"], 0),
        (["stats", "--json"], 0),
        (["flush"], 0),
        (["flush", "testapp.Author"], 0),
        (["flush", "testapp.Auhtor"], 1),
        (["explain", "testapp.Author.objects.all()"], 0),
        (["explain", "testapp.Secret.objects.all()"], 0),
        (["explain", "nonsense"], 1),
        (["doctor"], 0),
        (["warm", "tests.nothing"], 1),
        (["warm"], 2),
        (["stats", "--watch", "0"], 2),
        (["nonsense"], 2),
        ([], 2),
    ],
)
def test_exit_codes(arguments, code):
    done = run_program(*arguments)

    assert done.returncode == code, done.stderr
    assert bool(done.stderr) == bool(code)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "options", "is_coloured"),
    [
        ({}, [], True),
        ({}, ["--no-color"], False),
        ({"NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": ""}, [], True),
        ({"NO_COLOR": "1"}, ["--force-color"], True),
    ],
)
def test_colours_are_for_terminals_that_want_them(environment, options, is_coloured):
    # It writes in colour to standard output and to standard error.
    with on_terminal(*options, "warm", "nothing", **environment) as (_, pieces):
        output = "".join(pieces)

    colours = re.findall(r"\x1b\[[0-9;]+m\S+", output)
    shown = ["\x1b[31;1mfailed\x1b[0m", "\x1b[31;1mCommandError:"]
    assert [colour for colour in colours if "31" in colour] == shown * is_coloured
    assert bool(colours) == is_coloured


# flush --------------------------------------------------------------------------------------------


def test_flush_forgets_everything():
    for queryset in (Author.objects, User.objects):
        outcome_of_reading(queryset)
        assert outcome_of_reading(queryset) == "hit"

    assert run("flush") == "Forgot everything.\n"
    assert outcome_of_reading(Author.objects) == "miss"
    assert outcome_of_reading(User.objects) == "miss"


def test_flush_of_models_leaves_the_others():
    for queryset in (Author.objects, Book.objects, User.objects):
        outcome_of_reading(queryset)

    output = run("flush", "testapp.Author", "testapp.book")

    assert output == "Forgot what was read of testapp.Author, testapp.Book.\n"
    assert outcome_of_reading(Author.objects) == "miss"
    assert outcome_of_reading(Book.objects) == "miss"
    assert outcome_of_reading(User.objects) == "hit"


def test_invalidate_forgets_models_of_one_database_or_of_all():
    outcome_of_reading(Author.objects)
    outcome_of_reading(Book.objects)
    output = run("invalidate", "testapp.Author", "--database", "default")
    assert output == "Forgot what was read of testapp.Author.\n"
    assert outcome_of_reading(Author.objects) == "miss"
    assert outcome_of_reading(Book.objects) == "hit"
    run("invalidate", "testapp.Author", "testapp.Book")
    assert outcome_of_reading(Book.objects) == "miss"
    with pytest.raises(CommandError, match="no database 'nowhere'; there are default"):
        run("invalidate", "testapp.Author", "--database", "nowhere")
    with pytest.raises(CommandError, match="not opted in"):
        run("invalidate", "testapp.Secret")
    with pytest.raises(CommandError, match="required: app"):
        run("invalidate")


def test_invalidate_leaves_other_databases_alone(using):
    if using == "default":
        pytest.skip("it is the database that is invalidated")
    outcome_of_reading(Author.objects.using(using))
    run("invalidate", "testapp.Author", "--database", "default")
    assert outcome_of_reading(Author.objects.using(using)) == "hit"
    run("invalidate", "testapp.Author", "--database", using)
    assert outcome_of_reading(Author.objects.using(using)) == "miss"


def test_flush_of_a_wrong_model_flushes_nothing():
    outcome_of_reading(Author.objects)

    with pytest.raises(CommandError):
        run("flush", "testapp.Author", "testapp.Nothing")
    assert outcome_of_reading(Author.objects) == "hit"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("testapp.Auhtor", "no model 'testapp.Auhtor'; did you mean testapp.Author?"),
        ("testapp.Xyzzyxyzzyxyzzy", "no model 'testapp.Xyzzyxyzzyxyzzy'"),
        ("tstapp.Author", "no app 'tstapp'; did you mean testapp?"),
        ("xyzzy.Author", "no app 'xyzzy'"),
        ("Author", "'Author' is no model; write app.Model, as in shop.Product"),
        ("a.b.c", "'a.b.c' is no model; write app.Model, as in shop.Product"),
        ("", "'' is no model; write app.Model, as in shop.Product"),
        (
            "testapp.Secret",
            "testapp.Secret is not opted in: QUERYCACHE['MODELS'] does not name it",
        ),
    ],
)
def test_flush_says_what_is_wrong_with_a_model(label, message):
    with pytest.raises(CommandError) as caught:
        run("flush", label)

    assert str(caught.value) == message


# stats --------------------------------------------------------------------------------------------


def counts_of(label: str) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(run("stats", "--json"))["models"][label]
    return counts


def test_stats_count_reads():
    before = counts_of("testapp.Author")
    for _ in range(4):
        outcome_of_reading(Author.objects)
    with querycache.bypass():
        outcome_of_reading(Author.objects)
    after = counts_of("testapp.Author")

    reasons = after.pop("reasons"), before.pop("reasons")
    assert reasons[0]["bypassed"] - reasons[1].get("bypassed", 0) == 1
    del after["causes"]
    grown = {name: after[name] - before[name] for name in after}
    assert grown["reads"] == 5
    assert grown["hits"] == 3
    assert grown["misses"] == 1
    assert grown["fills"] == 1
    assert grown["bypasses"] == 1
    assert 0 < after["hit_rate"] < 1


def test_stats_are_a_table_with_a_total():
    outcome_of_reading(Author.objects)
    header, *rows = run("stats").splitlines()
    total = next(row for row in rows if row.startswith("total "))
    rows = rows[: rows.index(total)]  # after it comes what else there is to say

    assert header.split("  ")[0] == "model"
    assert header.endswith("time saved")
    assert len({len(line) for line in [header, *rows, total]}) == 1
    assert any(row.startswith("testapp.Author ") for row in rows)


def test_stats_say_why_reads_went_to_the_database():
    for _ in range(3):
        outcome_of_reading(Author.objects.order_by("?"))
    outcome_of_reading(querycache.uncached(Author.objects.all()))
    lines = run("stats").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("bypasses of"))
    assert lines[start].split() == ["bypasses", "of", "reads", "reason"]
    found = [line.split(maxsplit=3) for line in lines[start + 1 :] if "Author" in line]
    assert ["testapp.Author", "unknown-function"] in [[label, name] for label, _, name, _ in found]
    counts = [int(number.replace(",", "")) for _, number, _, _ in found]
    assert counts == sorted(counts, reverse=True)
    assert Reason.UNCACHED.explanation in [about for *_, about in found]


def test_stats_say_what_else_there_is_to_say(settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "locmem", "VERIFY": 1.0}
    debts.settle()
    statistics.publish()
    caches["locmem"].clear()
    for _ in range(2):
        outcome_of_reading(Author.objects)
    writer = generations.fence(["something"])
    caches["locmem"].delete("querycache:g:something")
    generations.release(["something"], writer)
    shown, document = run("stats"), json.loads(run("stats", "--json"))

    assert "Verified hits: 1. Different from the database: 0." in shown
    assert "Fences that the cache lost before their release: 1." in shown
    assert document["incidents"] == 1
    assert document["late_writes"] == 0
    assert document["total"]["verified"] == 1


def test_stats_as_json_name_the_cache_and_the_total(settings):
    document = json.loads(run("stats", "--json"))

    assert document["cache"] == "default"
    assert document["total"]["reads"] == sum(
        counts["reads"] for counts in document["models"].values()
    )
    assert "testapp.Secret" not in document["models"]


def test_stats_say_that_nothing_is_opted_in(settings):
    settings.QUERYCACHE = {}

    assert run("stats").startswith("No model is opted in, so nothing is cached.\n")
    assert json.loads(run("stats", "--json"))["models"] == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-0.00001, "0 ms"),
        (0.0123, "12.3 ms"),
        (1, "1 s"),
        (-2.5, "-2.5 s"),
        (90, "1.5 min"),
        (5400, "1.5 h"),
        (86_400 * 1234.5, "1,234.5 d"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0%"), (0.5, "50.0%"), (0.99999, "99.9%"), (1, "100.0%")]
)
def test_only_everything_is_a_hundred_percent(share, text):
    assert percentage(share) == text


# explain ------------------------------------------------------------------------------------------


def test_explain_prints_the_explanation():
    output = run("explain", "testapp.Author.objects.filter(name='Ann')[:3]")

    assert output == f"{querycache.explain(Author.objects.filter(name='Ann')[:3])}\n"
    assert "cacheable     yes" in output


def test_what_is_not_cacheable_is_no_error():
    assert "not-opted-in" in run("explain", "testapp.Secret.objects.all()")
    assert "uncached" in run("explain", "testapp.Book.objects.nocache()")
    assert "empty" in run("explain", "testapp.Author.objects.none()")


def test_explain_knows_the_lazy_methods():
    text = (
        "testapp.Book.objects.filter(Q(price__gt=10) | ~Q(author__name='Ann') & Q(pages__in=[1]))"
        ".exclude(pages=F('price')).annotate(editions=Count('sequels')).select_related('author')"
        ".only('name', 'author__name').distinct().order_by('-name', F('pages')).reverse()"
        ".cache(ttl=5)[10:30]"
    )

    assert "LIMIT 20 OFFSET 10" in run("explain", text)
    assert "from 'cached()'" in run("explain", text)


@pytest.mark.parametrize(
    ("text", "queryset"),
    [
        ("testapp.Author.objects", Author.objects.all),
        (" testapp.author.objects.all() ", Author.objects.all),
        ("testapp.Author.objects.all()[:5]", lambda: Author.objects.all()[:5]),
        ("testapp.Author.objects.all()[5:]", lambda: Author.objects.all()[5:]),
        ("testapp.Author.objects.all()[2:8][1:3]", lambda: Author.objects.all()[2:8][1:3]),
        ("testapp.Author.objects.filter(pk=-2)", lambda: Author.objects.filter(pk=-2)),
        (
            "testapp.Author.objects.filter(name='O\\'Hara ✨')",
            lambda: Author.objects.filter(name="O'Hara ✨"),
        ),
        (
            "testapp.Author.objects.values_list('name', flat=True)",
            lambda: Author.objects.values_list("name", flat=True),
        ),
        ("testapp.CheapBook.objects.all()", lambda: Book.objects.filter(price__lt=5)),
    ],
)  # fmt: skip
def test_a_text_is_the_queryset_that_it_describes(text, queryset):
    assert str(queryset_from(text).query) == str(queryset().query)


def test_explain_takes_a_database(using):
    assert f"database      {using}" in run(
        "explain", "--database", using, "testapp.Author.objects.all()"
    )


def test_a_queryset_may_name_its_own_database():
    assert queryset_from("testapp.Author.objects.using('other')", "default").db == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("testapp.Auhtor.objects.all()", "no model 'testapp.Auhtor'; did you mean testapp.Author?"),
        ("tstapp.Author.objects.all()", "no app 'tstapp'; did you mean testapp?"),
        ("testapp.Author.objekts.all()", "testapp.Author has no manager 'objekts'; it has objects"),
        ("testapp.Author.objects.all()[0]", "an index or a step runs the query"),
        ("testapp.Author.objects.all()[::2]", "an index or a step runs the query"),
        ("testapp.Author.objects.all()[-1:]", "Negative indexing is not supported"),
        ("testapp.Author.objects.all()[:'a']", "the bounds of a slice are whole numbers"),
        ("testapp.Author.objects.all()[:True]", "the bounds of a slice are whole numbers"),
        ("testapp.Author.objects.filter(nmae='x')", "Cannot resolve keyword 'nmae' into field"),
        ("testapp.Author.objects.order_by('nmae')", "Cannot resolve keyword 'nmae' into field"),
        ("testapp.Author.objects.only('nmae')", "Author has no field named 'nmae'"),
        ("testapp.Author.objects.select_related('x')", "Invalid field name(s) given in select"),
        ("testapp.Author.objects.filter(pk='x')", "Field 'id' expected a number but got 'x'"),
        ("testapp.Author.objects.filter(born='x')", "has an invalid date format"),
        ("testapp.Author.objects.using('nope')", "nope"),
        ("testapp.Author.objects.cache()", "cache() is not understood"),
        ("testapp.Author.objects.first()", "first() is not understood; understood are alias, all,"),
        ("testapp.Author", "'testapp.Author' is not understood: begin with app.Model.manager"),
        ("testapp", "'testapp' is not understood"),
        ("", "this is not Python"),
        ("testapp.Author.objects.filter(", "this is not Python: '(' was never closed"),
        ("testapp.Author.objects.filter(name=today())", "'today()' is not understood"),
        ("testapp.Author.objects.filter(1 | Q(pk=1))", "'1' is not understood: &, |, ^ and ~"),
    ],
)  # fmt: skip
def test_explain_says_what_it_did_not_understand(text, message):
    with pytest.raises(CommandError) as caught:
        run("explain", text)

    assert message in str(caught.value)


def test_explain_says_that_there_is_no_such_database():
    with pytest.raises(CommandError, match="no database 'nope'; there are default"):
        run("explain", "--database", "nope", "testapp.Author.objects.all()")


# explain, under attack ----------------------------------------------------------------------------

ATTACKS = [
    "__import__('os').system('x')",
    "().__class__.__base__.__subclasses__()",
    "testapp.Author.objects.raw('DELETE FROM testapp_author')",
    "testapp.Author.objects.extra(where=['1=1'])",
    "testapp.Author.objects.delete()",
    "testapp.Author.objects.all().delete()",
    "testapp.Author.objects.update(name='x')",
    "testapp.Author.objects.create(name='x')",
    "testapp.Author.objects.bulk_create([])",
    "testapp.Author.objects.get_or_create(name='x')",
    "testapp.Author.objects._raw_delete('default')",
    "testapp.Author.objects.model.objects.all()",
    "testapp.Author.objects.db",
    "testapp.Author.objects.query",
    "testapp.Author.objects.all",
    "testapp.Author.objects.all.__globals__",
    "testapp.Author.objects.filter.__func__.__globals__['os'].system('x')",
    "testapp.Author._base_manager.all()",
    "testapp.Author.__class__.all()",
    "testapp.Author._meta.apps",
    "testapp.Author.delete.all()",
    "testapp.Author.objects()",
    "testapp.Author('x').objects.all()",
    "testapp.Author.objects.all()()",
    "testapp.Author.objects.all().count()",
    "testapp.Author.objects.iterator()",
    "testapp.Author.objects.filter(pk=(lambda: 1)())",
    "testapp.Author.objects.filter(pk=lambda: 1)",
    "testapp.Author.objects.filter(pk__in=[i for i in (1, 2)])",
    "testapp.Author.objects.filter(pk__in={i: i for i in (1, 2)})",
    "testapp.Author.objects.filter(name=f'{__import__(\"os\")}')",
    "testapp.Author.objects.filter(name='{0.__class__}'.format(1))",
    "testapp.Author.objects.filter(pk=9**9**9)",
    "testapp.Author.objects.filter(pk=1 if True else 2)",
    "testapp.Author.objects.filter(pk=(x := 1))",
    "testapp.Author.objects.filter(*[1])",
    "testapp.Author.objects.filter(**{'pk': 1})",
    "testapp.Author.objects.filter(_connector='OR 1=1')",
    "testapp.Author.objects.filter(Q(_connector='OR 1=1 OR'))",
    "testapp.Author.objects.filter(Q(pk=1), __class__=1)",
    "testapp.Author.objects.filter(pk=await_())",
    "testapp.Author.objects.filter(pk=Q.__init__)",
    "testapp.Author.objects.filter(pk=Q.create())",
    "testapp.Author.objects.filter(pk=open('/etc/passwd').read())",
    "testapp.Author.objects.filter({[]: 1})",
    "testapp.Author.objects.annotate(x=Count('pk', function='pg_sleep'))",
    "testapp.Author.objects.annotate(x=Count('pk', template='(SELECT 1)'))",
    "testapp.Author.objects.annotate(**{'a; DROP TABLE': F('pk')})",
    "testapp.Author.objects.all()[__import__('os').system('x'):]",
    "testapp.Author.objects.all()[1:2, 3:4]",
    "testapp.Author.objects.all()['name']",
    "lambda: testapp.Author.objects.all()",
    "[testapp.Author.objects.all()]",
    "testapp.Author.objects.all(); import os",
    "testapp.Author.objects.all()\nimport os",
    "x = testapp.Author.objects.all()",
    "testapp.Author.objects.filter(name='\x00') \x00",
    "\ud800",
    "(" * 5000,
    "[" * 150 + "]" * 150,
    "-" * 9_000 + "1",
    "testapp.Author.objects.filter(" + "~" * 8_000 + "Q(pk=1))",
    "testapp.Author.objects.filter(" + "Q(" * 60 + ")" * 60 + ", x=1)",
    "testapp.Author.objects.filter(pk=" + "1+" * 4_900 + "1)",
    "testapp.Author.objects.filter(pk__in=[" + "[" * 90 + "]" * 90 + "])",
    "testapp.Author.objects.filter(pk=" + "9" * 5_000 + ")",
    "a" * 20_000,
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_an_attack_is_refused_and_runs_nothing(text, count_sql, capfd):
    Author.objects.create(name="Ann")
    with count_sql() as statements, pytest.raises(CommandError):
        run("explain", text)

    assert statements == []
    assert capfd.readouterr() == ("", "")


def test_what_is_understood_runs_nothing(count_sql):
    with count_sql() as statements:
        run("explain", "testapp.Author.objects.filter(name='Ann')[:3]")

    assert statements == []


def test_everything_that_is_understood_is_lazy():
    assert {"Avg", "Count", "F", "Max", "Min", "Q", "Sum"} == set(EXPRESSIONS)
    for name in METHODS:
        assert not getattr(getattr(type(Book.objects.all()), name), "alters_data", False)


# A store that does not answer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["flush"], ["flush", "testapp.Author"], ["stats"], ["stats", "--json"]]
)
def test_a_dead_store_is_named(arguments, dead_store):
    with pytest.raises(CommandError) as caught:
        run(*arguments)

    assert "the cache 'dead' does not answer: " in str(caught.value)
    assert "Connection refused" in str(caught.value)


def test_explain_does_without_the_store(dead_store):
    assert "in the cache  unknown" in run("explain", "testapp.Author.objects.all()")


def test_a_dead_store_does_not_hide_a_wrong_name(dead_store):
    with pytest.raises(NotUnderstood):
        queryset_from("testapp.Auhtor.objects.all()")
