"""Molecules: valid, told in words, with the properties that RDKit finds, and read back from any writing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.record.molecules import (
    CORES,
    GROUPS,
    MOLECULE,
    Config,
    Molecules,
    describe,
    molecules,
    properties,
    read,
    single,
    smiles,
)
from sensorium.lab.world.record.smiles import same, valid


def hand_made() -> Molecules:
    """Pyridine with an acid at 2 and a bromide at 5."""
    names = tuple(GROUPS)
    return single(1, [-1, names.index("acid"), -1, -1, names.index("bromide"), -1])


def test_a_known_molecule() -> None:
    world = hand_made()
    assert smiles(world) == ["n1c(C(=O)O)ccc(Br)c1"] and same(smiles(world)[0], "OC(=O)c1ccc(Br)cn1")
    assert describe(world) == ["pyridine with an acid at 2 and a bromide at 5"]
    found = {name: float(values[0]) for name, values in properties(world).items()}
    assert abs(found.pop("mass") - 202.007) < 0.01
    assert found == {"donors": 1, "rings": 1, "atoms": 10, "solubility": 2 * 3 - 3 - 1.5}


def test_all_are_valid_and_read_back_from_any_writing() -> None:
    world = molecules(0, 150)
    plain, other = smiles(world), smiles(world, seed=1)
    assert sum(a != b for a, b in zip(plain, other, strict=True)) > 100
    for a, b in zip(plain, other, strict=True):
        assert valid(a) and same(a, b)
        found = read(b)
        assert found is not None and same(smiles(single(*found))[0], a)


def test_what_this_world_cannot_have_drawn_is_not_read() -> None:
    for text in ("CCO", "c1ccccc1CC", "C1CCCC1", "c1ccccc1.O", "C1CCCCC1(C)C", "nonsense", "c1ccc2ccccc2c1"):
        assert read(text) is None


def test_numbers_of_groups_cores_and_corners() -> None:
    world = molecules(0, 6000)
    count = (world.group >= 0).sum(1)
    assert set(count.tolist()) == {1, 2, 3} and abs(np.mean(world.core == 0) - 1 / 3) < 0.03
    assert (world.group[world.core == 1, 0] == -1).all()
    groups = Counter(world.group[world.group >= 0].tolist())
    assert len(groups) == 12 and max(groups.values()) < 1.2 * min(groups.values())
    part = molecules(0, 20, start=400)
    assert np.array_equal(part.group, world.group[400:420]) and smiles(part, 2) == smiles(replace(world), 2)[400:420]


def test_held_pairs_appear_in_test_only() -> None:
    config = Config(held=0.34)
    seen = []
    for part in ("train", "test"):
        world = molecules(0, 3000, config, part=part)
        n, at = np.nonzero(world.group >= 0)
        seen.append(set(zip(world.core[n].tolist(), world.group[n, at].tolist(), strict=True)))
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 36 and len(seen[1]) == 12


def test_mistakes_are_named() -> None:
    for call, message in (
        (lambda: Config(cores=("benzen",)), "did you mean 'benzene'"),
        (lambda: Config(groups=("acids",)), "did you mean 'acid'"),
        (lambda: Config(most=6), "most 6 of groups; expected 1 to 5"),
        (lambda: molecules(0, -1), "-1 molecules"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
    assert len(CORES) == 3 and smiles(molecules(0, 0, MOLECULE)) == []
