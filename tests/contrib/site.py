"""An admin that uses what Django's admin has, and a page that says who asks for it."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.admin import GenericTabularInline
from django.contrib.sites.models import Site
from django.contrib.sites.shortcuts import get_current_site
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from demo_project.shop.models import Category
from tests.testapp.models import Author, Book, Note, Publisher, Tag

site = admin.AdminSite("contrib")
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)
site.register([Permission, Site, Publisher, Category])


class NoteInline(GenericTabularInline):
    model = Note
    extra = 1


class BookInline(admin.TabularInline):
    model = Book
    fields = ["name", "price", "in_print"]
    extra = 1
    show_change_link = True


@admin.register(Tag, site=site)
class TagAdmin(admin.ModelAdmin):
    search_fields = ["name"]


@admin.register(Author, site=site)
class AuthorAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "born", "number_of_books"]
    list_editable = ["email"]
    ordering = ["name"]
    search_fields = ["name", "books__name"]
    date_hierarchy = "born"
    inlines = [BookInline, NoteInline]

    @admin.display(description="books")
    def number_of_books(self, author: Author) -> int:
        return author.books.count()


@admin.register(Book, site=site)
class BookAdmin(admin.ModelAdmin):
    list_display = ["name", "author", "publisher", "price", "in_print"]
    list_filter = ["in_print", "author", ("publisher", admin.RelatedOnlyFieldListFilter), "tags"]
    list_select_related = ["author", "publisher"]
    list_per_page = 3
    ordering = ["pk"]
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ["name", "author__name"]
    autocomplete_fields = ["author"]
    raw_id_fields = ["publisher"]
    filter_horizontal = ["tags"]
    fields = ["name", "author", "publisher", "tags", "price", "in_print"]
    actions = ["take_out_of_print"]

    @admin.action(description="Take out of print")
    def take_out_of_print(self, request: HttpRequest, books: Any) -> None:
        self.message_user(request, f"{books.update(in_print=False)} books")


def me(request: HttpRequest) -> HttpResponse:
    user = request.user
    seen = [
        user.get_username(),
        user.is_authenticated and user.get_full_name(),
        sorted(user.get_all_permissions()),
        user.has_module_perms("testapp"),
        get_current_site(request).name,
        request.session.get("number"),
    ]
    if "number" in request.GET:
        request.session["number"] = int(request.GET["number"])
    return HttpResponse(repr(seen))


urlpatterns = [
    path("admin/", site.urls),
    path("me/", me),
    path("", include("django.contrib.auth.urls")),  # the shop's page for 404 links to them
    path("", include("demo_project.shop.urls")),
]
