"""django.contrib.sites, which keeps every site that was asked for in its process."""

from django.contrib.sites.models import Site
from django.contrib.sites.shortcuts import get_current_site
from django.test import RequestFactory

from tests.demo.browser import Browser
from tests.threads import elsewhere


def named(site):
    return site.pk, site.domain, site.name


def anew(question):
    """Return the question as a process asks it that has just begun."""

    def ask():
        Site.objects.clear_cache()
        return question()

    return ask


def by_host(host):
    request = RequestFactory().get("/", headers={"host": host})
    try:
        return named(Site.objects.get_current(request))
    except Site.DoesNotExist:
        return None


def test_the_current_site_is_the_one_in_the_database(questions, do, settings):
    here = Site.objects.get(pk=1)
    browser = Browser("somebody")
    questions.ask(
        current=anew(lambda: named(Site.objects.get_current())),
        of_a_request=anew(lambda: named(get_current_site(RequestFactory().get("/")))),
        natural=anew(lambda: [named(site) for site in Site.objects.order_by("domain")]),
        page=anew(lambda: browser.get("/me/").content),
    )
    questions.compare()

    def rename(name):
        here.name = name
        here.save()

    do(rename, "Ours")
    assert named(Site.objects.get_current())[2] == "Ours"
    do(Site.objects.filter(pk=1).update, domain="ours.example.com")
    other = do(Site.objects.create, domain="other.example.com", name="Other")
    settings.SITE_ID = other.pk
    questions.compare("another site is the current one")
    assert named(Site.objects.get_current())[2] == "Other"
    settings.SITE_ID = 1
    do(other.delete)
    questions.assert_not_vacuous()


def test_a_host_has_its_site(questions, do, settings):
    del settings.SITE_ID
    settings.ALLOWED_HOSTS = ["*"]
    one = Site.objects.create(domain="one.example.com", name="One")
    questions.ask(
        one=anew(lambda: by_host("one.example.com")),
        with_port=anew(lambda: by_host("one.example.com:8000")),
        other=anew(lambda: by_host("other.example.com")),
    )
    questions.compare()
    do(Site.objects.filter(pk=one.pk).update, domain="other.example.com")
    assert anew(lambda: by_host("other.example.com"))() == (one.pk, "other.example.com", "One")
    do(one.delete)
    assert anew(lambda: by_host("other.example.com"))() is None
    questions.assert_not_vacuous()


def test_a_process_keeps_a_site_as_long_as_without_querycache():
    before = Site.objects.get_current()
    elsewhere(Site.objects.filter(pk=before.pk).update, name="Elsewhere")
    assert Site.objects.get_current() is before
    Site.objects.clear_cache()
    assert Site.objects.get_current().name == "Elsewhere"
