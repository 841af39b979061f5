"""Text policy: NFC, stripped; what cannot be text is refused with a reason."""

from __future__ import annotations

import unicodedata
from typing import Any

from .limits import Limits, Refused


def clean(value: Any, limits: Limits) -> str:
    """A raw value -> NFC text, stripped; "" when missing. A list gives its first text that is not empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list):
        return next((text for item in value if (text := clean(item, limits))), "")
    if isinstance(value, bytes):
        raise Refused("invalid UTF-8")
    if not isinstance(value, str):
        raise Refused(f"not a text but a {type(value).__name__}")
    if "\0" in value:
        raise Refused("holds a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        escaped = all("\udc80" <= c <= "\udcff" for c in value[error.start : error.end])  # left by surrogateescape
        raise Refused("invalid UTF-8" if escaped else "lone surrogate") from error
    if len(value) > limits.text:
        raise Refused(f"{len(value):,} characters, limit {limits.text:,}")
    return unicodedata.normalize("NFC", value).strip()


def normal(text: str) -> str:
    """What counts as the same text: NFC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
