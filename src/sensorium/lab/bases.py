"""Towers by name: real frozen ones where they are installed, the laboratory's own starts, small ones from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sensorium.blocks.towers.frozen import Frozen, Reduced
from sensorium.blocks.towers.image import ConvTower
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Fields, SensoriumError, Tower, nearest
from sensorium.lab import pretrained, starts

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
        if name in starts.STARTS and starts.start(name).roles:
            starts.record_of(name)
            chosen |= dict.fromkeys(starts.start(name).roles, name)
            continue
        if name not in pretrained.ALL:
            known = ["auto", SCRATCH, *pretrained.ALL, *(n for n, s in starts.STARTS.items() if s.roles)]
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, known)}")
        weights = pretrained.ALL[name]
        if weights.path() is None:
            raise SensoriumError(f"weights {name!r} are not installed; get them with: {weights.get}")
        chosen[weights.role] = name
    return chosen


def lacks(towers: Mapping[str, str], needs: Sequence[str]) -> list[str]:
    """What the shared starts among the towers were measured not to have of what a claim needs; it is not tested."""
    named = dict.fromkeys(n for n in towers.values() if n in starts.STARTS)
    return [f"base {n} lacks {line}" for n in named for line in starts.missing(starts.record_of(n), needs)]


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
        if name in starts.STARTS:
            return starts.tower(name, key, read)
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
        if name != SCRATCH and name not in pretrained.ALL and name not in starts.STARTS:
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, [*pretrained.ALL, *starts.STARTS])}")
    return Towers(names, fields)
