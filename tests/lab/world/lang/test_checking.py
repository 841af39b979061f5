"""Checking: truth of a text against hand-made scenes and against a search over all assignments."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, RELATIONS, SHAPES, Config, Facts, facts
from sensorium.lab.world.lang import FORMS, TAGS, caption, check, reader_error, row_by_row, true_of

CROWDED = Config(cells=3, fewest=0, most=4, colours=3, shapes=3, distinct=False, grounds=("white", "black"))


def scene(*objects: tuple[str, str, int, int], ground: int = 0) -> Facts:
    """One scene of a 3 x 3 grid: (colour, shape, row, column) each."""
    world = facts(0, 1, Config(cells=3, fewest=len(objects), most=max(1, len(objects)), distinct=False))
    for k, (colour, shape, row, col) in enumerate(objects):
        world.colour[0, k], world.shape[0, k] = COLOURS.index(colour), SHAPES.index(shape)
        world.row[0, k], world.col[0, k] = row, col
    world.ground[0] = ground
    return world


PAIR = scene(("red", "circle", 0, 0), ("blue", "square", 0, 2))
TWO_RED = scene(("red", "circle", 0, 0), ("red", "circle", 2, 2), ("blue", "square", 0, 2), ground=2)


@pytest.mark.parametrize(
    ("text", "world", "true"),
    [
        ("a red circle left of a blue square", PAIR, True),
        ("a blue square right of a red circle", PAIR, True),
        ("a red circle right of a blue square", PAIR, False),
        ("a red circle above a blue square", PAIR, False),
        ("a blue circle and a red square", PAIR, False),
        ("a red shape", PAIR, True),
        ("a red shape and a square", PAIR, True),
        ("a red circle and a red circle", PAIR, False),
        ("a red circle and a red circle", TWO_RED, True),
        ("two red circles", TWO_RED, True),
        ("three red circles", TWO_RED, False),
        ("a red circle left of a blue square", TWO_RED, True),
        ("a red circle below a blue square", TWO_RED, True),
        ("three shapes", TWO_RED, True),
        ("two shapes", TWO_RED, False),
        ("no green stars", TWO_RED, True),
        ("no red circles", TWO_RED, False),
        ("a circle on a black background", TWO_RED, True),
        ("a circle on a white background", TWO_RED, False),
        ("a red circle is at the bottom right.", TWO_RED, True),
        ("a red circle is in the middle.", TWO_RED, False),
        ("a white circle", TWO_RED, False),
        ("", TWO_RED, True),
    ],
)
def test_truth_of_hand_made_scenes(text: str, world: Facts, true: bool) -> None:
    assert true_of(text, world, "en").tolist() == [true]


def related(world: Facts, i: int, a: int, r: str, b: int) -> bool:
    dx, dy = int(world.col[i, a]) - int(world.col[i, b]), int(world.row[i, a]) - int(world.row[i, b])
    return {"left of": dx < 0, "right of": dx > 0, "above": dy < 0, "below": dy > 0}[r]


@settings(max_examples=25, deadline=None)
@given(
    first=st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
    second=st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
    relation=st.sampled_from(RELATIONS),
)
def test_truth_equals_a_search_over_all_pairs_of_objects(
    first: tuple[int, int], second: tuple[int, int], relation: str
) -> None:
    world = facts(9, 80, CROWDED)

    def words(colour: int, shape: int) -> str:
        return f"a {COLOURS[colour] + ' ' if colour >= 0 else ''}{SHAPES[shape] if shape >= 0 else 'shape'}"

    def fits(i: int, k: int, colour: int, shape: int) -> bool:
        return colour in (-1, world.colour[i, k]) and shape in (-1, world.shape[i, k])

    text = f"{words(*first)} {relation} {words(*second)}"
    expected = [
        any(
            fits(i, a, *first) and fits(i, b, *second) and related(world, i, a, relation, b)
            for a, b in permutations(range(int(world.n[i])), 2)
        )
        for i in range(len(world))
    ]
    assert true_of(text, world, "en").tolist() == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("language", TAGS)
def test_true_captions_have_no_error(form: str, language: str) -> None:
    world = facts(2, 40, CROWDED)
    assert set(reader_error(world, form, language).values()) == {0.0}
    found = check(caption(world, form, language), world, language)
    assert not found.unknown.any() and not sum(map(np.sum, found.wrong.values()))


def test_swapped_colours_count_as_two_wrong_colours_and_right_shapes() -> None:
    found = check(["a blue circle left of a red square"], PAIR, "en")
    assert (found.right["shape"], found.wrong["colour"], found.right["colour"]) == ([2], [2], [0])
    assert found.right["relation"].tolist() == [1]


def test_what_is_left_out_is_missing_and_what_is_invented_is_wrong() -> None:
    found = check(["a red circle", "a red circle, a blue square and a green star"], PAIR.rows([0, 0]), "en")
    assert found.missing["shape"].tolist() == [1, 0]
    assert found.wrong["shape"].tolist() == [0, 1]
    assert found.missing["relation"].tolist() == [1, 1]
    assert found.recall("shape") == 3 / 5 and found.precision("shape") == 3 / 4
    assert np.isnan(check([""], scene(), "en").recall("size"))


def test_the_count_and_the_background_are_checked() -> None:
    found = check(["three shapes. the background is black.", "two shapes", "x"], TWO_RED.rows([0, 0, 0]), "en")
    assert [a["count"].tolist() for a in (found.right, found.wrong, found.missing)] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found.right["ground"].tolist() == [1, 0, 0]
    assert found.unknown.tolist() == [0, 0, 1]


def test_row_by_row_takes_each_text_with_its_own_scene() -> None:
    world = facts(7, 50)
    texts = caption(world, "list")
    assert row_by_row(texts, world).all()
    assert row_by_row(texts[1:] + texts[:1], world).mean() < 0.1
    with pytest.raises(SensoriumError, match="1 texts for 50 scenes; expected one text per scene"):
        row_by_row(texts[:1], world)
