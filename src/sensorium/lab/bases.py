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
from sensorium.lab.pretrained import lm
from sensorium.lab.pretrained.folders import AT

SCRATCH = "scratch"
TRAINED = "/trained"
"""After the name of a start: a copy of its tower, which is trained on and saved with the run."""
TOKEN_DIM = 256
IDS, OPTIONAL = "ids", "optional"
"""How a paper's `BASES` asks for a start: its tokeniser makes the ids; only some settings take it."""
_KINDS = {"image": pretrained.LITE0, "text": pretrained.MINILM}


def choose(towers: str) -> dict[str, str]:
    """`auto`, `scratch`, or towers joined by commas -> tower name by role; `role=` before one takes it for that role
    alone. A tower is a known model, a shared start, a checkpoint folder, or owner/name of one that was got.

    Raises:
        SensoriumError: an unknown role or tower, one that is not there, or one that does not embed the role.
    """
    if towers == "auto":
        return {role: w.name if w.path() else SCRATCH for role, w in _KINDS.items()}
    chosen = dict.fromkeys(_KINDS, SCRATCH)
    for part in towers.split(","):
        role, asked, name = part.partition("=")
        if not asked:
            chosen |= _roles_of(part) if part != SCRATCH else {}
            continue
        if role not in _KINDS:
            raise SensoriumError(f"--towers {part!r}: unknown role {role!r}{nearest(role, _KINDS)}")
        given = _roles_of(name)
        if role not in given:
            raise SensoriumError(f"tower {name!r} embeds {' and '.join(given)}, not {role}")
        chosen[role] = given[role]
    return chosen


def _roles_of(name: str) -> dict[str, str]:
    """What one tower embeds -> its name in the record of a run."""
    if name == SCRATCH:
        return dict.fromkeys(_KINDS, SCRATCH)
    start = name.removesuffix(TRAINED)
    if start in starts.STARTS and starts.start(start).roles:
        starts.record_of(start)
        return dict.fromkeys(starts.start(start).roles, name)
    if name in pretrained.ALL:
        pretrained.ALL[name].there()
        return {pretrained.ALL[name].role: name}
    if (folder := pretrained.located(name)) is not None:
        return dict.fromkeys(pretrained.roles(folder), pretrained.recorded(name))
    if pretrained.located(start) is not None:
        raise SensoriumError(f"tower {start} is a checkpoint, which stays frozen; only shared starts have {TRAINED}")
    if name in pretrained.KNOWN:
        raise SensoriumError(f"weights {name!r} ({pretrained.KNOWN[name].role}) are no tower of image or text")
    known = ["auto", SCRATCH, *pretrained.ALL, *(n for n, s in starts.STARTS.items() if s.roles)]
    if (close := nearest(name, known)).startswith("; did you mean"):
        raise SensoriumError(f"unknown tower {name!r}{close}")
    if "/" not in name:
        raise SensoriumError(f"unknown tower {name!r}, and no folder of that name{close}")
    more = f"; get it with: sensorium weights get {name}" if pretrained.is_hub_name(name) else ""
    raise SensoriumError(f"no such folder of a tower: {name}{more}")


def lacks(
    towers: Mapping[str, str], needs: Sequence[str], bases: Iterable[str] = (), given: Iterable[str] = ()
) -> list[str]:
    """What the shared starts among towers and bases were measured not to have of what a claim needs; it is not tested.

    Of the starts in whose place checkpoints are `given` nothing was measured, so they are not known to lack anything.

    Raises:
        SensoriumError: a need that none of them speaks of, with the nearest property.
    """
    spared = {need for name in given for need in starts.start(name).properties}
    bases, needs = [n for n in bases if n not in set(given)], [need for need in needs if need not in spared]
    names = [n.removesuffix(TRAINED) for n in (*towers.values(), *bases)]
    named = [n for n in dict.fromkeys(names) if n in starts.STARTS]
    known = {n: starts.start(n).properties for n in named}
    if named and (unknown := [need for need in needs if not any(need in p for p in known.values())]):
        spoken = [name for p in known.values() for name in p]
        raise SensoriumError(f"base {' or '.join(named)} does not speak of {unknown[0]!r}{nearest(unknown[0], spoken)}")
    asked = {n: [need for need in needs if need in known[n]] for n in named}
    return [f"base {n} lacks {line}" for n in named for line in starts.missing(starts.record_of(n), asked[n])]


def hashes(bases: Mapping[str, str], towers: Mapping[str, str], given: Mapping[str, str] = {}) -> dict[str, str]:
    """A paper's `BASES`, and the starts among the towers -> the hash of each one's weights; of a start in whose place a
    checkpoint is `given` that and its hash. Without those that are optional and not there, or not given where their ids
    are asked for: data have one tokeniser.

    Raises:
        SensoriumError: an unknown name, a word other than "ids" and "optional", weights that are not there, a
            checkpoint for a start that is not taken, or for one of a kind that no adapter reads.
    """
    if spare := sorted(set(given) - set(bases)):
        raise SensoriumError(_not_taken(spare[0], bases))
    found = {}
    taken = {n.removesuffix(TRAINED): "" for n in towers.values() if n.removesuffix(TRAINED) in starts.STARTS}
    for name, how in (taken | dict(bases)).items():
        starts.start(name)
        words = how.split()
        if odd := set(words) - {IDS, OPTIONAL}:
            raise SensoriumError(f"base {name!r} is asked for as {how!r}{nearest(min(odd), [IDS, OPTIONAL])}")
        if name in given:
            found[name] = _foreign(name, given[name])
        elif OPTIONAL not in words or (IDS not in words and starts.is_there(name)):
            found[name] = starts.record_of(name).files[starts.WEIGHTS]
    return found


def _not_taken(name: str, bases: Mapping[str, str]) -> str:
    starts.start(name)
    there = f"it takes {', '.join(bases)}" if bases else "it takes none"
    return f"base {name!r} is not taken here: {there}"


def _foreign(name: str, source: str) -> str:
    """The record of a checkpoint in the place of a start."""
    if name != lm.KIND:
        tower = f"; as a frozen tower: --towers {source}" if starts.start(name).roles else ""
        raise SensoriumError(f"base {name!r}: no adapter yet for a checkpoint in its place{tower}")
    return lm.recorded(source)


def tokeniser(bases: Mapping[str, str], towers: Mapping[str, str], begun: Mapping[str, str] = {}) -> Tokenizer | None:
    """The tokeniser of the one start whose ids a paper, or a text tower that is trained on, reads; None where there is
    none. `begun` are the hashes that a run begins from, as `hashes` gives them.

    Raises:
        SensoriumError: several starts whose ids are asked for.
    """
    names = [n for n, how in bases.items() if IDS in how.split() and (n in begun or OPTIONAL not in how.split())]
    if (text := towers.get("text", "")).endswith(TRAINED):
        names.append(text.removesuffix(TRAINED))
    if len(names) > 1:
        raise SensoriumError(f"ids of {' and '.join(map(repr, names))}; expected those of one base")
    if not names:
        return None
    record = begun.get(names[0], "")
    return lm.tokeniser(record) if AT in record else starts.opened(names[0]).words()


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
            known = pretrained.TOWERS.get(name)
            tower: Frozen = known(read) if known else pretrained.tower(name, key, read)
            many = key == "image" and read == "tokens" and tower.dim > TOKEN_DIM
            return Reduced(tower, TOKEN_DIM) if many else tower
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
        method = self._opened(name)
        kept = [*method.parameters(), *method.buffers()]  # nothing changes them, so they are held once
        return shared(deepcopy(method, {id(value): value for value in kept}))

    def copy(self, name: str) -> Method:
        """A copy of a shared start to train on, saved with the run; errors as `get`."""
        return deepcopy(self._opened(name)).requires_grad_(True).train()

    def _opened(self, name: str) -> Method:
        if AT in (record := self.bases.get(name, "")):
            return lm.opened(record)
        found = starts.opened(name)
        if name not in self.bases:
            close = nearest(name, self.bases) or f", or optional there with its ids and not given: --base {name}=PATH"
            raise SensoriumError(f"base {name!r} is taken, but not named in BASES{close}")
        if self.bases[name] != found.sha:
            raise SensoriumError(f"base {name!r} has weights {found.sha} here; this run began from {self.bases[name]}")
        return found.method


def open_bases(names: Mapping[str, str], fields: Fields, bases: Mapping[str, str] | None = None) -> Towers:
    """What a run's record of its towers and of the hashes of its bases becomes at load."""
    known = [SCRATCH, *pretrained.ALL, *starts.STARTS]
    for name in names.values():
        if pretrained.AT not in name and name.removesuffix(TRAINED) not in known:
            raise SensoriumError(f"unknown tower {name!r}{nearest(name, known)}")
    return Towers(names, fields, bases or {})
