"""Pictures and their truth: pure, and equal pixel by pixel."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import (
    COLOURS,
    GROUNDS,
    NULLS,
    SHAPES,
    SIZES,
    TEXTURES,
    Config,
    Facts,
    facts,
    shown,
)
from sensorium.lab.world.scene import (
    FAULTS,
    MAGENTA,
    MARKS,
    Style,
    boxes,
    depth,
    edges,
    instances,
    labelled,
    layout,
    marks,
    masks,
    metadata,
    palette,
    render,
    shape_of,
    tags,
)
from sensorium.lab.world.sprites import LOOKS, sprite

HARD = Config(sizes=SIZES, textures=TEXTURES, grounds=GROUNDS)
CLEAN = Style(noise=0)
RGB = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 50, 190),
    "orange": (245, 140, 30),
    "cyan": (40, 200, 210),
    "brown": (130, 80, 40),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
}


def painted(world: Facts, size: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """One pixel after the other: RGB and slot + 1, the objects from the upper left to the lower right."""
    place = layout(world, size, style)
    picture = np.zeros((len(world), place.height, place.width, 3), np.uint8)
    slots = np.zeros(picture.shape[:3], np.uint8)
    for i in range(len(world)):
        picture[i] = RGB[GROUNDS[world.ground[i]]]
        order = sorted(range(world.n[i]), key=lambda k: (world.row[i, k], world.col[i, k]))
        for k in order:
            colour = np.array(RGB[COLOURS[world.colour[i, k]]])
            tones = sprite(int(world.shape[i, k]), int(world.texture[i, k]), int(place.diameter[i, k]), style.look)
            for (dy, dx), tone in np.ndenumerate(tones):
                y, x = place.top[i, k] + dy, place.left[i, k] + dx
                if tone >= 0 and 0 <= y < place.height and 0 <= x < place.width:
                    picture[i, y, x], slots[i, y, x] = (colour // 2 if tone else colour), k + 1
    return picture.transpose(0, 3, 1, 2), slots


@pytest.mark.parametrize(
    ("config", "size", "style"),
    [
        (Config(), 32, CLEAN),
        (HARD, 32, CLEAN),
        (HARD, 32, replace(CLEAN, look="sketch")),
        (HARD, 45, replace(CLEAN, aspect=(2, 3), jitter=0.5)),
        (HARD, 32, replace(CLEAN, scale=1.7)),
        (Config(cells=4, fewest=0, most=16, distinct=False), 34, CLEAN),
        (Config(cells=3, fewest=4, most=6, sizes=SIZES), 40, replace(CLEAN, scale=2.0)),
    ],
)
def test_pixels_masks_depth_and_boxes_agree(config: Config, size: int, style: Style) -> None:
    world = facts(3, 20, config)
    picture, slots = painted(world, size, style)
    assert np.array_equal(render(world, size, style), picture)
    assert np.array_equal(masks(world, size, style), slots)
    far, box = depth(world, size, style), boxes(world, size, style)
    height, width = picture.shape[2:]
    assert (far[slots == 0] == 1).all() and far.dtype == np.float32
    for i in range(len(world)):
        values = []
        for k in range(world.row.shape[1]):
            y, x = np.nonzero(slots[i] == k + 1)
            if not len(y):
                assert (box[i, k] == 0).all()
                continue
            corners = [x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height]
            assert box[i, k] == pytest.approx(corners)
            assert len(set(far[i, y, x].tolist())) == 1 and 0 < far[i, y[0], x[0]] < 1
            values.append((world.row[i, k], world.col[i, k], -far[i, y[0], x[0]]))
        assert [v[2] for v in sorted(values)] == sorted(v[2] for v in values)


def test_nearer_objects_hide_farther_ones() -> None:
    world, style = facts(0, 60, Config(fewest=3, most=4, sizes=("large",))), Style(noise=0, scale=1.8)
    alone, together = masks(world, 32, CLEAN), masks(world, 32, style)
    assert (alone > 0).sum() < (together > 0).sum()
    cell = np.where(world.real(), world.row * 2 + world.col, -1)
    first = cell.argmax(1)  # the lower right one is whole
    for i in range(len(world)):
        k = first[i]
        only = replace(world.rows([i]), n=np.ones(1, np.int8))
        only = replace(
            only,
            **{f: getattr(only, f)[:, [k, *([k] * 3)]] for f in ("shape", "colour", "size", "texture", "row", "col")},
        )
        assert ((masks(only, 32, style)[0] == 1) == (together[i] == k + 1)).all()


def test_edges_are_where_neighbours_differ() -> None:
    world = facts(1, 12, HARD)
    slots, line = masks(world, 32), edges(world, 32)
    for i, y, x in np.ndindex(line.shape):
        right = x + 1 < 32 and slots[i, y, x] != slots[i, y, x + 1]
        below = y + 1 < 32 and slots[i, y, x] != slots[i, y + 1, x]
        assert line[i, y, x] == (right or below)


@pytest.mark.parametrize("style", [Style(), Style(scale=1.5), Style(accents=True), Style(marks="arrow")])
def test_a_scene_looks_the_same_in_any_chunk(style: Style) -> None:
    world = facts(0, 300, HARD)
    every = [render(world, 32, style, seed=2), *(truth(world, 32, style) for truth in (masks, depth, edges, boxes))]

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(0, 299), max_size=6))
    def check(at: list[int]) -> None:
        some = world.rows(at)
        assert np.array_equal(every[0][at], render(some, 32, style, seed=2))
        for whole, truth in zip(every[1:], (masks, depth, edges, boxes), strict=True):
            assert np.array_equal(whole[at], truth(some, 32, style))

    check()


def test_noise_is_normal_and_redrawn_by_the_seed_alone() -> None:
    world = facts(0, 400, Config(grounds=("grey",)))
    clean, noisy, again = render(world, 32, CLEAN), render(world), render(world, seed=1)
    ground = np.broadcast_to(masks(world)[:, None] == 0, clean.shape)
    change = (noisy.astype(int) - clean)[ground]
    assert change.mean() == pytest.approx(0, abs=0.05) and change.std() == pytest.approx(6, abs=0.05)
    assert (abs(change) > 18).mean() == pytest.approx(0.0027, abs=0.0015)
    other = (again.astype(int) - clean)[ground]
    assert abs(np.corrcoef(change, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(change[:-1], change[1:])[0, 1]) < 0.01
    empty = Config(fewest=0, most=1, grounds=("grey",))
    one, two = (facts(0, 60, empty, part=part) for part in ("train", "test"))
    rows = (one.n == 0) & (two.n == 0)
    noise = [render(w.rows(rows)).astype(float) - 128 for w in (one, two)]
    assert rows.sum() > 5 and abs((noise[0] * noise[1]).mean()) < 1


@pytest.mark.parametrize("null", NULLS)
def test_truth_is_true_of_the_picture_in_null_worlds(null: str) -> None:
    world = facts(0, 30, replace(HARD, null=null))
    picture, slots = painted(shown(world), 32, CLEAN)
    assert np.array_equal(render(world, 32, CLEAN), picture) and np.array_equal(masks(world), slots)


def test_looks_change_colours_and_nothing_else() -> None:
    world = facts(0, 20, HARD)
    plain = render(world, 32, CLEAN).astype(int)
    look = {name: render(world, 32, replace(CLEAN, look=name)).astype(int) for name in LOOKS}
    assert np.array_equal(look["inverted"], 255 - plain)
    assert abs(look["pastel"] - (plain + 255) / 2).max() <= 1 and abs(look["night"] - 0.4 * plain).max() <= 1
    assert (masks(world, 32, Style(look="sketch")) > 0).sum() < (masks(world) > 0).sum()
    for name in ("inverted", "pastel", "night"):
        assert np.array_equal(masks(world, 32, Style(look=name)), masks(world))


def test_sizes_and_aspect_ratios() -> None:
    world = facts(0, 40, HARD)
    for size, aspect, expected in ((32, (1, 1), (32, 32)), (32, (1, 2), (32, 64)), (48, (3, 2), (72, 48))):
        style = Style(noise=0, aspect=aspect)
        assert shape_of(size, style) == expected == render(world, size, style).shape[2:]
    circle = (world.shape == SHAPES.index("circle")) & world.real()
    for size_name, diameter in (("small", 9), ("large", 15)):
        chosen = circle & (world.size == SIZES.index(size_name))
        corners = boxes(world, 32, Style(aspect=(1, 2)))[chosen] * [64, 32, 64, 32]
        assert (np.stack([corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]]) == diameter).all()


def test_jitter_moves_objects_within_their_cells() -> None:
    world = facts(0, 300, replace(HARD, sizes=("small",)))
    real, free, still = world.real(), layout(world, 32), layout(world, 32, Style(jitter=0))
    offset = free.top[real] - 16 * world.row[real]
    assert set(offset.tolist()) == set(range(8)) and len(set((still.top[real] - 16 * world.row[real]).tolist())) == 1
    half = layout(world, 32, Style(jitter=0.5)).left[real] - 16 * world.col[real]
    assert half.min() > 0 and half.max() < 7


def test_a_picture_too_small_for_its_objects_is_refused() -> None:
    with pytest.raises(SensoriumError, match="objects of 3 pixels"):
        render(facts(0, 1, Config(cells=4)), 20)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"look": "sketchy"}, "did you mean 'sketch'"),
        ({"marks": "boxes"}, "did you mean 'box'"),
        ({"noise": -1.0}, "noise -1.0; expected 0 to 255"),
        ({"scale": 9.0}, "scale"),
        ({"aspect": (1, 99)}, "aspect width 99"),
    ],
)
def test_a_wrong_style_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        Style(**given)


def test_palettes_of_clean_scenes_are_exact() -> None:
    world = facts(2, 25, HARD)
    picture = render(world, 32, CLEAN)
    tones, shares = palette(picture, 8)
    for i in range(len(world)):
        colours, count = np.unique(picture[i].reshape(3, -1).T, axis=0, return_counts=True)
        expected = {tuple(c): n / 1024 for c, n in zip(colours.tolist(), count.tolist(), strict=True)}
        got = {tuple(c): s for c, s in zip(tones[i].tolist(), shares[i].tolist(), strict=True) if s > 0}
        assert got == pytest.approx(expected) and (np.diff(shares[i]) <= 0).all()


def test_palettes_of_noisy_scenes_are_near() -> None:
    world = facts(2, 20, Config(grounds=("grey",)))
    tones, shares = palette(render(world), 4)
    for i in range(len(world)):
        for k in range(world.n[i]):
            colour = np.array(RGB[COLOURS[world.colour[i, k]]])
            assert abs(tones[i].astype(int) - colour).max(1).min() <= 12
    assert shares.sum(1) == pytest.approx(np.ones(20), abs=1e-5)
    with pytest.raises(SensoriumError, match="palette of 0 colours"):
        palette(render(world), 0)


def test_metadata_by_hand() -> None:
    world = facts(0, 3, Config(fewest=1, most=4, distinct=False))
    pictures = np.zeros((3, 3, 32, 32), np.uint8)
    pictures[1, :, :, 16:] = 255
    pictures[2, 0] = 255
    found = metadata(pictures, world)
    assert found["brightness"] == pytest.approx([0, 0.5, 0.299])
    assert found["contrast"] == pytest.approx([0, 0.5, 0], abs=1e-6)
    assert found["colourfulness"] == pytest.approx([0, 0, 0.3 * np.hypot(255, 127.5)])
    for name, values in (("colours", world.colour), ("shapes", world.shape)):
        assert found[name].tolist() == [len(set(v[: world.n[i]].tolist())) for i, v in enumerate(values)]
    assert found["objects"].tolist() == world.n.tolist()


@pytest.mark.parametrize("kind", MARKS)
def test_marks_mark_the_object_asked_for(kind: str) -> None:
    world = facts(4, 40, HARD)
    picture, slots = render(world, 32, CLEAN), masks(world)
    which = np.arange(40) % world.n
    marked = marks(picture, world, which, kind)
    changed = (marked != picture).any(1)
    own = slots == which[:, None, None] + 1
    assert changed.any((1, 2)).all() and np.array_equal(picture, render(world, 32, CLEAN))
    ink = (marked == MAGENTA[:, None, None]).all(1)
    for i in range(40):
        y, x = np.nonzero(own[i])
        cy, cx = np.nonzero(changed[i])
        if kind == "tint":
            assert np.array_equal(changed[i], own[i])
        elif kind == "box":
            assert not (ink[i] & own[i])[y.min() + 1 : y.max(), x.min() + 1 : x.max()].any()
            assert (cy.min(), cy.max()) == (max(y.min() - 1, 0), min(y.max() + 1, 31))
            assert (cx.min(), cx.max()) == (max(x.min() - 1, 0), min(x.max() + 1, 31))
        elif kind == "number":
            assert set(np.unique(marked[i][:, changed[i]]).tolist()) <= {0, 255}
            assert cy.max() - cy.min() < 7 and y.min() - 1 <= cy.mean() <= y.max() + 1 and abs(cx.mean() - x.mean()) < 4
        else:
            assert (changed[i] & own[i]).any() and (changed[i] == ink[i])[changed[i]].all()
            assert kind == "arrow" or (cy.min() >= y.min() - 1 and cy.max() <= y.max() + 1)


def test_numbers_tell_slots_and_marks_cover_all() -> None:
    world = facts(0, 30)
    picture = render(world, 32, CLEAN)
    every = marks(picture, world, None, "number")
    one_by_one = picture
    for k in range(3):
        rows = world.n > k
        part = one_by_one.copy()
        part[rows] = marks(one_by_one[rows], world.rows(rows), k, "number")
        one_by_one = part
    assert np.array_equal(every, one_by_one)
    assert np.array_equal(render(world, 32, Style(noise=0, marks="number")), every)
    assert not np.array_equal(marks(picture, world, 0, "number"), marks(picture, world, 1, "number"))


def test_the_seed_moves_scribbles() -> None:
    world = facts(0, 20)
    picture = render(world)
    a, b = (marks(picture, world, 0, "scribble", seed=s) for s in (0, 1))
    assert not np.array_equal(a, b) and np.array_equal(a, marks(picture, world, 0, "scribble"))


def test_wrong_marks_are_refused() -> None:
    world = facts(0, 20)
    with pytest.raises(SensoriumError, match="did you mean 'arrow'"):
        marks(render(world), world, 0, "arrows")
    with pytest.raises(SensoriumError, match="object 2 of 2; expected 0 to 1"):
        marks(render(world), world, 2)


def test_instances_are_the_same_thing_elsewhere() -> None:
    world, who = instances(0, 50, 6, Config(fewest=1, most=2, sizes=SIZES, textures=TEXTURES, grounds=GROUNDS))
    assert len(world) == 300 and who.tolist() == np.repeat(np.arange(50), 6).tolist()
    for field in ("colour", "shape", "size", "texture", "name", "n"):
        views = getattr(world, field).reshape(50, 6, -1)
        assert (views == views[:, :1]).all()
    moved = (world.row[:, 0] * 2 + world.col[:, 0]).reshape(50, 6)
    assert (moved != moved[:, :1]).any(1).mean() > 0.9 and len(np.unique(world.index)) == 300
    assert len(set(world.ground.tolist())) == 3
    later, who_later = instances(
        0, 3, 6, Config(fewest=1, most=2, sizes=SIZES, textures=TEXTURES, grounds=GROUNDS), start=7
    )
    assert np.array_equal(later.row, world.row[42:60]) and np.array_equal(who_later, who[42:60])
    assert np.array_equal(later.name, world.name[42:60])
    with pytest.raises(SensoriumError, match="0 views"):
        instances(0, 1, 0)


def test_accents_tell_individuals_of_a_kind_apart() -> None:
    world, _ = instances(0, 28, 1, Config(fewest=1, most=1, colours=1, shapes=1))
    world = replace(world, row=np.zeros_like(world.row), col=np.zeros_like(world.col))
    style = Style(noise=0, jitter=0)
    assert len({p.tobytes() for p in render(world, 32, style)}) == 1
    assert len({p.tobytes() for p in render(world, 32, replace(style, accents=True))}) == 28


def test_right_tags_are_the_facts() -> None:
    world = facts(0, 50)
    told = tags(world)
    assert (
        np.array_equal(told.colour, world.colour) and np.array_equal(told.shape, world.shape) and not told.fault.any()
    )
    words = told.words()
    assert [len(w) for w in words] == world.n.tolist()
    assert words[3][1] == f"{COLOURS[world.colour[3, 1]]} {SHAPES[world.shape[3, 1]]}"


@pytest.mark.parametrize("distinct", [True, False])
def test_faulty_tags_are_false_of_their_scenes(distinct: bool) -> None:
    world = facts(0, 3000, Config(distinct=distinct, colours=4, shapes=4))
    told = tags(world, 0.3)
    real = world.real()
    assert (told.fault[real] > 0).mean() == pytest.approx(0.3, abs=0.02)
    assert (told.fault[~real] > 0).mean() == pytest.approx(0.3, abs=0.05)
    share = np.bincount(told.fault[real], minlength=5) / (0.3 * real.sum())
    assert share[1:4] == pytest.approx([1 / 3] * 3, abs=0.05) and share[4] == 0
    assert set(told.fault[~real].tolist()) == {0, FAULTS.index("invented")}
    for i, k in np.argwhere(told.fault > 0):
        kinds = set(zip(world.colour[i, : world.n[i]].tolist(), world.shape[i, : world.n[i]].tolist(), strict=True))
        fault, kind = FAULTS[told.fault[i, k]], (told.colour[i, k], told.shape[i, k])
        assert kind == (-1, -1) if fault == "missed" else kind not in kinds
        if fault == "colour":
            assert told.shape[i, k] == world.shape[i, k]
        if fault == "shape":
            assert told.colour[i, k] == world.colour[i, k]
    some = world.rows(slice(100, 200))
    assert np.array_equal(tags(some, 0.3).colour, told.colour[100:200])
    with pytest.raises(SensoriumError, match="tag error 1"):
        tags(world, 1.5)


def test_a_larger_labelled_share_keeps_the_smaller() -> None:
    world = facts(0, 3000)
    few, many = labelled(world, 0.1), labelled(world, 0.5)
    assert few.mean() == pytest.approx(0.1, abs=0.02) and many.mean() == pytest.approx(0.5, abs=0.03)
    assert (few <= many).all() and not np.array_equal(few, labelled(world, 0.1, seed=1))


def test_speed_is_reported() -> None:
    world = facts(0, 5000)
    for size, style in ((32, Style()), (32, CLEAN), (48, Style())):
        began = time.process_time()
        picture = render(world, size, style)
        assert picture.shape == (5000, 3, size, size) and picture.dtype == np.uint8
        rate = 5000 / (time.process_time() - began)
        print(f"render {size} x {size}, noise {style.noise}: {rate:,.0f} scenes per CPU-second")
