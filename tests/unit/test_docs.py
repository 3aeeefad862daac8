"""Whatever the code has a name for is in the docs, and the docs name nothing that is not there."""

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import querycache
from querycache import checks, conf, explanations, patterns, readers, recorder, signals, stats
from querycache.contrib.prometheus import QueryCacheCollector
from querycache.exceptions import Reason
from querycache.management.commands.querycache import Command
from querycache.management.expressions import EXPRESSIONS, METHODS
from querycache.options import DEFAULT_CACHE, DEFAULT_TTL, MAX_TTL

PROJECT = Path(__file__).parents[2]
REFERENCE = PROJECT / "docs" / "reference"


def terms(page: str) -> set[str]:
    """The terms of a page's definition lists, each in code type, before a line with a colon."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return set(re.findall(r"^`([^`]+)`\n: ", text, re.MULTILINE))


def objects(kind: str) -> set[str]:
    """What the API page describes by a directive of Sphinx: functions, classes, attributes."""
    text = (REFERENCE / "api.md").read_text(encoding="utf-8")
    return set(re.findall(rf"^`+{{py:(?:{kind})}} ([\w.]+)", text, re.MULTILINE))


def known_keys(raw: dict[str, object]) -> set[str]:
    """Ask for an unknown key: the hint names those that are known."""
    (problem,) = (problem for problem in conf.read_settings(raw).problems if problem.id == "E003")
    return set(re.findall(r"\b[A-Z_]+\b", problem.hint))


def test_every_setting_is_documented_and_no_other() -> None:
    keys = known_keys({"?": 1})
    options = known_keys({"MODELS": {"*": {"?": 1}}})

    assert {"CACHE", "MODELS"} <= keys
    assert "TTL" in options
    assert terms("settings.md") == keys | options


def test_settings_are_documented_with_their_defaults() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")

    assert f"Default {DEFAULT_TTL:.0f}." in text
    assert f"at most {MAX_TTL:,.0f} (" in text
    assert f'default `"{DEFAULT_CACHE}"`' in text


def test_every_check_is_documented_and_no_other() -> None:
    sources = [
        Path(module.__file__).read_text(encoding="utf-8")
        for module in (checks, conf, patterns, readers)
    ]
    in_code = set(re.findall(r"\b[EWI]\d{3}\b", "".join(sources)))
    text = (REFERENCE / "checks.md").read_text(encoding="utf-8")
    in_docs = re.findall(r"^\| `querycache\.([EWI]\d{3})` \|", text, re.MULTILINE)

    assert in_code
    assert sorted(in_docs) == sorted(in_code)


def test_every_reason_is_documented_and_no_other() -> None:
    assert terms("reasons.md") == {reason.value for reason in Reason}


def test_every_public_name_is_documented() -> None:
    documented = {name.removeprefix("querycache.") for name in objects("function|class|exception")}

    assert set(querycache.__all__) <= documented
    assert {"record_reads", "Read", "Reason", "StoreFailed"} <= documented


def test_every_signal_is_documented_and_no_other() -> None:
    assert objects("data") == set(signals.__all__)


@pytest.mark.parametrize(
    "value", [explanations.Explanation, stats.ModelStats, stats.Stats, recorder.Read]
)
def test_every_attribute_of_a_value_is_documented(value: type) -> None:
    fields = set(inspect.get_annotations(value))
    properties = {name for name, found in vars(value).items() if isinstance(found, property)}

    assert fields | properties <= objects("attribute")


def test_every_event_of_the_log_is_documented_with_its_fields() -> None:
    text = (PROJECT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
    documented = {
        event: set(re.findall(r"`(\w+)`", fields))
        for event, fields in re.findall(
            r"^\| `([\w-]+)` \| [A-Z]+ \| ([^|]*) \|", text, re.MULTILINE
        )
    }

    assert documented == dict(logged())


def logged() -> Iterator[tuple[str, set[str]]]:
    """The events in the code, and their fields: whatever dict has the name of an event."""
    for path in (PROJECT / "querycache").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                found = {
                    key.value: value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                }
                event = found.pop("querycache_event", None)
                if isinstance(event, ast.Constant):
                    yield event.value, set(found)


def test_every_metric_is_documented_and_no_other() -> None:
    text = (PROJECT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(querycache_\w+)`", text, re.MULTILINE))
    metrics = QueryCacheCollector().describe()

    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in metrics}
    assert documented == names


def test_every_option_of_the_command_is_documented() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    parser = Command().create_parser("manage.py", "querycache")
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    headings = re.findall(r"^## `querycache (\w+)", text, re.MULTILINE)

    assert sorted(headings) == sorted(commands.choices)
    options = {
        option
        for command in commands.choices.values()
        for action in command._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert terms("commands.md") == options


def test_what_explain_understands_is_documented() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")

    assert {name for name in {*METHODS, *EXPRESSIONS} if f"`{name}`" not in text} == set()


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}

    assert links
    assert {link for link in links if not (PROJECT / link).exists()} == set()
