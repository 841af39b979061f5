"""The checker: no error on clean renders, a measured one on noise, and unsure of what the world cannot have drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import GROUNDS, NULLS, SIZES, TEXTURES, Config, Facts, facts, shown
from sensorium.lab.world.reader import READ, check, grid, locate, read, reader_error
from sensorium.lab.world.scene import MARKS, Style, render
from sensorium.lab.world.sprites import LOOKS

HARD = Config(sizes=SIZES, textures=TEXTURES, grounds=GROUNDS)
CLEAN = Style(noise=0)


def errors(config: Config, style: Style, n: int = 200, size: int = 32) -> dict[str, tuple[float, float]]:
    found = reader_error(config, style, n, size=size)
    return {factor: (rate.wrong, rate.unsure) for factor, rate in found.items() if rate.wrong or rate.unsure}


@pytest.mark.parametrize(
    ("config", "size", "style"),
    [
        (Config(), 32, CLEAN),
        (HARD, 32, CLEAN),
        (Config(fewest=0, most=4, distinct=False), 32, CLEAN),
        (Config(cells=3, most=5), 32, CLEAN),
        (Config(cells=4, fewest=0, most=16, distinct=False), 32, CLEAN),
        (replace(HARD, cells=3), 48, CLEAN),
        (Config(), 24, replace(CLEAN, aspect=(3, 4))),
        *((HARD, 32, replace(CLEAN, look=look)) for look in LOOKS),
    ],
)
def test_clean_renders_are_read_without_error(config: Config, size: int, style: Style) -> None:
    assert errors(config, style, 100, size) == {}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(LOOKS))
def test_every_fact_of_a_clean_render_comes_back(seed: int, distinct: bool, jitter: float, look: str) -> None:
    config = Config(fewest=0, most=4, grounds=GROUNDS, distinct=distinct)
    world, style = facts(seed, 20, config), Style(noise=0, jitter=jitter, look=look)
    found = read(render(world, 32, style), config, style)
    for factor in (*READ, "row", "col"):
        assert np.array_equal(grid(found, getattr(found, factor)), grid(world, getattr(world, factor)))
    assert np.array_equal(found.ground, world.ground) and np.array_equal(found.n, world.n)
    assert check(found, world).right().all()


def test_the_error_on_noise_is_measured() -> None:
    for noise in (6.0, 25.0, 40.0):
        assert errors(Config(), Style(noise=noise), 500) == {}
    hard = reader_error(HARD, Style(noise=25), 200)
    assert all(rate.wrong <= 0.002 and rate.unsure <= 0.01 for rate in hard.values())
    drowned = reader_error(HARD, Style(noise=120), 100)
    assert drowned["shape"].unsure > 0.3 and drowned["shape"].wrong < 0.1


def test_marks_and_accents_are_read_through() -> None:
    for mark in MARKS:
        found = errors(Config(), Style(marks=mark))
        assert found == {} or mark == "number"
    number = reader_error(Config(), Style(marks="number"), 200)
    assert number["shape"].wrong == number["colour"].wrong == 0 and number["there"].wrong == 0
    assert errors(Config(), Style(accents=True)) == {}


@pytest.mark.parametrize("null", NULLS[1:])
def test_null_worlds_are_read_as_shown_and_not_as_told(null: str) -> None:
    config = Config(null=null)
    assert errors(config, CLEAN) == {}
    world = facts(0, 100, config)
    found = read(render(world, 32, CLEAN), config, CLEAN)
    assert check(found, shown(world)).right().all() and not check(found, world).right().all()


def test_random_pixels_are_unsure() -> None:
    rng = np.random.default_rng(0)
    for picture in (
        rng.integers(0, 256, (20, 3, 32, 32)),
        np.repeat(rng.integers(0, 256, (20, 3, 8, 8)), 4, 2).repeat(4, 3),
        np.full((2, 3, 32, 32), 90),
        np.broadcast_to(np.arange(32) * 8, (2, 3, 32, 32)),
    ):
        found = read(picture.astype(np.uint8), HARD)
        sure = (found.shape >= 0) & (found.colour >= 0)
        assert sure.sum() <= 0.05 * sure.size
    empty = read(np.full((2, 3, 32, 32), 255, np.uint8), HARD)
    assert empty.n.tolist() == [0, 0] and [GROUNDS[g] for g in empty.ground] == ["white", "white"]


def test_objects_on_no_known_ground_are_unsure() -> None:
    world = facts(0, 40, Config(shapes=2, most=2))
    picture = render(world, 32, CLEAN)
    picture[np.broadcast_to((picture == 255).all(1, keepdims=True), picture.shape)] = 185
    found = read(picture, world.config)
    assert (found.ground == -1).all() and (found.shape == -1).all() and (found.n > 0).all()


def test_a_blob_of_no_known_colour_is_something_and_unsure() -> None:
    picture = np.full((1, 3, 32, 32), 255, np.uint8)
    picture[0, :2, :16, 16:] = 170
    found = read(picture)
    assert found.n.tolist() == [1] and (found.row[0, 0], found.col[0, 0]) == (0, 1)
    assert found.shape[0, 0] == found.colour[0, 0] == -1 and GROUNDS[found.ground[0]] == "white"


def test_generated_like_pictures_are_read_and_never_misread() -> None:
    """Soft edges, pale colours, grain: what small generators do to true scenes."""
    world = facts(0, 200)
    clean = render(world, 32, CLEAN).astype(float)
    soft = gaussian_filter(clean, (0, 0, 0.5, 0.5))
    pale = 0.75 * clean + 45
    grain = soft + np.random.default_rng(0).normal(0, 20, clean.shape)
    for picture in (soft, pale, grain):
        result = check(read(picture.round().clip(0, 255).astype(np.uint8)), world)
        real = world.real()
        for factor in READ:
            assert (getattr(result, factor)[real] == 1).mean() > 0.97 and (getattr(result, factor)[real] != 0).all()
        assert (result.there[real] == 1).all() and not result.extra.any()


def by_hand(cells: list[list[tuple[int, int, int, int]]]) -> Facts:
    """Scenes of (colour, shape, row, col)."""
    world = facts(0, len(cells), Config(fewest=0, most=3, distinct=False))
    arrays = {f: np.full((len(cells), 3), -1, np.int8) for f in ("colour", "shape", "row", "col", "size", "texture")}
    for i, scene in enumerate(cells):
        for k, values in enumerate(scene):
            for f, v in zip(arrays, (*values, 1, 0), strict=True):
                arrays[f][i, k] = v
    return replace(world, **arrays, n=np.array([len(c) for c in cells], np.int8))


def test_checks_by_hand() -> None:
    world = by_hand([[(0, 0, 0, 0), (1, 1, 1, 1)], [(2, 2, 0, 1)], [(3, 3, 0, 0)], []])
    found = by_hand([[(0, 0, 0, 0), (5, 1, 1, 1)], [(2, 2, 0, 0)], [(-1, 3, 0, 0)], [(4, 4, 1, 0)]])
    result = check(found, world)
    assert result.there[:, :2].tolist() == [[1, 1], [0, -1], [1, -1], [-1, -1]]
    assert result.colour[:, :2].tolist() == [[1, 0], [-1, -1], [-1, -1], [-1, -1]]
    assert result.shape[:, :2].tolist() == [[1, 1], [-1, -1], [1, -1], [-1, -1]]
    assert result.extra.tolist() == [0, 1, 0, 1] and not result.right().any()
    assert check(world, world).right().all()
    with pytest.raises(SensoriumError, match="1 pictures of 2 x 2 cells; expected 4 of 2 x 2"):
        check(found.rows([0]), world)


def test_objects_are_located_wherever_they_lie() -> None:
    world = by_hand([[(0, 0, 0, 0), (0, 0, 0, 1), (1, 1, 1, 0)], [(2, 2, 0, 0)]])
    found = by_hand([[(1, 1, 0, 0), (0, 0, 1, 1)], [(2, 3, 0, 0), (2, 2, 1, 1)]])
    assert locate(found, world).tolist() == [[1, -1, 0], [1, -1, -1]]
    moved = read(render(found, 32, CLEAN), found.config, CLEAN)
    at = locate(moved, found)
    assert (at[found.real()] >= 0).all()
    assert moved.relation(at[:, 0].astype(int), at[:, 1].astype(int)).tolist() == found.relation(0, 1).tolist()


def test_wrong_pictures_are_refused() -> None:
    world = facts(0, 3)
    picture = render(world)
    with pytest.raises(SensoriumError, match="float64"):
        read(picture / 255.0)
    with pytest.raises(SensoriumError, match="expected 1 : 2, height : width"):
        read(picture, style=Style(aspect=(1, 2)))
    with pytest.raises(SensoriumError, match="scale 2"):
        read(picture, style=Style(scale=2))
    assert len(read(picture[:0])) == 0
