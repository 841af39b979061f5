"""Towers by name: real frozen ones where they are installed, the laboratory's own starts, small ones from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from sensorium.blocks.shared import shared
from sensorium.blocks.towers.frozen import Frozen, Reduced
from sensorium.blocks.towers.image import ConvTower
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Fields, Method, SensoriumError, Tower, nearest
from sensorium.lab import pretrained, starts

SCRATCH = "scratch"
TRAINED = "/trained"
"""After the name of a start: a copy of its tower, which is trained on and saved with the run."""
TOKEN_DIM = 256
IDS, OPTIONAL = "ids", "optional"
"""How a paper's `BASES` asks for a start: its tokeniser makes the ids; only some settings take it."""
_KINDS = {"image": pretrained.LITE0, "text": pretrained.MINILM}


def choose(towers: str) -> dict[str, str]:
    """`auto`, `scratch` or names joined by commas -> tower name by role."""
    if towers == "auto":
        return {role: w.name if w.path() else SCRATCH for role, w in _KINDS.items()}
    chosen = dict.fromkeys(_KINDS, SCRATCH)
    for name in towers.split(","):
        if name == SCRATCH:
            continue
        start = name.removesuffix(TRAINED)
        if start in starts.STARTS and starts.start(start).roles:
            starts.record_of(start)
            chosen |= dict.fromkeys(starts.start(start).roles, name)
            continue
        if name not in pretrained.ALL:
            known = ["auto", SCRATCH, *pretrained.ALL, *(n for n, s in starts.STARTS.items() if s.roles)]
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, known)}")
        weights = pretrained.ALL[name]
        if weights.path() is None:
            raise SensoriumError(f"weights {name!r} are not installed; get them with: {weights.get}")
        chosen[weights.role] = name
    return chosen


def lacks(towers: Mapping[str, str], needs: Sequence[str], bases: Iterable[str] = ()) -> list[str]:
    """What the shared starts among towers and bases were measured not to have of what a claim needs; it is not tested.

    Raises:
        SensoriumError: a need that none of them speaks of, with the nearest property.
    """
    names = [n.removesuffix(TRAINED) for n in (*towers.values(), *bases)]
    named = [n for n in dict.fromkeys(names) if n in starts.STARTS]
    known = {n: starts.start(n).properties for n in named}
    if named and (unknown := [need for need in needs if not any(need in p for p in known.values())]):
        spoken = [name for p in known.values() for name in p]
        raise SensoriumError(f"base {' or '.join(named)} does not speak of {unknown[0]!r}{nearest(unknown[0], spoken)}")
    asked = {n: [need for need in needs if need in known[n]] for n in named}
    return [f"base {n} lacks {line}" for n in named for line in starts.missing(starts.record_of(n), asked[n])]


def hashes(bases: Mapping[str, str], towers: Mapping[str, str]) -> dict[str, str]:
    """A paper's `BASES`, and the starts among the towers -> the hash of each one's weights; without those that are
    optional and not there.

    Raises:
        SensoriumError: an unknown name, a word other than "ids" and "optional", weights that are not there.
    """
    found = {}
    taken = {n.removesuffix(TRAINED): "" for n in towers.values() if n.removesuffix(TRAINED) in starts.STARTS}
    for name, how in (taken | dict(bases)).items():
        starts.start(name)
        if odd := set(how.split()) - {IDS, OPTIONAL}:
            raise SensoriumError(f"base {name!r} is asked for as {how!r}{nearest(min(odd), [IDS, OPTIONAL])}")
        if OPTIONAL not in how.split() or starts.is_there(name):
            found[name] = starts.record_of(name).files[starts.WEIGHTS]
    return found


def tokeniser(bases: Mapping[str, str], towers: Mapping[str, str]) -> Tokenizer | None:
    """The tokeniser of the one start whose ids a paper, or a text tower that is trained on, reads; None where there is
    none.

    Raises:
        SensoriumError: several starts whose ids are asked for.
    """
    names = [name for name, how in bases.items() if IDS in how.split()]
    if (text := towers.get("text", "")).endswith(TRAINED):
        names.append(text.removesuffix(TRAINED))
    if len(names) > 1:
        raise SensoriumError(f"ids of {' and '.join(map(repr, names))}; expected those of one base")
    return starts.opened(names[0]).words() if names else None


@dataclass(frozen=True)
class Towers:
    """`Bases` over towers chosen by role; fields size what starts from scratch, `bases` are the hashes of the shared
    starts that may be taken."""

    names: Mapping[str, str]
    fields: Fields
    bases: Mapping[str, str] = field(default_factory=dict)

    def encoder(self, key: str, read: str = "pooled") -> Tower:
        """A tower for a role: frozen and stored, or trained from scratch (which always gives tokens)."""
        if read not in ("pooled", "tokens"):
            raise ValueError(f"read {read!r}; expected 'pooled' or 'tokens'")
        name = self.names.get(key, SCRATCH)
        if name in starts.STARTS:
            return starts.tower(name, key, read)
        if name.endswith(TRAINED):
            return starts.trained_tower(name.removesuffix(TRAINED), key)
        if name != SCRATCH:
            tower: Frozen = pretrained.TOWERS[name](read)
            return Reduced(tower, TOKEN_DIM) if key == "image" and read == "tokens" else tower
        info = self.fields[key]
        if info.kind == "image":
            return ConvTower()
        if info.kind == "text":
            return TextTower(info.vocab, dim=64, layers=1, heads=2, length=info.length)
        raise SensoriumError(f"no tower for {key!r} of kind {info.kind!r}; expected image or text")

    def get(self, name: str) -> Method:
        """A shared start: frozen, always in eval mode, never saved with the run.

        Raises:
            SensoriumError: an unknown start, one that the paper's BASES does not name, weights that are not there or
                are not those that the run began from.
        """
        return shared(deepcopy(self._opened(name)))

    def copy(self, name: str) -> Method:
        """A copy of a shared start to train on, saved with the run; errors as `get`."""
        return deepcopy(self._opened(name)).requires_grad_(True).train()

    def _opened(self, name: str) -> Method:
        found = starts.opened(name)
        if name not in self.bases:
            raise SensoriumError(f"base {name!r} is taken, but not named in BASES{nearest(name, self.bases)}")
        if self.bases[name] != found.sha:
            raise SensoriumError(f"base {name!r} has weights {found.sha} here; this run began from {self.bases[name]}")
        return found.method


def open_bases(names: Mapping[str, str], fields: Fields, bases: Mapping[str, str] | None = None) -> Towers:
    """What a run's record of its towers and of the hashes of its bases becomes at load."""
    known = [SCRATCH, *pretrained.ALL, *starts.STARTS]
    for name in names.values():
        if name.removesuffix(TRAINED) not in known:
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, known)}")
    return Towers(names, fields, bases or {})
