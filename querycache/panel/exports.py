"""Figures for other programs: CSV and JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.http import HttpResponse, JsonResponse

Records = Sequence[Mapping[str, Any]]

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet would run."""


def as_json(name: str, records: Records) -> HttpResponse:
    """Return the records as a JSON file."""
    response = JsonResponse({name: list(records)}, json_dumps_params={"indent": 2})
    return _named(response, f"querycache-{name}.json")


def as_csv(name: str, records: Records) -> HttpResponse:
    """Return the records as a CSV file that no spreadsheet takes for formulas."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    names = list(records[0]) if records else []
    writer.writerow(names)
    writer.writerows([_cell(record.get(each)) for each in names] for record in records)
    response = HttpResponse(lines.getvalue(), content_type="text/csv; charset=utf-8")
    return _named(response, f"querycache-{name}.csv")


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = "; ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return "" if value is None else value


def _named(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
