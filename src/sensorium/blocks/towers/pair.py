"""Two frozen towers that share a space."""

from __future__ import annotations

from sensorium.core import Bases, SensoriumError, Tower

from .frozen import Frozen


def frozen_pair(bases: Bases) -> dict[str, Tower]:
    """An image and a text tower, pooled, of one space: role -> [B 1 D].

    Raises:
        SensoriumError: towers that would be trained, or whose widths say that they share no space.
    """
    towers = {role: bases.encoder(role, "pooled") for role in ("image", "text")}
    image, text = towers["image"], towers["text"]
    if not (isinstance(image, Frozen) and isinstance(text, Frozen)):
        raise SensoriumError("needs a frozen pair of towers, not towers from scratch; --towers pair-encoder is one")
    if image.dim != text.dim:
        raise SensoriumError(
            f"needs a pair of towers that share a space; these give {image.dim} numbers of an image and {text.dim} of "
            "a text; --towers pair-encoder is one"
        )
    return towers
