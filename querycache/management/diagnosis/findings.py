"""What the doctor finds."""

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How bad a finding is, from good to bad."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, about what; and where it is not ok, what to do about it."""

    status: Status
    about: str
    message: str
    hint: str = ""


def ok(about: str, message: str) -> Finding:
    return Finding(Status.OK, about, message)


def warning(about: str, message: str, hint: str) -> Finding:
    return Finding(Status.WARNING, about, message, hint)


def problem(about: str, message: str, hint: str) -> Finding:
    return Finding(Status.PROBLEM, about, message, hint)
