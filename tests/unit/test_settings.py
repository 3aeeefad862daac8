"""How QUERYCACHE is read: patterns, options, and what check says of mistakes."""

import traceback
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from querycache.checks import check_settings
from querycache.conf import current, forget_config, get_config, read_settings
from querycache.exceptions import StoreFailed
from querycache.options import DEFAULT_TTL
from querycache.stores import get_store
from tests.testapp import models


def options(label, **patterns):
    config = read_settings({"MODELS": patterns})
    found = [table.options for model, table in config.models.items() if model._meta.label == label]
    return found[0] if found else None


def test_nothing_is_cached_without_settings():
    assert read_settings({}).models == {}


def test_the_most_specific_pattern_wins_whatever_their_order():
    wide = {"*": {"TTL": 1}, "auth.*": {"TTL": 2}, "auth.User": {"TTL": 3}}
    assert options("auth.User", **wide).ttl == 3
    assert options("auth.Group", **wide).ttl == 2
    assert options("sites.Site", **wide).ttl == 1
    reverse = dict(reversed(wide.items()))
    assert options("auth.User", **reverse).ttl == 3
    assert options("auth.User", **wide).pattern == "auth.User"


def test_none_leaves_a_model_out_whatever_a_wider_pattern_says():
    patterns = {"auth.*": {"TTL": 2}, "auth.User": None}
    assert options("auth.User", **patterns) is None
    assert options("auth.Group", **patterns).ttl == 2


def test_a_model_without_a_ttl_has_a_finite_one():
    assert options("auth.User", **{"auth.User": {}}).ttl == DEFAULT_TTL


def test_the_name_of_a_model_is_matched_in_any_case():
    assert options("auth.User", **{"auth.user": {"TTL": 3}}).ttl == 3


def test_a_many_to_many_table_follows_the_model_that_declares_it():
    config = read_settings({"MODELS": {"auth.User": {"TTL": 7}}})
    assert config.tables["auth_user_groups"].options.ttl == 7
    assert "auth_group" not in config.tables
    assert "auth_group_permissions" not in config.tables


def test_a_parent_follows_its_child_unless_it_is_named():
    child = models.Textbook._meta
    assert child.parents
    parent = next(iter(child.parents))._meta.label
    assert options(parent, **{child.label: {"TTL": 7}}).ttl == 7
    assert options(parent, **{child.label: {"TTL": 7}, parent: None}) is None


def test_a_model_without_migrations_is_opted_in_only_by_its_own_name():
    assert options("querycache.QueryCache", **{"*": {"TTL": 1}}) is None
    named = {"querycache.QueryCache": {"TTL": 1}}
    assert options("querycache.QueryCache", **named).ttl == 1


def ids(**raw):
    return sorted(problem.id for problem in read_settings(raw).problems)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"CACHES": "default"}, ["E003"]),
        ({"CACHE": 5}, ["E002"]),
        ({"NAMESPACE": "no.such.thing"}, ["E004"]),
        ({"NAMESPACE": "querycache.options.MAX_TTL"}, ["E004"]),
        ({"MODELS": []}, ["E005"]),
        ({"MODELS": {5: {}}}, ["E006"]),
        ({"MODELS": {"auth": {}}}, ["E006"]),
        ({"MODELS": {"auth.User": 300}}, ["E007"]),
        ({"MODELS": {"auth.User": {"ttl": 5}}}, ["E003"]),
        ({"MODELS": {"auth.User": {"TTL": 0}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": -1}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": None}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": "60"}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": True}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": float("inf")}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"TTL": float("nan")}}}, ["E008"]),
        ({"MODELS": {"auth.User": {"DELETE_SIGNAL": "no"}}}, ["E009"]),
        ({"MODELS": {"auth.User": {"MAX_STALE": -1}}}, ["E020"]),
        ({"MODELS": {"auth.User": {"MAX_STALE": True, "TTL": 5}}}, ["E020"]),
        ({"ADMISSION": "none"}, ["E023"]),
        ({"COMPRESS_ABOVE": -1}, ["E024"]),
        ({"COMPRESS_ABOVE": "1"}, ["E024"]),
        ({"LOCAL": 5}, ["E021"]),
        ({"LOCAL": {"MAX_BYTES": -1}}, ["E021"]),
        ({"LOCAL": {"MAX_BYTES": "1"}}, ["E021"]),
        ({"LOCAL": {"MAX_BYTE": 1}}, ["E021"]),
        ({"CHECK_PLANS": 1}, ["E022"]),
        ({"SHOW_PARAMETERS": "yes"}, ["E022"]),
        ({"MODELS": {"auth.User": {"MAX_ROWS": 0}}}, ["E015"]),
        ({"MODELS": {"auth.User": {"MAX_BYTES": 1.5}}}, ["E015"]),
        ({"MODELS": {"auth.User": {"MAX_ROWS": True, "MAX_BYTES": "1"}}}, ["E015", "E015"]),
        ({"MODELS": {"auth.User": {"SCOPES": "username"}}}, ["E019"]),
        ({"MODELS": {"auth.User": {"SCOPES": [5]}}}, ["E019"]),
        ({"MODELS": {"auth.User": {"SCOPES": ["username", "nothing"]}}}, ["E019", "E019"]),
        ({"MODELS": {"auth.Permission": {"SCOPES": ["content_type"]}}}, []),
        ({"MODELS": {"auth.*": {"SCOPES": ["content_type"]}}}, []),
        ({"MODELS": {"sessions.Session": {"SCOPES": ["session_key"]}}}, ["E019"]),
        ({"MODELS": {"auth.User": {"DEPENDS_ON": "auth.Group"}}}, ["E016"]),
        ({"MODELS": {"auth.User": {"DEPENDS_ON": ["auth.Grup", 5]}}}, ["E016", "E016"]),
        ({"TRIGGERS": ["auth.User"]}, ["E017"]),
        ({"TRIGGERS": {"auth.Usr": ["auth.Group"]}}, ["E017"]),
        ({"TRIGGERS": {"auth.User": ["auth.Grup"]}}, ["E017"]),
        ({"TRIGGERS": {"auth.User": None}}, ["E017"]),
        ({"WRITES": 1}, ["E018"]),
        ({"WRITES": {"f()": []}}, ["E018"]),
        ({"WRITES": {"f": ["auth.Grup"]}}, ["E018"]),
        ({"WRITES": {"f": ["auth.Group"], "g": []}, "TRIGGERS": {"auth.User": ()}}, []),
        ({"MODELS": {"auth.Usr": {}}}, ["W001"]),
        ({"MODELS": {"nosuchapp.*": {}}}, ["W001"]),
        ({"MODELS": {"auth.User": {"TTL": 5}, "auth.*": {}, "*": {}, "sites.Site": None}}, []),
    ],
    ids=repr,
)
def test_each_mistake_has_its_id(raw, expected):
    assert ids(**raw) == expected


def test_settings_that_are_no_dict_are_a_mistake():
    assert [problem.id for problem in read_settings([]).problems] == ["E001"]


def test_every_problem_has_a_hint():
    problems = read_settings({"CACHES": 1, "MODELS": {"auth.Usr": {"TLL": 5}, "x": 1}}).problems
    hints = [problem.hint for problem in problems]
    assert "Did you mean 'CACHE'?" in hints
    assert "Did you mean 'auth.User'?" in hints
    assert "Did you mean 'TTL'?" in hints
    assert all(hints)


def test_a_model_with_wrong_options_is_not_cached_by_a_wider_pattern():
    assert options("auth.User", **{"auth.*": {"TTL": 5}, "auth.User": {"TTL": "x"}}) is None


def test_a_routine_whose_declaration_is_wrong_may_write_anything():
    config = read_settings({"WRITES": {"F": ["auth.Group"], "g": ["auth.Grup"]}})
    assert config.writes == {"f": {"auth_group"}}


def test_what_follows_is_followed():
    config = read_settings(
        {
            "TRIGGERS": {
                "auth.User": ["auth.Group"],
                "auth.Group": ["sites.Site"],
                "sites.Site": ["auth.User"],
            }
        }
    )
    assert config.triggers["auth_user"] == {"auth_user", "auth_group", "django_site"}


def test_what_is_depended_on_is_published_and_not_cached():
    config = read_settings({"MODELS": {"auth.User": {"DEPENDS_ON": ["auth.Group"]}}})
    assert "auth_group" in config.published
    assert "auth_group" not in config.tables
    assert "django_site" not in config.published


def messages(settings, **raw):
    settings.QUERYCACHE = raw
    return check_settings()


def test_check_names_an_alias_that_does_not_exist(settings):
    (message,) = messages(settings, CACHE="locmen")
    assert isinstance(message, checks.Error)
    assert message.id == "querycache.E010"
    assert message.hint == "Did you mean 'locmem'?"


def test_check_warns_of_a_dummy_cache(settings):
    dummy = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    settings.CACHES = {**settings.CACHES, "dummy": dummy}
    (message,) = messages(settings, CACHE="dummy")
    assert isinstance(message, checks.Warning)
    assert message.id == "querycache.W002"


@pytest.mark.parametrize("app", ["django_rls", "django_pgschemas"])
def test_check_warns_of_tenants_that_nothing_tells_apart(app, settings, monkeypatch):
    configs = [*apps.get_app_configs(), SimpleNamespace(name=app)]
    monkeypatch.setattr(apps, "get_app_configs", lambda: configs)
    (message,) = messages(settings, MODELS={"auth.User": {}})
    assert message.id == "querycache.W005"
    assert app in message.msg
    namespace = "django.utils.translation.get_language"
    assert messages(settings, MODELS={"auth.User": {}}, NAMESPACE=namespace) == []
    assert messages(settings) == []


def test_check_warns_of_a_cache_of_each_process_outside_debug(settings):
    (message,) = messages(settings, CACHE="locmem")
    assert message.id == "querycache.W003"
    settings.DEBUG = True
    assert messages(settings, CACHE="locmem") == []


def test_manage_py_check_fails_on_an_error(settings):
    settings.QUERYCACHE = {"MODELS": {"auth.User": {"TTL": 0}}}
    with pytest.raises(SystemCheckError, match=r"querycache\.E008"):
        call_command("check", tags=["caches"])


def test_override_settings_takes_effect_at_once(settings):
    before = get_config()
    settings.QUERYCACHE = {"MODELS": {"auth.User": {"TTL": 7}}}
    assert sorted(get_config().tables) == [
        "auth_user",
        "auth_user_groups",
        "auth_user_user_permissions",
    ]
    assert before is not get_config()


def test_the_primary_key_is_a_scope_and_so_are_the_columns_that_are_named():
    models = {"auth.*": {}, "auth.Permission": {"SCOPES": ["content_type", "id"]}}
    scopes = read_settings({"MODELS": models}).scopes
    assert [column.name for column in scopes["auth_permission"]] == ["id", "content_type_id"]
    assert [column.name for column in scopes["auth_user"]] == ["id"]


@pytest.mark.parametrize("table", ["testapp_seat", "django_session", "testapp_summary"])
def test_a_table_without_a_key_that_tells_its_rows_apart_has_no_scopes(table):
    every = {"*": {}, "testapp.Summary": {"DEPENDS_ON": ["testapp.Author"]}}
    config = read_settings({"MODELS": every})
    assert table in config.tables
    assert table not in config.scopes


def test_a_table_of_two_models_has_no_scopes(monkeypatch):
    monkeypatch.setattr(models.Tag._meta, "db_table", "testapp_author")
    config = read_settings({"MODELS": {"testapp.*": {}}})
    assert "testapp_author" in config.tables
    assert "testapp_author" not in config.scopes


@pytest.mark.parametrize(
    "cache",
    [
        {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://:se/cret@host:1/0"},
        {"BACKEND": "not.installed.Cache"},
    ],
)
def test_a_cache_of_which_nothing_can_be_made_is_reported_and_fails_as_others_do(cache, settings):
    settings.CACHES = {**settings.CACHES, "own": cache}
    settings.QUERYCACHE = {**settings.QUERYCACHE, "CACHE": "own"}
    (message,) = check_settings()
    assert message.id == "querycache.E025"
    with pytest.raises(StoreFailed) as failure:
        get_store()
    trace = "".join(traceback.format_exception(failure.value))
    assert "cret" not in trace
    assert "'se'" not in trace


def test_settings_that_are_forgotten_are_not_found_by_the_short_cut_either():
    before = get_config()
    assert current.config is before
    forget_config()
    assert current.config is None
    after = get_config()
    assert current.config is after
    assert after is not before
