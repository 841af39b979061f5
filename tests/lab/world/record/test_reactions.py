"""Reactions: every atom is kept, the product is the only one, and generated answers are scored."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.record.molecules import GROUPS, describe, molecules, smiles
from sensorium.lab.world.record.reactions import (
    REACTIONS,
    Score,
    balanced_atoms,
    check,
    check_retro,
    react,
    reactions,
)
from sensorium.lab.world.record.smiles import parse, same

STEPS = reactions(0, 80)


@pytest.mark.parametrize("name", REACTIONS)
def test_every_reaction_keeps_its_atoms(name: str) -> None:
    assert balanced_atoms(name)
    some = reactions(1, 5, known=(name,))
    for before, after in zip(some.reactants(), some.products(), strict=True):
        both = ".".join((after, *REACTIONS[name].products))
        assert parse(before).counts() == parse(both).counts()


def test_known_reactions() -> None:
    for reactants, product in (
        ("c1ccccc1C(=O)O.CO", "c1ccccc1C(=O)OC"),
        ("CO.OC(=O)c1ccccc1", "COC(=O)c1ccccc1"),
        ("C1CCCCC1C#N.O.O", "C1CCCCC1C(=O)O"),
        ("O=[N+]([O-])c1ccccc1.[HH].[HH].[HH]", "Nc1ccccc1"),
        ("Brc1ccncc1.O", "Oc1ccncc1"),
        ("Oc1ccccc1.CBr", "COc1ccccc1"),
    ):
        made = react(reactants)
        assert len(made) == 1 and same(made[0], product)
    for reactants in ("c1ccccc1.CO", "c1ccccc1C(=O)O", "C1CCC(Br)CC1Br.O", "x.CO", "c1ccccc1C#N.O"):
        assert react(reactants) == []


def test_one_group_changes_at_the_corner_that_is_told() -> None:
    names = tuple(GROUPS)
    for row, name in enumerate(STEPS.name):
        old, new = STEPS.before.group[row], STEPS.after.group[row]
        assert np.flatnonzero(old != new).tolist() == [STEPS.corner[row]]
        assert (
            names[old[STEPS.corner[row]]] == REACTIONS[name].old
            and names[new[STEPS.corner[row]]] == REACTIONS[name].new
        )
        assert (old == names.index(REACTIONS[name].old)).sum() == 1
        assert REACTIONS[name].old in describe(STEPS.before)[row]


def test_yields_and_conditions_follow_their_rules() -> None:
    for row, percent in enumerate(STEPS.yields().tolist()):
        corner, group = int(STEPS.corner[row]), STEPS.before.group[row]
        beside = (group[corner - 1] >= 0).astype(int) + (group[(corner + 1) % 6] >= 0)
        assert percent == 95 - 15 * beside
    assert STEPS.conditions() == [REACTIONS[name].condition for name in STEPS.name]
    assert len({reaction.condition for reaction in REACTIONS.values()}) == len(REACTIONS)


def test_reactions_are_balanced_and_pure() -> None:
    many = reactions(0, 3500)
    assert balanced(many.name, len(REACTIONS)).ok
    part = reactions(0, 10, start=20)
    assert part.name == many.name[20:30] and np.array_equal(part.after.group, many.after.group[20:30])


def test_answers_are_scored_whatever_their_writing() -> None:
    rewritten = smiles(STEPS.after, seed=5)
    assert rewritten != STEPS.products() and check(rewritten, STEPS) == Score(1.0, 1.0, 1.0)
    assert check(smiles(STEPS.before), STEPS) == Score(1.0, 0.0, 0.0)
    assert check(["C("] * len(STEPS), STEPS) == Score(0.0, 0.0, 0.0)
    half = [text if row % 2 else "CC" for row, text in enumerate(rewritten)]
    assert check(half, STEPS) == Score(1.0, 0.5, 0.5)
    assert check_retro(STEPS.reactants(), STEPS) == 1.0 and check_retro(STEPS.products(), STEPS) == 0.0


def test_the_molecules_are_those_of_the_same_rows() -> None:
    base = molecules(0, len(STEPS))
    assert np.array_equal(base.core, STEPS.before.core)
    assert ((base.group != STEPS.before.group).sum(1) <= 4).all()


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'oxidation'"):
        reactions(0, 1, known=("oxydation",))
    with pytest.raises(SensoriumError, match="0 products, 80 reactions"):
        check([], STEPS)
    with pytest.raises(SensoriumError, match="0 reactants, 80 reactions"):
        check_retro([], STEPS)
