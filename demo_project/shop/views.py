"""The pages of the shop. Nothing here knows of the cache: these are plain Django views."""

from decimal import Decimal

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import AbstractUser
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.db.models import Avg, Count, F, Max, Min, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from demo_project.shop.cart import Cart
from demo_project.shop.checkout import OutOfStockError, place_order
from demo_project.shop.forms import (
    CartLineForm,
    CheckoutForm,
    FilterForm,
    QuantityForm,
    ReviewForm,
    SearchForm,
)
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

CARDS_PER_PAGE = 24
REVIEWS_PER_PAGE = 10
SESSION_ORDERS = "orders"  # ids of the orders that this visitor placed without a login


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    products = Product.objects.for_cards()
    context = {
        "categories": Category.objects.annotate(product_count=Count("products")),
        "newest": products.order_by("-created", "-pk")[:4],
        "best_rated": products.filter(review_count__gte=5, stock__gt=0).order_by(
            "-rating", "-review_count", "pk"
        )[:4],
        "best_sellers": Product.objects.select_related("brand", "category")
        .annotate(sold=Sum("order_lines__quantity"))
        .filter(sold__gt=0)
        .order_by("-sold", "pk")[:4],
        "latest_reviews": Review.objects.select_related("product", "customer")[:3],
        "product_count": Product.objects.count(),
        "review_summary": Review.objects.aggregate(count=Count("pk"), rating=Avg("rating")),
    }
    return render(request, "shop/home.html", context)


@require_GET
def category(request: HttpRequest, slug: str) -> HttpResponse:
    category = get_object_or_404(Category, slug=slug)
    in_category = Q(products__category=category)
    form = FilterForm(
        request.GET,
        brands=Brand.objects.filter(in_category).annotate(product_count=Count("products")),
        tags=Tag.objects.filter(in_category).annotate(product_count=Count("products")),
    )
    products = form.apply(Product.objects.for_cards().filter(category=category))
    context = {
        "category": category,
        "form": form,
        "prices": category.products.aggregate(lowest=Min("price"), highest=Max("price")),
        "page": page_of(request, products, CARDS_PER_PAGE),
        "query_without_page": query_without_page(request),
    }
    return render(request, "shop/category.html", context)


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    words = form.cleaned_data["q"].split() if form.is_valid() else []
    products = Product.objects.for_cards()
    for word in words:
        products = products.filter(Q(name__icontains=word) | Q(brand__name__icontains=word))
    context = {
        "form": form,
        "words": words,
        "page": page_of(
            request, products.order_by("name", "pk") if words else products.none(), CARDS_PER_PAGE
        ),
        "query_without_page": query_without_page(request),
    }
    return render(request, "shop/search.html", context)


@require_GET
def product(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product.objects.for_cards(), slug=slug)
    return render(request, "shop/product.html", product_context(request, product, ReviewForm()))


@require_POST
@login_required
def write_review(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product.objects.for_cards(), slug=slug)
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return render(
            request, "shop/product.html", product_context(request, product, form), status=400
        )
    form.instance.product = product
    form.instance.customer = get_or_create_customer(request.user)
    form.save()
    messages.success(request, "Thank you for your review.")
    return redirect(product)


def product_context(request: HttpRequest, product: Product, form: ReviewForm) -> dict:
    by_stars = dict(product.reviews.order_by().values_list("rating").annotate(count=Count("pk")))
    return {
        "product": product,
        "star_counts": [(stars, by_stars.get(stars, 0)) for stars in (5, 4, 3, 2, 1)],
        "reviews": page_of(request, product.reviews.select_related("customer"), REVIEWS_PER_PAGE),
        "query_without_page": query_without_page(request),
        "similar": Product.objects.for_cards()
        .filter(category=product.category, stock__gt=0)
        .exclude(pk=product.pk)
        .filter(price__range=(product.price * Decimal("0.8"), product.price * Decimal("1.2")))
        .order_by("-rating", "pk")[:4],
        "has_bought": request.user.is_authenticated
        and OrderLine.objects.filter(product=product, order__customer__user=request.user).exists(),
        "quantity_form": QuantityForm(),
        "review_form": form,
    }


@require_POST
def add_to_cart(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product, slug=slug)
    form = QuantityForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Quantity: {form.errors['quantity'][0]}")
        return redirect(product)
    Cart(request.session).add(product, form.cleaned_data["quantity"])
    messages.success(request, f"“{product.name}” is in your cart.")
    return redirect("shop:cart")


def cart(request: HttpRequest) -> HttpResponse:
    cart = Cart(request.session)
    if request.method == "POST":
        form = CartLineForm(request.POST)
        if form.is_valid():
            cart.change(form.cleaned_data["product"], form.cleaned_data["quantity"])
        else:
            messages.error(request, "That is no quantity that we can deliver.")
        return redirect("shop:cart")
    lines = cart.lines()
    return render(
        request,
        "shop/cart.html",
        {
            "lines": lines,
            "total": sum(line.price for line in lines),
            "can_check_out": bool(lines) and all(line.is_available for line in lines),
        },
    )


def checkout(request: HttpRequest) -> HttpResponse:
    cart = Cart(request.session)
    lines = cart.lines()
    if not lines:
        messages.error(request, "Your cart is empty.")
        return redirect("shop:cart")
    form = CheckoutForm(request.POST or None, instance=customer_for_checkout(request))
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():  # a customer without an order is of no use
                order = place_order(form.save(), form.cleaned_data["address"], lines)
        except OutOfStockError as error:
            messages.error(request, str(error))
            return redirect("shop:cart")
        cart.clear()
        request.session[SESSION_ORDERS] = [*request.session.get(SESSION_ORDERS, []), order.pk]
        messages.success(request, "Thank you. Your order is on its way to our packers.")
        return redirect(order)
    context = {"form": form, "lines": lines, "total": sum(line.price for line in lines)}
    return render(request, "shop/checkout.html", context)


@require_GET
def order(request: HttpRequest, pk: int) -> HttpResponse:
    order = get_object_or_404(orders_with_lines(), pk=pk)
    belongs_to_user = request.user.is_authenticated and order.customer.user_id == request.user.pk
    if not belongs_to_user and pk not in request.session.get(SESSION_ORDERS, []):
        raise Http404
    return render(request, "shop/order.html", {"order": order})


@require_GET
@login_required
def orders(request: HttpRequest) -> HttpResponse:
    placed = orders_with_lines().filter(customer__user=request.user)
    return render(request, "shop/orders.html", {"orders": placed})


def sign_up(request: HttpRequest) -> HttpResponse:
    form = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        messages.success(request, "Welcome! You are logged in.")
        return redirect("shop:home")
    return render(request, "registration/signup.html", {"form": form})


def orders_with_lines() -> QuerySet[Order]:
    return (
        Order.objects.select_related("customer")
        .annotate(total=Sum(F("lines__price") * F("lines__quantity")))
        .prefetch_related("lines__product__category")
    )


def get_or_create_customer(user: AbstractUser) -> Customer:
    customer, _ = Customer.objects.get_or_create(user=user, defaults=customer_details(user))
    return customer


def customer_for_checkout(request: HttpRequest) -> Customer:
    """The user's customer record; a new one is not saved here, where the page is only looked at."""
    if not request.user.is_authenticated:
        return Customer()
    known = Customer.objects.filter(user=request.user).first()
    return known or Customer(user=request.user, **customer_details(request.user))


def customer_details(user: AbstractUser) -> dict[str, str]:
    return {"name": user.get_full_name() or user.username, "email": user.email}


def page_of(request: HttpRequest, objects: QuerySet, size: int) -> Page:
    """The page that is asked for, or the nearest one that exists."""
    page = Paginator(objects, size).get_page(request.GET.get("page"))
    page.numbers = page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)
    return page


def query_without_page(request: HttpRequest) -> str:
    """The query string of this page without `page` and `cache`, for links to the other pages."""
    query = request.GET.copy()
    query.pop("page", None)
    query.pop("cache", None)
    return query.urlencode()
