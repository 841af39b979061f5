"""Characters as pixels: extent, weight, slant and lean."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.lang.labels import FONTS
from sensorium.lab.world.page.fonts import ATTRIBUTES, Hand, glyph


def test_the_fonts_are_those_that_texts_are_labelled_with() -> None:
    assert tuple(ATTRIBUTES) == FONTS


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("px", [5, 7, 12, 30])
def test_ink_lies_within_the_advance_and_touches_its_box(font: str, px: int) -> None:
    hand = Hand(font, px)
    for letter in "aAfgjlmW0.":  # a soft edge may reach one column into the gap
        one = glyph(letter, hand)
        assert one.left >= 0 and one.left + one.cover.shape[1] <= one.advance + 1
        assert one.cover[0].any() and one.cover[-1].any() and one.cover[:, 0].any() and one.cover[:, -1].any()
        assert -hand.above <= one.top and one.top + len(one.cover) <= hand.below


def test_capitals_are_as_high_as_the_size_says() -> None:
    for px in (6, 10, 24):
        one = glyph("H", Hand("sans", px))
        assert abs(one.cover.shape[0] - (px + 0.9 * px / 6)) <= 1.5 and -2 <= one.top + len(one.cover) - 1 <= 2


def test_a_bold_font_has_more_ink_and_a_fixed_one_equal_widths() -> None:
    assert glyph("n", Hand("display", 20)).cover.sum() > 1.5 * glyph("n", Hand("sans", 20)).cover.sum()
    assert len({glyph(letter, Hand("mono", 14)).advance for letter in "ilmW1."}) == 1
    assert len({glyph(letter, Hand("sans", 14)).advance for letter in "ilmW1."}) > 2


def test_a_script_leans_to_the_right_and_a_serif_has_feet() -> None:
    upright, leaning = glyph("l", Hand("sans", 24)).cover, glyph("|", Hand("script", 24)).cover
    rows = np.arange(leaning.shape[1])
    assert (leaning[:4] * rows).sum() / leaning[:4].sum() > 3 + (leaning[-4:] * rows).sum() / leaning[-4:].sum()
    assert upright.shape[1] < leaning.shape[1]
    assert glyph("h", Hand("serif", 24)).cover[-2].sum() > 1.5 * glyph("h", Hand("sans", 24)).cover[-2].sum()


def test_a_right_angle_turns_a_bar_into_a_dash() -> None:
    bar, dash = glyph("|", Hand("sans", 18)).cover, glyph("|", Hand("sans", 18), 90).cover
    assert bar.shape[0] > 3 * bar.shape[1] and dash.shape[1] > 3 * dash.shape[0]
    assert abs(int(bar.sum()) - int(dash.sum())) < 0.1 * bar.sum()


def test_a_hand_is_checked() -> None:
    with pytest.raises(SensoriumError, match="font 'san'; did you mean 'sans'"):
        Hand("san")
    with pytest.raises(SensoriumError, match="letters of 3 pixels; expected 5 to 96"):
        Hand("sans", 3)
    with pytest.raises(SensoriumError, match="script 'new'"):
        Hand("sans", 7, "new")
