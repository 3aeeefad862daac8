"""`manage.py seed_shop`: fill an empty shop."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from django.db.models import Model
from factory.random import randgen, reseed_random
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo_project.shop import catalogue, factories
from demo_project.shop.models import Customer, Order, OrderLine, Product, Review

SHOP_NAME = "Larkspur Goods"
SEED = "larkspur"
CHUNK = 2000  # objects in memory, and in one step of the progress bar

# For a demo on your own machine: everybody may know them.
ADMIN = {"username": "admin", "password": "admin", "email": "admin@example.com"}
SHOPPER = {"username": "ada", "password": "ada", "email": "ada@example.com"}


class Command(BaseCommand):
    help = "Fill an empty shop with products, reviews, customers and orders, always the same ones."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--products", type=int, default=10_000, metavar="N")
        parser.add_argument("--reviews", type=int, default=100_000, metavar="N")

    def handle(self, *, products: int, reviews: int, **options: Any) -> None:
        console = Console()
        if Product.objects.exists():
            console.print(
                f"The shop is already there, with {Product.objects.count():,} products and "
                f"{Review.objects.count():,} reviews."
            )
            return
        # All or nothing: a shop that was interrupted while being filled is empty again.
        with transaction.atomic(), progress_bar(console) as progress:
            seed_shop(progress, products=products, reviews=reviews)


def progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def seed_shop(progress: Progress, *, products: int, reviews: int) -> None:
    reseed_random(SEED)
    Site.objects.update_or_create(
        pk=settings.SITE_ID, defaults={"domain": "localhost", "name": SHOP_NAME}
    )
    users = get_user_model().objects
    if not users.filter(username=ADMIN["username"]).exists():
        users.create_superuser(**ADMIN)
    if not users.filter(username=SHOPPER["username"]).exists():
        shopper = users.create_user(**SHOPPER, first_name="Ada", last_name="Almeida")
        factories.CustomerFactory.create(
            user=shopper, name=shopper.get_full_name(), email=shopper.email
        )
    categories = factories.CategoryFactory.create_batch(len(catalogue.DEPARTMENTS))
    brands = factories.BrandFactory.create_batch(len(catalogue.BRANDS))
    tags = factories.TagFactory.create_batch(len(catalogue.TAGS))

    create_in_bulk(
        progress,
        Product,
        products,
        lambda: factories.ProductFactory.build(
            category=randgen.choice(categories), brand=randgen.choice(brands)
        ),
    )
    shelf = list(Product.objects.order_by("pk"))
    tagged = Product.tags.through
    tagged.objects.bulk_create(
        (
            tagged(product=product, tag=tag)
            for product in shelf
            for tag in randgen.sample(tags, randgen.randrange(4))
        ),
        batch_size=CHUNK,
    )
    create_in_bulk(progress, Customer, max(1, reviews // 50), factories.CustomerFactory.build)
    customers = list(Customer.objects.order_by("pk"))
    if shelf:
        create_in_bulk(
            progress,
            Review,
            reviews,
            lambda: factories.ReviewFactory.build(
                product=randgen.choice(shelf), customer=randgen.choice(customers)
            ),
        )
        create_orders(progress, shelf, customers)


def create_orders(progress: Progress, shelf: list[Product], customers: list[Customer]) -> None:
    create_in_bulk(
        progress,
        Order,
        len(customers),
        lambda: factories.OrderFactory.build(customer=randgen.choice(customers)),
    )
    favourites = randgen.sample(shelf, max(1, len(shelf) // 100))
    orders = list(Order.objects.select_related("customer").order_by("pk"))
    OrderLine.objects.bulk_create(
        (
            factories.OrderLineFactory.build(order=order, product=product)
            for order in orders
            for product in dict.fromkeys((randgen.choice(favourites), randgen.choice(shelf)))
        ),
        batch_size=CHUNK,
    )


def create_in_bulk(
    progress: Progress, model: type[Model], count: int, build: Callable[[], Model]
) -> None:
    """Save `count` objects of `model` made by `build`, in chunks, and show how far it is."""
    task = progress.add_task(f"{model.__name__.lower()}s", total=count)
    for start in range(0, count, CHUNK):
        objects = [build() for _ in range(min(CHUNK, count - start))]
        model.objects.bulk_create(objects)
        progress.advance(task, len(objects))
