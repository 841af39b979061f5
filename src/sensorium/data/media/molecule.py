"""Molecules from SMILES by RDKit (the extra `molecules`): graphs of heavy atoms and bonds as integer features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.data.limits import Limits, Refused, Seen

LONGEST = 4000
"""Characters of a SMILES; drug-like molecules have some hundreds."""
HYBRIDISATIONS = ("S", "SP", "SP2", "SP3", "SP3D", "SP3D2")
CHIRALITIES = ("CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW")
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
STEREO = ("STEREONONE", "STEREOZ", "STEREOE")
ATOM_FEATURES = (
    "atomic number", "neighbours", "formal charge", "hydrogens", "radical electrons", "hybridisation", "aromatic",
    "in a ring", "chirality",
)  # fmt: skip
"""Columns of `Graph.atoms`; hybridisation and chirality count within `HYBRIDISATIONS` and `CHIRALITIES`, the number
after the last for all others. Atomic number 0 is a place held open (*). After the Open Graph Benchmark (2005.00687)."""
BOND_FEATURES = ("type", "stereo", "conjugated", "in a ring")
"""Columns of `Graph.bonds`; type and stereo count within `BONDS` and `STEREO`."""


@dataclass(frozen=True, eq=False)
class Graph:
    """`atoms` int64 [A 9] by `ATOM_FEATURES`, `edges` int64 [B 2] the two atoms of each bond (once, in the order of the
    SMILES), `bonds` int64 [B 4] by `BOND_FEATURES`. Hydrogens are counted, not drawn."""

    atoms: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray


def check(text: object, limits: Limits) -> Seen:
    """Parses and checks valences and aromaticity. SensoriumError where RDKit is not installed."""
    try:
        molecule = _molecule(text, limits)
    except Refused as reason:
        return Seen(str(reason))
    atoms, bonds, parts = molecule.GetNumAtoms(), molecule.GetNumBonds(), str(text).count(".") + 1
    notes = (f"{parts} separate parts",) if parts > 1 else ()
    return Seen(about=f"{atoms} atom{'s' * (atoms > 1)}, {bonds} bond{'s' * (bonds != 1)}", notes=notes)


def load(text: object, limits: Limits) -> Graph:
    """SMILES -> graph.

    Raises:
        Refused: with the reason; SensoriumError where RDKit is not installed.
    """
    molecule = _molecule(text, limits)
    atoms = [_atom(atom) for atom in molecule.GetAtoms()]
    bonds = list(molecule.GetBonds())
    return Graph(
        np.array(atoms, np.int64).reshape(-1, len(ATOM_FEATURES)),
        np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds], np.int64).reshape(-1, 2),
        np.array([_bond(b) for b in bonds], np.int64).reshape(-1, len(BOND_FEATURES)),
    )


def canonical(text: object, limits: Limits) -> str:
    """RDKit's canonical SMILES, with stereochemistry: equal for two spellings of one molecule. Raises as `load`."""
    molecule = _molecule(text, limits)
    return str(_rdkit().MolToSmiles(molecule))


def _molecule(text: object, limits: Limits) -> Any:
    if not isinstance(text, str):
        raise Refused(f"not a SMILES but a {type(text).__name__}")
    if not text:
        raise Refused("empty SMILES")
    if len(text) > min(LONGEST, limits.text):
        raise Refused(f"SMILES of {len(text):,} characters, limit {min(LONGEST, limits.text):,}")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise Refused("a SMILES has no spaces and only printable ASCII characters")
    chem = _rdkit()
    rules = chem.SmilesParserParams()
    rules.parseName = rules.allowCXSMILES = False
    with chem.rdBase.BlockLogs():
        if (molecule := chem.MolFromSmiles(text, rules)) is not None:
            return molecule
        rules.sanitize = False
        if (molecule := chem.MolFromSmiles(text, rules)) is None:
            raise Refused("not a valid SMILES")
        problems = [problem.Message() for problem in chem.DetectChemistryProblems(molecule)]
    raise Refused(f"not a valid molecule: {problems[0][:100]}" if problems else "not a valid molecule")


def _rdkit() -> Any:
    try:
        from rdkit import Chem
    except ImportError:
        from sensorium.core import SensoriumError  # brings torch

        raise SensoriumError("molecules need RDKit: pip install 'sensorium[molecules]'") from None
    return Chem


def _atom(atom: Any) -> list[int]:
    return [
        atom.GetAtomicNum(),
        atom.GetDegree(),
        atom.GetFormalCharge(),
        atom.GetTotalNumHs(),
        atom.GetNumRadicalElectrons(),
        _place(str(atom.GetHybridization()), HYBRIDISATIONS),
        atom.GetIsAromatic(),
        atom.IsInRing(),
        _place(str(atom.GetChiralTag()), CHIRALITIES),
    ]


def _bond(bond: Any) -> list[int]:
    kind, stereo = _place(str(bond.GetBondType()), BONDS), _place(str(bond.GetStereo()), STEREO)
    return [kind, stereo, bond.GetIsConjugated(), bond.IsInRing()]


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name in names else len(names)
