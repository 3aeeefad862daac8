"""The cart: product ids and quantities in the session, products from the database."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.sessions.backends.base import SessionBase

from demo_project.shop.models import Product

SESSION_KEY = "cart"
MOST_OF_ONE_PRODUCT = 99


@dataclass(frozen=True, slots=True)
class CartLine:
    product: Product
    quantity: int

    @property
    def price(self) -> Decimal:
        return self.product.price * self.quantity

    @property
    def is_available(self) -> bool:
        return self.quantity <= self.product.stock


class Cart:
    """The cart of one session."""

    def __init__(self, session: SessionBase) -> None:
        self._session = session

    @property
    def quantities(self) -> dict[int, int]:
        # Session data is JSON, which knows no integer keys.
        return {int(pk): quantity for pk, quantity in self._session.get(SESSION_KEY, {}).items()}

    def __len__(self) -> int:
        return sum(self.quantities.values())

    def lines(self) -> list[CartLine]:
        """A line per product that still exists, in the order of adding."""
        return list(self._lines())

    def _lines(self) -> Iterator[CartLine]:
        quantities = self.quantities
        if not quantities:
            return
        products = Product.objects.select_related("brand", "category").in_bulk(quantities)
        for pk, quantity in quantities.items():
            if pk in products:
                yield CartLine(products[pk], quantity)

    def add(self, product: Product, quantity: int) -> None:
        self._set(product.pk, self.quantities.get(product.pk, 0) + quantity)

    def change(self, product_pk: int, quantity: int) -> None:
        """Change the quantity of a product that is in the cart; 0 takes it out."""
        # Only of such a product: what a visitor sends is no primary key until it was found.
        if product_pk in self.quantities:
            self._set(product_pk, quantity)

    def _set(self, product_pk: int, quantity: int) -> None:
        quantities = self.quantities
        if quantity > 0:
            quantities[product_pk] = min(quantity, MOST_OF_ONE_PRODUCT)
        else:
            quantities.pop(product_pk, None)
        self._session[SESSION_KEY] = {str(pk): count for pk, count in quantities.items()}

    def clear(self) -> None:
        self._session.pop(SESSION_KEY, None)
