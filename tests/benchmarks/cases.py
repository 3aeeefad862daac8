"""
What is timed, in a worker.

A case is a function of a number that rises by one with each repetition: a few queries in turn for
a hit, another query each time for a miss.
"""

import random
from collections.abc import Callable
from decimal import Decimal
from itertools import accumulate
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Avg, Count, F, Max, Min
from django.db.models.functions import Now

from tests.benchmarks.shop.models import Category, Note, Product

IN_TURN = 10
"""Different queries that a hit is timed over."""
SHELF = 500
"""Products that the visitors of the page choose from."""


def get(number: int) -> Any:
    return Product.objects.get(pk=1 + number % IN_TURN)


def list_20(number: int) -> Any:
    return list(in_category(number)[:20])


def list_200(number: int) -> Any:
    return list(in_category(number)[:200])


def select_related(number: int) -> Any:
    return list(in_category(number).select_related("category")[:20])


def prefetch(number: int) -> Any:
    return list(in_category(number).prefetch_related("tags", "reviews")[:20])


def count(number: int) -> Any:
    return in_category(number).count()


def values(number: int) -> Any:
    return list(in_category(number).values("pk", "name", "price")[:20])


def annotate(number: int) -> Any:
    return list(
        Category.objects.annotate(
            reviews=Count("products__reviews"), rating=Avg("products__reviews__rating")
        ).order_by("pk")
    )


def miss(number: int) -> Any:
    """
    A list of 20, looked for and filled, for each number anew.

    querycache is told to: it soon leaves alone what is filled each time and never read.
    """
    return list(as_asked(never_twice(number)))


def unread(number: int) -> Any:
    """The same, by default, and none of those that ``miss()`` has filled."""
    return list(never_twice(10_000_000 + number))


def as_asked(queryset: models.QuerySet[Product]) -> models.QuerySet[Product]:
    if not apps.is_installed("querycache"):
        return queryset
    from querycache import cached

    return cached(queryset)


def never_twice(number: int) -> models.QuerySet[Product]:
    """Another query for each number: every price is above these."""
    return in_category(number).filter(price__gt=Decimal(-1 - number) / 100)[:20]


def new_text(number: int) -> Any:
    """A list of 20 whose SQL nobody has seen before."""
    return list(in_category(number).values("pk", **{f"name_{number}": F("name")})[:20])


def other(number: int) -> Any:
    return Note.objects.get(pk=1 + number % IN_TURN)


def refused(number: int) -> Any:
    """Of a model that is opted in, and never cached."""
    return Product.objects.filter(created__lte=Now()).get(pk=1 + number % IN_TURN)


def save(number: int) -> Any:
    product = write_to[0]
    product.stock = number
    product.save()
    return product


def update(number: int) -> Any:
    products = Product.objects.filter(pk=1)
    # cacheops leaves update() alone, and has a method of its own that invalidates.
    write = getattr(products, "invalidated_update", products.update)
    return write(stock=number)


def page(number: int) -> Any:
    """Ten queries, as a product's page of a shop has them."""
    pk = VISITS[number % len(VISITS)]
    product = Product.objects.select_related("category").get(pk=pk)
    category = product.category
    return [
        product,
        list(product.tags.order_by("pk")),
        list(product.reviews.order_by("-pk")[:10]),
        product.reviews.aggregate(count=Count("pk"), rating=Avg("rating")),
        list(category.products.exclude(pk=pk).order_by("-created")[:8]),
        category.products.count(),
        category.products.aggregate(lowest=Min("price"), highest=Max("price")),
        list(Category.objects.annotate(size=Count("products")).order_by("pk")),
        list(Product.objects.select_related("category").order_by("-created")[:20]),
        list(Product.objects.filter(active=True, stock__gt=40).order_by("price", "pk")[:20]),
    ]


def in_category(number: int) -> models.QuerySet[Product]:
    return Product.objects.filter(category_id=1 + number % IN_TURN).order_by("pk")


def skewed_visits(number: int) -> list[int]:
    """The first product is visited twice as often as the second, and so on (Zipf)."""
    weights = list(accumulate(1 / rank for rank in range(1, SHELF + 1)))
    return random.Random(1).choices(range(1, SHELF + 1), cum_weights=weights, k=number)


VISITS = skewed_visits(20_000)

write_to: list[Product] = []
"""The product that ``save()`` writes."""


def before_a_write() -> None:
    """Read what the write makes stale: nobody writes to a table that is never read."""
    write_to[:] = [get(0)]
    list_20(0)
    count(0)


CASES: dict[str, Callable[[int], Any]] = {
    function.__name__: function
    for function in (
        get, list_20, list_200, select_related, prefetch, count, values, annotate, miss, unread,
        other, refused, save, update, page,
    )
}  # fmt: skip
BEFORE: dict[str, Callable[[], None]] = {"save": before_a_write, "update": before_a_write}


def picture(value: Any, depth: int = 2) -> Any:
    """What a result is, with all that came with it, as something to compare."""
    if isinstance(value, list):
        return [picture(one, depth) for one in value]
    if not isinstance(value, models.Model):
        return value
    columns = [(field.attname, getattr(value, field.attname)) for field in value._meta.fields]
    if not depth:  # a review knows its product, which knows its reviews
        return type(value).__name__, columns
    state = {name: vars(value)[name] for name in sorted(vars(value)) if not name.startswith("_")}
    related = {name: picture(found, depth - 1) for name, found in value._state.fields_cache.items()}
    prefetched = {
        name: sorted(repr(picture(one, depth - 1)) for one in found)
        for name, found in getattr(value, "_prefetched_objects_cache", {}).items()
    }
    return type(value).__name__, columns, state, related, prefetched
