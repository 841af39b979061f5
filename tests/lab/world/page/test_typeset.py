"""Text in lines, with boxes that are exactly where the ink is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.page.fonts import Hand
from sensorium.lab.world.page.typeset import Box, around, blank, extent, strip, wrapped

HAND = Hand("sans", 8)


def inked(image: np.ndarray) -> np.ndarray:
    return np.asarray((image < 224).any(0))


@pytest.mark.parametrize("font", ["sans", "serif", "script", "mono"])
def test_a_words_box_is_the_extent_of_its_ink(font: str) -> None:
    for text in ("gate", "i", "Ägypt.", "W"):
        sheet = blank(40, 120)
        x0, y0, x1, y1 = sheet.word(text, 10, 25, Hand(font, 8)).box
        rows, columns = np.flatnonzero((sheet.image < 255).any((0, 2))), np.flatnonzero((sheet.image < 255).any((0, 1)))
        assert (x0, y0, x1, y1) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_characters_lie_side_by_side_and_make_up_the_word() -> None:
    one = strip("jumped", HAND)
    boxes = one.characters.tolist()
    assert all(a[2] <= b[0] for a, b in pairwise(boxes)) and len(boxes) == 6
    covered = np.zeros(one.cover.shape, bool)
    for x0, y0, x1, y1 in boxes:
        covered[y0 - one.top : y1 - one.top, x0 - one.left : x1 - one.left] = True
    assert not one.cover[~covered].any()


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=12), st.integers(30, 200))
@settings(max_examples=60, deadline=None)
def test_wrapping_keeps_the_words_and_the_width(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width, HAND)
    assert " ".join(lines).split() == words
    for line in lines:
        assert extent(line, HAND) <= width or len(line.split()) == 1
    for line, after in pairwise(lines):
        assert extent(f"{line} {after.split()[0]}", HAND) > width


def test_lines_of_a_paragraph_do_not_touch() -> None:
    sheet = blank(80, 90)
    sheet.paragraph("gypsy Jäger ÄÖ gypsy jqy ÜÉ", 4, 2, 60, HAND)
    feet = sorted({word.box.y1 for word in sheet.words})
    rows = np.flatnonzero(inked(sheet.image).any(1))
    assert len(feet) > 1 and (np.diff(rows) > 1).sum() >= 1
    boxes = [word.box for word in sheet.words]
    for a, one in enumerate(boxes):
        for other in boxes[a + 1 :]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def test_ink_is_blended_with_what_is_below() -> None:
    sheet = blank(20, 20, (200, 100, 0))
    box = sheet.word("l", 5, 12, HAND, (0, 0, 100)).box
    inside = sheet.image[:, box.y0 : box.y1, box.x0 : box.x1].astype(int)
    assert (inside[0] <= 200).all() and (inside[2] <= 100).all() and inside[0].min() < 40 and inside[2].max() > 80
    assert (sheet.image[:, :, :4] == np.array([200, 100, 0], np.uint8)[:, None, None]).all()


def test_a_page_without_room_is_refused() -> None:
    with pytest.raises(SensoriumError, match="page of 20 x 30 pixels: no room for 'background' at 8 pixels a letter"):
        blank(20, 30).word("background", 0, 12, HAND)


def test_rectangles_and_hulls() -> None:
    sheet = blank(10, 10)
    sheet.rectangle(Box(2, 3, 6, 8), (0, 0, 0), filled=False)
    assert int(inked(sheet.image).sum()) == 2 * 4 + 2 * 5 - 4
    assert around([Box(1, 5, 3, 6), Box(2, 1, 9, 4)]) == Box(1, 1, 9, 6) and around([]) == Box(0, 0, 0, 0)
