"""Checkpoints that others trained, as parts of ours: the only users of transformers. Nothing is downloaded here but by
`hub.get`; weights are read from safetensors, or from pickles with `weights_only=True`."""

from __future__ import annotations

from . import hub
from .folders import AT, is_hub_name, located, recorded
from .known import ALL, KNOWN, LITE0, MINILM, Weights
from .towers import TOWERS, image_tower, roles, text_tower, tower

__all__ = [
    "ALL",
    "AT",
    "KNOWN",
    "LITE0",
    "MINILM",
    "TOWERS",
    "Weights",
    "hub",
    "image_tower",
    "is_hub_name",
    "located",
    "recorded",
    "roles",
    "text_tower",
    "tower",
]
