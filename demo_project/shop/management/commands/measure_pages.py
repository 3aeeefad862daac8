"""`manage.py measure_pages`: what each page costs without the cache, cold and warm."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from django.test import Client
from rich.console import Console
from rich.table import Table

import querycache
from demo_project.shop.models import Category, Product
from demo_project.shop.page_costs import PageCosts

VISITS = 5  # of each kind; the one in the middle is shown


class Command(BaseCommand):
    help = "Visit the pages of the shop without the cache, with an empty and with a filled one."

    def handle(self, **options: Any) -> None:
        product = (
            Product.objects.annotate(review_count=Count("reviews"))
            .order_by("-review_count", "pk")
            .first()
        )
        category = Category.objects.first()
        if product is None or category is None:
            raise CommandError("The shop is empty: run `manage.py seed_shop` first.")

        visitor = Client(SERVER_NAME="localhost")
        shopkeeper = Client(SERVER_NAME="localhost")
        shopkeeper.force_login(get_user_model().objects.filter(is_superuser=True).earliest("pk"))
        filters = "?in_stock=on&price_from=20&sort=best"
        pages = [
            ("Home", visitor, "/"),
            ("Category", visitor, category.get_absolute_url()),
            ("Category, filtered", visitor, category.get_absolute_url() + filters),
            ("Product", visitor, product.get_absolute_url()),
            ("Search", visitor, "/search/?q=oak+lamp"),
            ("Admin: products", shopkeeper, "/admin/shop/product/"),
            ("Admin: a product", shopkeeper, f"/admin/shop/product/{product.pk}/change/"),
        ]

        table = Table(title="What a page costs (times in ms)")
        table.add_column("Page", no_wrap=True)
        for heading in ("Queries", "From cache", "No cache", "Cold", "Warm"):
            table.add_column(heading, justify="right")
        for name, client, url in pages:
            without_cache, cold, warm = measure(client, url)
            table.add_row(
                name,
                str(warm.queries),
                str(warm.from_cache),
                *(f"{costs.milliseconds:.1f}" for costs in (without_cache, cold, warm)),
            )
        Console().print(table)


def measure(client: Client, url: str) -> tuple[PageCosts, PageCosts, PageCosts]:
    """Return the costs of a page without the cache, with an empty one and with a filled one."""
    with querycache.bypass():
        visit(client, url)  # compiles the templates, which is nobody's query
        without_cache = typical(visit(client, url) for _ in range(VISITS))
    cold = typical(visit_after_flush(client, url) for _ in range(VISITS))
    warm = typical(visit(client, url) for _ in range(VISITS))
    return without_cache, cold, warm


def visit(client: Client, url: str) -> PageCosts:
    response = client.get(url)
    if response.status_code != 200:
        raise CommandError(f"{url} answered {response.status_code}.")
    return response.page_costs


def visit_after_flush(client: Client, url: str) -> PageCosts:
    querycache.flush()
    return visit(client, url)


def typical(visits: Iterable[PageCosts]) -> PageCosts:
    """The visit in the middle, by time: one slow visit says something about the machine only."""
    return sorted(visits, key=lambda costs: costs.milliseconds)[VISITS // 2]
