"""``manage.py querycache warm``: what it reads, what it says, and what it does when that fails."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import override_settings
from django.urls import path

import querycache
from querycache.management.targets import default_host
from tests.commands import on_terminal, outcome_of_reading, run
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


# Pages --------------------------------------------------------------------------------------------


def page_of_authors(request: HttpRequest, name: str = "") -> HttpResponse:
    found = Author.objects.filter(name=name) if name else Author.objects.all()
    return HttpResponse(", ".join(author.name for author in found))


def page_of_host(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(f"{request.scheme}://{request.get_host()}/authors/")


def page_that_breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("it's\n\x1b[31mbroken\x1b[0m 🩺")


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(status=404)


urlpatterns = [
    path("authors/", page_of_authors),
    path("authors/<str:name>/", page_of_authors),
    path("host/", page_of_host),
    path("broken/", page_that_breaks),
    path("unwell/", lambda request: HttpResponse(status=503)),
]

# Querysets ----------------------------------------------------------------------------------------

names = Author.objects.values_list("name", flat=True)
by_name = Author.objects.order_by("name")
number = 3


def one() -> Any:
    return Author.objects.filter(name="Ann")


def several() -> Any:
    yield Author.objects.all()
    yield Tag.objects.order_by("name")[:3]
    yield querycache.cached(Author.objects.raw("SELECT id, name FROM testapp_author"), ttl=60)


def none_at_all() -> Any:
    return []


def not_all() -> Any:
    return [Author.objects.all(), "Author"]


def breaks_in_between() -> Any:
    yield Author.objects.all()
    raise RuntimeError("enough")


def is_interrupted() -> Any:
    raise KeyboardInterrupt


def shown(*arguments: str) -> list[str]:
    """Return the lines that it prints, without durations and this module's name."""
    return without_durations(run("warm", *arguments))


def shown_and_failed(message: str, *arguments: str, code: int = 1) -> list[str]:
    output = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("querycache", "warm", *arguments, stdout=output)
    assert str(caught.value) == message
    assert caught.value.returncode == code
    return without_durations(output.getvalue())


def without_durations(output: str) -> list[str]:
    return re.sub(r", [\d.]+ (ms|s)$", "", output, flags=re.MULTILINE).splitlines()


def test_pages_are_read_and_their_entries_are_there_afterwards():
    assert shown("/authors/") == [
        "ok      /authors/  200, 0 hits, 1 miss, 0 bypasses",
        "1 of 1 targets: 0 hits, 1 miss, 0 bypasses.",
    ]
    assert outcome_of_reading(Author.objects) == "hit"
    assert shown("/authors/", "/authors/") == [
        "ok      /authors/  200, 1 hit, 0 misses, 0 bypasses",
        "ok      /authors/  200, 1 hit, 0 misses, 0 bypasses",
        "2 of 2 targets: 2 hits, 0 misses, 0 bypasses.",
    ]


def test_names_may_have_quotes_and_emoji():
    name = 'O\'Hara "✨"'
    Author.objects.create(name=name)
    line, _ = shown(f"/authors/{name}/")

    assert line == f"ok      /authors/{name}/  200, 0 hits, 1 miss, 0 bypasses"
    assert outcome_of_reading(Author.objects.filter(name=name)) == "hit"


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ("one", "1 queryset, 0 hits, 1 miss, 0 bypasses"),
        ("several", "3 querysets, 0 hits, 3 misses, 0 bypasses"),
        ("names", "1 queryset, 0 hits, 1 miss, 0 bypasses"),
        ("names.all", "1 queryset, 0 hits, 1 miss, 0 bypasses"),
        ("Author.objects", "1 queryset, 0 hits, 1 miss, 0 bypasses"),
        ("none_at_all", "0 querysets, no reads of opted-in models"),
    ],
)
def test_querysets_are_read_by_their_paths(target, outcome):
    line, _ = shown(f"{__name__}.{target}")
    assert line == f"ok      {__name__}.{target}  {outcome}"


def test_querysets_are_read_by_their_text():
    line, _ = shown("testapp.Author.objects.filter(name='Ann')[:5]")
    assert line.endswith(".filter(name='Ann')[:5]  1 queryset, 0 hits, 1 miss, 0 bypasses")
    assert outcome_of_reading(Author.objects.filter(name="Ann")[:5]) == "hit"


def test_the_queryset_of_a_module_is_left_as_it_is():
    list(by_name)
    assert by_name._result_cache is not None
    line, _ = shown(f"{__name__}.by_name")
    assert line.endswith("1 queryset, 1 hit, 0 misses, 0 bypasses")
    shown(f"{__name__}.names")
    assert names._result_cache is None


NOTHING = "no reads of opted-in models"


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ("/nowhere/", f"404 Not Found, {NOTHING}"),
        ("/unwell/", f"503 Service Unavailable, {NOTHING}"),
        ("/broken/", f"RuntimeError: it's ?[31mbroken?[0m 🩺, {NOTHING}"),
        ("http://a/", f"neither a path that begins with / nor the path of a queryset, {NOTHING}"),
        (f"{__name__}.nothing", f"module '{__name__}' has no attribute 'nothing', {NOTHING}"),
        ("nothing.at_all", f"No module named 'nothing', {NOTHING}"),
        (f"{__name__}.number", f"int is no queryset, {NOTHING}"),
        (f"{__name__}.not_all", "str is no queryset, 0 hits, 1 miss, 0 bypasses"),
        (f"{__name__}.breaks_in_between", "RuntimeError: enough, 0 hits, 1 miss, 0 bypasses"),
        (
            "testapp.Auhtor.objects.all()",
            f"no model 'testapp.Auhtor'; did you mean testapp.Author?, {NOTHING}",
        ),
    ],
)
def test_what_fails_is_shown_and_the_rest_goes_on(target, outcome):
    first, second, last = shown_and_failed("1 of 2 targets failed", target, "/host/")

    assert first == f"failed  {target}  {outcome}"
    assert second == f"ok      /host/  302, to http://testserver/authors/, {NOTHING}"
    assert last.startswith("2 of 2 targets, 1 of them failed: ")


def test_redirects_are_not_followed_and_the_host_can_be_given(settings):
    settings.ALLOWED_HOSTS = [".example.com", "shop.example.org"]
    line, _ = shown("/host/")
    assert line.startswith("ok      /host/  302, to http://example.com/authors/, no reads")
    line, _ = shown("--host", "shop.example.org:8000", "/host/")
    assert line.startswith("ok      /host/  302, to http://shop.example.org:8000/authors/, no ")
    lines = shown_and_failed("1 of 1 targets failed", "--host", "elsewhere", "/host/")
    assert lines[0].startswith("failed  /host/  400 Bad Request")


def test_pages_are_fetched_by_https_where_all_are(settings):
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
    settings.SECURE_SSL_REDIRECT = True
    line, _ = shown("/host/")
    assert line.startswith("ok      /host/  302, to https://testserver/authors/")


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ([], "localhost"),
        (["*"], "localhost"),
        (["*", "shop.example.com"], "shop.example.com"),
        ([".example.com"], "example.com"),
        (["[::1]"], "[::1]"),
    ],
)
def test_the_host_is_one_that_is_allowed(hosts, host):
    with override_settings(ALLOWED_HOSTS=hosts):
        assert default_host() == host


def test_bypasses_are_counted_by_their_reasons():
    target = "testapp.Author.objects.order_by('?')"
    with querycache.bypass():
        lines = shown("/authors/", "testapp.Tag.objects.all()")
    assert lines[2:] == [
        "2 of 2 targets: 0 hits, 0 misses, 2 bypasses.",
        "bypasses of     reads  reason",
        "testapp.Author      1  bypassed  it ran inside bypass()",
        "testapp.Tag         1  bypassed  it ran inside bypass()",
    ]
    line, _, _, reason = shown(target)
    assert line == f"ok      {target}  1 queryset, 0 hits, 0 misses, 1 bypass"
    assert reason.split()[:3] == ["testapp.Author", "1", "unknown-function"]


# Where targets come from --------------------------------------------------------------------------


def test_targets_may_be_the_lines_of_a_file(tmp_path):
    file = tmp_path / 'it\'s a "list" 🩺'
    file.write_text(f"# pages\n/authors/\n\n  {__name__}.one  \n#/nowhere/\n", encoding="utf-8")
    lines = shown("/authors/Ann/", "--from", str(file))
    assert [line.split()[1] for line in lines[:-1]] == [
        "/authors/Ann/",
        "/authors/",
        f"{__name__}.one",
    ]


def test_targets_may_come_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO("/authors/\n/authors/Ann/"))
    assert len(shown("--from", "-")) == 3


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"^--from: .*No such file .*nowhere"):
        run("warm", "--from", str(tmp_path / "nowhere"))
    (tmp_path / "latin").write_bytes(b"/caf\xe9/")
    with pytest.raises(CommandError, match=r"^--from: 'utf-8' codec can't decode"):
        run("warm", "--from", str(tmp_path / "latin"))


@pytest.mark.parametrize("content", [None, "# nothing\n"])
def test_without_a_target_the_arguments_are_wrong(content, tmp_path):
    file = tmp_path / "targets"
    file.write_text(content or "")
    message = "no target: name a URL or a queryset, or a file with --from"
    arguments = [] if content is None else ["--from", str(file)]
    assert shown_and_failed(message, *arguments, code=2) == []


# How it ends --------------------------------------------------------------------------------------


def test_what_was_read_is_said_after_ctrl_c():
    lines = shown_and_failed(
        "interrupted", "/authors/", f"{__name__}.is_interrupted", "/authors/", code=130
    )
    assert lines[-1] == "1 of 3 targets: 0 hits, 1 miss, 0 bypasses."
    assert len(lines) == 2


def test_a_dead_store_is_not_warm(settings, monkeypatch):
    use_dead_store(settings, monkeypatch)
    message = "the cache did not answer, so it is not warm"
    lines = shown_and_failed(message, "/authors/")
    assert lines[0] == "ok      /authors/  200, 0 hits, 0 misses, 1 bypass"
    assert lines[-1].split()[:3] == ["testapp.Author", "1", "store-failed"]


@pytest.mark.parametrize(
    ("backend", "is_own"),
    [("locmem.LocMemCache", True), ("dummy.DummyCache", True), ("filebased.FileBasedCache", False)],
)
def test_a_cache_of_this_process_is_warm_for_nobody(use_cache, backend, is_own, tmp_path):
    use_cache(str(tmp_path), backend=f"django.core.cache.backends.{backend}")
    errors = StringIO()
    call_command("querycache", "warm", "/authors/", stdout=StringIO(), stderr=errors)
    text = "The cache is this process's own: no other process will find what is read here.\n"
    assert errors.getvalue() == text * is_own


def test_a_terminal_shows_how_far_it_is_and_what_failed():
    arguments = ["warm", "tests.nothing", "/admin/🩺/"]
    with on_terminal(*arguments, NO_COLOR="1") as (process, pieces):
        output = "".join(pieces)
        assert process.wait(60) == 1
    assert without_durations(output) == [
        "[1/2] tests.nothing",
        f"\x1b[1F\x1b[Jfailed  tests.nothing  module 'tests' has no attribute 'nothing', {NOTHING}",
        "[2/2] /admin/🩺/",
        f"\x1b[1F\x1b[J2 of 2 targets, 1 of them failed: {NOTHING}.",
        "CommandError: 1 of 2 targets failed",
    ]
