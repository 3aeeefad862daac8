"""
Factories that make the shop's stock, customers and opinions.

All their randomness comes from factory-boy's own generator: after
`factory.random.reseed_random(…)` they make the same shop again.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import factory
from django.utils.text import slugify
from factory.random import randgen

from demo_project.shop import catalogue
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

# Dates count from a fixed day, so that the same seed makes the same shop on any day.
OPENING_DAY = datetime(2025, 1, 6, 9, tzinfo=UTC)
MINUTES_IN_A_YEAR = 365 * 24 * 60


def some_time_in_the_first_year() -> datetime:
    return OPENING_DAY + timedelta(minutes=randgen.randrange(MINUTES_IN_A_YEAR))


def choose(*choices: Any) -> factory.LazyFunction:
    return factory.LazyFunction(lambda: randgen.choice(choices))


class CategoryFactory(factory.django.DjangoModelFactory[Category]):
    class Meta:
        model = Category
        django_get_or_create = ["slug"]

    class Params:
        department = factory.Iterator(catalogue.DEPARTMENTS)

    name = factory.LazyAttribute(lambda category: category.department.name)
    slug = factory.LazyAttribute(lambda category: slugify(category.name))
    icon = factory.LazyAttribute(lambda category: category.department.icon)
    blurb = factory.LazyAttribute(lambda category: category.department.blurb)


class BrandFactory(factory.django.DjangoModelFactory[Brand]):
    class Meta:
        model = Brand
        django_get_or_create = ["slug"]

    name = factory.Iterator(catalogue.BRANDS)
    slug = factory.LazyAttribute(lambda brand: slugify(brand.name))


class TagFactory(factory.django.DjangoModelFactory[Tag]):
    class Meta:
        model = Tag
        django_get_or_create = ["slug"]

    name = factory.Iterator(catalogue.TAGS)
    slug = factory.LazyAttribute(lambda tag: slugify(tag.name))


class ProductFactory(factory.django.DjangoModelFactory[Product]):
    class Meta:
        model = Product

    class Params:
        number = factory.Sequence(lambda n: n + 1)
        department = factory.LazyAttribute(lambda product: department_of(product.category))

    category = factory.SubFactory(CategoryFactory)
    brand = factory.SubFactory(BrandFactory)
    name = factory.LazyAttribute(
        lambda product: " ".join(
            randgen.choice(words)
            for words in (catalogue.MOODS, catalogue.MATERIALS, product.department.nouns)
        )
    )
    slug = factory.LazyAttribute(lambda product: f"{slugify(product.name)}-{product.number}")
    description = factory.LazyFunction(lambda: " ".join(randgen.sample(catalogue.DESCRIPTIONS, 3)))
    price = factory.LazyAttribute(lambda product: price_in(product.department))
    stock = factory.LazyFunction(lambda: max(0, randgen.randrange(-8, 60)))
    created = factory.LazyFunction(some_time_in_the_first_year)


def department_of(category: Category) -> catalogue.Department:
    """The words for a category, also for one that somebody has thought of later."""
    for department in catalogue.DEPARTMENTS:
        if department.name == category.name:
            return department
    return catalogue.DEPARTMENTS[0]


def price_in(department: catalogue.Department) -> Decimal:
    """A price with more cheap things than dear ones, as in most shops."""
    share = randgen.random() ** 2
    whole = department.cheapest + int(share * (department.dearest - department.cheapest))
    return Decimal(whole) + Decimal(randgen.choice(("0.00", "0.50", "0.90")))


class CustomerFactory(factory.django.DjangoModelFactory[Customer]):
    class Meta:
        model = Customer

    name = factory.LazyFunction(
        lambda: f"{randgen.choice(catalogue.FIRST_NAMES)} {randgen.choice(catalogue.LAST_NAMES)}"
    )
    email = factory.Sequence(lambda n: f"customer{n + 1}@example.com")
    address = factory.Sequence(lambda n: f"{n + 1} Harbour Street\nLarkspur")


class ReviewFactory(factory.django.DjangoModelFactory[Review]):
    class Meta:
        model = Review

    class Params:
        words = factory.LazyAttribute(
            lambda review: randgen.choice(catalogue.REVIEWS[review.rating])
        )

    product = factory.SubFactory(ProductFactory)
    customer = factory.SubFactory(CustomerFactory)
    rating = choose(5, 5, 5, 5, 4, 4, 4, 3, 3, 2, 1)
    title = factory.LazyAttribute(lambda review: review.words[0])
    body = factory.LazyAttribute(lambda review: review.words[1])
    created = factory.LazyFunction(some_time_in_the_first_year)


class OrderFactory(factory.django.DjangoModelFactory[Order]):
    class Meta:
        model = Order

    customer = factory.SubFactory(CustomerFactory)
    address = factory.SelfAttribute("customer.address")
    status = choose(Order.Status.SHIPPED, Order.Status.SHIPPED, Order.Status.PLACED)
    created = factory.LazyFunction(some_time_in_the_first_year)


class OrderLineFactory(factory.django.DjangoModelFactory[OrderLine]):
    class Meta:
        model = OrderLine

    order = factory.SubFactory(OrderFactory)
    product = factory.SubFactory(ProductFactory)
    quantity = choose(1, 1, 1, 2, 3)
    price = factory.SelfAttribute("product.price")
