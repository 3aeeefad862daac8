"""What the frame around every page of the shop shows."""

from typing import Any

from django.http import HttpRequest

from demo_project.shop.cart import Cart
from demo_project.shop.models import Category


def every_page(request: HttpRequest) -> dict[str, Any]:
    # Lazy, because Django's own admin pages use neither.
    return {
        "all_categories": Category.objects.all(),
        "cart_size": lambda: len(Cart(request.session)),
    }
