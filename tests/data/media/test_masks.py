from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from sensorium.data.limits import Refused
from sensorium.data.media.masks import Runs, load, pixels, runs, stored


def test_runs_by_hand() -> None:
    """Down the columns: two of ground, three of the object, one of ground."""
    mask = np.array([[False, True, True], [False, True, False]])
    assert runs(mask) == Runs(2, 3, [2, 3, 1])
    assert pixels(Runs(2, 3, [2, 3, 1])).tolist() == mask.tolist()
    assert runs(np.ones((2, 2), bool)) == Runs(2, 2, [0, 4]) and runs(np.zeros((2, 2), bool)) == Runs(2, 2, [4])


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans()))
def test_masks_are_read_as_pycocotools_reads_them(mask: np.ndarray) -> None:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": [int(n) for n in packed["size"]], "counts": packed["counts"].decode()}
    (found,) = load([text])
    np.testing.assert_array_equal(pixels(found), mask)
    assert load(stored([runs(mask)])) == [found]
    assert int(coco.area(packed)) == sum(found.counts[1::2])


def test_a_large_mask_survives() -> None:
    mask = np.zeros((700, 900), bool)
    mask[100:650, 3:870] = np.indices((550, 867)).sum(0) % 17 > 3
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    (found,) = load([{"size": [700, 900], "counts": packed["counts"]}])
    np.testing.assert_array_equal(pixels(found), mask)


GOOD = {"size": [2, 2], "counts": [4]}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x", "not a list of masks but a str"),
        ([GOOD] * 1001, "1,001 masks, limit 1,000"),
        ([GOOD, 3], "mask 2 is 3; expected size and counts"),
        ([{"size": [2, 0], "counts": []}], r"mask 1 has size \[2, 0\]; expected height and width"),
        ([{"size": [2, 2], "counts": [5]}], "mask 1: its runs are 5 pixels of 4"),
        ([{"size": [2, 2], "counts": [-1, 5]}], r"mask 1 has counts \[-1, 5\]; expected whole numbers"),
        ([{"size": [2, 2], "counts": [2, True, 1]}], "mask 1 has counts"),
        ([{"size": [2, 2], "counts": " "}], "no string of COCO's"),
        ([{"size": [2, 2], "counts": "o" * 9}], "no string of COCO's"),
        ([{"size": [2, 2], "counts": "o"}], "end within a number"),
        ([GOOD, {"size": [1, 4], "counts": [4]}], "different sizes"),
    ],
)
def test_what_is_no_mask_is_refused(value: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        load(value)
