"""What visitors may send to the shop."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from demo_project.shop.cart import MOST_OF_ONE_PRODUCT
from demo_project.shop.models import Brand, Customer, Product, Review, Tag

SORT_ORDERS = {
    "newest": ("Newest first", ["-created", "-pk"]),
    "cheapest": ("Price: low to high", ["price", "pk"]),
    "dearest": ("Price: high to low", ["-price", "pk"]),
    "best": ("Best rated", ["-rating", "-review_count", "pk"]),
    "name": ("Name", ["name", "pk"]),
}


class FilterForm(forms.Form):
    """Filters of a category page. A field that makes no sense is reported and not applied."""

    brand = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    tag = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    price_from = forms.DecimalField(
        required=False, min_value=0, max_digits=8, decimal_places=2, label="Price from"
    )
    price_to = forms.DecimalField(
        required=False, min_value=0, max_digits=8, decimal_places=2, label="to"
    )
    in_stock = forms.BooleanField(required=False, label="In stock only")
    sort = forms.ChoiceField(
        required=False, choices=[(name, label) for name, (label, _) in SORT_ORDERS.items()]
    )

    def __init__(self, data: QueryDict, *, brands: Iterable[Brand], tags: Iterable[Tag]) -> None:
        super().__init__(data)
        # The objects are their own labels: the page shows more of them than a name.
        self.fields["brand"].choices = [(brand.slug, brand) for brand in brands]
        self.fields["tag"].choices = [(tag.slug, tag) for tag in tags]

    def apply(self, products: QuerySet[Product]) -> QuerySet[Product]:
        """Return `products` filtered and sorted by the fields that are valid."""
        self.is_valid()  # errors stay on the form, which shows them
        wanted = self.cleaned_data
        if brands := wanted.get("brand"):
            products = products.filter(brand__slug__in=brands)
        if tags := wanted.get("tag"):
            # A subquery: joined, a product would be there once for each of its tags.
            with_tag = Product.tags.through.objects.filter(tag__slug__in=tags).values("product")
            products = products.filter(pk__in=with_tag)
        if (lowest := wanted.get("price_from")) is not None:
            products = products.filter(price__gte=lowest)
        if (highest := wanted.get("price_to")) is not None:
            products = products.filter(price__lte=highest)
        if wanted.get("in_stock"):
            products = products.filter(stock__gt=0)
        _, order = SORT_ORDERS[wanted.get("sort") or "newest"]
        return products.order_by(*order)


class SearchForm(forms.Form):
    q = forms.CharField(required=False, max_length=100, label="Search")


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=MOST_OF_ONE_PRODUCT, initial=1)


class CartLineForm(forms.Form):
    product = forms.IntegerField(min_value=1)
    quantity = forms.IntegerField(min_value=0, max_value=MOST_OF_ONE_PRODUCT)


class CheckoutForm(forms.ModelForm):
    class Meta:
        model = Customer
        fields = ["name", "email", "address"]
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
            "address": forms.Textarea(attrs={"rows": 3, "autocomplete": "street-address"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["address"].required = True


class ReviewForm(forms.ModelForm):
    class Meta:
        model = Review
        fields = ["rating", "title", "body"]
        widgets = {"body": forms.Textarea(attrs={"rows": 4})}
