"""One fact changed and all else equal; what was broken is what is said to be broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import GROUNDS, SHAPES, SIZES, TEXTURES, Config, Facts, combinations, facts
from sensorium.lab.world.operators import (
    FACT_FAULTS,
    FACTORS,
    PIXEL_FAULTS,
    corrupt,
    corrupt_facts,
    edit,
    moved,
    pairs,
    twin,
    where,
)
from sensorium.lab.world.scene import Style, masks, render

WIDE = Config(cells=3, fewest=2, most=4, sizes=SIZES, textures=TEXTURES, grounds=GROUNDS)
CLEAN = Style(noise=0)
SLOTS = ("shape", "colour", "size", "texture", "row", "col", "name")


def differences(a: Facts, b: Facts) -> dict[str, np.ndarray]:
    """bool [N K] (or [N]) per array that differs anywhere."""
    found = {f: getattr(a, f) != getattr(b, f) for f in (*SLOTS, "ground", "n", "index")}
    return {f: d for f, d in found.items() if d.any()}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 5),
    st.sampled_from([f for f in FACTORS if f not in ("removed", "added")]),
    st.booleans(),
    st.sampled_from([0.0, 0.25]),
)
def test_an_edit_changes_one_fact(seed: int, factor: str, distinct: bool, held: float) -> None:
    config = replace(WIDE, distinct=distinct, held=held, most=2 if held else 4)  # four may leave no other kind
    world = facts(seed, 40, config)
    which = np.arange(40) % world.n
    changed, change = edit(world, which, factor, seed)
    found = differences(world, changed)
    assert set(found) <= ({"row", "col"} if factor == "place" else {factor})
    if factor == "ground":
        assert found["ground"].all() and (change.slot == -1).all()
        assert (change.old == world.ground).all() and (change.new == changed.ground).all()
        return
    own = np.arange(config.most) == which[:, None]
    assert np.array_equal(np.logical_or.reduce(list(found.values())), own) and (change.slot == which).all()
    if factor == "place":
        before, after = (w.row.astype(int) * 3 + w.col for w in (world, changed))
    else:
        before, after = getattr(world, factor), getattr(changed, factor)
    assert (change.old == before[own]).all() and (change.new == after[own]).all()
    allowed = combinations(config, "train") > 0
    assert allowed[changed.colour[own], changed.shape[own]].all()
    for i in range(40):
        k = world.n[i]
        assert len({*zip(changed.row[i, :k].tolist(), changed.col[i, :k].tolist(), strict=True)}) == k
        if distinct:
            assert len(set(changed.colour[i, :k].tolist())) == k == len(set(changed.shape[i, :k].tolist()))


def test_edits_draw_values_evenly() -> None:
    world = facts(0, 4000, Config(fewest=1, most=1))
    world = world.rows(world.shape[:, 0] == SHAPES.index("star"))
    _, change = edit(world, 0, "shape")
    count = np.bincount(change.new, minlength=6)
    assert count[SHAPES.index("star")] == 0 and stats.chisquare(np.delete(count, SHAPES.index("star"))).pvalue > 1e-3


def test_pixels_outside_the_edited_object_stay() -> None:
    world = facts(0, 60, WIDE)
    for factor in ("colour", "shape", "size", "texture", "place", "removed"):
        changed, change = edit(world, 1, factor)
        a, b = render(world, 48), render(changed, 48)
        slots = masks(changed, 48)
        old = masks(world, 48) == 2
        new = slots == (0 if factor == "removed" else 2)
        assert ((a == b).all(1) | old | new).all() and (a != b).any((1, 2, 3)).all()
        assert (change.slot == 1).all()


def test_an_object_removed_or_added_is_the_only_change() -> None:
    world = facts(0, 200, replace(WIDE, fewest=2, most=4))
    which = np.arange(200) % world.n
    fewer, change = edit(world, which, "removed")
    assert (fewer.n == world.n - 1).all() and (change.new == -1).all()
    for i in range(200):
        kept = [k for k in range(world.n[i]) if k != which[i]]
        for f in SLOTS:
            assert getattr(fewer, f)[i].tolist() == [*getattr(world, f)[i, kept].tolist(), *[-1] * (4 - len(kept))]
        assert change.old[i] == world.colour[i, which[i]] * 6 + world.shape[i, which[i]]
    more, change = edit(fewer, 0, "added")
    assert (more.n == world.n).all() and (change.slot == fewer.n).all() and (change.old == -1).all()
    again, _ = edit(more, change.slot, "removed")
    assert differences(again, fewer) == {}
    cells = np.where(more.real(), more.row * 3 + more.col, -1 - np.arange(4))
    assert all(len(set(line)) == 4 for line in cells.tolist())
    last = more.colour[np.arange(200), change.slot] * 6 + more.shape[np.arange(200), change.slot]
    assert (last == change.new).all()
    for i in range(200):
        k = more.n[i]
        assert len(set(more.colour[i, :k].tolist())) == k == len(set(more.shape[i, :k].tolist()))


def test_edits_do_not_depend_on_the_chunk() -> None:
    world = facts(0, 100, WIDE)
    some = world.rows(slice(40, 60))
    for factor in FACTORS:
        if factor == "added":
            world, some = (edit(w, 0, "removed")[0] for w in (world, some))
        assert differences(edit(world, 0, factor, 3)[0].rows(slice(40, 60)), edit(some, 0, factor, 3)[0]) == {}
    assert differences(edit(world, 0, "colour", 3)[0], edit(world, 0, "colour", 4)[0])


@pytest.mark.parametrize(
    ("which", "factor", "message"),
    [
        (0, "color", "did you mean 'colour'"),
        (2, "colour", "object 2 of 2; expected 0 to 1"),
        (-1, "shape", "object -1"),
        (0, "size", "size has no other value"),
        (0, "texture", "texture has no other value"),
        (0, "ground", "ground has no other value"),
        (0, "added", "already holds 3 objects"),
    ],
)
def test_an_impossible_edit_is_one_clear_line(which: int, factor: str, message: str) -> None:
    with pytest.raises(SensoriumError, match=message) as error:
        edit(facts(0, 20), which, factor)
    assert "\n" not in str(error.value)


def test_a_scene_without_another_allowed_kind_is_refused_and_not_made_false() -> None:
    with pytest.raises(SensoriumError, match="colour has no other value"):
        edit(facts(0, 5, Config(colours=3, shapes=3, fewest=3)), 0, "colour")


def test_a_full_grid_has_no_other_place() -> None:
    with pytest.raises(SensoriumError, match="place has no other value"):
        edit(facts(0, 3, Config(fewest=4, most=4)), 0, "place")


def test_twins_differ_in_exactly_two_colours() -> None:
    world = facts(0, 300, Config(fewest=2, most=4))
    other = twin(world)
    assert set(differences(world, other)) == {"colour"}
    assert ((world.colour != other.colour) == (np.arange(4) < 2)).all()
    assert np.array_equal(world.colour[:, :2], other.colour[:, 1::-1]) and differences(twin(other), world) == {}
    a, b = render(world, 32, CLEAN), render(other, 32, CLEAN)
    slots = masks(world)
    assert np.array_equal(slots, masks(other)) and np.array_equal((a != b).any(1), (slots == 1) | (slots == 2))
    far = twin(facts(0, 20, Config(fewest=3, most=3)), 0, 2)
    assert np.array_equal(far.colour, facts(0, 20, Config(fewest=3, most=3)).colour[:, [2, 1, 0]])


@pytest.mark.parametrize("slots", [(0, 0), (0, 2), (-1, 1)])
def test_twins_need_two_objects(slots: tuple[int, int]) -> None:
    with pytest.raises(SensoriumError, match="twins of objects"):
        twin(facts(0, 20), *slots)


def test_pairs_are_the_same_or_differ_in_one_factor() -> None:
    world = facts(0, 1000, replace(WIDE, fewest=2))
    for factor in ("colour", "shape", "texture"):
        other, same = pairs(world, factor)
        assert same.mean() == pytest.approx(0.5, abs=0.05)
        unlike = np.stack([getattr(world, f) != getattr(other, f) for f in ("colour", "shape", "size", "texture")])
        assert not unlike[:, same].any() and (unlike.sum((0, 2))[~same] == 1).all()
        assert unlike[("colour", "shape", "size", "texture").index(factor)].any(1)[~same].all()
        assert ((world.row != other.row) | (world.col != other.col)).any(1).mean() > 0.9
    assert differences(pairs(world, "colour")[0].rows([5, 9]), pairs(world.rows([5, 9]), "colour")[0]) == {}


def test_moved_scenes_keep_their_objects() -> None:
    world = facts(0, 100, WIDE)
    other = moved(world, 1)
    assert set(differences(world, other)) == {"row", "col"}
    real = world.real()
    assert (other.row[real] >= 0).all() and (other.row[~real] == -1).all()


def test_where_picks_whole_scenes() -> None:
    a, b = facts(0, 10), moved(facts(0, 10))
    rows = np.arange(10) < 4
    chosen = where(rows, a, b)
    assert differences(chosen.rows(rows), a.rows(rows)) == {} and differences(chosen.rows(~rows), b.rows(~rows)) == {}


@pytest.mark.parametrize("kind", FACT_FAULTS)
def test_corrupted_facts_say_what_was_broken(kind: str) -> None:
    world = facts(0, 600, WIDE)
    broken, what = corrupt_facts(world, kind, 0.3, seed=2)
    changed = np.zeros(600, bool)
    for array in differences(world, broken).values():
        changed |= array.reshape(600, -1).any(1)
    assert what.rows.mean() == pytest.approx(0.3, abs=0.06) and what.kind == kind and what.slot is not None
    assert np.array_equal(changed, what.rows)
    if kind != "scene":
        assert np.array_equal(what.slot >= 0, what.rows) and (what.slot < world.n).all()
        field = "row" if kind == "place" else kind
        unlike = getattr(world, field) != getattr(broken, field)
        assert (unlike.argmax(1)[unlike.any(1)] == what.slot[unlike.any(1)]).all()
    assert differences(corrupt_facts(world, kind, 0.0)[0], world) == {}


@pytest.mark.parametrize("kind", PIXEL_FAULTS)
def test_corrupted_pictures_say_what_was_broken(kind: str) -> None:
    picture = render(facts(0, 80))
    before = picture.copy()
    broken, what = corrupt(picture, kind, 0.5)
    changed = (broken != picture).any(1)
    assert np.array_equal(changed.any((1, 2)), what.rows) and 20 < what.rows.sum() < 60
    assert np.array_equal(picture, before) and broken.dtype == np.uint8
    if what.boxes is not None:
        for i in np.flatnonzero(what.rows):
            x0, y0, x1, y1 = (what.boxes[i] * 32).round().astype(int)
            inside = np.zeros((32, 32), bool)
            inside[y0:y1, x0:x1] = True
            assert not (changed[i] & ~inside).any() and (x1 - x0, y1 - y0) == ((8, 8) if kind == "block" else (5, 5))
        assert not what.boxes[~what.rows].any()
    assert np.array_equal(corrupt(picture, kind, 0.5)[0], broken)
    assert np.array_equal(corrupt(picture, kind, 0.0)[0], picture)


def test_blur_is_the_mean_of_nine_pixels() -> None:
    picture = render(facts(0, 3))
    blurred, _ = corrupt(picture, "blur")
    expected = picture[:, :, 9:12, 19:22].astype(float).mean((2, 3))
    assert abs(blurred[:, :, 10, 20] - expected).max() <= 0.51


def test_unknown_faults_are_refused() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'blur'"):
        corrupt(render(facts(0, 1)), "blurr")
    with pytest.raises(SensoriumError, match="did you mean 'scene'"):
        corrupt_facts(facts(0, 1), "scenes")
