from django.shortcuts import render
from wagtail.contrib.search_promotions.models import Query
from wagtail.models import Page


def search(request):
    text = request.GET.get("q", "")
    pages = Page.objects.live().public()
    return render(
        request,
        "magazine/search.html",
        {
            "found": pages.search(text) if text else [],
            "completed": pages.autocomplete(text) if text else [],
            "promoted": Query.get(text).editors_picks.all() if text else [],
        },
    )
