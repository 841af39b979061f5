from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import jaccard_score

from sensorium.core import SensoriumError
from sensorium.evals.metrics.boxes import (
    boundary_iou,
    class_iou,
    coco_ap,
    cumulative_iou,
    giou,
    giou_matrix,
    grounding_recall,
    iou,
    iou_matrix,
    mask_iou,
    spotting,
)

UNIT, RIGHT, FAR = [0, 0, 2, 2], [1, 0, 3, 2], [4, 0, 6, 2]


def some_boxes(rng: np.random.Generator, count: int, coarse: bool = False) -> np.ndarray:
    corner = rng.integers(0, 5, (count, 2)) * 10.0 if coarse else rng.random((count, 2)) * 60
    side = rng.integers(1, 4, (count, 2)) * 10.0 if coarse else 5 + rng.random((count, 2)) * 40
    return np.concatenate([corner, corner + side], 1)


def xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def test_iou_by_hand() -> None:
    assert iou([UNIT, UNIT, UNIT, UNIT], [UNIT, RIGHT, FAR, [0, 0, 1, 1]]) == pytest.approx([1, 2 / 6, 0, 1 / 4])
    assert giou([UNIT, UNIT, UNIT], [UNIT, RIGHT, FAR]) == pytest.approx([1, 1 / 3, -(12 - 8) / 12])
    assert iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]) == 0 and giou([[1, 1, 1, 1]], [[1, 1, 1, 1]]) == 0
    assert iou([], []).shape == (0,) and iou_matrix([], [UNIT]).shape == (0, 1)


@pytest.mark.parametrize("coarse", [False, True])
def test_iou_is_pycocotools(coarse: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = some_boxes(rng, 30, coarse), some_boxes(rng, 20, coarse)
    want = coco_mask.iou(xywh(a), xywh(b), [0] * 20)
    np.testing.assert_allclose(iou_matrix(a, b), want, atol=1e-12)
    np.testing.assert_allclose(iou(a[:20], b), want[:20].diagonal(), atol=1e-12)
    matrix = giou_matrix(a, b)
    np.testing.assert_allclose(matrix[:20].diagonal(), giou(a[:20], b), atol=1e-12)
    assert (matrix <= iou_matrix(a, b) + 1e-12).all() and (matrix >= -1).all()


def coco_reference(
    boxes: np.ndarray, scores: np.ndarray, images: np.ndarray, labels: np.ndarray,
    truth: np.ndarray, truth_images: np.ndarray, truth_labels: np.ndarray,
) -> list[float]:  # fmt: skip
    """AP, AP50, AP75 and AR100 of pycocotools; its ids start at 1, 0 means unmatched."""
    everything = np.append(images, truth_images)
    gt = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        gt.dataset = {
            "images": [{"id": int(i)} for i in np.unique(everything)],
            "categories": [{"id": int(c)} for c in np.unique(np.append(labels, truth_labels))],
            "annotations": [
                {"id": n + 1, "image_id": int(i), "category_id": int(c), "bbox": b.tolist(), "area": 1.0, "iscrowd": 0}
                for n, (b, i, c) in enumerate(zip(xywh(truth), truth_images, truth_labels, strict=True))
            ],
        }
        gt.createIndex()
        dt = gt.loadRes(np.column_stack([images, xywh(boxes), scores, labels]))
        evaluation = COCOeval(gt, dt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(evaluation.stats[n]) for n in (0, 1, 2, 8)]


def problem(seed: int, coarse: bool) -> tuple[np.ndarray, ...]:
    """True boxes and detections, most of them moved copies; when coarse, with equal scores and equal overlaps."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    truth = some_boxes(rng, count, coarse)
    truth_images, truth_labels = rng.integers(0, 6, (2, count))
    near = rng.integers(0, count, 3 * count)
    shift = rng.integers(0, 2, (3 * count, 1)) * 10.0 if coarse else rng.normal(0, 4, (3 * count, 1))
    boxes = np.concatenate([truth[near] + shift, some_boxes(rng, 10, coarse)])
    scores = rng.integers(1, 5, len(boxes)) / 4 if coarse else rng.random(len(boxes))
    images = np.append(truth_images[near], rng.integers(0, 8, 10))
    labels = np.append(truth_labels[near], rng.integers(0, 8, 10))
    return boxes, scores, images, labels, truth, truth_images, truth_labels


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_pycocotools(seed: int, coarse: bool) -> None:
    boxes, scores, images, labels, truth, truth_images, truth_labels = problem(seed, coarse)
    want = coco_reference(boxes, scores, images, labels, truth, truth_images, truth_labels)
    got = coco_ap(boxes, scores, images, truth, truth_images, labels, truth_labels)
    assert list(got) == pytest.approx(want, abs=1e-9)


def test_only_the_hundred_best_of_a_picture_count() -> None:
    rng = np.random.default_rng(0)
    truth, one = some_boxes(rng, 130), np.zeros(130, dtype=int)
    scores = rng.random(130)
    want = coco_reference(truth, scores, one, one, truth, one, one)
    got = coco_ap(truth, scores, one, truth, one)
    assert list(got) == pytest.approx(want) and got.recall == pytest.approx(100 / 130)


def test_average_precision_by_hand() -> None:
    """One right, one wrong with a higher score, one of two true boxes never found."""
    got = coco_ap([UNIT, FAR], [0.5, 0.9], [0, 0], [UNIT, [0, 5, 1, 6]], [0, 1])
    assert got.recall == 0.5 and got.ap50 == pytest.approx(0.5 * 51 / 101)  # precision 1/2 up to recall 0.50
    assert coco_ap([UNIT], [0.9], [0], [UNIT], [0]) == (1, 1, 1, 1)
    assert coco_ap([UNIT], [0.9], [0], [RIGHT], [0]) == (0, 0, 0, 0)
    assert coco_ap([UNIT], [0.9], [0], [UNIT], [1]) == (0, 0, 0, 0)  # another picture
    assert coco_ap([UNIT], [0.9], [0], [UNIT], [0], [1], [2]) == (0, 0, 0, 0)  # another class
    assert coco_ap([UNIT, UNIT], [0.9, 0.8], [0, 0], [UNIT], [0]).ap == 1  # the second comes too late to harm


def test_average_precision_of_nothing() -> None:
    assert coco_ap([], [], [], [UNIT], [0]) == (0, 0, 0, 0)
    assert np.isnan(coco_ap([UNIT], [0.9], [0], [], [])).all() and np.isnan(coco_ap([], [], [], [], [])).all()


def test_grounding_by_hand() -> None:
    guesses = [[FAR, UNIT], [RIGHT, FAR], [[0, 0, 0, 0], [0, 0, 0, 0]]]
    truth = [UNIT, UNIT, UNIT]
    assert grounding_recall(guesses, truth).tolist() == [0, 0, 0]
    assert grounding_recall(guesses, truth, k=2).tolist() == [1, 0, 0]
    assert grounding_recall(guesses, truth, k=9, threshold=1 / 3).tolist() == [1, 1, 0]
    assert len(grounding_recall([], [])) == 0


def test_spotting_by_hand() -> None:
    """Picture 0: one read right, one misread, one missed; picture 1: read twice, once right."""
    got = spotting(
        [[UNIT, FAR], [UNIT, [0, 0, 2, 1.9]]], [["Ab", "cd"], ["x", "X"]],
        [[UNIT, FAR, [9, 9, 10, 10]], [UNIT]], [["aB", "ce", "z"], ["x"]],
    )  # fmt: skip
    assert got == pytest.approx((2 / 4, 2 / 4, 0.5))
    nothing = spotting([[]], [[]], [[UNIT]], [["a"]])
    assert np.isnan(nothing.precision) and nothing.recall == 0 and nothing.f1 == 0
    assert np.isnan(spotting([], [], [], [])).all()


def test_spotting_assigns_so_that_most_pairs_count() -> None:
    """Detection 0 overlaps both true boxes, detection 1 only the first: greedy by order would find one pair."""
    first, second = [0, 0, 10, 10], [4, 0, 14, 10]
    boxes, texts = [[[2, 0, 12, 10], [-2, 0, 8, 10]]], [["a", "a"]]
    assert iou(boxes[0], [first, first]) == pytest.approx([8 / 12, 8 / 12])
    assert spotting(boxes, texts, [[first, second]], [["a", "a"]]) == (1, 1, 1)


def test_masks_by_hand() -> None:
    a = np.zeros((3, 4, 4), dtype=bool)
    b = a.copy()
    a[0, :2, :2], b[0, :2, 1:3], a[1] = True, True, True
    assert mask_iou(a, b).tolist() == [2 / 6, 0, 1]
    assert cumulative_iou(a, b) == 2 / (6 + 16)
    assert np.isnan(cumulative_iou(b[1:], b[1:]))


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_mask_iou_is_pycocotools(seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, 7, 5)) < 0.4
    encode = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (a, b)]
    if (a | b).any():
        assert mask_iou(a[None], b[None])[0] == pytest.approx(coco_mask.iou(encode[:1], encode[1:], [0])[0, 0])


def test_class_iou_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    predicted, truth = rng.integers(0, 4, (2, 3, 8, 8))
    got = class_iou(predicted, truth, 6)
    assert got[:4] == pytest.approx(jaccard_score(truth.ravel(), predicted.ravel(), average=None))
    assert np.isnan(got[4:]).all()
    truth[0] = 255
    kept = jaccard_score(truth[1:].ravel(), predicted[1:].ravel(), average=None)
    assert class_iou(predicted, truth, 4, ignore=255) == pytest.approx(kept)
    assert class_iou([[0, 1]], [[1, 1]], 2).tolist() == [0, 0.5]


def test_boundary_iou_by_hand() -> None:
    """Squares of 6 and 4 pixels, one within the other: borders of 20 and 12 pixels that do not meet, if one wide."""
    outer, inner = np.zeros((2, 1, 10, 10), dtype=bool)
    outer[0, 2:8, 2:8], inner[0, 3:7, 3:7] = True, True
    assert boundary_iou(outer, outer, 1) == 1 and boundary_iou(outer, inner, 1) == 0
    assert boundary_iou(outer, inner, 2) == 12 / (32 + 4)  # borders of 32 and 16 pixels, 12 in both
    whole = np.ones((1, 4, 4), dtype=bool)
    assert boundary_iou(whole, whole & (np.arange(4) < 3), 1) == pytest.approx(8 / 14)  # the edge is a border


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"first holds \[3.0, 0.0, 1.0, 2.0\]; expected x0 ≤ x1"):
        iou([[3, 0, 1, 2]], [UNIT])
    with pytest.raises(SensoriumError, match=r"shape \[1, 3\]; expected \[N 4\]"):
        iou_matrix([[1, 2, 3]], [UNIT])
    with pytest.raises(SensoriumError, match="1 first boxes and 2 second boxes"):
        giou([UNIT], [UNIT, UNIT])
    with pytest.raises(SensoriumError, match="1 boxes and 2 scores"):
        coco_ap([UNIT], [1, 2], [0], [UNIT], [0])
    with pytest.raises(SensoriumError, match=r"predicted \[1, 2, 2\] and truth \[1, 2, 3\]"):
        mask_iou(np.ones((1, 2, 2)), np.ones((1, 2, 3)))
    with pytest.raises(SensoriumError, match="truth holds class 9; expected 0 ≤ class < 2"):
        class_iou([0], [9], 2)
    with pytest.raises(SensoriumError, match="1 boxes and 2 texts"):
        spotting([[UNIT]], [["a", "b"]], [[UNIT]], [["a"]])
