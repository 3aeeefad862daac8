"""What a sub-command of ``manage.py querycache`` is."""

from collections.abc import Callable
from dataclasses import dataclass

from django.core.management.base import CommandError, CommandParser
from django.db import connections


@dataclass(frozen=True, slots=True)
class Subcommand:
    """
    A sub-command: what it takes, and what it does.

    ``run`` is given the command, which knows where to write and in which colours, and the options.
    ``about`` and ``examples`` are for its help. One that ``judges_settings`` runs however wrong
    they are: Django's checks are not run before it.
    """

    name: str
    about: str
    examples: tuple[str, ...]
    add_arguments: Callable[[CommandParser], None]
    run: Callable[..., None]
    judges_settings: bool = False


def check_alias(database: str | None) -> None:
    """Raise ``CommandError`` if an alias was given that is not in DATABASES."""
    if database is not None and database not in connections:
        raise CommandError(f"no database '{database}'; there are {', '.join(connections)}")
