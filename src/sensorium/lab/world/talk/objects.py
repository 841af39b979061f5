"""An object of a scene in a few words, as every part of this package says it."""

from __future__ import annotations

from ..facts import COLOURS, SHAPES, Facts


def kind(facts: Facts, scene: int, slot: int) -> str:
    """ "red circle"."""
    return f"{COLOURS[facts.colour[scene, slot]]} {SHAPES[facts.shape[scene, slot]]}"


def some(words: str) -> str:
    """ "a red circle", "an orange circle"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def listed(parts: list[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
