"""What several commands read from their words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.core import SensoriumError


def pairs(words: Sequence[str], what: str) -> dict[str, str]:
    """`name=value` words -> a mapping; anything else is one clear line."""
    found = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not name or not value:
            raise SensoriumError(f"{what} {word!r} does not parse; expected name=value")
        found[name] = value
    return found


def writable(out: Path) -> Path:
    """The folder, made if need be; one clear line where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise SensoriumError(f"cannot write to {out}: {problem.strerror}") from None
    return out
