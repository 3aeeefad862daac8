"""The sub-commands of ``manage.py querycache``, a module for each."""

from typing import Final

from querycache.management.subcommands.base import Subcommand
from querycache.management.subcommands.doctor import DOCTOR
from querycache.management.subcommands.explain import EXPLAIN
from querycache.management.subcommands.flush import FLUSH
from querycache.management.subcommands.invalidate import INVALIDATE
from querycache.management.subcommands.stats import STATS
from querycache.management.subcommands.warm import WARM

SUBCOMMANDS: Final[tuple[Subcommand, ...]] = (FLUSH, INVALIDATE, STATS, EXPLAIN, DOCTOR, WARM)
