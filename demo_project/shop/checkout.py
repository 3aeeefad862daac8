"""Turning a cart into an order."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import F

from demo_project.shop.cart import CartLine
from demo_project.shop.models import Customer, Order, OrderLine, Product


class OutOfStockError(Exception):
    """There is less of a product than was ordered."""

    def __init__(self, product: Product) -> None:
        super().__init__(f"There is not enough of “{product.name}” left.")
        self.product = product


@transaction.atomic
def place_order(customer: Customer, address: str, lines: Sequence[CartLine]) -> Order:
    """Take the stock and write the order; after an OutOfStockError everything is as it was."""
    order = Order.objects.create(customer=customer, address=address)
    # By primary key: two customers with the same products lock them in the same order.
    for line in sorted(lines, key=lambda line: line.product.pk):
        # The condition is in the UPDATE, where two customers cannot both take the last piece.
        taken = Product.objects.filter(pk=line.product.pk, stock__gte=line.quantity).update(
            stock=F("stock") - line.quantity
        )
        if not taken:
            raise OutOfStockError(line.product)
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order, product=line.product, quantity=line.quantity, price=line.product.price
        )
        for line in lines
    )
    return order
