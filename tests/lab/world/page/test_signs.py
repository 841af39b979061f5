"""Words in scenes: on empty cells only, read back, and asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.guards import blind
from sensorium.lab.world.lang import KINDS, questions
from sensorium.lab.world.page.signs import ask, read, signs
from sensorium.lab.world.scene import STYLE, masks, render

WIDE = Config(cells=3, fewest=2, most=5)


def test_signs_hide_no_object_and_change_nothing_else() -> None:
    world = facts(0, 60)
    made, plain, objects = signs(world), render(world, 64), masks(world, 64)
    for i, boxes in enumerate(made.boxes):
        covered = np.zeros((64, 64), bool)
        for x0, y0, x1, y1 in boxes:
            covered[y0:y1, x0:x1] = True
        assert not objects[i][covered].any()
        assert np.array_equal(made.images[i][:, ~covered], plain[i][:, ~covered])
        assert len(boxes) == min(2, 4 - int(world.n[i])) == len(made.texts[i]) and len(made.free[i]) == 4 - world.n[i]


def test_signs_are_read_back() -> None:
    world = facts(1, 60, WIDE)
    made = signs(world, size=96, count=3)
    assert all(list(cells) == sorted(cells) for cells in made.cells)
    assert [read(image, boxes) for image, boxes in zip(made.images, made.boxes, strict=True)] == made.texts
    assert read(np.zeros_like(made.images[0]) + 255, made.boxes[0]) == ("",) * len(made.boxes[0])


def test_questions_to_read_name_the_cell_of_their_answer() -> None:
    world = facts(0, 400)
    made = signs(world)
    asked = ask(world, made)
    places = ("at the top left", "at the top right", "at the bottom left", "at the bottom right")
    rows = [at for at, kind in enumerate(asked.kind) if kind == "read"]
    for at in rows:
        scene, cell = int(asked.scene[at]), places.index(asked.text[at].removeprefix("what is written ").rstrip("?"))
        assert asked.answer[at] == made.texts[scene][made.cells[scene].index(cell)]
        assert asked.answer[at] in asked.options[at]
    answers = [str(asked.options[at].index(asked.answer[at])) for at in rows]
    assert blind([asked.text[at] for at in rows], answers, 1 / 4).ok
    assert set(asked.kind) - {"read"} == set(questions(world).kind) <= set(KINDS)


def test_any_chunk_has_the_same_signs() -> None:
    world = facts(2, 30)
    whole, part = signs(world, seed=5), signs(world.rows(slice(10, 20)), seed=5)
    assert np.array_equal(whole.images[10:20], part.images) and whole.texts[10:20] == part.texts


def test_scenes_without_room_are_refused() -> None:
    with pytest.raises(SensoriumError, match="a larger picture, fewer cells or smaller letters"):
        signs(facts(0, 3), size=32)
    with pytest.raises(SensoriumError, match="objects at scale 2; expected at most 1"):
        signs(facts(0, 3), style=replace(STYLE, scale=2))
