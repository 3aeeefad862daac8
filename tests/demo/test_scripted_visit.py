"""
A day in the shop, written down step by step.

After every step that writes, every page that somebody may be looking at is compared: as the cache
gives it, and as the database alone would have it. What a step has not changed comes from the cache
after it.
"""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.http import HttpResponse
from django.urls import reverse

import querycache
from demo_project.shop.management.commands.seed_shop import ADMIN, SHOPPER
from demo_project.shop.models import (
    Brand,
    Category,
    Customer,
    Order,
    OrderLine,
    Product,
    Review,
    Tag,
)
from tests.demo.browser import Browser

pytestmark = pytest.mark.usefixtures("shop")

# What differs between two answers to the same question, and may.
VARYING = [
    (re.compile(r'name="csrfmiddlewaretoken" value="\w+"'), "CSRF"),
    (re.compile(r"\d+ quer(y|ies), \d+ from the cache, [\d.]+ ms"), "COSTS"),
]


def what_one_sees(response: HttpResponse) -> str:
    html = response.content.decode()
    for pattern, name in VARYING:
        html = pattern.sub(name, html)
    return f"{response.status_code} {response.headers.get('Location', '')}\n{html}"


class Visit:
    """The visitors of a shop, and the pages that each of them has open."""

    def __init__(self) -> None:
        self.pages: list[tuple[Browser, str]] = []
        self.hits = 0
        self.comparisons = 0

    def open(self, browser: Browser, *urls: str) -> None:
        self.pages += [(browser, url) for url in urls]

    def post(self, browser: Browser, url: str, form: str, /, **changes: object) -> HttpResponse:
        """Do something that writes, then look at every page."""
        response = browser.submit(url, form, **changes)
        assert response.status_code == 200, f"{url} answered {response.status_code}"
        assert b"errornote" not in response.content, f"{url}: {errors_in(response)}"
        self.compare(f"after {browser.name} sent {form!r} of {url} with {changes}")
        return response

    def compare(self, when: str) -> None:
        for browser, url in self.pages:
            seen = browser.get(url)
            with querycache.bypass():
                truth = browser.get(url)
            expected = what_one_sees(truth)
            assert what_one_sees(seen) == expected, f"{browser.name}, {url}, {when}"
            assert truth.page_costs.from_cache == 0
            self.hits += seen.page_costs.from_cache
            self.comparisons += 1


def errors_in(response: HttpResponse) -> list[str]:
    return re.findall(r'class="errorlist.*?</ul>', response.content.decode(), re.DOTALL)


@pytest.fixture
def visit() -> Visit:
    return Visit()


def admin_url(instance: object, action: str = "change") -> str:
    meta = type(instance)._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{action}", args=[instance.pk])


def storefront(product: Product, other: Product) -> Iterator[str]:
    yield "/"
    yield product.category.get_absolute_url()
    filters = f"sort=cheapest&in_stock=on&price_from=1&brand={product.brand.slug}"
    yield f"{product.category.get_absolute_url()}?{filters}"
    yield product.get_absolute_url()
    yield other.get_absolute_url()
    yield f"/search/?q={product.name.split()[0]}"
    yield "/search/?q=brand-new"
    yield "/cart/"
    yield "/orders/"


def admin_pages(product: Product, user: User) -> Iterator[str]:
    yield "/admin/"
    yield "/admin/shop/product/?o=1"
    yield admin_url(product)
    yield admin_url(product, "history")
    yield admin_url(user)
    yield "/admin/auth/user/"
    yield "/admin/shop/order/"


def test_no_page_shows_anything_that_the_database_would_not(visit: Visit) -> None:
    product, other = Product.objects.filter(stock__gt=10).order_by("pk")[:2]
    ada_user = User.objects.get(username=SHOPPER["username"])
    passer_by, ada, grace, shopkeeper = map(Browser, ["passer-by", "Ada", "Grace", "shopkeeper"])
    visit.open(passer_by, *storefront(product, other))
    visit.compare("at the beginning")

    # Somebody without a login buys something.
    visit.post(passer_by, product.get_absolute_url(), "/add-to-cart/", quantity=3)
    passer_by.client.post("/cart/", {"product": product.pk, "quantity": 2})
    visit.compare("after a change of quantity")
    in_stock = product.stock
    refused = visit.post(passer_by, "/checkout/", "", name="", email="nowhere", address="")
    assert "This field is required" in refused.content.decode()
    visit.post(passer_by, "/checkout/", "", name="Ed", email="ed@example.com", address="Here")
    product.refresh_from_db()
    assert product.stock == in_stock - 2
    visit.open(passer_by, Order.objects.earliest("-pk").get_absolute_url())

    # Ada logs in, writes and buys.
    visit.open(ada, "/", product.get_absolute_url(), "/cart/", "/orders/", "/admin/")
    visit.post(ada, "/login/", "", username="ada", password="wrong")
    visit.post(ada, "/login/", "", **{key: SHOPPER[key] for key in ("username", "password")})
    visit.post(ada, product.get_absolute_url(), "/review/", rating=1, title="Oh", body="<b>no</b>")
    assert "&lt;b&gt;no" in passer_by.get(product.get_absolute_url()).content.decode()
    visit.post(ada, product.get_absolute_url(), "/add-to-cart/", quantity=1)
    visit.post(ada, "/checkout/", "", address="12 Harbour Street")
    assert "You have bought this" in ada.get(product.get_absolute_url()).content.decode()

    # A second user comes.
    visit.open(grace, "/", product.get_absolute_url())
    password = "a long walk by the river"
    visit.post(grace, "/signup/", "", username="grace", password1=password, password2=password)
    visit.post(grace, product.get_absolute_url(), "/review/", rating=5, title="Splendid", body="")
    grace_user = User.objects.get(username="grace")

    # The shopkeeper goes through the shelves.
    visit.open(shopkeeper, *admin_pages(product, ada_user))
    visit.post(
        shopkeeper, "/admin/login/", "login-form", username=ADMIN["username"], password="admin"
    )
    visit.post(
        shopkeeper, admin_url(product), "product_form", name='Brand-new "Lämp" 💡 & <i>co</i>'
    )
    assert "Brand-new &quot;Lämp&quot; 💡" in passer_by.get("/search/?q=brand-new").content.decode()
    visit.post(shopkeeper, admin_url(product), "product_form", price="3.21", stock="4")
    tags = Tag.objects.order_by("-pk")[:2]
    visit.post(shopkeeper, admin_url(product), "product_form", tags=[tag.pk for tag in tags])
    visit.post(
        shopkeeper, "/admin/shop/product/?o=1", "changelist-form",
        **{"form-0-price": "1234.50", "form-1-stock": "0", "action": "", "_save": "Save"},
    )  # fmt: skip
    visit.post(
        shopkeeper, "/admin/shop/category/add/", "category_form", name="New", slug="new", icon="mug"
    )
    assert "New" in passer_by.get("/").content.decode()
    visit.post(shopkeeper, admin_url(product.category), "category_form", name="Lights & more")
    visit.post(shopkeeper, admin_url(product.brand), "brand_form", name="Rebranded")
    visit.post(shopkeeper, admin_url(Category.objects.get(slug="new"), "delete"), "", post="yes")
    order = Order.objects.earliest("-pk")
    visit.post(
        shopkeeper, admin_url(order), "order_form", status="shipped", **{"lines-0-quantity": "7"}
    )
    assert OrderLine.objects.get(order=order).quantity == 7
    assert "shipped" in ada.get("/orders/").content.decode()
    splendid = Review.objects.get(title="Splendid")
    visit.post(
        shopkeeper, "/admin/shop/review/", "changelist-form",
        action="delete_selected", _selected_action=[splendid.pk],
    )  # fmt: skip
    assert Review.objects.filter(pk=splendid.pk).exists(), "it only asks"
    confirmed = {"action": "delete_selected", "_selected_action": [splendid.pk], "post": "yes"}
    shopkeeper.client.post("/admin/shop/review/", confirmed, follow=True)
    visit.compare("after a review was deleted")
    assert "Splendid" not in grace.get(product.get_absolute_url()).content.decode()

    # Ada helps in the shop: by a permission, then by a group, then no more.
    may_view = Permission.objects.get(codename="view_product")
    assert ada.get("/admin/").status_code == 302
    visit.post(
        shopkeeper, admin_url(ada_user), "user_form", is_staff="on", user_permissions=[may_view.pk]
    )
    assert "/admin/shop/product/" in ada.get("/admin/").content.decode()
    visit.open(ada, "/admin/shop/product/?o=1", admin_url(product))
    visit.post(shopkeeper, admin_url(ada_user), "user_form", user_permissions=[])
    assert "/admin/shop/product/" not in ada.get("/admin/").content.decode()
    visit.post(
        shopkeeper, "/admin/auth/group/add/", "group_form", name="Help", permissions=[may_view.pk]
    )
    helpers = Group.objects.get(name="Help")
    visit.post(shopkeeper, admin_url(ada_user), "user_form", groups=[helpers.pk])
    assert ada.get("/admin/shop/product/?o=1").status_code == 200
    visit.post(shopkeeper, admin_url(helpers), "group_form", permissions=[])
    assert ada.get("/admin/shop/product/?o=1").status_code == 403
    visit.post(shopkeeper, admin_url(ada_user), "user_form", first_name="Augusta")
    assert "Augusta" in ada.get("/").content.decode()

    # The end of the day: things disappear.
    visit.post(
        shopkeeper, reverse("admin:sites_site_change", args=[1]), "site_form", name="Renamed"
    )
    assert "Renamed" in passer_by.get("/").content.decode()
    OrderLine.objects.filter(product=other).delete()
    visit.post(shopkeeper, admin_url(other, "delete"), "", post="yes")
    assert passer_by.get(other.get_absolute_url()).status_code == 404
    visit.post(shopkeeper, admin_url(grace_user), "user_form", is_active=None)
    assert "Log in" in grace.get("/").content.decode()
    visit.post(
        shopkeeper, f"/admin/auth/user/{ada_user.pk}/password/", "user_form",
        password1=password, password2=password,
    )  # fmt: skip
    assert "Log in" in ada.get("/").content.decode(), "a new password ends every session"
    shopkeeper.client.post("/admin/logout/", follow=True)
    visit.compare("after the shopkeeper went home")
    visit.compare("when nothing has happened since")

    assert visit.hits > visit.comparisons, "a page answered without the cache proves nothing"


def test_a_page_seen_twice_asks_the_database_nothing() -> None:
    product = Product.objects.earliest("pk")
    somebody = Browser("somebody")
    for url in (
        "/",
        product.category.get_absolute_url(),
        product.get_absolute_url(),
        "/search/?q=oak",
    ):
        somebody.get(url)
        again = somebody.get(url)
        assert again.page_costs.database_queries == 0, url
        assert again.page_costs.from_cache > 3, url


def test_writes_outside_of_the_pages_are_seen_by_the_next_page() -> None:
    product = Product.objects.filter(reviews__isnull=False).earliest("pk")
    somebody = Browser("somebody")
    visit = Visit()
    visit.open(somebody, "/", product.get_absolute_url(), product.category.get_absolute_url())
    visit.compare("at the beginning")

    Product.objects.filter(pk=product.pk).update(name="Updated")
    visit.compare("after update()")
    Brand.objects.bulk_update([Brand(pk=product.brand_id, name="Bulk")], ["name"])
    visit.compare("after bulk_update()")
    customer = Customer.objects.earliest("pk")
    Review.objects.bulk_create(
        [Review(product=product, customer=customer, rating=1, title="Bulk created")]
    )
    visit.compare("after bulk_create()")
    product.tags.clear()
    visit.compare("after clear() of a many-to-many field")
    product.tags.set(Tag.objects.all())
    visit.compare("after set() of a many-to-many field")
    Review.objects.filter(product=product).delete()
    visit.compare("after delete() of a queryset")
    assert "Updated" in somebody.get(product.get_absolute_url()).content.decode()
