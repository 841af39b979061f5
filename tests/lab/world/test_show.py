"""The contact sheet shows the pictures, their boxes and the facts."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import GROUNDS, SIZES, TEXTURES, Config, facts
from sensorium.lab.world.scene import MAGENTA, Style, boxes, render
from sensorium.lab.world.show import MARGIN, describe, sheet


def test_facts_are_described_in_words() -> None:
    world = facts(0, 3, Config(sizes=SIZES, textures=TEXTURES, grounds=GROUNDS), start=4)
    lines = describe(world)
    assert [line[0].split(",")[0] for line in lines] == ["scene 4", "scene 5", "scene 6"]
    assert [len(line) for line in lines] == (world.n + 1).tolist()
    colour, shape = world.colour[1, 0], world.shape[1, 0]
    assert lines[1][1].split(",")[0].split(": ")[1].split()[1:] == [
        ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "brown")[colour],
        ("circle", "square", "triangle", "star", "cross", "ring")[shape],
    ]
    assert lines[1][1].endswith(f"row {world.row[1, 0]} column {world.col[1, 0]}")


def test_the_sheet_holds_each_picture_and_its_boxes() -> None:
    world, style = facts(0, 5), Style(noise=0)
    picture = render(world, 32, style)
    page = sheet(world, picture, style=style, across=2)
    pixels = np.asarray(page)
    step = page.width // 2, page.height // 3
    corners = boxes(world, 32, style) * 128
    for i in range(5):
        x, y = (i % 2) * step[0] + MARGIN, (i // 2) * step[1] + MARGIN
        scene = pixels[y : y + 128, x : x + 128]
        ink = (scene == MAGENTA).all(2)
        same = (scene == picture[i].transpose(1, 2, 0).repeat(4, 0).repeat(4, 1)).all(2)
        assert (same | ink).mean() > 0.97  # all but the anti-aliased slot numbers
        for k in range(world.n[i]):
            x0, y0, x1, y1 = corners[i, k].astype(int)
            assert (
                ink[y0, x0:x1].all() and ink[y1 - 1, x0:x1].all() and ink[y0:y1, x0].all() and ink[y0:y1, x1 - 1].all()
            )
        beside = pixels[y : y + step[1] - 2 * MARGIN, x + 128 + MARGIN : x + step[0] - MARGIN]
        assert (beside < 100).any()


def test_further_lines_and_null_worlds_make_it_taller() -> None:
    world = facts(0, 2)
    picture = render(world)
    plain, told = sheet(world, picture), sheet(world, picture, [["a caption"] * 9, []])
    assert told.height > plain.height
    assert (
        sheet(facts(0, 1, Config(null="binding")), picture[:1], side=16).height
        > sheet(facts(0, 1), picture[:1], side=16).height
    )


def test_wide_pictures_fit() -> None:
    world, style = facts(0, 1), Style(aspect=(1, 3))
    page = sheet(world, render(world, 32, style), style=style)
    assert page.width > 3 * 128


def test_wrong_sheets_are_refused() -> None:
    world = facts(0, 2)
    with pytest.raises(SensoriumError, match="2 scenes, 1 pictures"):
        sheet(world, render(world)[:1])
    with pytest.raises(SensoriumError, match="0 across"):
        sheet(world, render(world), across=0)
