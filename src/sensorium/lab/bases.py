"""Shared starts by name: real frozen towers where they are installed, small towers from scratch otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sensorium.blocks.towers.frozen import Frozen, Reduced
from sensorium.blocks.towers.image import ConvTower
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Fields, SensoriumError, Tower, nearest
from sensorium.lab import pretrained

SCRATCH = "scratch"
TOKEN_DIM = 256
_KINDS = {"image": pretrained.LITE0, "text": pretrained.MINILM}


def choose(towers: str) -> dict[str, str]:
    """`auto`, `scratch` or names joined by commas -> tower name by role."""
    if towers == "auto":
        return {role: w.name if w.path() else SCRATCH for role, w in _KINDS.items()}
    chosen = dict.fromkeys(_KINDS, SCRATCH)
    for name in towers.split(","):
        if name == SCRATCH:
            continue
        if name not in pretrained.ALL:
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, ['auto', SCRATCH, *pretrained.ALL])}")
        weights = pretrained.ALL[name]
        if weights.path() is None:
            raise SensoriumError(f"weights {name!r} are not installed; get them with: {weights.get}")
        chosen[weights.role] = name
    return chosen


@dataclass(frozen=True)
class Towers:
    """`Bases` over towers chosen by role; fields size what starts from scratch."""

    names: Mapping[str, str]
    fields: Fields

    def encoder(self, key: str, read: str = "pooled") -> Tower:
        """A tower for a role: frozen and stored, or trained from scratch (which always gives tokens)."""
        if read not in ("pooled", "tokens"):
            raise ValueError(f"read {read!r}; expected 'pooled' or 'tokens'")
        name = self.names.get(key, SCRATCH)
        if name != SCRATCH:
            tower: Frozen = pretrained.TOWERS[name](read)
            return Reduced(tower, TOKEN_DIM) if key == "image" and read == "tokens" else tower
        info = self.fields[key]
        if info.kind == "image":
            return ConvTower()
        if info.kind == "text":
            return TextTower(info.vocab, dim=64, layers=1, heads=2, length=info.length)
        raise SensoriumError(f"no tower for {key!r} of kind {info.kind!r}; expected image or text")


def open_bases(names: Mapping[str, str], fields: Fields) -> Towers:
    """What a run's record of its towers becomes at load."""
    for name in names.values():
        if name != SCRATCH and name not in pretrained.ALL:
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, pretrained.ALL)}")
    return Towers(names, fields)
