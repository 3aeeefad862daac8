"""The admin of django-unfold, at the addresses of Django's own."""

from django.contrib.auth.models import User
from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from demo_project.shop.models import Brand
from querycache.admin import QueryCacheAdmin
from querycache.models import QueryCache

site = UnfoldAdminSite()
site.register([Brand, User], ModelAdmin)
site.register(QueryCache, QueryCacheAdmin)

urlpatterns = [path("admin/", site.urls)]
