from django import template

from tests.thirdparty.magazine.models import MenuItem

register = template.Library()


@register.inclusion_tag("magazine/menu.html", takes_context=True)
def menu(context, name):
    items = MenuItem.objects.filter(menu__name=name, page__live=True).select_related("page")
    return {"items": items, "request": context.get("request")}
