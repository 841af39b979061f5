"""Boxes [x0 y0 x1 y1] and masks.

Shape legend: N pairs, D detections, G true boxes, K guesses, H W pixels, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import binary_erosion
from scipy.optimize import linear_sum_assignment

from sensorium.core.errors import SensoriumError

from .edit import nfc
from .inputs import Bools, Floats, Ints, classes, flags, floats, mean, same_length, share

COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_COCO_RECALLS = np.linspace(0, 1, 101)


class Detection(NamedTuple):
    """COCO's average precision over IoU 0.50 to 0.95, at 0.50, at 0.75, and recall of up to 100 a picture."""

    ap: float
    ap50: float
    ap75: float
    recall: float


class Spotting(NamedTuple):
    """Of a whole set: matched over predicted, matched over true, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """[N 4], [N 4] -> [N] intersection over union; 0 where both boxes have no area."""
    a, b = _boxes("first", first), _boxes("second", second)
    same_length(first_boxes=a, second_boxes=b)
    return _overlap(a, b)[0]


def iou_matrix(first: ArrayLike, second: ArrayLike) -> Floats:
    """[N 4], [M 4] -> [N M] intersection over union. pycocotools' `mask.iou` for boxes."""
    return _overlap(_boxes("first", first)[:, None], _boxes("second", second)[None])[0]


def giou(first: ArrayLike, second: ArrayLike) -> Floats:
    """[N 4], [N 4] -> [N] IoU less the share of the hull that neither covers, -1 to 1 (Rezatofighi et al. 2019)."""
    a, b = _boxes("first", first), _boxes("second", second)
    same_length(first_boxes=a, second_boxes=b)
    return _generalised(a, b)


def giou_matrix(first: ArrayLike, second: ArrayLike) -> Floats:
    """[N 4], [M 4] -> [N M] generalised IoU."""
    return _generalised(_boxes("first", first)[:, None], _boxes("second", second)[None])


def grounding_recall(predicted: ArrayLike, truth: ArrayLike, k: int = 1, threshold: float = 0.5) -> Floats:
    """[N K 4] boxes, best first, [N 4] -> [N] recall@k of grounding: 1 where one of the first k reaches `threshold`.

    Fill up missing guesses with boxes of no area.
    """
    guesses, right = floats("predicted", predicted, 3), _boxes("truth", truth)
    same_length(predictions=guesses, true_boxes=right)
    if k < 1:
        raise SensoriumError(f"k is {k}; expected 1 or more")
    first = guesses[:, :k]
    flat = _boxes("predicted", first.reshape(first.shape[0] * first.shape[1], -1) if first.size else [])
    best = np.zeros(len(right))
    owner = np.repeat(np.arange(len(right)), first.shape[1])
    np.maximum.at(best, owner, iou(flat, right[owner]))
    return (best >= threshold).astype(np.float64)


def coco_ap(
    boxes: ArrayLike,
    scores: ArrayLike,
    images: ArrayLike,
    truth: ArrayLike,
    truth_images: ArrayLike,
    labels: ArrayLike | None = None,
    truth_labels: ArrayLike | None = None,
) -> Detection:
    """[D 4], [D], [D] picture numbers, [G 4], [G] picture numbers; classes [D], [G] -> average precision.

    pycocotools' `COCOeval` of all areas without crowds: the 100 best of each picture and class, matched greedily; 101
    points of recall; mean over the classes that occur. NaN without true boxes.
    """
    found, right = _boxes("boxes", boxes), _boxes("truth", truth)
    confidence = floats("scores", scores)
    kind, true_kind = _numbers("labels", labels, len(found)), _numbers("truth_labels", truth_labels, len(right))
    picture, true_picture = classes("images", images), classes("truth_images", truth_images)
    same_length(boxes=found, scores=confidence, images=picture, labels=kind)
    same_length(true_boxes=right, true_images=true_picture, true_labels=true_kind)
    order, rank, cell, true_cell = _cells(confidence, kind, picture, true_kind, true_picture)
    kept = rank < 100
    order, rank, cell = order[kept], rank[kept], cell[kept]
    matched = _match(found[order], rank, cell, right, true_cell)
    per_class = [
        _curve(matched[:, kind[order] == c], confidence[order][kind[order] == c], int((true_kind == c).sum()))
        for c in np.unique(true_kind)
    ]
    if not per_class:
        return Detection(*[float("nan")] * 4)
    precisions, recalls = (np.mean([entry[n] for entry in per_class], axis=0) for n in (0, 1))
    return Detection(mean(precisions), float(precisions[0]), float(precisions[5]), mean(recalls))


def spotting(
    boxes: Sequence[ArrayLike],
    texts: Sequence[Sequence[str]],
    truth: Sequence[ArrayLike],
    truth_texts: Sequence[Sequence[str]],
    threshold: float = 0.5,
) -> Spotting:
    """For each picture boxes [D 4] and their texts, true boxes [G 4] and theirs -> end-to-end spotting.

    A pair counts if it overlaps by `threshold` and reads the same but for case; pairs are assigned so that most count.
    """
    same_length(boxes=boxes, texts=texts, true_boxes=truth, true_texts=truth_texts)
    hits = predicted = wanted = 0
    for found, read, right, written in zip(boxes, texts, truth, truth_texts, strict=True):
        a, b = _boxes("boxes", found), _boxes("truth", right)
        same_length(boxes=a, texts=read)
        same_length(true_boxes=b, true_texts=written)
        said, meant = (np.array([nfc(t).casefold() for t in side], dtype=object) for side in (read, written))
        allowed = (iou_matrix(a, b) >= threshold) & (said[:, None] == meant[None])
        rows, columns = linear_sum_assignment(allowed, maximize=True)
        hits += int(allowed[rows, columns].sum())
        predicted, wanted = predicted + len(a), wanted + len(b)
    return Spotting(share(hits, predicted), share(hits, wanted), share(2 * hits, predicted + wanted))


def mask_iou(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """[N H W], [N H W] bool -> [N] intersection over union; 1 where both are empty (the J of DAVIS)."""
    guess, right = _masks(predicted, truth)
    both, either = (guess & right).sum((1, 2)), (guess | right).sum((1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def cumulative_iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """[N H W], [N H W] bool -> all intersections over all unions, the overall IoU of referring segmentation."""
    guess, right = _masks(predicted, truth)
    return share((guess & right).sum(), (guess | right).sum())


def boundary_iou(predicted: ArrayLike, truth: ArrayLike, width: int) -> Floats:
    """[N H W], [N H W] bool -> [N] IoU of the inner borders, `width` pixels wide; 1 where both masks are empty.

    Cheng et al. 2021, with a square of 3 x 3 eroded `width` times; they take 2% of the picture's diagonal.
    """
    if width < 1:
        raise SensoriumError(f"width is {width} pixels; expected 1 or more")
    guess, right = _masks(predicted, truth)
    return mask_iou(_border(guess, width), _border(right, width))


def class_iou(predicted: ArrayLike, truth: ArrayLike, count: int, ignore: int | None = None) -> Floats:
    """[... H W], [... H W] class of each pixel -> [C] IoU over the whole set; its mean is mIoU.

    scikit-learn's `jaccard_score` per class; NaN for a class in neither. Pixels that are truly `ignore` are left out.
    """
    guess, right = np.asarray(predicted), np.asarray(truth)
    if guess.shape != right.shape:
        raise SensoriumError(f"predicted {list(guess.shape)} and truth {list(right.shape)}; expected one shape")
    seen = np.ones(right.shape, bool) if ignore is None else right != ignore
    a, b = classes("predicted", guess[seen], count), classes("truth", right[seen], count)
    table = np.bincount(b * count + a, minlength=count * count).reshape(count, count)
    both, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def _boxes(name: str, values: ArrayLike) -> Floats:
    boxes = floats(name, values, 2)
    boxes = boxes if boxes.size else boxes.reshape(0, 4)
    if boxes.shape[1] != 4:
        raise SensoriumError(f"{name} has shape {list(boxes.shape)}; expected [N 4] as x0, y0, x1, y1")
    if len(wrong := boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)]):
        raise SensoriumError(f"{name} holds {wrong[0].tolist()}; expected x0 ≤ x1 and y0 ≤ y1 (x0, y0, x1, y1)")
    return boxes


def _overlap(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """IoU and union."""
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), 0.0), either


def _generalised(a: Floats, b: Floats) -> Floats:
    overlap, either = _overlap(a, b)
    hull = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])).prod(-1)
    return overlap - np.where(hull > 0, (hull - either) / np.where(hull > 0, hull, 1), 0.0)


def _numbers(name: str, values: ArrayLike | None, count: int) -> Ints:
    return np.zeros(count, dtype=np.int64) if values is None else classes(name, values)


def _cells(scores: Floats, kind: Ints, picture: Ints, true_kind: Ints, true_picture: Ints) -> tuple[Ints, ...]:
    """The detections sorted by cell (a class in a picture), best first; rank in the cell; cells of both sides."""
    pairs = np.stack([np.append(kind, true_kind), np.append(picture, true_picture)], 1)
    cells = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    cell, true_cell = cells[: len(kind)], cells[len(kind) :]
    order = np.lexsort((-scores, cell))
    start = np.searchsorted(cell[order], cell[order])
    return order, np.arange(len(order)) - start, cell[order], true_cell


def _match(boxes: Floats, rank: Ints, cell: Ints, truth: Floats, true_cell: Ints) -> Bools:
    """[D] detections sorted by cell and rank -> [10 D] bool: matched at each threshold?

    Greedy, as COCO does: in the order of the scores each takes the free true box that overlaps most, the later of equal
    ones. The detections of one rank, at most one per cell, are done at once.
    """
    by_cell = np.argsort(true_cell, kind="stable")
    first, last = (np.searchsorted(true_cell[by_cell], cell, side) for side in ("left", "right"))
    near = last - first
    detection = np.repeat(np.arange(len(boxes)), near)
    true = by_cell[np.arange(near.sum()) - np.repeat(near.cumsum() - near, near) + np.repeat(first, near)]
    overlap = iou(boxes[detection], truth[true])
    by_rank = np.argsort(rank[detection], kind="stable")
    levels = COCO_THRESHOLDS[:, None]
    matched = np.zeros((len(levels), len(boxes)), dtype=bool)
    taken = np.zeros((len(levels), len(truth)), dtype=bool)
    for pairs in np.split(by_rank, np.flatnonzero(np.diff(rank[detection][by_rank])) + 1):
        if not len(pairs):
            continue
        starts = np.flatnonzero(np.append(True, np.diff(detection[pairs]) != 0))
        of = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(pairs))))
        free = np.where(taken[:, true[pairs]], -1.0, overlap[pairs])
        best = np.maximum.reduceat(free, starts, axis=1)
        place = np.where(free == best[:, of], np.arange(len(pairs)), -1)
        chosen = true[pairs][np.maximum.reduceat(place, starts, axis=1)]
        right = best >= levels
        matched[:, detection[pairs][starts]] = right
        level, which = np.nonzero(right)
        taken[level, chosen[level, which]] = True
    return matched


def _curve(matched: Bools, scores: Floats, truths: int) -> tuple[Floats, Floats]:
    """[10 D] of one class, pictures in order -> average precision and final recall at each threshold."""
    hits = matched[:, np.argsort(-scores, kind="stable")].cumsum(1)
    if not hits.shape[1]:
        return np.zeros(len(matched)), np.zeros(len(matched))
    precision = hits / np.arange(1, hits.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.append(envelope, np.zeros((len(matched), 1)), axis=1)
    at = np.array([np.searchsorted(row, _COCO_RECALLS) for row in hits / truths])
    return np.take_along_axis(padded, at, 1).mean(1), hits[:, -1] / truths


def _masks(predicted: ArrayLike, truth: ArrayLike) -> tuple[Bools, Bools]:
    guess, right = flags("predicted", predicted, 3), flags("truth", truth, 3)
    if guess.shape != right.shape:
        raise SensoriumError(f"predicted {list(guess.shape)} and truth {list(right.shape)}; expected one shape")
    return guess, right


def _border(masks: Bools, width: int) -> Bools:
    square = np.ones((1, 3, 3), dtype=bool)
    return np.asarray(masks & ~binary_erosion(masks, square, iterations=width), dtype=bool)
