"""Keeps passwords out of what is printed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings

MASK: Final = "***"
# Up to the last "@": a password that is not encoded may hold one, and a "/" as well.
_USER: Final = re.compile(r"://.*@")
_PARAMETER: Final = re.compile(
    r"(?i)([?&;][^=&;]*(?:pass|pwd|secret|token|cred|auth|key)[^=&;]*=)[^&;,\s]*"
)
_SECRET_NAME: Final = re.compile(r"(?i)pass|pwd|secret|token|cred|auth")


def masked(location: Any) -> str:
    """Return the LOCATION of a cache for people, without users and passwords."""
    if isinstance(location, list | tuple):
        return ", ".join(map(masked, location))
    text = _USER.sub(f"://{MASK}@", str(location))
    return _PARAMETER.sub(rf"\1{MASK}", text)


def reason_of(error: BaseException) -> str:
    """
    Return what an error says, without passwords.

    Not what a ``ValueError`` says: it may quote a part of an address that was split wrongly.
    """
    if isinstance(error, ValueError):
        return type(error).__name__
    text = masked(str(error))
    for secret in sorted(_secrets(settings.CACHES), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text.rstrip(".") or type(error).__name__


def _secrets(value: Any, name: str = "") -> Iterator[str]:
    """Yield all strings whose name in the settings is that of a secret."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, name)
    elif isinstance(value, str) and value and _SECRET_NAME.search(name):
        yield value
