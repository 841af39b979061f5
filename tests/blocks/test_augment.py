"""Random views: numbers of other libraries, hand-computed cases, and what a draw may not leave."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.augment import (
    View,
    blur,
    brighten,
    contrast,
    crop,
    luma,
    multi_crop,
    random_boxes,
    random_view,
    saturate,
    solarise,
    turn_hue,
    unit_range,
)
from sensorium.core import SensoriumError

PLAIN = View(8, coloured=0.0, grey=0.0, blurred=0.0, flip=0.0)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 2, height: int = 12, width: int = 16) -> Tensor:
    return torch.rand(n, 3, height, width, generator=draw(9))


def whole(x: Tensor) -> Tensor:
    return torch.tensor([[0.0, 0.0, x.shape[2], x.shape[3]]]).expand(len(x), 4)


@pytest.mark.parametrize("size", [5, 8, 12, 16, 24])
def test_a_whole_picture_is_resized_as_torch_does(size: int) -> None:
    x = pictures()
    want = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(crop(x, whole(x), size), want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", [(1.0, 2.0, 9.0, 12.0), (0.0, 3.5, 7.25, 6.0)], ids=["whole pixels", "parts of pixels"])
def test_a_box_is_resized_as_pillow_does(box: tuple[float, float, float, float]) -> None:
    plane = pictures(1)[0, 0]
    top, left, tall, wide = box
    reference = Image.fromarray(plane.numpy(), mode="F").resize(
        (8, 8), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    found = crop(plane.expand(1, 1, -1, -1), torch.tensor([box]), 8)[0, 0]
    inner = (slice(1, -1), slice(1, -1))  # at its rim Pillow sees the box alone
    np.testing.assert_allclose(found.numpy()[inner], np.asarray(reference)[inner], atol=1e-5)


def test_each_picture_has_its_own_box_and_mirror() -> None:
    x, boxes = pictures(), torch.tensor([[0.0, 0.0, 8.0, 8.0], [4.0, 8.0, 8.0, 8.0]])
    found = crop(x, boxes, 8, torch.tensor([False, True]))
    torch.testing.assert_close(found[0], x[0, :, :8, :8], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], x[1, :, 4:, 8:].flip(2), atol=1e-6, rtol=0)


@given(st.integers(0, 10**6), st.integers(4, 40), st.integers(4, 40), st.floats(0.01, 1), st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_boxes_lie_inside_the_picture(seed: int, height: int, width: int, a: float, b: float) -> None:
    boxes = random_boxes(20, height, width, (min(a, b), max(a, b)), (3 / 4, 4 / 3), draw(seed))
    top, left, tall, wide = boxes.unbind(1)
    assert (boxes[:, 2:] >= 1).all() and (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= height + 1e-4).all() and (left + wide <= width + 1e-4).all()


def test_boxes_have_the_area_and_ratio_asked_for() -> None:
    _, _, tall, wide = random_boxes(4000, 100, 100, (0.1, 0.4), (0.5, 2.0), draw()).unbind(1)
    share, ratio = tall * wide / 10_000, (wide / tall).log()
    assert 0.1 - 1e-3 < share.min() < 0.105 and 0.395 < share.max() < 0.4 + 1e-3
    assert share.mean().item() == pytest.approx(0.25, abs=0.01)
    assert ratio.abs().max() <= math.log(2) + 1e-3 and abs(ratio.mean().item()) < 0.03


def enhanced(x: Tensor, kind: type[ImageEnhance._Enhance], factor: float) -> Tensor:
    image = Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    return torch.from_numpy(np.asarray(kind(image).enhance(factor)).copy()).permute(2, 0, 1)[None] / 255  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize(
    ("change", "kind"),
    [(brighten, ImageEnhance.Brightness), (contrast, ImageEnhance.Contrast), (saturate, ImageEnhance.Color)],
)
def test_colours_change_as_in_pillow(change: object, kind: type[ImageEnhance._Enhance], factor: float) -> None:
    x = (pictures(1) * 255).round() / 255
    found = change(x, torch.tensor([factor]))  # type: ignore[operator]
    torch.testing.assert_close(found, enhanced(x, kind, factor), atol=2.5 / 255, rtol=0)


def test_a_hue_turns_and_keeps_its_brightness() -> None:
    x = 0.35 + 0.3 * pictures(3)  # far enough from black and white that nothing is cut off
    turned = turn_hue(x, torch.tensor([0.25, 0.0, 1.0]))
    torch.testing.assert_close(luma(turned), luma(x), atol=2e-3, rtol=0)
    torch.testing.assert_close(turned[1:], x[1:], atol=1e-4, rtol=0)
    assert (turned[0] - x[0]).abs().mean() > 0.05


def test_a_third_of_the_circle_goes_from_red_towards_one_neighbour() -> None:
    red = torch.tensor([0.6, 0.4, 0.4])[None, :, None, None]
    hues = {s: colorsys.rgb_to_hsv(*turn_hue(red, torch.tensor([s]))[0, :, 0, 0].tolist())[0] for s in (1 / 3, -1 / 3)}
    assert sorted(hues.values()) == pytest.approx([1 / 3, 2 / 3], abs=0.06)  # YIQ's circle is not quite HSV's


@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_blur_is_scipys_away_from_the_edge(sigma: float) -> None:
    x = pictures(1, 24, 24)
    want = gaussian_filter(x[0, 0].numpy().astype(np.float64), sigma, truncate=8)
    found = blur(x, torch.tensor([sigma]))[0, 0].numpy()
    np.testing.assert_allclose(found[8:-8, 8:-8], want[8:-8, 8:-8], atol=1e-3)


def test_no_blur_changes_nothing_and_an_even_picture_stays() -> None:
    x = pictures(2)
    torch.testing.assert_close(blur(x, torch.tensor([0.0, 0.0])), x, atol=1e-6, rtol=0)
    even = torch.full((1, 3, 6, 6), 0.4)
    torch.testing.assert_close(blur(even, torch.tensor([3.0])), even, atol=1e-6, rtol=0)


def test_solarising_inverts_the_bright_half() -> None:
    assert solarise(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == [0.0, 0.25, 0.5, 0.0]


def test_views_are_named_by_the_seed_and_stay_in_range() -> None:
    x = (pictures(6) * 255).byte()
    view = View(8, solarised=0.5)
    first, again, other = (random_view(x, view, draw(s)) for s in (1, 1, 2))
    assert first.shape == (6, 3, 8, 8) and torch.equal(first, again) and not torch.allclose(first, other)
    assert first.min() >= 0 and first.max() <= 1 + 1e-6
    assert torch.equal(unit_range(x), x.float() / 255) and unit_range(first) is first


def test_every_chance_of_nothing_is_the_crop_alone() -> None:
    x = pictures(3, 8, 8)
    torch.testing.assert_close(
        random_view(x, View(8, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0, grey=0.0, blurred=0.0), draw()), x, atol=1e-5, rtol=0
    )


def test_a_grey_view_has_equal_channels_in_the_share_asked_for() -> None:
    found = random_view(pictures(400), View(4, coloured=0.0, grey=0.3, blurred=0.0), draw())
    grey = (found.amax(1) - found.amin(1)).amax((1, 2)) < 1e-5
    assert grey.float().mean().item() == pytest.approx(0.3, abs=0.07)


def test_several_views_stand_one_after_the_other() -> None:
    x = pictures(3)
    found = multi_crop(x, PLAIN, 2, draw())
    assert found.shape == (6, 3, 8, 8)
    alone = draw()
    torch.testing.assert_close(found[:3], random_view(x, PLAIN, alone))
    torch.testing.assert_close(found[3:], random_view(x, PLAIN, alone))
    assert multi_crop(x, PLAIN, 0, draw()).shape == (0, 3, 8, 8)


def test_a_scale_that_is_no_share_is_one_clear_line() -> None:
    with pytest.raises(SensoriumError, match="two shares of the area"):
        View(8, (0.0, 1.2))
