from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import molecule

pytest.importorskip("rdkit")
LIMITS = Limits()
MOLECULES = Path(__file__).parents[3] / "../shared/data/science/molecules"


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("C", "1 atom, 0 bonds"),
        ("CCO", "3 atoms, 2 bonds"),
        ("c1ccccc1", "6 atoms, 6 bonds"),  # benzene
        ("CC(=O)Oc1ccccc1C(=O)O", "13 atoms, 13 bonds"),  # aspirin, C9H8O4
        ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "14 atoms, 15 bonds"),  # caffeine, C8H10N4O2
        ("C1CC2CCC1CC2", "8 atoms, 9 bonds"),
        ("[H]C([H])([H])[H]", "1 atom, 0 bonds"),  # hydrogens are counted, not drawn
        ("*C", "2 atoms, 1 bond"),
    ],
)
def test_known_molecules(text: str, about: str) -> None:
    assert molecule.check(text, LIMITS) == Seen(about=about)


def test_parts_are_noted() -> None:
    assert molecule.check("[Na+].[Cl-]", LIMITS) == Seen(about="2 atoms, 0 bonds", notes=("2 separate parts",))


def test_features_of_acetate_by_hand() -> None:
    """CH3-C(=O)-O-: sp3 carbon with three hydrogens; sp2 carbon; oxygen; oxygen with a charge of -1."""
    got = molecule.load("CC(=O)[O-]", LIMITS)
    named = [dict(zip(molecule.ATOM_FEATURES, row, strict=True)) for row in got.atoms.tolist()]
    assert [a["atomic number"] for a in named] == [6, 6, 8, 8]
    assert [a["neighbours"] for a in named] == [1, 3, 1, 1]
    assert [a["formal charge"] for a in named] == [0, 0, 0, -1]
    assert [a["hydrogens"] for a in named] == [3, 0, 0, 0]
    assert [molecule.HYBRIDISATIONS[a["hybridisation"]] for a in named] == ["SP3", "SP2", "SP2", "SP2"]
    assert not any(a["aromatic"] or a["in a ring"] or a["chirality"] or a["radical electrons"] for a in named)
    assert got.edges.tolist() == [[0, 1], [1, 2], [1, 3]]
    assert [molecule.BONDS[kind] for kind in got.bonds[:, 0]] == ["SINGLE", "DOUBLE", "SINGLE"]
    assert got.bonds[:, 2].tolist() == [0, 1, 1] and not got.bonds[:, 3].any()
    assert got.atoms.dtype == got.edges.dtype == got.bonds.dtype == np.int64


def test_features_of_a_ring_and_of_stereochemistry() -> None:
    ring = molecule.load("c1ccccc1", LIMITS)
    assert ring.atoms[:, 6:8].all() and [molecule.BONDS[k] for k in ring.bonds[:, 0]] == ["AROMATIC"] * 6
    left, right = (molecule.load(f"C[C{turn}H](N)C(=O)O", LIMITS) for turn in ("@", "@@"))
    assert {int(left.atoms[1, 8]), int(right.atoms[1, 8])} == {1, 2}
    assert molecule.STEREO[molecule.load("C/C=C/C", LIMITS).bonds[1, 1]] == "STEREOE"
    assert molecule.STEREO[molecule.load("C/C=C\\C", LIMITS).bonds[1, 1]] == "STEREOZ"
    assert molecule.load("[CH3]", LIMITS).atoms[0, 4] == 1


def test_one_atom_has_no_bonds() -> None:
    got = molecule.load("C", LIMITS)
    assert got.atoms.shape == (1, 9) and got.edges.shape == (0, 2) and got.bonds.shape == (0, 4)


def test_two_spellings_are_one_molecule() -> None:
    assert molecule.canonical("OCC", LIMITS) == molecule.canonical("C(C)O", LIMITS) == "CCO"
    assert molecule.canonical("C[C@H](N)O", LIMITS) != molecule.canonical("C[C@@H](N)O", LIMITS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty SMILES"), (None, "not a SMILES but a NoneType"), (7, "not a SMILES but a int"),
        ("C(C)(C)(C)(C)C", "not a valid molecule: Explicit valence for atom # 0 C, 5"),
        ("c1cccc1", "not a valid molecule: Can't kekulize"), ("hello", "not a valid SMILES"),
        ("C1CC", "not a valid SMILES"), ("C(", "not a valid SMILES"), ("CCO ethanol", "no spaces"),
        ("CCO |$a;b;c$|", "no spaces"), ("C\n", "printable ASCII"), ("C\0C", "printable ASCII"),
        ("С", "printable ASCII"), ("C" * 4001, "SMILES of 4,001 characters, limit 4,000"),
    ],
)  # fmt: skip
def test_bad_molecule(text: object, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    seen = molecule.check(text, LIMITS)
    assert reason in seen.reason and seen == Seen(seen.reason)
    for read in (molecule.load, molecule.canonical):
        with pytest.raises(Refused) as refused:
            read(text, LIMITS)
        assert str(refused.value) == seen.reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["C(" * 1300 + "C" + ")" * 1300, "C1" + "C" * 3990 + "1", "[" * 4000, "(" * 4000])
def test_hostile_molecules_end_soon(text: str) -> None:
    start = time.process_time()
    assert isinstance(molecule.check(text, LIMITS), Seen)
    assert time.process_time() - start < 10


def test_without_rdkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[molecules\]'"):
        molecule.check("C", LIMITS)


@given(st.text(max_size=30) | st.text("CNOcn1234()[]=#+-@/\\.%H*", max_size=30))
@settings(max_examples=300, deadline=None)
def test_check_and_load_agree(text: str) -> None:
    seen = molecule.check(text, LIMITS)
    if seen.reason:
        with pytest.raises(Refused):
            molecule.load(text, LIMITS)
        return
    got = molecule.load(text, LIMITS)
    assert seen.about.startswith(f"{len(got.atoms)} atom") and f", {len(got.edges)} bond" in seen.about
    assert (np.bincount(got.edges.reshape(-1), minlength=len(got.atoms)) == got.atoms[:, 1]).all()  # neighbours


def test_real_molecules() -> None:
    if not MOLECULES.exists():
        pytest.skip("the shared molecules are not beside the checkout")
    with (MOLECULES / "esol.csv").open() as lines:
        texts = [row["smiles"] for row in csv.DictReader(lines)][::10]
    texts += [json.loads(line)["smiles"] for line in (MOLECULES / "chebi20.jsonl").open()][::30]
    seen = [molecule.check(text, LIMITS) for text in texts]
    assert len(seen) > 200 and not any(s.reason for s in seen)
