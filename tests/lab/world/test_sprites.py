"""Sprites against drawings by hand, and what must differ does."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, GROUNDS, SHAPES, TEXTURES
from sensorium.lab.world.sprites import (
    ACCENT,
    ACCENTS,
    DARK,
    LOOKS,
    colour_code,
    colours,
    diameters,
    distinct_sprites,
    ground_code,
    mask,
    number_plate,
    sprite,
)

DRAWN = {
    "circle": (
        "..#####..",
        ".#######.",
        "#########",
        "#########",
        "#########",
        "#########",
        "#########",
        ".#######.",
        "..#####..",
    ),
    "triangle": (
        "....#....",
        "....#....",
        "...###...",
        "...###...",
        "..#####..",
        "..#####..",
        ".#######.",
        ".#######.",
        "#########",
    ),
    "star": (
        "....#....",
        "....#....",
        "....#....",
        ".#######.",
        "..#####..",
        "...###...",
        "..##.##..",
        "..#...#..",
        ".........",
    ),
    "cross": (
        "...###...",
        "...###...",
        "...###...",
        "#########",
        "#########",
        "#########",
        "...###...",
        "...###...",
        "...###...",
    ),
    "ring": (
        "..#####..",
        ".#######.",
        "###...###",
        "##.....##",
        "##.....##",
        "##.....##",
        "###...###",
        ".#######.",
        "..#####..",
    ),
    "square": (
        ".........",
        ".#######.",
        ".#######.",
        ".#######.",
        ".#######.",
        ".#######.",
        ".#######.",
        ".#######.",
        ".........",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_as_drawn_by_hand(shape: str) -> None:
    got = ["".join(".#"[p] for p in row) for row in mask(SHAPES.index(shape), 9).astype(int)]
    assert got == list(DRAWN[shape])


@pytest.mark.parametrize("diameter", [9, 15, 33, 61])
def test_areas_are_those_of_the_figures(diameter: int) -> None:
    side = diameter / 2
    area = {"circle": np.pi * side**2, "ring": np.pi * side**2 * (1 - 0.55**2), "square": (2 * 0.87 * side) ** 2}
    for shape, expected in area.items():
        assert mask(SHAPES.index(shape), diameter).sum() == pytest.approx(expected, rel=3 / diameter)
    for shape in range(len(SHAPES)):
        assert (mask(shape, diameter) == mask(shape, diameter)[:, ::-1]).all()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("diameter", [9, 15, 21, 31])
def test_every_kind_is_different_pixels(look: str, diameter: int) -> None:
    pixels = {sprite(s, t, diameter, look).tobytes() for s in range(len(SHAPES)) for t in range(len(TEXTURES))}
    assert len(pixels) == len(SHAPES) * len(TEXTURES)
    distinct_sprites(len(SHAPES), (0, 1, 2), diameter, look)


def test_objects_too_small_to_tell_apart_are_refused() -> None:
    with pytest.raises(SensoriumError, match="objects of 3 pixels"):
        distinct_sprites(6, (0,), 3, "plain")
    with pytest.raises(SensoriumError, match="objects of 0 pixels"):
        distinct_sprites(6, (0,), -1, "plain")


def test_textures_darken_and_never_leave_the_shape() -> None:
    for shape in range(len(SHAPES)):
        plain, striped, dotted = (sprite(shape, t, 15) for t in range(3))
        assert ((plain >= 0) == (striped >= 0)).all() and ((plain >= 0) == (dotted >= 0)).all()
        assert not (plain == DARK).any() and 0 < (dotted == DARK).sum() < (striped == DARK).sum()
        rows = striped == DARK
        assert all(set(rows[y][striped[y] >= 0]) in ({True}, {False}, set()) for y in range(15))


def test_a_sketch_is_the_outline() -> None:
    filled, line = mask(SHAPES.index("square"), 15), sprite(SHAPES.index("square"), 0, 15, "sketch") >= 0
    assert line.sum() == 4 * 13 - 4 and (line <= filled).all() and not line[3:12, 3:12].any()


def test_accents_take_a_third_of_the_side() -> None:
    square = SHAPES.index("square")
    top, bottom, left, right = (sprite(square, 0, 15, accent=ACCENTS.index(a)) == ACCENT for a in ACCENTS[1:])
    assert top[:5].sum() == top.sum() == 13 * 4 == left.sum()
    assert (top == bottom[::-1]).all() and (left == right[:, ::-1]).all() and (top == left.T).all()


def test_colours_of_looks() -> None:
    plain, inverted, pastel, night = (colours(look).astype(int) for look in ("plain", "inverted", "pastel", "night"))
    assert plain[colour_code(np.array(COLOURS.index("red")))].tolist() == [220, 40, 40]
    assert plain[colour_code(np.array(COLOURS.index("red")), dark=True)].tolist() == [110, 20, 20]
    assert plain[ground_code(np.arange(3))].tolist() == [[255] * 3, [128] * 3, [0] * 3]
    assert (inverted == 255 - plain).all() and (colours("sketch") == plain).all()
    assert abs(pastel - (plain + 255) / 2).max() <= 0.5 and abs(night - plain * 0.4).max() <= 0.5
    for table in (plain, inverted, pastel, night):
        assert len({tuple(row) for row in table.tolist()}) == len(GROUNDS) + 2 * len(COLOURS)


def test_diameters_fit_their_cells() -> None:
    assert diameters(16) == (9, 15) and diameters(10) == (5, 9) and diameters(32) == (17, 29)
    for room in range(6, 200):
        small, large = diameters(room)
        assert small % 2 == large % 2 == 1 and small < large <= room


def test_number_plates_spell_digits() -> None:
    rows = ["".join(".#"[p] for p in row) for row in number_plate(12).astype(int)]
    assert rows == [".........", "..#..###.", ".##....#.", "..#..###.", "..#..#...", ".###.###.", "........."]
