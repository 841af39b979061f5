"""Plans: which objects are mentioned, in an order that tells nothing, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang.plan import SPOKEN, below, draw, order_of_mention, plan

WORLD = facts(1, 3000, Config(fewest=0))


def test_every_object_is_mentioned_once_and_the_empty_slots_come_last() -> None:
    for n, slots in zip(WORLD.n.tolist(), order_of_mention(WORLD, 0).tolist(), strict=True):
        assert sorted(slots[:n]) == list(range(n)) and slots[n:] == [-1] * (3 - n)


def test_every_order_is_as_likely() -> None:
    full = WORLD.rows(WORLD.n == 3)
    orders, counts = np.unique(order_of_mention(full, 0), axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts / len(full) - 1 / 6).max() < 4 * np.sqrt(1 / 6 / len(full))


def test_the_order_does_not_depend_on_what_is_true() -> None:
    other = replace(WORLD, colour=WORLD.colour[:, ::-1].copy(), shape=np.zeros_like(WORLD.shape))
    for form in ("short", "list", "long"):
        assert np.array_equal(plan(WORLD, form).slot, plan(other, form).slot)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("one", {"shape", "colour"}),
        ("short", {"shape", "colour"}),
        ("list", {"shape", "colour"}),
        ("long", set(SPOKEN)),
    ],
)
def test_a_form_says_its_factors_of_the_objects_that_it_mentions(form: str, said: set[str]) -> None:
    made = plan(WORLD, form)
    for factor in SPOKEN:
        values = getattr(made, factor)
        expected = np.take_along_axis(getattr(WORLD, factor), np.maximum(made.slot, 0).astype(int), 1)
        assert np.array_equal(values, np.where((made.slot >= 0) & (factor in said), expected, -1))


def test_relations_are_true_and_a_diagonal_tells_either_of_its_two() -> None:
    world = WORLD.rows(WORLD.n >= 2)
    made = plan(world, "short")
    a, b = made.slot[:, 0], made.slot[:, 1]
    rows = np.arange(len(world))
    assert world.holds(a, b)[rows, made.relation].all()
    clear = world.relation(a, b)
    assert np.array_equal(made.relation[clear >= 0], clear[clear >= 0])
    across = np.isin(made.relation[clear < 0], (0, 1))
    assert abs(across.mean() - 0.5) < 4 * np.sqrt(0.25 / len(across))


def test_three_objects_are_told_by_a_pair_along_one_axis() -> None:
    """Among three cells of a 2 x 2 grid two pairs always share a row or a column."""
    world = WORLD.rows(WORLD.n == 3)
    made = plan(world, "short")
    assert (world.relation(made.slot[:, 0], made.slot[:, 1]) >= 0).all()


def test_empty_scenes_are_counted() -> None:
    made = plan(WORLD, "list")
    assert np.array_equal(made.count == 0, WORLD.n == 0)
    assert np.array_equal(plan(WORLD, "count").count, WORLD.n)


def test_draws_are_named_by_scene_seed_and_purpose() -> None:
    a = draw(WORLD, 3, 0, "x")
    assert np.array_equal(draw(WORLD.rows([5, 2]), 3, 0, "x"), a[[5, 2]])
    assert np.array_equal(draw(WORLD, 2, 0, "x"), a[:, :2])
    for other in (draw(WORLD, 3, 1, "x"), draw(WORLD, 3, 0, "y"), draw(replace(WORLD, part="test"), 3, 0, "x")):
        assert abs(np.corrcoef(a.ravel(), other.ravel())[0, 1]) < 0.05
    assert set(below(WORLD, 4, 0, "x").tolist()) == {0, 1, 2, 3}


def test_rows_cut_every_array() -> None:
    made = plan(WORLD, "long").rows(np.array([3, 1]))
    assert len(made) == 2 and np.array_equal(made.ground, WORLD.ground[[3, 1]]) and made.colour.shape == (2, 3)


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(SensoriumError, match="caption form 'lnog'; did you mean 'long'"):
        plan(WORLD, "lnog")
