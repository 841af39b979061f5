"""Molecules by rule: a ring with groups at its corners, as SMILES, as words, with properties, and read back.

A chemistry simple enough to check exactly (`smiles`), with the names and formulas of the real one.
Shape legend: N molecules, 6 corners of the ring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import numbered, uniform
from ..sound.events import held_pairs
from .smiles import Molecule, canonical, parse, valid

CORES = {"benzene": "cccccc", "pyridine": "nccccc", "cyclohexane": "CCCCCC"}
"""The atoms of each ring, in turn."""
GROUPS = {
    "acid": "C(=O)O",
    "ester": "C(=O)OC",
    "amide": "C(=O)NC",
    "aldehyde": "C=O",
    "alcohol": "O",
    "ether": "OC",
    "amine": "N",
    "nitro": "[N+](=O)[O-]",
    "nitrile": "C#N",
    "bromide": "Br",
    "chloride": "Cl",
    "methyl": "C",
}
"""Groups and their SMILES, the atom that is bound to the ring first."""


@dataclass(frozen=True)
class Config:
    """What molecules are made of."""

    cores: tuple[str, ...] = tuple(CORES)
    groups: tuple[str, ...] = tuple(GROUPS)
    fewest: int = 1
    most: int = 3
    held: float = 0.0
    """Share of (core, group) pairs that appear in `test` only; there at least one in every molecule."""

    def __post_init__(self) -> None:
        for what, given, valid_names in (("cores", self.cores, CORES), ("groups", self.groups, GROUPS)):
            if not given or len(set(given)) < len(given):
                raise SensoriumError(f"{what} {given}; expected one or more of {', '.join(valid_names)}, each once")
            for name in given:
                if name not in valid_names:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid_names)}")
        for what, number, low, high in (
            ("most", self.most, 1, 5),
            ("fewest", self.fewest, 0, self.most),
            ("held", self.held, 0, 1 - 1 / min(len(self.cores), len(self.groups))),
        ):
            if not low <= number <= high:
                raise SensoriumError(f"{what} {number} of groups; expected {low} to {high:g}")


@dataclass(frozen=True, eq=False)
class Molecules:
    """N molecules: int8 [N], index into CORES, and int8 [N 6], index into GROUPS of each corner, -1 for hydrogen."""

    core: np.ndarray
    group: np.ndarray
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.core)


MOLECULE = Config()
_CORES, _GROUPS = tuple(CORES), tuple(GROUPS)


def molecules(seed: int, n: int, config: Config = MOLECULE, start: int = 0, part: str = "train") -> Molecules:
    """Molecules `start` to `start + n` of a part; corners and groups as likely as each other.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    index = numbered(n, start, part, "molecules")
    luck = uniform(index, 8, seed, part, "molecule")
    core = (luck[:, 0] * len(config.cores)).astype(np.int64)
    count = config.fewest + (luck[:, 1] * (config.most - config.fewest + 1)).astype(np.int64)
    known = np.array([_CORES.index(name) for name in config.cores])[core]
    corner = np.where(free_corners(known), luck[:, 2:], 2.0).argsort(1)
    race = uniform(index, 6 * len(config.groups), seed, part, "molecule group").reshape(n, 6, len(config.groups))
    fits = allowed(config, part)[core][:, None]
    drawn = np.array([_GROUPS.index(name) for name in config.groups])[np.where(fits, race, -1.0).argmax(2)]
    group = np.full((n, 6), -1, np.int64)
    np.put_along_axis(group, corner, np.where(np.arange(6) < count[:, None], drawn, -1), 1)
    return Molecules(known.astype(np.int8), group.astype(np.int8), config, seed, index, part)


def free_corners(core: np.ndarray) -> np.ndarray:
    """bool [N 6]: the corner can carry a group."""
    table = np.array([[atom in "cC" for atom in ring] for ring in CORES.values()])
    return np.asarray(table[core])


def allowed(config: Config, part: str) -> np.ndarray:
    """bool [cores groups] of the config's own: the part has the pair."""
    held = held_pairs(len(config.cores), len(config.groups), config.held)
    return np.asarray(held == (part == "test" and bool(held.any())))


def smiles(world: Molecules, seed: int | None = None) -> list[str]:
    """A SMILES per molecule; with a seed each is written from another corner and way round: the same molecule."""
    begin, back = np.zeros(len(world), np.int64), np.zeros(len(world), bool)
    if seed is not None:
        luck = uniform(world.index, 2, world.seed, world.part, seed, "smiles")
        begin, back = (luck[:, 0] * 6).astype(np.int64), luck[:, 1] < 0.5
    out = []
    for core, group, first, backwards in zip(
        world.core.tolist(), world.group.tolist(), begin.tolist(), back.tolist(), strict=True
    ):
        corners = [(first + (-at if backwards else at)) % 6 for at in range(6)]
        ring = CORES[_CORES[core]]
        text = ""
        for at, corner in enumerate(corners):
            side = GROUPS[_GROUPS[group[corner]]] if group[corner] >= 0 else ""
            text += ring[corner] + "1" * (at in (0, 5)) + f"({side})" * bool(side)
        out.append(text)
    return out


def describe(world: Molecules) -> list[str]:
    """ "benzene with an acid at 1 and a bromide at 4"; the nitrogen of pyridine is corner 1."""
    out = []
    for core, group in zip(world.core.tolist(), world.group.tolist(), strict=True):
        parts = []
        for at, g in enumerate(group):
            if g >= 0:
                parts.append(f"a{'n' * (_GROUPS[g][0] in 'aeiou')} {_GROUPS[g]} at {at + 1}")
        out.append(_CORES[core] + (f" with {' and '.join(parts)}" if parts else ""))
    return out


def properties(world: Molecules) -> dict[str, np.ndarray]:
    """float64 [N] each, exactly: mass (g/mol), donors, rings, atoms (without hydrogen) and solubility, a made-up score.

    solubility = 2 (nitrogens and oxygens) - carbons / 2 - 1.5 (halogens).
    """
    read = [parse(text) for text in smiles(world)]
    counts = [m.counts() for m in read]
    score = [2 * (c["N"] + c["O"]) - c["C"] / 2 - 1.5 * (c["Cl"] + c["Br"]) for c in counts]
    found = {
        "mass": [m.mass for m in read],
        "donors": [m.donors for m in read],
        "rings": [m.rings for m in read],
        "atoms": [len(m.atoms) for m in read],
        "solubility": score,
    }
    return {name: np.array(values, np.float64) for name, values in found.items()}


def single(core: int, group: list[int]) -> Molecules:
    return Molecules(np.array([core], np.int8), np.array([group], np.int8), MOLECULE, 0, np.zeros(1, np.int64))


def read(text: str) -> tuple[int, list[int]] | None:
    """A SMILES in any writing -> core and the group of each corner, up to the ring's symmetry; None for any other."""
    if not valid(text):
        return None
    molecule = parse(text)
    if len(molecule.parts()) != 1:
        return None
    for ring in _rings(molecule):
        found = _read_ring(molecule, ring)
        if found is not None:
            return found
    return None


def _rings(molecule: Molecule) -> list[list[int]]:
    """Rings of six atoms, as walks."""
    near = molecule.neighbours()
    walks: list[list[int]] = [[atom] for atom in range(len(molecule.atoms))]
    for _ in range(5):
        walks = [[*w, other] for w in walks for other, _ in near[w[-1]] if other not in w and other > -1]
    return [w for w in walks if w[0] in [other for other, _ in near[w[-1]]] and w[0] == min(w)]


def _read_ring(molecule: Molecule, ring: list[int]) -> tuple[int, list[int]] | None:
    letters = [_letter(molecule, atom) for atom in ring]
    for core, atoms in enumerate(CORES.values()):
        for turn in range(6):
            order = [ring[(turn + at) % 6] for at in range(6)]
            if "".join(letters[(turn + at) % 6] for at in range(6)) != atoms:
                continue
            groups = [_group_at(molecule, atom, set(ring)) for atom in order]
            if all(g is not None for g in groups):
                return core, [g for g in groups if g is not None]
    return None


def _letter(molecule: Molecule, atom: int) -> str:
    found = molecule.atoms[atom]
    return found.element.lower() if found.aromatic else found.element


def _group_at(molecule: Molecule, atom: int, ring: set[int]) -> int | None:
    """The group bound to a corner: -1 for none, None for one that is unknown."""
    near = molecule.neighbours()
    outside = [other for other, _ in near[atom] if other not in ring]
    if not outside:
        return -1
    if len(outside) > 1:
        return None
    seen, todo = {atom, outside[0]}, [outside[0]]
    while todo:
        for other, _ in near[todo.pop()]:
            if other not in seen:
                if other in ring:
                    return None
                seen.add(other)
                todo.append(other)
    kept = sorted(seen)
    place = {old: new for new, old in enumerate(kept)}
    part = Molecule(
        tuple(molecule.atoms[at] if at != atom else parse("C").atoms[0] for at in kept),
        tuple((place[a], place[b], o) for a, b, o in molecule.bonds if a in seen and b in seen),
    )
    code = _marked(part, place[atom])
    for number, group in enumerate(GROUPS.values()):
        expected = parse(f"C{group}")
        if _marked(expected, 0) == code:
            return number
    return None


def _marked(molecule: Molecule, atom: int) -> object:
    """The code of a molecule in which one atom is told from all others."""
    atoms = tuple(replace(a, hydrogens=99) if at == atom else a for at, a in enumerate(molecule.atoms))
    return canonical(Molecule(atoms, molecule.bonds))
