"""What the pages of the panel show: figures, orders, filters, exports, and whatever is strange."""

import csv
import io
import json
import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

import querycache
from querycache import breaker, counts, debts, reports
from querycache.counting import Batch, Group, statistics
from querycache.exceptions import Reason
from querycache.options import ModelOptions, Table
from querycache.panel import wording
from querycache.panel.exports import as_csv
from querycache.stats import QUERIES as QUERY_COUNTS
from querycache.stats import TOTALS, ModelStats, Stats
from tests.counted import forget_queries
from tests.integration.admin_site import EVENTS, MODELS, PANEL, client_with
from tests.integration.admin_site import QUERIES as QUERIES_PAGE
from tests.testapp.models import Author, Secret, Tag

pytestmark = pytest.mark.django_db(transaction=True)

CSV, JSON = MODELS[:-1] + ".csv", MODELS[:-1] + ".json"
STRANGE = """<script>alert("✨'")</script>{{ 1 }}"""
ESCAPED = escape(STRANGE)


@pytest.fixture
def viewer() -> Client:
    return client_with("view_querycache")


@pytest.fixture
def flusher() -> Client:
    return client_with("view_querycache", "flush_querycache")


@pytest.fixture
def no_queries() -> None:
    forget_queries()


def counts_of(client: Client, label: str) -> ModelStats:
    found = client.get(MODELS, {"q": label}).context["rows"]
    return next(row.counts for row in found if row.label == label)


def labels(client: Client, **parameters: Any) -> list[str]:
    return [row.label for row in client.get(MODELS, parameters).context["rows"]]


def lines(client: Client, **parameters: Any) -> list[Any]:
    found: list[Any] = client.get(QUERIES_PAGE, parameters).context["lines"]
    return found


def publish_queries(texts: dict[str, Any], **counters: int) -> None:
    encoded = {name: json.dumps(text).encode() for name, text in texts.items()}
    group = {name.replace("__", ":"): number for name, number in counters.items()}
    counts.publish(Batch([Group(QUERY_COUNTS, group, 60)], encoded, []))


# Overview -----------------------------------------------------------------------------------------


def test_the_overview_names_the_store(viewer, settings):
    page = viewer.get(PANEL).content.decode()

    assert "Answers" in page
    assert "<code>default</code>" in page
    assert settings.CACHES["default"]["BACKEND"] in page


def test_the_overview_tells_of_a_breaker_that_rests_and_of_debts(viewer, monkeypatch):
    assert "It owes the store nothing." in viewer.get(PANEL).content.decode()
    monkeypatch.setattr(breaker, "_failed_at", time.monotonic())
    monkeypatch.setattr(debts, "unfenced", {"w": (time.monotonic() + 60, ("testapp_author",))})
    page = viewer.get(PANEL).content.decode()

    assert "Resting since" in page
    assert "It owes the store 1 write." in page


@pytest.mark.parametrize("mismatches", [0, 2])
def test_the_overview_says_what_else_there_is_to_say(viewer, monkeypatch, mismatches):
    found = ModelStats(hits=9, unasked=4, verified=1200, mismatches=mismatches)
    stats = Stats({"testapp.Author": found}, incidents=3, late_writes=4)
    monkeypatch.setattr("querycache.panel.overview.get_stats", lambda: stats)
    page = viewer.get(PANEL)
    html = page.content.decode()
    trouble = " warning" if mismatches else ""
    verified = f"Verified hits: 1,200. Different from the database: {mismatches}."
    assert f'<div class="notice{trouble}">{verified}</div>' in html
    assert "lost before their release: 3." in html
    assert "because the cache did not answer: 4." in html
    tiles = {tile.label: (tile.figure, tile.is_trouble) for tile in page.context["tiles"]}
    assert tiles["Served unasked"] == ("4", False)
    assert tiles["Incidents"] == ("3", True)
    assert tiles["Late writes"] == ("4", True)
    assert tiles["Verify mismatches"] == (str(mismatches), mismatches > 0)


@pytest.mark.parametrize("span", ["hour", "day", "week"])
def test_charts_show_what_was_read(span, viewer):
    for _ in range(3):
        list(Author.objects.order_by("email"))
    page = viewer.get(PANEL, {"span": span})
    charts = {chart.name: chart for chart in page.context["charts"]}

    assert charts.keys() == {"reads", "rate", "saved", "invalidations"}
    assert all("M" in shape.path for shape in charts["reads"].shapes[:2])
    assert charts["rate"].shapes[0].total.endswith("%")
    assert page.context["lines"]
    assert page.content.decode().count('role="img"') == 4
    assert " style=" not in page.content.decode().partition('id="querycache"')[2]


@pytest.mark.parametrize("value", [{}, {"MODELS": {}}])
def test_without_settings_the_panel_says_how_to_opt_in(value, flusher, settings):
    settings.QUERYCACHE = value
    for url in (PANEL, MODELS):
        page = flusher.get(url).content.decode()
        assert "No model is opted in" in page
        assert "QUERYCACHE = {" in page


def test_the_overview_repeats_what_check_says_of_the_settings(viewer, settings):
    settings.QUERYCACHE = {"MODELS": {"testapp.Auhtor": {"TTL": 5}, "<script>.x": {"TTL": 5}}}
    page = viewer.get(PANEL).content.decode()

    assert "Did you mean &#x27;testapp.Author&#x27;?" in page
    assert "<script>.x" not in page
    assert "&lt;script&gt;.x" in page


def test_the_most_important_advice_comes_first(viewer, monkeypatch):
    bad = ModelStats(hits=500, hit_us=9, load_us=3)
    unopted = {f"shop.M{number}": 1_000 for number in range(9)}
    stats = Stats({f"a.B{number}": bad for number in range(3)}, not_opted_in=unopted)
    monkeypatch.setattr("querycache.panel.overview.get_stats", lambda: stats)

    found = viewer.get(PANEL).context["advice"]
    assert [each.is_trouble for each in found] == [True] * 3 + [False] * 2


# Models -------------------------------------------------------------------------------------------


def test_reads_are_counted_by_model(viewer):
    before = counts_of(viewer, "testapp.Author")
    Author.objects.create(name="Ann")
    for _ in range(4):
        list(Author.objects.all())
    with querycache.bypass():
        list(Author.objects.all())
    after = counts_of(viewer, "testapp.Author")

    assert after.misses - before.misses == 1
    assert after.fills - before.fills == 1
    assert after.hits - before.hits == 3
    assert after.bypasses - before.bypasses == 1
    assert after.reads - before.reads == 5
    assert after.invalidations > before.invalidations


def test_bypasses_stand_with_their_reasons_and_invalidations_with_their_causes(viewer):
    list(Tag.objects.order_by("?"))
    Tag.objects.create(name="x")
    (row,) = viewer.get(MODELS, {"q": "testapp.Tag"}).context["rows"]
    details = {str(figure.heading): figure.detail for figure in row.figures}

    assert "unknown-function" in details["Bypasses"]
    assert "insert" in details["Invalidations"]


def test_a_model_stands_with_its_options_and_where_they_come_from(viewer, settings):
    settings.QUERYCACHE = {
        "MODELS": {
            "testapp.*": {"TTL": 5400},
            "testapp.Author": {"TTL": 90, "MAX_STALE": 2, "MAX_ROWS": 5},
        }
    }
    page = viewer.get(MODELS)
    rows = {row.label: row for row in page.context["rows"]}

    assert rows["testapp.Author"].figures[0].text == "1.5 min"
    assert rows["testapp.Author"].options == ["MAX_STALE 2 s", "MAX_ROWS 5"]
    assert rows["testapp.Book"].figures[0].text == "1.5 h"
    assert "from testapp.*" in page.content.decode()


def test_models_that_are_not_opted_in_are_there_with_their_reads(viewer):
    list(Secret.objects.all())
    page = viewer.get(MODELS)

    assert "testapp.Secret" in {label for label, *_ in page.context["not_opted_in"]}
    assert "testapp.Secret" not in labels(viewer)


def test_models_are_sorted_by_each_column(viewer, monkeypatch):
    found = {
        "testapp.Author": ModelStats(hits=5, misses=1),
        "testapp.Book": ModelStats(hits=9, misses=9),
        "testapp.Tag": ModelStats(),
    }
    monkeypatch.setattr("querycache.panel.models.get_stats", lambda: Stats(found))
    known = {"testapp.Author", "testapp.Book", "testapp.Tag"}

    def first(sort: str) -> list[str]:
        return [label for label in labels(viewer, sort=sort) if label in known]

    assert first("-hits") == ["testapp.Book", "testapp.Author", "testapp.Tag"]
    assert first("hits") == ["testapp.Tag", "testapp.Author", "testapp.Book"]
    assert first("hit_rate") == ["testapp.Book", "testapp.Author", "testapp.Tag"]
    assert first("-hit_rate") == ["testapp.Author", "testapp.Book", "testapp.Tag"]
    assert first("-label") == ["testapp.Tag", "testapp.Book", "testapp.Author"]
    for heading in viewer.get(MODELS).context["headings"]:
        page = viewer.get(MODELS + heading.url)
        assert page.status_code == 200
        assert b"aria-sort" in page.content


def test_models_are_filtered_by_a_text(viewer):
    assert labels(viewer, q="BOOK") == [
        label for label in labels(viewer) if "book" in label.casefold()
    ]
    page = viewer.get(MODELS, {"q": STRANGE})
    assert page.context["rows"].object_list == []
    assert ESCAPED in page.content.decode()
    assert STRANGE not in page.content.decode()


def test_many_models_are_shown_on_several_pages(viewer, monkeypatch):
    monkeypatch.setattr("querycache.panel.models.MODELS_PER_PAGE", 5)
    first = viewer.get(MODELS, {"q": "testapp"})
    assert len(first.context["rows"]) == 5
    assert b'rel="next"' in first.content
    second = labels(viewer, q="testapp", page=2)
    assert set(second).isdisjoint(row.label for row in first.context["rows"])


# Exports ------------------------------------------------------------------------------------------


def test_models_are_exported_with_the_filter_and_the_order_of_the_page(viewer):
    list(Author.objects.all())
    list(Secret.objects.all())
    asked = {"q": "testapp", "sort": "-reads"}
    rows = list(csv.DictReader(io.StringIO(viewer.get(CSV, asked).content.decode())))
    records = json.loads(viewer.get(JSON, asked).content)["models"]

    shown = labels(viewer, **asked)
    for found in (rows, records):
        assert [each["model"] for each in found][: len(shown)] == shown
        assert "testapp.Secret" in [each["model"] for each in found][len(shown) :]
    (author,) = (each for each in records if each["model"] == "testapp.Author")
    assert author["ttl"] == 300
    assert author["pattern"] == "testapp.*"
    assert sum(author["bypasses_by_reason"].values()) == author["bypasses"]
    assert author["misses"] >= 1


def test_an_export_is_a_file(viewer):
    for url, kind in ((CSV, "text/csv; charset=utf-8"), (JSON, "application/json")):
        response = viewer.get(url)
        assert response["Content-Type"] == kind
        assert response["Content-Disposition"].startswith('attachment; filename="querycache-models')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=x"])
def test_no_cell_of_an_export_is_a_formula(text):
    records = [{"model": text, "number": -0.5, "none": None}]
    content = as_csv("models", records).content.decode()
    _, row = csv.reader(io.StringIO(content, newline=""))
    assert row == [f"'{text}", "-0.5", ""]


def test_an_export_without_records_is_empty():
    assert as_csv("models", []).content.strip() == b""


# Queries ------------------------------------------------------------------------------------------


def test_queries_stand_in_the_order_of_each_question(viewer, no_queries):
    publish_queries(
        {"good": {"sql": "SELECT good"}, "bad": {"sql": "SELECT bad"}, "dead": {"sql": "x"}},
        good__hits=9,
        good__load_us=9_000_000,
        bad__iterator=7,
        dead__misses=5,
        dead__deaths=4,
    )

    def names(view: str) -> list[str]:
        return [line.name for line in lines(viewer, view=view) if line.name in known]

    known = {"good", "bad", "dead"}
    assert names("valuable")[0] == "good"
    assert names("missed")[0] == "dead"
    assert names("invalidated")[0] == "dead"
    assert names("uncacheable") == ["bad"]
    (line,) = [line for line in lines(viewer, view="uncacheable") if line.name == "bad"]
    assert "iterator 7" in {figure.detail for figure in line.figures}


def test_queries_are_filtered_by_model(viewer, no_queries):
    list(Author.objects.order_by("-email"))
    list(Tag.objects.order_by("-name"))

    found = lines(viewer, model="testapp.Author")
    assert {line.model for line in found} == {"testapp.Author"}
    assert {line.model for line in lines(viewer, model="no.Model")} >= {
        "testapp.Author",
        "testapp.Tag",
    }


def test_there_are_fifty_queries_on_a_page(viewer, no_queries):
    publish_queries({}, **{f"q{number}__misses": number for number in range(120)})
    pages = [lines(viewer, view="missed", page=page) for page in (1, 2, 3)]
    assert [len(page) for page in pages[:2]] == [50, 50]
    names = [line.name for page in pages for line in page]
    assert names[0] == "q119"
    assert len(set(names)) == len(names)


def test_the_page_of_a_query_says_all_that_is_known(flusher, no_queries, settings):
    settings.QUERYCACHE = {**settings.QUERYCACHE, "SHOW_PARAMETERS": True}
    for _ in range(3):
        list(Author.objects.filter(email=STRANGE).order_by("-email"))
    Author.objects.create(name="x")
    list(Author.objects.filter(email=STRANGE).order_by("-email"))
    (line,) = [line for line in lines(flusher) if "email" in line.sql and "DESC" in line.sql]
    page = flusher.get(f"{QUERIES_PAGE}{line.name}/")
    html = page.content.decode()

    assert "ORDER BY\n  &quot;testapp_author&quot;.&quot;email&quot; DESC" in html
    assert "querycache_parameter" not in html
    assert "<code>testapp_author</code>" in html
    assert "from testapp.*" in html
    assert "a write to testapp_author" in html
    assert f"<code>{escape(repr(STRANGE))}</code>" in html
    assert STRANGE not in html
    assert reverse("admin:querycache_querycache_flush_query", args=[line.name]) in html

    settings.QUERYCACHE = {**settings.QUERYCACHE, "SHOW_PARAMETERS": False}
    html = flusher.get(f"{QUERIES_PAGE}{line.name}/").content.decode()
    assert escape(repr(STRANGE)) not in html
    assert "Parameters are not kept" in html


def test_the_page_of_a_query_says_why_it_is_not_cacheable(viewer, no_queries):
    list(Author.objects.order_by("?"))
    (line,) = lines(viewer, view="uncacheable")
    html = viewer.get(f"{QUERIES_PAGE}{line.name}/").content.decode()

    assert escape(Reason.UNKNOWN_FUNCTION.explanation) in html
    assert "/flush/" not in html


def test_a_query_that_nobody_knows_leads_back_to_the_list(viewer):
    page = viewer.get(QUERIES_PAGE + "0123/", follow=True)

    assert page.redirect_chain == [(QUERIES_PAGE, 302)]
    assert "No query 0123 is known." in page.content.decode()


def test_a_query_whose_text_is_forgotten_is_shown_by_its_name(viewer, no_queries):
    publish_queries({}, abcdef__hits=3)
    assert "Its text is not known any more." in viewer.get(QUERIES_PAGE).content.decode()
    page = viewer.get(QUERIES_PAGE + "abcdef/").content.decode()
    assert "Its text is not known any more." in page


@pytest.mark.parametrize(
    ("sql", "vendor", "written"),
    [
        ("SELECT a FROM b WHERE c = %s", "sqlite", "SELECT\n  a\nFROM b\nWHERE\n  c = %s"),
        ("SELECT a FROM b WHERE c = %(x)s", "mysql", "SELECT\n  a\nFROM b\nWHERE\n  c = %s"),
        ("SELECT a FROM b WHERE c %% 2", "postgresql", "SELECT\n  a\nFROM b\nWHERE\n  c % 2"),
        ("SELECT (( FROM", "sqlite", "SELECT (( FROM"),
        ("", "sqlite", ""),
        ("SELECT a", "a vendor of tomorrow", "SELECT\n  a"),
        ("(" * 3000, "sqlite", "(" * 3000),
    ],
)
def test_sql_is_written_for_reading_or_left_as_it_is(sql, vendor, written):
    assert wording.pretty(sql, vendor) == written


def test_an_excerpt_says_what_tells_queries_apart():
    columns = ", ".join(f'"shop"."column_{number}"' for number in range(20))
    sql = (
        f'SELECT {columns} FROM "shop" INNER JOIN "brand" ON ("shop"."brand_id" = "brand"."id")'
        ' WHERE "shop"."id" IN (%s, %s, %s, %s) ORDER BY "shop"."id" ASC'
    )
    assert wording.excerpt(sql) == (
        "SELECT … FROM shop INNER JOIN brand WHERE shop.id IN (%s, …) ORDER BY shop.id ASC"
    )
    assert wording.excerpt("SELECT 1") == "SELECT 1"
    assert len(wording.excerpt("x" * 9_000)) == 201


# Events -------------------------------------------------------------------------------------------


def test_an_event_says_when_what_and_why(viewer, settings):
    settings.DEBUG = True
    Author.objects.create(name="x")
    page = viewer.get(EVENTS)
    line = page.context["lines"][0]
    html = page.content.decode()

    assert line.ago.endswith("s ago")
    assert line.models == [("testapp.Author", "testapp_author")]
    assert (line.using, line.rows) == ("default", "1")
    assert [cause for cause, _ in line.causes] == ["insert"]
    path, _, number = line.site.rpartition(":")
    assert __file__.endswith(path)
    assert path.startswith("tests")
    assert number.isdigit()
    assert f'datetime="{line.when.isoformat()[:10]}' in html
    assert "rows were inserted" in html


def test_a_flush_is_an_event_of_everything(viewer):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA user_version = 1")
    assert viewer.get(EVENTS).status_code == 200


# Whatever is strange ------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [PANEL, MODELS, CSV, JSON, QUERIES_PAGE, EVENTS])
@pytest.mark.parametrize(
    "asked",
    [
        "?sort=__class__&page=-1&span=year&view=nothing&model=no.Model",
        "?sort=-&page=x&q=%00%FF",
        "?sort=--hits&page=99999999999999999999&q=" + "a" * 5000,
        "?sort=hits&sort=reads&page=&q=&view=&model=&span=",
        "?" + "&".join(f"x{number}={number}" for number in range(900)),
    ],
)
def test_a_bad_address_gives_a_page(url, asked, viewer):
    assert viewer.get(url + asked).status_code == 200


def test_strange_names_are_escaped(flusher, monkeypatch):
    from querycache.conf import get_config

    name = f"a.{STRANGE}/b"
    config = get_config()
    table = Table("x", name, ModelOptions(f"{name}.*"))
    strange = type(config)(config.cache, None, {}, {"x": table}, ())
    for module in ("models", "queries", "overview", "events", "targets"):
        monkeypatch.setattr(f"querycache.panel.{module}.get_config", lambda: strange)
    text = {"sql": f"SELECT {STRANGE}", "model": name, "tables": ["x"], "reason": STRANGE}
    died = {"reason": STRANGE, "at": 1}
    publish_queries({"strange": text, "strange:died": died}, strange__hits=10**9)
    event = {"using": STRANGE, "tables": ["x", STRANGE], "causes": [STRANGE], "site": STRANGE}
    statistics.note_event(event | {"at": time.time()})

    for url in (
        PANEL,
        MODELS,
        QUERIES_PAGE + "?sort=-hits",
        QUERIES_PAGE + "strange/",
        EVENTS,
        reverse("admin:querycache_querycache_flush_model", args=[name]),
        reverse("admin:querycache_querycache_flush_query", args=["strange"]),
    ):
        page = flusher.get(url)
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
        if url != PANEL:
            assert ESCAPED in page.content.decode()


def test_foreign_bytes_in_the_store_break_no_page(viewer, no_queries):
    texts = {
        "a": b"\xff no JSON",
        "b": b"[1]",
        "c": b'{"sql": 3, "tables": "no list", "ttl": "long", "reason": [], "model": {}}',
        "a/b?c": b"{}",
        "c:died": b'{"at": "yesterday", "reason": 5}',
        "d": b'{"sql": "SELECT 1", "tables": [null, 3], "ttl": 1e300}',
        "d:died": b'{"at": 1e300, "reason": "x"}',
        "d:parameters": b'{"values": "no list"}',
    }
    group = {f"{name}:hits": 10**9 for name in "abcd"} | {
        "no colon": 1,
        "a:strange": 2,
        ":": 3,
        "a/b?c:hits": 10**9,
    }
    events = [
        b"\xff",
        b"[]",
        b'{"at": "now", "tables": 5, "rows": "all", "causes": {}, "using": 0}',
        b'{"at": -1e300, "tables": [1]}',
    ]
    groups = [Group(QUERY_COUNTS, group, 60), Group(TOTALS, {"x": 1, "a:b:c": 2}, 60)]
    counts.publish(Batch(groups, texts, events))
    for url in (PANEL, MODELS, CSV, QUERIES_PAGE, EVENTS):
        assert viewer.get(url).status_code == 200
    for name in [*"abcd", "a/b%3Fc"]:
        assert viewer.get(f"{QUERIES_PAGE}{name}/").status_code == 200
    assert len(reports.events()) >= 2


def test_figures_of_models_that_were_removed_are_shown(viewer):
    gone = {"gone.Model:hits": 5, "gone.Model:unopted": 3}
    event = {"at": time.time(), "using": "gone", "tables": ["gone_table"], "rows": 1}
    counts.publish(Batch([Group(TOTALS, gone, 60)], {}, [json.dumps(event).encode()]))

    assert "gone.Model" in viewer.get(MODELS).content.decode()
    assert "gone_table" in viewer.get(EVENTS).content.decode()


# What a page costs --------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the store, without what is published."""
    found = []
    call = breaker.call

    def counted(method: str, *args: Any, **options: Any) -> Any:
        if method.startswith("read_"):
            found.append(method)
        return call(method, *args, **options)

    monkeypatch.setattr(breaker, "call", counted)
    return found


@pytest.mark.parametrize(
    ("url", "most"),
    [
        (PANEL, 2),
        (PANEL + "?span=week", 3),
        (MODELS, 1),
        (CSV, 1),
        (QUERIES_PAGE, 2),
        (QUERIES_PAGE + "?model=testapp.Author", 3),
        (QUERIES_PAGE + "strange/", 2),
        (EVENTS, 1),
    ],
)
def test_a_page_asks_the_store_and_the_database_a_few_times(url, most, viewer, asked, count_sql):
    publish_queries(
        {f"q{number}": {"sql": "SELECT 1", "model": "testapp.Author"} for number in range(300)},
        strange__hits=1,
        **{f"q{number}__hits": number for number in range(300)},
    )
    viewer.get(url)
    asked.clear()
    with count_sql() as statements:
        assert viewer.get(url).status_code == 200
    assert len(asked) == most
    assert len(statements) <= 1  # of the session, whose query is another each time
