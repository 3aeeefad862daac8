"""The shop on a bad day: odd names, empty carts, nonsense in the address bar."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from demo_project.shop.cart import CartLine
from demo_project.shop.checkout import OutOfStockError, place_order
from demo_project.shop.factories import CustomerFactory, ProductFactory
from demo_project.shop.models import Customer, Order, Product, Review
from tests.demo.browser import Browser

pytestmark = pytest.mark.usefixtures("shop")

ODD_NAME = """O'Neill's "best" 🫖 <script>alert(1)</script> & {{ settings }} %s"""


@pytest.fixture
def visitor() -> Browser:
    return Browser("visitor")


def test_an_odd_name_is_shown_as_it_is_and_never_run(visitor: Browser) -> None:
    product = ProductFactory(name=ODD_NAME, slug="odd", description=ODD_NAME, stock=1)
    product.brand.name = product.category.name = ODD_NAME[:80]
    product.brand.save()
    product.category.save()
    for url in (
        "/",
        product.get_absolute_url(),
        product.category.get_absolute_url(),
        "/search/?q=🫖",
    ):
        for _ in range(2):
            page = visitor.get(url).content.decode()
            assert "<script>" not in page
            assert "🫖 &lt;script&gt;alert(1)&lt;/script&gt; &amp; {{ settings }}" in page


@pytest.mark.parametrize(
    "q", ["'", '"', "%", "_", "\\", "\0", "🫖", "<script>", "a" * 500, "  ", "é"]
)
def test_any_search_has_an_answer(visitor: Browser, q: str) -> None:
    response = visitor.client.get("/search/", {"q": q})
    assert response.status_code == 200
    assert "<script>" not in response.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "page=99999", "page=0", "page=-1", "page=abc", "page=", "price_from=abc", "price_to=-5",
        "price_from=99999999999", "price_from=NaN", "price_to=1e400", "price_from=9&price_to=1",
        "sort=password", "brand=no-such-brand", "tag=%27%3B--", "tag=%00", "in_stock=perhaps",
        "cache=off", "sort=best&page=2&in_stock=on",
    ],
)  # fmt: skip
def test_a_category_page_survives_any_address(visitor: Browser, query: str) -> None:
    category = Product.objects.earliest("pk").category
    assert visitor.get(f"{category.get_absolute_url()}?{query}").status_code == 200


def test_a_filter_that_makes_no_sense_is_reported_and_not_applied(visitor: Browser) -> None:
    product = Product.objects.earliest("pk")
    page = visitor.get(f"{product.category.get_absolute_url()}?price_from=abc").content.decode()
    assert "Enter a number." in page
    assert product.name in page


@pytest.mark.parametrize(
    "url",
    [
        "/product/no-such-thing/",
        "/category/no-such-thing/",
        "/orders/1/",
        "/orders/99999999999999999999/",
    ],
)
def test_what_is_not_there_or_not_yours_is_a_404(visitor: Browser, url: str) -> None:
    response = visitor.get(url)
    assert response.status_code == 404
    assert "We do not have that." in response.content.decode()


def test_an_empty_cart_cannot_be_checked_out(visitor: Browser) -> None:
    assert "It is empty" in visitor.get("/cart/").content.decode()
    response = visitor.client.post("/checkout/", follow=True)
    assert "Your cart is empty." in response.content.decode()


@pytest.mark.parametrize("quantity", ["0", "-1", "100", "1e9", "abc", "", "9" * 400])
def test_a_quantity_that_makes_no_sense_is_refused(visitor: Browser, quantity: str) -> None:
    product = Product.objects.earliest("pk")
    response = visitor.client.post(
        f"{product.get_absolute_url()}add-to-cart/", {"quantity": quantity}, follow=True
    )
    assert response.status_code == 200
    assert "It is empty" in visitor.get("/cart/").content.decode()


def test_the_cart_forgets_products_that_are_gone(visitor: Browser) -> None:
    product = ProductFactory(stock=5)
    visitor.submit(product.get_absolute_url(), "/add-to-cart/", quantity=2)
    product.delete()
    assert "It is empty" in visitor.get("/cart/").content.decode()
    visitor.client.post("/cart/", {"product": "99999999999999999999", "quantity": "3"})
    assert visitor.get("/cart/").status_code == 200


def test_what_was_sold_meanwhile_is_not_sold_twice(visitor: Browser) -> None:
    first, second = ProductFactory(stock=5), ProductFactory(stock=2)
    for product in (first, second):
        visitor.submit(product.get_absolute_url(), "/add-to-cart/", quantity=2)
    assert "Check out" in visitor.get("/cart/").content.decode()
    Product.objects.filter(pk=second.pk).update(stock=1)
    assert "Only 1 left" in visitor.get("/cart/").content.decode()

    orders, customers = Order.objects.count(), Customer.objects.count()
    address = {"name": "Ed", "email": "ed@example.com", "address": "Here"}
    refused = visitor.client.post("/checkout/", address, follow=True).content.decode()
    assert "There is not enough of" in refused
    first.refresh_from_db()
    assert first.stock == 5
    assert Order.objects.count() == orders
    assert Customer.objects.count() == customers


def test_an_order_is_placed_as_a_whole_or_not_at_all() -> None:
    customer = CustomerFactory()
    enough, too_little = ProductFactory(stock=9, price=Decimal("2.50")), ProductFactory(stock=0)
    orders = Order.objects.count()
    with pytest.raises(OutOfStockError):
        place_order(customer, "Here", [CartLine(enough, 4), CartLine(too_little, 1)])
    assert Order.objects.count() == orders
    order = place_order(customer, "Here", [CartLine(enough, 4)])
    assert [(line.quantity, line.price) for line in order.lines.all()] == [(4, Decimal("2.50"))]
    assert Product.objects.get(pk=enough.pk).stock == 5


def test_an_order_is_shown_to_nobody_else(visitor: Browser) -> None:
    product = ProductFactory(stock=5)
    visitor.submit(product.get_absolute_url(), "/add-to-cart/", quantity=1)
    visitor.submit("/checkout/", name="Ed", email="ed@example.com", address="Secret Lane")
    url = Order.objects.earliest("-pk").get_absolute_url()
    assert "Secret Lane" in visitor.get(url).content.decode()
    assert Browser("somebody else").get(url).status_code == 404


def test_a_review_needs_a_login_and_a_rating(visitor: Browser) -> None:
    product = Product.objects.earliest("pk")
    url = f"{product.get_absolute_url()}review/"
    count = Review.objects.count()
    assert visitor.client.post(url, {"rating": 5, "title": "!"}).status_code == 302
    visitor.client.force_login(User.objects.get(username="ada"))
    for rating in ("6", "0", "abc", ""):
        response = visitor.client.post(url, {"rating": rating, "title": "kept"})
        assert response.status_code == 400
        assert 'value="kept"' in response.content.decode()
    assert Review.objects.count() == count


def test_the_footer_says_what_the_page_has_cost(visitor: Browser) -> None:
    visitor.get("/")  # Django remembers the site in the process, from the first page on
    without_cache = visitor.get("/?cache=off")
    costs = without_cache.page_costs
    assert costs.from_cache == 0
    assert costs.database_queries > 3
    assert str(costs) in without_cache.content.decode()
    warm = visitor.get("/")
    assert warm.page_costs.queries == costs.queries == warm.page_costs.from_cache
    assert int(warm.headers["Content-Length"]) == len(warm.content)


def test_looking_at_the_checkout_writes_nothing(visitor: Browser) -> None:
    somebody = User.objects.create_user("somebody")
    visitor.client.force_login(somebody)
    product = ProductFactory(stock=5)
    visitor.submit(product.get_absolute_url(), "/add-to-cart/", quantity=1)
    assert visitor.get("/checkout/").status_code == 200
    assert not Customer.objects.filter(user=somebody).exists()
