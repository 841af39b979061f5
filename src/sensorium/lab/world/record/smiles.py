"""SMILES of small molecules read without a chemistry library: graph, validity, formula, and when two are the same.

What is read: C N O Br Cl and aromatic c n, brackets with hydrogens and a charge, bonds - = #, branches, ring digits,
and parts apart by dots. Weininger, J. Chem. Inf. Comput. Sci. 28 (1988) 31. Shape legend: A atoms, B bonds.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from sensorium.core import SensoriumError

MASSES = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Cl": 35.453, "Br": 79.904}
"""Standard atomic weights."""
VALENCES = {("C", 0): 4, ("N", 0): 3, ("O", 0): 2, ("Cl", 0): 1, ("Br", 0): 1, ("N", 1): 4, ("O", -1): 1, ("H", 0): 1}
"""Bonds of an element with a charge."""
AROMATIC = 4
"""The order of an aromatic bond."""
_TOKEN = re.compile(r"\[(?P<symbol>[A-Z][a-z]?)(?P<hydrogens>H\d?)?(?P<charge>[+-]?)\]|Br|Cl|[CNOcn]|[-=#().]|\d")
_ORDERS = {"-": 1, "=": 2, "#": 3}


@dataclass(frozen=True)
class Atom:
    """An atom with the hydrogens bound to it."""

    element: str
    charge: int
    aromatic: bool
    hydrogens: int


@dataclass(frozen=True)
class Molecule:
    """A graph, which may be in several parts: atoms, and bonds as (a, b, order), a < b."""

    atoms: tuple[Atom, ...]
    bonds: tuple[tuple[int, int, int], ...]

    def neighbours(self) -> list[list[tuple[int, int]]]:
        """Of each atom: (atom, order)."""
        out: list[list[tuple[int, int]]] = [[] for _ in self.atoms]
        for a, b, order in self.bonds:
            out[a].append((b, order))
            out[b].append((a, order))
        return out

    def counts(self) -> Counter[str]:
        """Atoms of each element, hydrogens among them."""
        out = Counter(atom.element for atom in self.atoms)
        out["H"] += sum(atom.hydrogens for atom in self.atoms)
        return +out

    @property
    def formula(self) -> str:
        """In Hill's order: carbon, hydrogen, the rest by the alphabet; the alphabet alone without carbon."""
        counts = self.counts()
        first = ["C", "H"] if "C" in counts else []
        order = [e for e in first if e in counts] + sorted(e for e in counts if e not in first)
        charge = sum(atom.charge for atom in self.atoms)
        return "".join(f"{e}{counts[e] if counts[e] > 1 else ''}" for e in order) + ("+" * charge or "-" * -charge)

    @property
    def mass(self) -> float:
        """Grams per mole, all parts together."""
        return sum(MASSES[element] * n for element, n in self.counts().items())

    @property
    def donors(self) -> int:
        """Nitrogens and oxygens that carry hydrogen."""
        return sum(atom.element in "NO" and atom.hydrogens > 0 for atom in self.atoms)

    @property
    def rings(self) -> int:
        """Independent cycles."""
        return len(self.bonds) - len(self.atoms) + len(self.parts())

    def parts(self) -> list[list[int]]:
        """The atoms of each connected part."""
        near, seen, out = self.neighbours(), set[int](), []
        for start in range(len(self.atoms)):
            if start in seen:
                continue
            part, todo = [], [start]
            seen.add(start)
            while todo:
                atom = todo.pop()
                part.append(atom)
                for other, _ in near[atom]:
                    if other not in seen:
                        seen.add(other)
                        todo.append(other)
            out.append(sorted(part))
        return out


def parse(text: str) -> Molecule:
    """A SMILES -> its molecule.

    Raises:
        SensoriumError: what is not read here, unbalanced branches or rings, a valence that no atom has.
    """
    raw: list[tuple[str, int, bool, int]] = []
    bonds: list[tuple[int, int, int]] = []
    open_rings: dict[str, tuple[int, int]] = {}
    stack: list[int] = []
    last, order, at = -1, 0, 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise SensoriumError(
                f"SMILES {text!r}: {text[at]!r} at {at} is not read; expected C N O Br Cl c n and bonds"
            )
        sign, at = token[0], token.end()
        if sign in _ORDERS:
            order = _ORDERS[sign]
        elif sign == ".":
            last, order = -1, 0
        elif sign == "(":
            stack.append(last)
        elif sign == ")":
            if not stack:
                raise SensoriumError(f"SMILES {text!r}: a branch ends at {at - 1} that never began")
            last = stack.pop()
        elif sign.isdigit():
            order = _ring(text, sign, last, order, open_rings, raw, bonds)
        else:
            raw.append(_atom(token))
            if last >= 0:
                bonds.append((last, len(raw) - 1, order or _between(raw, last, len(raw) - 1)))
            last, order = len(raw) - 1, 0
    if stack or open_rings or order or not raw:
        raise SensoriumError(f"SMILES {text!r}: ends within a branch, a ring or a bond, or has no atom")
    return _filled(text, raw, bonds)


def _atom(token: re.Match[str]) -> tuple[str, int, bool, int]:
    """Element, charge, aromatic, hydrogens (-1: as many as there is room for)."""
    if token["symbol"]:
        count = (token["hydrogens"] or "")[1:]
        hydrogens = int(count or 1) if token["hydrogens"] else 0
        return token["symbol"], {"+": 1, "-": -1}.get(token["charge"], 0), False, hydrogens
    return token[0].capitalize(), 0, token[0].islower(), -1


def _between(raw: list[tuple[str, int, bool, int]], a: int, b: int) -> int:
    return AROMATIC if raw[a][2] and raw[b][2] else 1


def _ring(
    text: str,
    digit: str,
    last: int,
    order: int,
    open_rings: dict[str, tuple[int, int]],
    raw: list[tuple[str, int, bool, int]],
    bonds: list[tuple[int, int, int]],
) -> int:
    """Opens or closes a ring at the last atom; the bond order is then used up."""
    if last < 0:
        raise SensoriumError(f"SMILES {text!r}: ring {digit} at no atom")
    if digit not in open_rings:
        open_rings[digit] = last, order
        return 0
    first, earlier = open_rings.pop(digit)
    if first == last or any({a, b} == {first, last} for a, b, _ in bonds):
        raise SensoriumError(f"SMILES {text!r}: ring {digit} doubles a bond")
    bonds.append((min(first, last), max(first, last), order or earlier or _between(raw, first, last)))
    return 0


def _filled(text: str, raw: list[tuple[str, int, bool, int]], bonds: list[tuple[int, int, int]]) -> Molecule:
    """Hydrogens added, valences and aromatic rings checked."""
    used, aromatic = [0] * len(raw), [0] * len(raw)
    for a, b, order in bonds:
        for end in (a, b):
            used[end] += 1 if order == AROMATIC else order
            aromatic[end] += order == AROMATIC
    atoms = []
    for at, (element, charge, ring, hydrogens) in enumerate(raw):
        if (element, charge) not in VALENCES:
            raise SensoriumError(f"SMILES {text!r}: no valence known for {element} with charge {charge}")
        room = VALENCES[element, charge] - used[at] - ring
        if room < max(0, hydrogens) or (hydrogens > -1 and room != hydrogens) or (ring and aromatic[at] != 2):
            raise SensoriumError(f"SMILES {text!r}: atom {at}, {element}, has {used[at] + ring} bonds and H{hydrogens}")
        atoms.append(Atom(element, charge, ring, room))
    made = Molecule(tuple(atoms), tuple(sorted((min(a, b), max(a, b), o) for a, b, o in bonds)))
    _check_rings(text, made)
    return made


def _check_rings(text: str, made: Molecule) -> None:
    """Aromatic atoms form rings of six."""
    near = made.neighbours()
    seen: set[int] = set()
    for start, atom in enumerate(made.atoms):
        if not atom.aromatic or start in seen:
            continue
        ring, todo = {start}, [start]
        while todo:
            for other, order in near[todo.pop()]:
                if order == AROMATIC and other not in ring:
                    ring.add(other)
                    todo.append(other)
        if len(ring) != 6:
            raise SensoriumError(f"SMILES {text!r}: an aromatic ring of {len(ring)}; expected 6")
        seen |= ring


def valid(text: str) -> bool:
    """Whether `parse` reads it."""
    try:
        parse(text)
    except SensoriumError:
        return False
    return True


Code = tuple[tuple[tuple[str, int, bool, int], ...], tuple[tuple[int, int, int], ...]]


def canonical(molecule: Molecule) -> tuple[Code, ...]:
    """A code that two molecules share if and only if they are the same, part by part: the least over all orders of the
    atoms that refinement leaves equal.
    """
    near = molecule.neighbours()
    codes = []
    for part in molecule.parts():
        place = {atom: at for at, atom in enumerate(part)}
        own = [molecule.atoms[atom] for atom in part]
        links = [[(place[other], order) for other, order in near[atom]] for atom in part]
        start = _ranks([(a.element, a.charge, a.aromatic, a.hydrogens) for a in own])
        codes.append(_least(own, links, start))
    return tuple(sorted(codes))


def same(a: str, b: str) -> bool:
    """Two SMILES are of the same molecules, in any order and writing; False if one is not valid."""
    return valid(a) and valid(b) and canonical(parse(a)) == canonical(parse(b))


def _ranks(keys: list[tuple[object, ...]]) -> list[int]:
    order = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def _refined(links: list[list[tuple[int, int]]], rank: list[int]) -> list[int]:
    while True:
        keys: list[tuple[object, ...]] = [
            (rank[at], tuple(sorted((order, rank[other]) for other, order in own))) for at, own in enumerate(links)
        ]
        new = _ranks(keys)
        if max(new) == max(rank):
            return new
        rank = new


def _least(atoms: list[Atom], links: list[list[tuple[int, int]]], rank: list[int]) -> Code:
    rank = _refined(links, rank)
    counts = Counter(rank)
    tied = min((r for r, n in counts.items() if n > 1), default=-1)
    if tied < 0:
        order = sorted(range(len(atoms)), key=rank.__getitem__)
        kinds = tuple((a.element, a.charge, a.aromatic, a.hydrogens) for a in (atoms[at] for at in order))
        bonds = sorted((rank[a], rank[b], o) for a, own in enumerate(links) for b, o in own if rank[a] < rank[b])
        return kinds, tuple(bonds)
    options = []
    for chosen in (at for at, r in enumerate(rank) if r == tied):
        keys: list[tuple[object, ...]] = [(r, at != chosen) for at, r in enumerate(rank)]
        options.append(_least(atoms, links, _ranks(keys)))
    return min(options)
