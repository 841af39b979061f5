"""What is drawn becomes a rectangle within the picture, or one line."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.apps.board.regions import POINTS, SHARE, TINT, VEIL, Region, region_of, tinted
from sensorium.core import SensoriumError

SIZE = (80, 40)


@pytest.mark.parametrize(
    ("fields", "region"),
    [
        ({}, (0, 0, 80, 40)),
        ({"mark": "whole", "x": "7"}, (0, 0, 80, 40)),
        ({"mark": "point", "x": "40", "y": "20"}, (35, 15, 10, 10)),
        ({"mark": "point", "x": "0", "y": "39"}, (0, 30, 10, 10)),
        ({"mark": "point", "x": "79", "y": "0"}, (70, 0, 10, 10)),
        ({"mark": "box", "left": "3", "top": "4", "width": "5", "height": "6"}, (3, 4, 5, 6)),
        ({"mark": "box", "left": "79", "top": "39", "width": "1", "height": "1"}, (79, 39, 1, 1)),
        ({"mark": "stroke", "stroke": "10,30 14,33  12,5"}, (10, 5, 5, 29)),
        ({"mark": "stroke", "stroke": "10,30"}, (10, 30, 1, 1)),
    ],
)
def test_what_is_drawn_is_a_rectangle(fields: dict[str, str], region: tuple[int, ...]) -> None:
    assert region_of(fields, SIZE) == Region(*region)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"mark": "boxx"}, "did you mean 'box'?"),
        ({"mark": "point", "x": "4"}, "a point is not drawn yet: y missing"),
        ({"mark": "point", "x": "80", "y": "0"}, "x '80'; expected a whole number from 0 to 79"),
        ({"mark": "point", "x": "-1", "y": "0"}, "x '-1'"),
        (
            {"mark": "box", "left": "3", "top": "4", "width": "78", "height": "6"},
            "expected a whole number from 1 to 77",
        ),
        ({"mark": "box", "left": "3", "top": "4", "width": "0", "height": "6"}, "expected a whole number from 1 to 77"),
        ({"mark": "box", "left": "3", "top": "4", "width": "²", "height": "6"}, "width '²'"),
        ({"mark": "box"}, "a box is not drawn yet: left, top, width, height missing"),
        ({"mark": "stroke"}, f"expected 1 to {POINTS} points"),
        ({"mark": "stroke", "stroke": "3,4 5"}, "expected 1 to"),
        ({"mark": "stroke", "stroke": "3,4 " * (POINTS + 1)}, "expected 1 to"),
        ({"mark": "stroke", "stroke": "3,4 80,5"}, "80,5 lies beyond the picture of 80 × 40 pixels"),
    ],
)
def test_what_cannot_be_is_one_line(fields: dict[str, str], line: str) -> None:
    with pytest.raises(SensoriumError) as told:
        region_of(fields, SIZE)
    assert line in str(told.value) and "\n" not in str(told.value)


@given(st.data())
def test_a_point_lies_in_its_square_and_that_in_the_picture(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 900), st.integers(1, 900)))
    x, y = (data.draw(st.integers(0, most - 1)) for most in size)
    found = region_of({"mark": "point", "x": str(x), "y": str(y)}, size)
    assert found.width == found.height == max(1, round(SHARE * min(size)))
    assert 0 <= found.left <= x < found.left + found.width <= size[0]
    assert 0 <= found.top <= y < found.top + found.height <= size[1]


def test_a_region_is_cut_out_of_the_picture() -> None:
    picture = Image.new("RGB", SIZE, "white")
    picture.paste("red", (3, 4, 8, 10))
    part = Region(3, 4, 5, 6).of(picture)
    assert part.size == (5, 6) and part.getcolors() == [(30, (255, 0, 0))]
    assert str(Region(3, 4, 5, 6)) == "5 × 6 pixels at 3, 4"


def test_a_mask_is_the_part_of_its_square_that_the_region_takes() -> None:
    """20 x 10 pixels stand in the middle of a square of 8: its rows 2 to 5. The left half and a corner are meant."""
    square = Image.new("L", (8, 8))
    square.paste(255, (0, 0, 4, 8))
    square.putpixel((7, 5), 200)
    sent = io.BytesIO()
    square.save(sent, "PNG")
    found = tinted("data:image/png;base64," + base64.b64encode(sent.getvalue()).decode(), Region(3, 4, 20, 10))
    head, _, content = found.partition(",")
    drawn = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == "data:image/png;base64" and drawn.size == (8, 4) and drawn.mode == "RGBA"
    clear = [[drawn.getpixel((x, y))[3] == 0 for x in range(8)] for y in range(4)]
    assert clear == [[False] * 4 + [True] * 4] * 3 + [[False] * 4 + [True] * 3 + [False]]
    assert drawn.getpixel((0, 0)) == (*TINT, VEIL)
