"""What Wagtail's scripts make of a form: fields that are not in its HTML."""

from typing import Any

PUBLISH = {"action-publish": "action-publish"}


def article(
    body: list[tuple[str, Any]] | None = None,
    comments: list[dict[str, Any]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the data of an article's form with what a script fills in."""
    blocks = body or []
    data = {"body-count": len(blocks)}
    for number, (kind, value) in enumerate(blocks):
        data |= {f"body-{number}-type": kind, f"body-{number}-value": value}
        data |= {f"body-{number}-order": number, f"body-{number}-deleted": ""}
    return {**data, **inline("comments", *(comments or [])), **fields}


def inline(name: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """Return the data of rows of a form in a form; those that have an ``id`` are there already."""
    old = sum("id" in row for row in rows)
    data = {f"{name}-TOTAL_FORMS": len(rows), f"{name}-INITIAL_FORMS": old}
    for number, row in enumerate(rows):
        row = {"id": "", "ORDER": number + 1, "DELETE": "", **row}
        data |= {f"{name}-{number}-{field}": value for field, value in row.items()}
    return data


def rich(html: str) -> str:
    """Return what the editor of rich text sends."""
    from wagtail.admin.rich_text import get_rich_text_editor_widget

    widget = get_rich_text_editor_widget()
    text: str = widget.format_value(html)
    return text
