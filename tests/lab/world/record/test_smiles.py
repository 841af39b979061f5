"""SMILES: by hand, and against RDKit."""

from __future__ import annotations

import random

import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.record.molecules import molecules, smiles
from sensorium.lab.world.record.smiles import canonical, parse, same, valid

HAND = (
    "C",
    "CCO",
    "OCC",
    "C#N",
    "CC(=O)O",
    "c1ccccc1",
    "n1ccccc1",
    "C1CC1",
    "[N+](=O)([O-])C",
    "[HH]",
    "CN.CO",
    "BrC(Cl)=O",
)


def test_known_molecules() -> None:
    for text, formula, mass, donors, rings in (
        ("O", "H2O", 18.015, 1, 0),
        ("CCO", "C2H6O", 46.069, 1, 0),
        ("c1ccccc1C(=O)O", "C7H6O2", 122.123, 1, 1),
        ("c1ccccc1[N+](=O)[O-]", "C6H5NO2", 123.111, 0, 1),
        ("C1CCCCC1.O", "C6H14O", 102.177, 1, 1),
        ("[HH]", "H2", 2.016, 0, 0),
        ("C[N+](C)(C)C", "C4H12N+", 74.147, 0, 0),
    ):
        found = parse(text)
        assert (found.formula, found.donors, found.rings) == (formula, donors, rings)
        assert abs(found.mass - mass) < 0.01


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C(",
        "C)",
        "C1CC",
        "C=",
        "C(C)(C)(C)(C)C",
        "O=O=O",
        "c1cccc1",
        "cc",
        "Si",
        "C11",
        "1CC1",
        "FC",
        "[N+](=O)[O-]",
        "[CH3]",
    ],
)
def test_what_is_no_molecule_here_is_refused(text: str) -> None:
    assert not valid(text)
    with pytest.raises(SensoriumError, match="SMILES") as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_the_same_molecule_in_other_writings() -> None:
    for a, b in (
        ("CCO", "OCC"),
        ("C(C)(O)=O", "CC(=O)O"),
        ("c1ccccc1O", "c1cc(O)ccc1"),
        ("O.CO", "CO.O"),
        ("C1CCCCC1C", "CC1CCCCC1"),
    ):
        assert same(a, b) and canonical(parse(a)) == canonical(parse(b))
    for a, b in (
        ("CCO", "COC"),
        ("c1ccccc1O", "C1CCCCC1O"),
        ("O.CO", "O.O.CO"),
        ("c1ccc(O)cc1O", "c1cc(O)ccc1O"),
        ("CC", "C("),
    ):
        assert not same(a, b)


def test_rdkit_agrees_on_formula_mass_donors_rings_and_sameness() -> None:
    chem = pytest.importorskip("rdkit.Chem", reason="needs the extra `molecules`")
    from rdkit.Chem import Descriptors, Lipinski, rdMolDescriptors

    world = molecules(0, 150)
    texts = [*smiles(world), *smiles(world, seed=1), *HAND]
    oracle = [chem.MolFromSmiles(text) for text in texts]
    assert all(oracle)
    for text, molecule in zip(texts, oracle, strict=True):
        found = parse(text)
        assert found.formula == rdMolDescriptors.CalcMolFormula(molecule)
        assert abs(found.mass - Descriptors.MolWt(molecule)) < 0.02 and found.donors == Lipinski.NumHDonors(molecule)
        assert found.rings == molecule.GetRingInfo().NumRings()
    codes, known = [canonical(parse(text)) for text in texts], [chem.MolToSmiles(molecule) for molecule in oracle]
    assert len({*zip(codes, known, strict=True)}) == len(set(codes)) == len(set(known))


def test_rdkits_random_writings_are_read_as_the_same() -> None:
    chem = pytest.importorskip("rdkit.Chem", reason="needs the extra `molecules`")
    for text in smiles(molecules(3, 40)):
        molecule = chem.MolFromSmiles(text)
        order = list(range(molecule.GetNumAtoms()))
        random.Random(0).shuffle(order)
        other = chem.MolToSmiles(chem.RenumberAtoms(molecule, order), canonical=False)
        assert same(text, other)
