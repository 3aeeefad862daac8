"""Prometheus is told the truth: one scrape, whoever answers it, has the counts of all processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import querycache
from querycache.contrib import prometheus
from querycache.contrib.prometheus import QueryCacheCollector
from querycache.counting import statistics
from querycache.stats import COUNTED, ModelStats, Stats
from tests.dead_stores import use_dead_store
from tests.processes import run_process
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


def samples_in(families):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def registry():
    registry = CollectorRegistry(auto_describe=True)  # as the one that is there by default
    registry.register(QueryCacheCollector())
    return registry


@pytest.fixture
def scrape(registry):
    """Return what Prometheus reads: values by name and labels."""
    return lambda: samples_in(parse(generate_latest(registry).decode()))


def of_author(name, **labels):
    return (f"querycache_{name}", *sorted({"model": "testapp.Author", **labels}.items()))


def reads(outcome, reason=""):
    return of_author("reads_total", outcome=outcome, reason=reason)


def rise(after, before, name):
    return after[name] - before.get(name, 0)


def test_what_happens_is_counted(store, scrape):
    before = scrape()
    author = Author.objects.create(name="a")
    for _ in range(3):
        Author.objects.get(pk=author.pk)
    with querycache.bypass():
        Author.objects.get(pk=author.pk)
    after = scrape()
    assert after["querycache_up",] == 1
    assert rise(after, before, reads("hit")) == 2
    assert rise(after, before, reads("miss")) == 1
    assert rise(after, before, reads("bypass", "bypassed")) == 1
    assert rise(after, before, of_author("fills_total")) == 1
    assert rise(after, before, of_author("invalidations_total")) == 1
    assert 0 < rise(after, before, of_author("hit_seconds_total")) < 10
    assert 0 < rise(after, before, of_author("database_seconds_saved_total")) < 10


def test_one_scrape_has_the_counts_of_four_processes(scrape):
    author = Author.objects.create(name="a")
    before = scrape()

    def read(_):
        return run_process(
            """
from tests.testapp.models import Author
(pk,) = given["arguments"]
for _ in range(25):
    Author.objects.get(pk=pk)
""",
            author.pk,
        )

    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(read, range(4)):
            assert done.returncode == 0, done.stderr
    after = scrape()
    hits, misses = rise(after, before, reads("hit")), rise(after, before, reads("miss"))
    assert hits + misses == 100
    assert hits >= 96


def test_beside_the_counters_that_prometheus_client_adds_up_itself(tmp_path):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))
    registry.register(QueryCacheCollector())
    list(Author.objects.all())
    assert samples_in(parse(generate_latest(registry).decode()))[reads("miss")] >= 1


def test_a_store_that_does_not_answer_breaks_no_scrape(scrape, settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    assert scrape() == {("querycache_up",): 0.0}


def test_to_register_asks_no_store(monkeypatch):
    def get_stats():
        raise AssertionError("asked")

    monkeypatch.setattr(prometheus, "get_stats", get_stats)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(QueryCacheCollector())
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(QueryCacheCollector())


def test_every_count_has_a_metric(scrape, monkeypatch):
    counts = {name: (number + 2) * 1_000_003 for number, name in enumerate(COUNTED)}
    stats = Stats({"a.B": ModelStats(**counts)}, incidents=3, late_writes=5)
    monkeypatch.setattr(prometheus, "get_stats", lambda: stats)
    values = set(scrape().values())
    in_seconds = {name: 1e6 if name.endswith("_us") else 1 for name in COUNTED}
    assert [name for name in COUNTED if counts[name] / in_seconds[name] not in values] == []
    assert {3, 5} <= values


def test_labels_may_be_anything(registry, scrape, monkeypatch):
    label = 'shop."Pro\\duct" 🛒\n'
    stats = Stats({label: ModelStats(hits=7, reasons={"uncached": 2})})
    monkeypatch.setattr(prometheus, "get_stats", lambda: stats)
    name = "querycache_reads_total", ("model", label), ("outcome", "hit"), ("reason", "")
    assert scrape()[name] == 7
    text = openmetrics.generate_latest(registry).decode()
    assert samples_in(parse_openmetrics(text))[name] == 7


def test_counts_of_this_process_are_published_by_the_scrape(scrape, monkeypatch):
    monkeypatch.setattr(statistics, "_in_background", bool)
    before = scrape()
    statistics.count("testapp.Author", "uncached")
    assert rise(scrape(), before, reads("bypass", "uncached")) == 1
