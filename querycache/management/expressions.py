"""
Reads a queryset from text, for ``manage.py querycache explain``.

The text is parsed and never run as Python: it has to be a model, its manager and a chain of lazy
queryset methods, whose arguments are literals, ``Q``, ``F`` and the common aggregates. What else is
in it is refused by name: explaining a query neither writes nor runs another one.
"""

import ast
import difflib
from collections.abc import Iterable
from typing import Any, Final

from django.apps import apps
from django.db.models import Avg, Count, F, Max, Min, Model, Q, QuerySet, Sum

from querycache.exceptions import QueryCacheError

EXAMPLE: Final = "shop.Product.objects.filter(price__gt=10).order_by('name')[:20]"
MAX_LENGTH: Final = 10_000
"""Characters; Python's parser can run out of stack on a text that is long enough."""
METHODS: Final = (
    "alias",
    "all",
    "annotate",
    "cache",
    "defer",
    "distinct",
    "exclude",
    "filter",
    "nocache",
    "none",
    "only",
    "order_by",
    "prefetch_related",
    "reverse",
    "select_related",
    "using",
    "values",
    "values_list",
)
"""What returns another queryset, and runs nothing."""
EXPRESSIONS: Final = {call.__name__: call for call in (Avg, Count, F, Max, Min, Q, Sum)}
OPTIONS: Final = frozenset({"distinct", "filter"})
"""What an aggregate may be told; others, like ``template``, would put SQL into the query."""


class NotUnderstood(QueryCacheError):
    """The text is no queryset that can be explained; the message says which part of it is not."""


def model_named(label: str) -> type[Model]:
    """Return the model called "app.Model". Raises ``NotUnderstood``, with a close name."""
    try:
        return apps.get_model(label)
    except ValueError:
        raise NotUnderstood(f"'{label}' is no model; write app.Model, as in shop.Product") from None
    except LookupError:
        app = label.partition(".")[0]
        app_labels = [config.label for config in apps.get_app_configs()]
        if app not in app_labels:
            raise NotUnderstood(f"no app '{app}'{_did_you_mean(app, app_labels)}") from None
        labels = [model._meta.label for model in apps.get_models(include_auto_created=True)]
        raise NotUnderstood(f"no model '{label}'{_did_you_mean(label, labels)}") from None


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def queryset_from(text: str, using: str | None = None) -> QuerySet[Any, Any]:
    """
    Return the queryset that a text describes, on the database ``using`` unless it names its own.

    Raises ``NotUnderstood``.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise NotUnderstood(f"the text is longer than {MAX_LENGTH} characters")
    try:
        return _Reader(text, using).queryset(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:  # ValueError: a null character
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise NotUnderstood(f"this is not Python: {reason}; write {EXAMPLE}") from error
    except (MemoryError, RecursionError) as error:
        raise NotUnderstood("the text is nested too deeply") from error


class _Reader:
    """Turns the syntax tree of one text into a queryset."""

    def __init__(self, text: str, using: str | None) -> None:
        self._text = text
        self._using = using

    def queryset(self, node: ast.expr) -> QuerySet[Any, Any]:
        """Return the queryset of a chain, whose outermost node is its last step."""
        steps: list[tuple[str, ast.Call] | ast.expr] = []
        while True:
            match node:
                case ast.Call(func=ast.Attribute(value=inner, attr=name)) as call:
                    steps.append((name, call))
                case ast.Subscript(value=inner, slice=bounds):
                    steps.append(bounds)
                case _:
                    break
            node = inner
        queryset: QuerySet[Any, Any] = self._manager(node)
        for step in reversed(steps):
            if isinstance(step, tuple):
                queryset = self._method(queryset, *step)
            else:
                queryset = self._slice(queryset, step)
        return queryset

    def _manager(self, node: ast.expr) -> Any:
        match node:
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id=app), attr=name), attr=manager
            ):
                model = model_named(f"{app}.{name}")
            case _:
                raise self._refusal(node, f"begin with app.Model.manager, as in {EXAMPLE}")
        managers = model._meta.managers_map
        if manager not in managers:
            raise NotUnderstood(
                f"{model._meta.label} has no manager '{manager}'; it has {', '.join(managers)}"
            )
        found: Any = getattr(model, manager)
        return found.using(self._using) if self._using else found.all()

    def _method(self, queryset: Any, name: str, call: ast.Call) -> Any:
        if name not in METHODS or not hasattr(queryset, name):
            methods = ", ".join(name for name in METHODS if hasattr(queryset, name))
            raise NotUnderstood(f"{name}() is not understood; understood are {methods}")
        return self._called(getattr(queryset, name), name, call)

    def _slice(self, queryset: Any, node: ast.expr) -> Any:
        if not isinstance(node, ast.Slice) or node.step is not None:
            raise self._refusal(node, "an index or a step runs the query; write a slice like [:20]")
        bounds = [self._bound(bound) for bound in (node.lower, node.upper)]
        try:
            return queryset[slice(*bounds)]
        except (TypeError, ValueError) as error:
            raise NotUnderstood(f"[{ast.unparse(node)}]: {error}") from error

    def _bound(self, node: ast.expr | None) -> int | None:
        bound = None if node is None else self._literal(node)
        if bound is None or (isinstance(bound, int) and not isinstance(bound, bool)):
            return bound
        raise self._refusal(node, "the bounds of a slice are whole numbers")

    def _argument(self, node: ast.expr) -> Any:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in EXPRESSIONS:
                for keyword in node.keywords:
                    if name != "Q" and keyword.arg not in OPTIONS:
                        raise self._refusal(keyword, f"{name}() takes distinct and filter")
                return self._called(EXPRESSIONS[name], name, node)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() as operator):
                sides = self._condition(left), self._condition(node.right)
                if isinstance(operator, ast.BitAnd):
                    return sides[0] & sides[1]
                return (
                    sides[0] | sides[1] if isinstance(operator, ast.BitOr) else sides[0] ^ sides[1]
                )
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return ~self._condition(operand)
            case _:
                return self._literal(node)

    def _condition(self, node: ast.expr) -> Q:
        condition = self._argument(node)
        if isinstance(condition, Q):
            return condition
        raise self._refusal(node, "&, |, ^ and ~ stand between Q(…)")

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError) as error:  # TypeError: a set or a dict of lists
            names = ", ".join(sorted(EXPRESSIONS))
            raise self._refusal(node, f"arguments are literals or {names}") from error

    def _called(self, function: Any, name: str, call: ast.Call) -> Any:
        positional = [self._argument(argument) for argument in call.args]
        keywords = {}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                raise self._refusal(keyword, "name the lookups, without a leading underscore")
            keywords[keyword.arg] = self._argument(keyword.value)
        try:
            return function(*positional, **keywords)
        # Django raises what it likes: FieldError, ValidationError, AttributeError …
        except Exception as error:
            raise NotUnderstood(f"{name}(): {_message(error)}") from error

    def _refusal(self, node: Any, hint: str) -> NotUnderstood:
        source = ast.get_source_segment(self._text, node) or ""
        source = source if len(source) <= 60 else f"{source[:57]}..."
        return NotUnderstood(f"'{source}' is not understood: {hint}")


def _message(error: Exception) -> str:
    messages = getattr(error, "messages", None)  # of a ValidationError
    return "; ".join(messages) if messages else str(error)
