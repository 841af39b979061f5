"""Reactions by rule: one group of a molecule becomes another, every atom kept, with condition and yield.

Shape legend: N reactions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import uniform
from .molecules import GROUPS, MOLECULE, Config, Molecules, free_corners, molecules, read, single, smiles
from .smiles import parse, same, valid

_NAMES = tuple(GROUPS)


class Reaction(NamedTuple):
    """One group becomes another, with reagents and by-products (SMILES, one each per molecule used or made)."""

    old: str
    new: str
    reagents: tuple[str, ...]
    products: tuple[str, ...]
    condition: str


REACTIONS = {
    "esterification": Reaction("acid", "ester", ("CO",), ("O",), "acid"),
    "amidation": Reaction("acid", "amide", ("CN",), ("O",), "heat"),
    "hydrolysis": Reaction("nitrile", "acid", ("O", "O"), ("N",), "acid and heat"),
    "reduction": Reaction("nitro", "amine", ("[HH]",) * 3, ("O", "O"), "palladium"),
    "oxidation": Reaction("aldehyde", "acid", ("OO",), ("O",), "room temperature"),
    "substitution": Reaction("bromide", "alcohol", ("O",), ("Br",), "base"),
    "methylation": Reaction("alcohol", "ether", ("CBr",), ("Br",), "base and heat"),
}


@dataclass(frozen=True, eq=False)
class Steps:
    """N reactions of molecules that each carry the group which changes exactly once."""

    before: Molecules
    after: Molecules
    name: list[str]
    corner: np.ndarray
    """int64 [N]: where it happens."""

    def __len__(self) -> int:
        return len(self.name)

    def reactants(self) -> list[str]:
        """SMILES of the molecule and its reagents, apart by dots."""
        return [
            ".".join((text, *REACTIONS[r].reagents)) for text, r in zip(smiles(self.before), self.name, strict=True)
        ]

    def products(self) -> list[str]:
        """SMILES of what the molecule becomes, without the by-products."""
        return smiles(self.after)

    def conditions(self) -> list[str]:
        """Under which condition each happens."""
        return [REACTIONS[name].condition for name in self.name]

    def yields(self) -> np.ndarray:
        """float64 [N], per cent: 95, less 15 for each neighbouring corner that carries a group."""
        n = np.arange(len(self))
        beside = [self.before.group[n, (self.corner + way) % 6] >= 0 for way in (-1, 1)]
        return np.asarray(95.0 - 15.0 * (beside[0].astype(int) + beside[1]))


def reactions(
    seed: int, n: int, config: Config = MOLECULE, start: int = 0, part: str = "train", known: tuple[str, ...] = ()
) -> Steps:
    """Reactions `start` to `start + n` of a part, each of `known` (by default all) as likely.

    The molecule of row i is that of `molecules` (same seed and row) with the reaction's old group at one corner, and no
    other such group; where it had some, they are methyls.

    Raises:
        SensoriumError: an unknown reaction or part.
    """
    names = known or tuple(REACTIONS)
    for name in names:
        if name not in REACTIONS:
            raise SensoriumError(f"reaction {name!r}{nearest(name, REACTIONS)}")
    base = molecules(seed, n, config, start, part)
    luck = uniform(base.index, 7, seed, part, "reaction")
    which = (luck[:, 0] * len(names)).astype(np.int64)
    old, new = (np.array([_NAMES.index(getattr(REACTIONS[r], side)) for r in names])[which] for side in ("old", "new"))
    corner = np.where(free_corners(base.core.astype(np.int64)), luck[:, 1:], -1.0).argmax(1)
    group = np.where(base.group == old[:, None], _NAMES.index("methyl"), base.group)
    row = np.arange(n)
    group[row, corner] = old
    after = group.copy()
    after[row, corner] = new
    return Steps(replace(base, group=group), replace(base, group=after), [names[w] for w in which.tolist()], corner)


def react(reactants: str) -> list[str]:
    """Reactants, with their reagents and in any writing -> every product that some reaction makes of them.

    Molecules that this world cannot have drawn, or that lack the group or have it twice, give none.
    """
    parts = reactants.split(".")
    out: list[str] = []
    for name, reaction in REACTIONS.items():
        for at, part in enumerate(parts):
            rest = parts[:at] + parts[at + 1 :]
            if len(rest) == len(reaction.reagents) and same(".".join(rest), ".".join(reaction.reagents)):
                out += _changed(part, name)
    return out


def _changed(text: str, name: str) -> list[str]:
    known = read(text)
    if known is None:
        return []
    core, group = known
    old, new = (_NAMES.index(getattr(REACTIONS[name], side)) for side in ("old", "new"))
    if group.count(old) != 1:
        return []
    after = [new if g == old else g for g in group]
    return smiles(single(core, after))


def balanced_atoms(name: str) -> bool:
    """Whether a reaction keeps every atom: benzene with the old group and reagents against the new and by-products."""
    reaction = REACTIONS[name]
    sides = []
    for group, beside in ((reaction.old, reaction.reagents), (reaction.new, reaction.products)):
        total: Counter[str] = Counter()
        for text in (f"c1ccccc1{GROUPS[group]}", *beside):
            total += parse(text).counts()
        sides.append(total)
    return sides[0] == sides[1]


@dataclass(frozen=True)
class Score:
    """Shares of generated products: valid SMILES, the same molecule as the true one, and one that `react` makes."""

    valid: float
    exact: float
    possible: float


def check(made: list[str], steps: Steps) -> Score:
    """Generated products against the true ones, whatever their writing."""
    if len(made) != len(steps):
        raise SensoriumError(f"{len(made)} products, {len(steps)} reactions; expected as many of each")
    fine = [valid(text) for text in made]
    exact = [same(text, true) for text, true in zip(made, steps.products(), strict=True)]
    possible = [
        any(same(text, product) for product in react(reactants))
        for text, reactants in zip(made, steps.reactants(), strict=True)
    ]
    return Score(*(sum(values) / max(1, len(made)) for values in (fine, exact, possible)))


def check_retro(made: list[str], steps: Steps) -> float:
    """Share of generated reactants (with reagents) of which some reaction makes the true product."""
    if len(made) != len(steps):
        raise SensoriumError(f"{len(made)} reactants, {len(steps)} reactions; expected as many of each")
    right = [
        any(same(product, true) for product in react(text)) for text, true in zip(made, steps.products(), strict=True)
    ]
    return sum(right) / max(1, len(made))
