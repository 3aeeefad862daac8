"""OpenTelemetry is told what this process reads, and each span what was read in it."""

import threading

import pytest
from django.db import connections
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import querycache
from querycache import signals
from querycache.contrib.opentelemetry import instrument, uninstrument
from tests.dead_stores import use_dead_store
from tests.processes import run_process
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def points():
    """Return what the metrics say: data points by name and attributes."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    instrument(provider)

    def read():
        data = reader.get_metrics_data()
        return {
            (metric.name, *sorted(point.attributes.items())): point
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    yield read
    uninstrument()
    provider.shutdown()


@pytest.fixture
def spans():
    """Return a tracer, and the list of the spans that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("tests"), exporter.get_finished_spans
    provider.shutdown()


def of_author(name, **attributes):
    return (name, *sorted({"model": "testapp.Author", **attributes}.items()))


def read_once_each_way():
    author = Author.objects.create(name="a")
    for _ in range(3):
        Author.objects.get(pk=author.pk)
    with querycache.bypass():
        Author.objects.get(pk=author.pk)


def test_what_happens_is_counted(points):
    read_once_each_way()
    querycache.flush()
    told = points()
    assert told[of_author("querycache.reads", outcome="hit")].value == 2
    assert told[of_author("querycache.reads", outcome="miss")].value == 1
    assert told[of_author("querycache.reads", outcome="bypass", reason="bypassed")].value == 1
    assert told[of_author("querycache.invalidations")].value == 1
    assert told["querycache.flushes",].value == 1


def test_the_time_of_reads_is_a_histogram_in_seconds(points):
    read_once_each_way()
    hits = points()[of_author("querycache.read.duration", outcome="hit")]
    assert hits.count == 2
    assert 0 < hits.sum < 10
    assert hits.explicit_bounds[0] == 0.0001


def test_an_outage_is_counted(points, settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    list(Author.objects.all())
    told = points()
    assert told["querycache.store.failures", ("cache", "dead")].value == 1
    assert told[of_author("querycache.reads", outcome="bypass", reason="store-failed")].value == 1


def test_a_span_says_what_was_read_in_it(points, spans):
    tracer, finished = spans
    with tracer.start_as_current_span("outer"):
        read_once_each_way()
        with tracer.start_as_current_span("inner"):
            list(Author.objects.all())
    inner, outer = finished()
    assert dict(inner.attributes) == {"querycache.misses": 1}
    assert dict(outer.attributes) == {
        "querycache.hits": 2,
        "querycache.misses": 1,
        "querycache.bypasses": 1,
    }


def test_threads_of_one_span_lose_no_count(points, spans):
    from opentelemetry import context

    tracer, finished = spans
    author = Author.objects.create(name="a")
    Author.objects.get(pk=author.pk)
    with tracer.start_as_current_span("page"):
        here = context.get_current()

        def read():
            context.attach(here)
            for _ in range(50):
                Author.objects.get(pk=author.pk)
            connections.close_all()

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert finished()[0].attributes["querycache.hits"] == 200


def test_a_span_that_is_not_sampled_is_told_nothing(points, monkeypatch):
    tracer = TracerProvider(sampler=sampling.ALWAYS_OFF).get_tracer("tests")
    with tracer.start_as_current_span("page") as span:
        told = []
        monkeypatch.setattr(span, "set_attribute", lambda *pair: told.append(pair), raising=False)
        list(Author.objects.all())
    assert told == []


def test_a_span_that_has_ended_is_forgotten(points):
    import gc

    from querycache.contrib import opentelemetry

    provider = TracerProvider()  # nobody keeps its spans
    with provider.get_tracer("tests").start_as_current_span("page"):
        list(Author.objects.all())
        assert len(opentelemetry._of_spans) == 1
    gc.collect()
    assert len(opentelemetry._of_spans) == 0


def test_to_instrument_twice_counts_once_and_nothing_is_left_behind(points):
    other = InMemoryMetricReader()
    instrument(MeterProvider(metric_readers=[other]))
    list(Author.objects.all())
    assert points() == {}
    assert other.get_metrics_data() is not None
    uninstrument()
    uninstrument()
    for name in signals.__all__:
        assert not getattr(signals, name).receivers


def test_without_an_sdk_nothing_happens():
    done = run_process("""
from querycache.contrib.opentelemetry import instrument
from querycache.recorder import record_reads
from tests.testapp.models import Author
instrument()
with record_reads() as reads:
    list(Author.objects.all())
    list(Author.objects.all())
assert [read.outcome for read in reads] == ["miss", "hit"], reads
""")
    assert done.returncode == 0, done.stderr


def test_an_app_that_uses_querycache_imports_none_of_the_others():
    done = run_process("""
import querycache, querycache.signals
others = ("opentelemetry", "prometheus_client", "debug_toolbar")
assert not [name for name in sys.modules if name.split(".")[0] in others]
""")
    assert done.returncode == 0, done.stderr
