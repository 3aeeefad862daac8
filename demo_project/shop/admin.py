"""The shopkeeper's side: plain Django admin."""

from django.contrib import admin

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


@admin.register(Category, Brand, Tag)
class NamedAdmin(admin.ModelAdmin):
    list_display = ["name", "slug"]
    search_fields = ["name"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "category", "brand", "price", "stock", "created"]
    list_editable = ["price", "stock"]
    list_filter = ["category", "tags", "created"]
    list_select_related = ["category", "brand"]
    list_per_page = 50
    search_fields = ["name", "brand__name"]
    autocomplete_fields = ["brand"]
    filter_horizontal = ["tags"]
    prepopulated_fields = {"slug": ["name"]}
    date_hierarchy = "created"


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "user"]
    list_select_related = ["user"]
    search_fields = ["name", "email"]
    autocomplete_fields = ["user"]


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["title", "rating", "product", "customer", "created"]
    list_filter = ["rating", "created"]
    list_select_related = ["product", "customer"]
    list_per_page = 50
    search_fields = ["title"]
    autocomplete_fields = ["product", "customer"]


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    autocomplete_fields = ["product"]
    extra = 0


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["__str__", "customer", "status", "created"]
    list_filter = ["status", "created"]
    list_select_related = ["customer"]
    search_fields = ["customer__name", "customer__email"]
    autocomplete_fields = ["customer"]
    inlines = [OrderLineInline]
