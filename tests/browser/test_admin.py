"""The panel in the admin, as a person uses it: a real Chromium, a real store, a strict CSP."""

import pytest
from django.contrib.admin.models import LogEntry
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from demo_project.shop.models import Brand
from querycache.recorder import record_reads
from tests.browser.person import EVENTS, MODELS, PANEL, QUERIES, axe_script, findings, pages
from tests.dead_stores import use_dead_store
from tests.testapp.models import Author


def outcome_of_reading() -> str:
    with record_reads() as reads:
        list(Author.objects.all())
    return reads[0].outcome


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_model_is_flushed_with_two_clicks(admin):
    admin.open(MODELS)
    before = admin.row("testapp.Author")
    assert outcome_of_reading() == "miss"
    for _ in range(3):
        assert outcome_of_reading() == "hit"

    admin.open(MODELS)
    after = admin.row("testapp.Author")
    for name, reads in {"Hits": 3, "Misses": 1, "Fills": 1}.items():
        assert number(after[name]) - number(before[name]) == reads
    assert after["TTL"] == "5 min"

    admin.follow(admin.button("testapp.Author"))
    assert "Everything that was read of testapp.Author will be forgotten" in admin.text
    assert outcome_of_reading() == "hit"

    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    assert admin.messages == ["Flushed testapp.Author. The next reads ask the database."]
    assert outcome_of_reading() == "miss"

    admin.open("/admin/")
    recent_actions = admin.driver.find_element(By.ID, "recent-actions-module").text
    assert "Flushed testapp.Author" in recent_actions


def test_a_flush_can_be_called_off(admin):
    outcome_of_reading()
    admin.open(MODELS)
    admin.follow(admin.button("testapp.Author"))
    admin.follow(admin.driver.find_element(By.LINK_TEXT, "No, take me back"))

    assert admin.driver.current_url.endswith(MODELS)
    assert outcome_of_reading() == "hit"
    assert not LogEntry.objects.exists()


def test_everything_is_flushed_by_keyboard_alone(admin):
    outcome_of_reading()
    button = admin.driver.find_element(By.LINK_TEXT, "Flush everything")
    admin.press_tab_until(button)
    assert admin.run("return getComputedStyle(arguments[0]).outlineStyle", button) == "solid"
    admin.follow(button, Keys.ENTER)

    sure = admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]")
    admin.press_tab_until(sure)
    admin.follow(sure, Keys.ENTER)

    assert admin.messages == ["Flushed everything. The next reads ask the database."]
    assert outcome_of_reading() == "miss"


def test_a_narrow_page_does_not_scroll_sideways(phone):
    phone.open(MODELS)
    assert phone.overflow == 0
    assert phone.row("testapp.Author")["TTL"] == "5 min"
    table = phone.driver.find_element(By.CSS_SELECTOR, "#querycache .module")
    assert phone.run("return arguments[0].scrollWidth <= arguments[0].clientWidth", table)

    phone.follow(phone.button("testapp.Author"))
    assert phone.overflow == 0


@pytest.mark.parametrize("width", [768, 900, 1024, 1280, 1920])
def test_no_width_makes_the_page_scroll_sideways(width, admin):
    admin.driver.set_window_size(width, 900)

    for url in (PANEL, MODELS, QUERIES, EVENTS):
        admin.open(url)
        assert admin.overflow == 0


def test_the_panel_follows_a_dark_system(admin):
    def luminance(selector: str, name: str) -> float:
        color = admin.run(
            f"return getComputedStyle(document.querySelector(arguments[0])).{name}", selector
        )
        return sum(map(float, color.strip("rgba()").split(",")[:3])) / 3

    assert luminance("#querycache .tile", "backgroundColor") > 200
    assert luminance("#querycache .figure", "color") < 100

    admin.prefer("dark")

    assert luminance("#querycache .tile", "backgroundColor") < 60
    assert luminance("#querycache .figure", "color") > 200
    admin.open(MODELS)
    assert luminance("#querycache tbody td", "color") > 200


def test_a_dead_store_is_shown_and_a_flush_of_it_fails_politely(admin, settings, monkeypatch):
    use_dead_store(settings, monkeypatch)

    admin.open(PANEL)
    assert "The cache does not answer." in admin.text
    assert "No answer" in admin.text

    admin.open(MODELS)
    admin.follow(admin.button("testapp.Author"))
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    (message,) = admin.messages
    assert message.startswith("The cache does not answer, nothing was flushed: ")


def test_each_page_leads_to_the_others(admin, busy):
    for name, url in [("Models", MODELS), ("Queries", QUERIES), ("Events", EVENTS)]:
        admin.follow(admin.driver.find_element(By.LINK_TEXT, name))
        assert admin.driver.current_url.endswith(url)
        current = admin.driver.find_element(By.CSS_SELECTOR, "#querycache .tabs [aria-current]")
        assert current.text == name
    admin.follow(admin.driver.find_element(By.LINK_TEXT, "Overview"))
    assert admin.driver.current_url.endswith(PANEL)


def test_charts_are_drawn_and_stand_as_a_table(admin, busy):
    admin.open(PANEL)
    for span in ("Last day", "Last week", "Last hour"):
        admin.follow(admin.driver.find_element(By.LINK_TEXT, span))
        assert len(admin.driver.find_elements(By.CSS_SELECTOR, ".chart svg[role=img]")) == 4
        width = admin.run(
            "return document.querySelector('.chart path.hits').getBoundingClientRect().width"
        )
        assert width > 0
    table = admin.driver.find_element(By.CSS_SELECTOR, "details table")
    assert not table.is_displayed()
    admin.driver.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert table.is_displayed()
    assert "BYPASSES" in table.text


def test_models_are_sorted_and_filtered_without_a_script(admin, busy):
    admin.open(MODELS)
    admin.follow(admin.driver.find_element(By.LINK_TEXT, "HITS"))
    assert admin.driver.current_url.endswith("?sort=-hits")
    field = admin.driver.find_element(By.NAME, "q")
    field.send_keys("testapp.Pers")
    admin.follow(field, Keys.ENTER)
    found = [
        each.text for each in admin.driver.find_elements(By.CSS_SELECTOR, "#querycache tbody th a")
    ]
    assert "testapp.Person" in found
    assert all("testapp.pers" in label.casefold() for label in found)
    assert "sort=-hits" in admin.driver.current_url


def test_a_query_is_flushed_with_all_that_it_reads(admin, busy):
    admin.open(f"{QUERIES}?view=missed")
    link = admin.driver.find_element(By.CSS_SELECTOR, f"a[href$='{busy}/']")
    admin.follow(link)
    assert "SELECT\n" in admin.driver.find_element(By.CSS_SELECTOR, "pre.sql").text
    outcome_of_reading()
    admin.follow(admin.driver.find_element(By.LINK_TEXT, "Flush what it reads"))
    assert "A query cannot be forgotten alone." in admin.text
    assert outcome_of_reading() == "hit"
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    assert admin.messages == [
        "Flushed testapp.Author, testapp.Book. The next reads ask the database."
    ]
    assert outcome_of_reading() == "miss"


def test_an_app_is_flushed(admin):
    outcome_of_reading()
    admin.open(MODELS)
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "a[href$='flush/app/testapp/']"))
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    assert admin.messages == ["Flushed the app testapp. The next reads ask the database."]
    assert outcome_of_reading() == "miss"


def test_an_object_is_invalidated_from_its_form(admin):
    brand = Brand.objects.create(name="Acme", slug="acme")
    list(Brand.objects.all())
    admin.open(f"/admin/shop/brand/{brand.pk}/change/")
    link = admin.driver.find_element(By.CSS_SELECTOR, ".object-tools .querycache-invalidate")
    admin.keep_picture("object-light")
    admin.follow(link)
    admin.keep_picture("object-question-light")
    admin.follow(admin.driver.find_element(By.CSS_SELECTOR, "#querycache input[type=submit]"))
    assert admin.driver.current_url.endswith(f"/admin/shop/brand/{brand.pk}/change/")
    assert admin.messages == ["Invalidated what was read of Acme. The next reads ask the database."]


@pytest.mark.parametrize("look", ["light", "dark", "narrow", "narrow-dark"])
def test_every_page_is_for_everybody(look, admin, busy):
    """No findings of axe that are serious; no sideways scrolling; a picture to look at."""
    axe = axe_script()
    if look.startswith("narrow"):
        admin.look_through(360, mobile=True)
    admin.prefer("dark" if look.endswith("dark") else "light")
    found = {}
    for name, url in pages(busy).items():
        admin.open(url)
        if name == "overview":
            admin.driver.find_element(By.TAG_NAME, "summary").click()
        assert admin.overflow == 0
        admin.keep_picture(f"{name}-{look}")
        if axe:
            found[name] = findings(admin, axe)
    assert {name: what for name, what in found.items() if what} == {}
