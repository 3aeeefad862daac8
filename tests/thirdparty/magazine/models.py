"""What a site made with Wagtail usually has: pages of some kinds, snippets, settings, a menu."""

from django.db import models
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey, ParentalManyToManyField
from modelcluster.models import ClusterableModel
from taggit.models import TaggedItemBase
from wagtail.admin.panels import FieldPanel, InlinePanel
from wagtail.blocks import CharBlock, PageChooserBlock, RichTextBlock
from wagtail.contrib.forms.models import AbstractEmailForm, AbstractFormField
from wagtail.contrib.settings.models import BaseGenericSetting, BaseSiteSetting, register_setting
from wagtail.documents.blocks import DocumentChooserBlock
from wagtail.fields import RichTextField, StreamField
from wagtail.images.blocks import ImageChooserBlock
from wagtail.models import (
    DraftStateMixin,
    LockableMixin,
    Orderable,
    Page,
    PreviewableMixin,
    RevisionMixin,
    TranslatableMixin,
    WorkflowMixin,
)
from wagtail.search import index
from wagtail.snippets.models import register_snippet


@register_snippet
class Topic(TranslatableMixin, models.Model):
    """A snippet as plain as can be."""

    name = models.CharField(max_length=80)

    class Meta(TranslatableMixin.Meta):
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


@register_snippet
class Writer(
    WorkflowMixin,
    DraftStateMixin,
    LockableMixin,
    RevisionMixin,
    PreviewableMixin,
    index.Indexed,
    models.Model,
):
    """A snippet that can do whatever a page can."""

    name = models.CharField(max_length=80)
    portrait = models.ForeignKey(
        "wagtailimages.Image", models.SET_NULL, null=True, blank=True, related_name="+"
    )

    panels = ["name", "portrait"]
    search_fields = [index.SearchField("name"), index.AutocompleteField("name")]

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_preview_template(self, request, mode_name):
        return "magazine/writer.html"


@register_snippet
class Menu(ClusterableModel):
    name = models.CharField(max_length=80)

    panels = [FieldPanel("name"), InlinePanel("items")]

    def __str__(self) -> str:
        return self.name


class MenuItem(Orderable):
    menu = ParentalKey(Menu, related_name="items")
    label = models.CharField(max_length=80)
    page = models.ForeignKey("wagtailcore.Page", models.CASCADE, related_name="+")


@register_setting
class Imprint(BaseSiteSetting):
    text = models.CharField(max_length=200, default="nobody")


@register_setting
class Colours(BaseGenericSetting):
    background = models.CharField(max_length=20, default="white")


class HomePage(Page):
    intro = RichTextField(blank=True)

    content_panels = [*Page.content_panels, "intro"]
    template = "magazine/home.html"

    def get_context(self, request, *args, **kwargs):
        articles = ArticlePage.objects.live().public().descendant_of(self)
        return {
            **super().get_context(request, *args, **kwargs),
            "articles": articles.select_related("writer").prefetch_related("topics").order_by("pk"),
            "newest": articles.order_by("-first_published_at", "-pk").first(),
            "count": articles.count(),
            "tags": ArticleTag.objects.values_list("tag__name", flat=True)
            .distinct()
            .order_by("tag__name"),
        }


class ArticleTag(TaggedItemBase):
    content_object = ParentalKey("ArticlePage", related_name="tagged_items")


class ArticlePage(Page):
    intro = models.CharField(max_length=200, blank=True)
    writer = models.ForeignKey(
        Writer, models.SET_NULL, null=True, blank=True, related_name="articles"
    )
    topics = ParentalManyToManyField(Topic, blank=True)
    picture = models.ForeignKey(
        "wagtailimages.Image", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    tags = ClusterTaggableManager(through=ArticleTag, blank=True)
    body = StreamField(
        [
            ("heading", CharBlock()),
            ("text", RichTextBlock()),
            ("picture", ImageChooserBlock()),
            ("page", PageChooserBlock()),
            ("document", DocumentChooserBlock()),
        ],
        blank=True,
    )

    content_panels = [
        *Page.content_panels,
        "intro",
        "writer",
        "topics",
        "picture",
        "tags",
        "body",
        InlinePanel("links"),
    ]
    search_fields = [
        *Page.search_fields,
        index.SearchField("intro"),
        index.AutocompleteField("intro"),
        index.FilterField("writer_id"),
    ]
    template = "magazine/article.html"


class Link(Orderable):
    article = ParentalKey(ArticlePage, related_name="links")
    label = models.CharField(max_length=80)
    url = models.URLField()


class LetterField(AbstractFormField):
    page = ParentalKey("LetterPage", related_name="form_fields")


class LetterPage(AbstractEmailForm):
    content_panels = [*AbstractEmailForm.content_panels, InlinePanel("form_fields")]
    template = "magazine/letter.html"
    landing_page_template = "magazine/thanks.html"
