"""Facts: pure in (seed, part, scene), within the config, balanced, and never trained on what is kept for test."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sensorium.core import SensoriumError, derive
from sensorium.lab.world.facts import (
    COLOURS,
    GROUNDS,
    NULLS,
    RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    Config,
    Facts,
    combinations,
    facts,
    scenes,
    shown,
    typical_kind,
    uniform,
    words,
)

ARRAYS = ("shape", "colour", "size", "texture", "row", "col", "ground", "n", "name", "index")
LEFT, RIGHT, ABOVE, BELOW = range(4)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    cells, distinct = draw(st.integers(1, 4)), draw(st.booleans())
    colours, shapes = draw(st.integers(2, 8)), draw(st.integers(2, 6))
    most = draw(st.integers(1, min(cells**2, colours, shapes) if distinct else cells**2))

    def some(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(draw(st.lists(st.sampled_from(names), min_size=1, unique=True)))

    config = Config(
        cells, draw(st.integers(0, most)), most, colours, shapes, some(SIZES), some(TEXTURES), some(GROUNDS), distinct
    )
    try:
        return replace(config, held=draw(st.sampled_from([0.0, 0.25, 0.5])))
    except SensoriumError:
        return config


def same(a: Facts, b: Facts) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)


def kinds(world: Facts) -> set[tuple[int, int]]:
    return set(zip(world.colour[world.real()].tolist(), world.shape[world.real()].tolist(), strict=True))


def splitmix(state: int, count: int) -> list[int]:
    """The published generator, in plain integers."""
    out, m = [], (1 << 64) - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & m
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & m
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & m
        out.append(z ^ (z >> 31))
    return out


def test_words_are_splitmix64s() -> None:
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    key, m = derive("world", 3, "train", "noise"), (1 << 64) - 1
    got = words(np.array([0, 41]), 5, 3, "train", "noise")
    for row, i in zip(got.tolist(), (0, 41), strict=True):
        state = splitmix((key + i - 0x9E3779B97F4A7C15) & m, 1)[0]  # the state is the finaliser of key + i
        assert row == splitmix(state, 5)


def test_uniform_is_uniform_and_named() -> None:
    index = np.arange(3000)
    values = uniform(index, 4, "a")
    assert values.min() >= 0 and values.max() < 1
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.08
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.08
    assert np.array_equal(uniform(index[7:9], 4, "a"), values[7:9])
    assert not np.array_equal(uniform(index, 4, "b"), values)


@settings(max_examples=60, deadline=None)
@given(configs(), st.integers(0, 5), st.integers(0, 40), st.integers(1, 30), st.sampled_from(["train", "test", "seen"]))
def test_any_chunk_is_the_same_rows(config: Config, seed: int, start: int, n: int, part: str) -> None:
    whole = facts(seed, start + n, config, part=part)
    assert same(whole.rows(slice(start, None)), facts(seed, n, config, start, part))
    at = np.array([start, 0, start + n - 1])
    assert same(whole.rows(at), scenes(seed, at, config, part))


@settings(max_examples=60, deadline=None)
@given(configs(), st.integers(0, 5), st.sampled_from(["train", "test"]))
def test_facts_keep_to_the_config(config: Config, seed: int, part: str) -> None:
    world = facts(seed, 40, config, part=part)
    real = world.real()
    assert ((world.n >= config.fewest) & (world.n <= config.most)).all() and (real.sum(1) == world.n).all()
    for name, count in (
        ("colour", config.colours),
        ("shape", config.shapes),
        ("row", config.cells),
        ("col", config.cells),
    ):
        values = getattr(world, name)
        assert values.dtype == np.int8 and values.shape == (40, config.most)
        assert (values[real] >= 0).all() and (values[real] < count).all() and (values[~real] == -1).all()
    for values, given_, valid in ((world.size, config.sizes, SIZES), (world.texture, config.textures, TEXTURES)):
        assert {valid[v] for v in values[real].tolist()} <= set(given_) and (values[~real] == -1).all()
    assert {GROUNDS[v] for v in world.ground.tolist()} <= set(config.grounds)
    assert (world.name[real] >= 0).all() and (world.name[~real] == -1).all()
    allowed = combinations(config, part) > 0
    assert all(allowed[kind] for kind in kinds(world))
    for i in range(len(world)):
        k = world.n[i]
        assert len(set(zip(world.row[i, :k].tolist(), world.col[i, :k].tolist(), strict=True))) == k
        if config.distinct:
            assert len(set(world.colour[i, :k].tolist())) == k == len(set(world.shape[i, :k].tolist()))


def test_seeds_and_parts_are_different_worlds() -> None:
    a = facts(0, 200)
    assert not same(a, facts(1, 200)) and not same(a, facts(0, 200, part="validation"))


def test_labels_are_balanced() -> None:
    world = facts(0, 6000)
    for values, count in (
        (world.colour[:, 0], 8),
        (world.shape[:, 1], 6),
        (world.n - 2, 2),
        (world.row[:, 0] * 2 + world.col[:, 0], 4),
        (world.colour[:, 0].astype(int) * 6 + world.shape[:, 0], 48),
    ):
        assert stats.chisquare(np.bincount(values, minlength=count)).pvalue > 1e-3
    relation = world.relation(0, 1)
    assert stats.chisquare(np.bincount(relation[relation >= 0], minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize("held", [0.1, 0.125, 0.25, 0.4, 0.5])
def test_held_combinations_are_balanced_and_in_test_only(held: float) -> None:
    for colours, shapes in ((8, 6), (4, 4), (5, 3), (6, 4)):
        config = Config(colours=colours, shapes=shapes, held=held, fewest=1, most=1)
        kept, rest = combinations(config, "test") > 0, combinations(config, "train") > 0
        assert kept.sum() == round(held * colours * shapes) and (kept ^ rest).all()
        assert np.ptp(kept.sum(0)) <= 1 and np.ptp(kept.sum(1)) <= 1
    config = Config(held=0.25)
    train, validation, test, seen = (
        kinds(facts(0, 1500, config, part=part)) for part in ("train", "validation", "test", "seen")
    )
    assert len(train) == 36 and len(test) == 12 and not train & test and train == validation == seen


def test_scenes_that_run_out_of_kinds_are_drawn_again() -> None:
    """Five of nine combinations, and one way to give three objects different kinds of them: most draws are stuck."""
    config = Config(colours=3, shapes=3, fewest=3, held=5 / 9)
    allowed = combinations(config, "test") > 0
    world = facts(0, 200, config, part="test")
    assert allowed.sum() == 5 and len(kinds(world)) == 3 and all(allowed[kind] for kind in kinds(world))
    assert (np.sort(world.shape, 1) == np.arange(3)).all() and (np.sort(world.colour, 1) == np.arange(3)).all()
    assert same(world.rows([3, 150]), scenes(0, np.array([3, 150]), config, "test"))


def test_novel_shapes_appear_in_test_only() -> None:
    config = Config(novel=2, most=2)
    train, test = facts(0, 800, config), facts(0, 800, config, part="test")
    assert len(set(train.shape[train.real()].tolist())) == 4 and len(set(test.shape[test.real()].tolist())) == 2
    assert not kinds(train) & kinds(test)


def test_skew_makes_rare_shapes_in_training_alone() -> None:
    config = Config(fewest=1, most=1, skew=1.0)
    count = np.bincount(facts(0, 6000, config).shape[:, 0], minlength=6)
    expected = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
    assert stats.chisquare(count, 6000 * expected / expected.sum()).pvalue > 1e-3
    assert stats.chisquare(np.bincount(facts(0, 6000, config, part="test").shape[:, 0])).pvalue > 1e-3


def test_typical_colours_and_sizes_are_as_frequent_as_said() -> None:
    config = Config(fewest=1, most=1, sizes=SIZES, typical=0.75)
    world = facts(0, 6000, config)
    colour, size = typical_kind(config)
    shape = world.shape[:, 0]
    assert (world.colour[:, 0] == colour[shape]).mean() == pytest.approx(0.75 + 0.25 / 8, abs=0.02)
    assert (world.size[:, 0] == size[shape]).mean() == pytest.approx(0.75 + 0.25 / 2, abs=0.02)
    assert stats.chisquare(np.bincount(shape)).pvalue > 1e-3


def test_relations_by_hand() -> None:
    world = facts(0, 5, Config(cells=3, fewest=2, most=3, colours=6))
    place = [((0, 0), (0, 2)), ((2, 1), (0, 0)), ((1, 2), (1, 1)), ((0, 0), (1, 0)), ((0, 0), (2, 2))]
    row, col = world.row.copy(), world.col.copy()
    for i, (a, b) in enumerate(place):
        (row[i, 0], col[i, 0]), (row[i, 1], col[i, 1]) = a, b
    world = replace(world, row=row, col=col, n=np.full(5, 2, np.int8))
    assert world.relation(0, 1).tolist() == [LEFT, BELOW, RIGHT, ABOVE, -1]
    assert world.relation(1, 0).tolist() == [RIGHT, ABOVE, LEFT, BELOW, -1]
    names = [{RELATIONS[r] for r in np.flatnonzero(line)} for line in world.holds(0, 1)]
    assert names == [{"left of"}, {"below", "right of"}, {"right of"}, {"above"}, {"left of", "above"}]
    assert world.relation(np.array([0, 1, 0, 1, 0]), 0).tolist() == [-1, ABOVE, -1, BELOW, -1]


def test_empty_slots_have_no_relation() -> None:
    world = facts(0, 50, Config(fewest=1, most=3))
    alone = world.n == 1
    assert alone.any() and (world.relation(0, 1)[alone] == -1).all() and not world.holds(0, 1)[alone].any()
    assert (world.relation(0, np.full(50, -1)) == -1).all()


def test_rows_take_slices_numbers_and_masks() -> None:
    world = facts(0, 10)
    mask = world.n == 3
    assert same(world.rows(mask), world.rows(np.flatnonzero(mask))) and len(world.rows([])) == 0
    assert world.rows(slice(2, 5)).index.tolist() == [2, 3, 4]


def test_null_worlds_break_one_factor() -> None:
    for null in NULLS:
        world = facts(0, 500, Config(null=null))
        seen = shown(world)
        real = world.real()
        assert same(shown(seen), seen) and same(seen.rows(slice(100, 120)), shown(world.rows(slice(100, 120))))
        changed = {name for name in ARRAYS if not np.array_equal(getattr(seen, name), getattr(world, name))}
        expected = {
            "": set(),
            "binding": {"colour"},
            "place": {"row", "col"},
            "pair": set(ARRAYS) - {"index", "ground"},
        }
        assert changed - {"size", "texture"} == expected.get(null, {null}) - {"size", "texture"}
        if null == "binding":
            assert np.array_equal(np.sort(seen.colour, 1), np.sort(world.colour, 1))
            share = (seen.colour == world.colour)[world.n == 2, :2].mean()
            assert share == pytest.approx(0.5, abs=0.08)
        if null == "colour":
            assert (seen.colour == world.colour)[real].mean() == pytest.approx(1 / 8, abs=0.03)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": ("big",)}, "sizes 'big'; expected one of large, small"),
        ({"textures": ("stripes",)}, "did you mean 'striped'"),
        ({"grounds": ()}, "grounds"),
        ({"null": "bindings"}, "did you mean 'binding'"),
        ({"cells": 0}, "cells 0; expected 1 to 16"),
        ({"most": 5}, "most 5; expected 1 to 4"),
        ({"colours": 9}, "colours 9; expected 1 to 8"),
        ({"held": 1.0}, "held 1.0"),
        ({"skew": float("nan")}, "skew"),
        ({"typical": 2.0}, "typical"),
        ({"shapes": 2}, "room for 2 distinct objects"),
        ({"held": 0.02}, "test scenes have room for 1"),
        ({"fewest": 4}, "fewest 4; expected 0 to 3"),
    ],
)
def test_a_wrong_dial_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message.replace("(", r"\(")) as error:
        Config(**given)
    assert "\n" not in str(error.value)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'train'"):
        facts(0, 3, part="training")
    with pytest.raises(SensoriumError, match="expected 0 or more"):
        facts(0, -1)
    assert len(facts(0, 0)) == 0


def test_names_are_the_worlds() -> None:
    assert (len(COLOURS), len(SHAPES)) == (8, 6)
    world = facts(0, 2)
    assert world.config == Config() and world.seed == 0 and world.part == "train"


def test_speed_is_reported() -> None:
    began = time.process_time()
    assert len(facts(0, 10_000)) == 10_000
    print(f"facts: {10_000 / (time.process_time() - began):,.0f} scenes per CPU-second")
