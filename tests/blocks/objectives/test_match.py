from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.image_transforms import center_to_corners_format
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from sensorium.blocks.objectives.match import (
    DISTANCE,
    OVERLAP,
    align,
    assign,
    box_costs,
    box_terms,
    centres,
    class_loss,
    corners,
    generalised_iou,
    in_order,
    soft_tokens,
)
from sensorium.core import SensoriumError
from sensorium.evals.metrics.boxes import giou_matrix


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(*shape: int, seed: int = 0) -> Tensor:
    """Boxes cx cy w h inside the unit square."""
    size = 0.1 + 0.4 * torch.rand(*shape, 2, generator=draw(seed), dtype=torch.float64)
    centre = size / 2 + (1 - size) * torch.rand(*shape, 2, generator=draw(seed + 1), dtype=torch.float64)
    return torch.cat([centre, size], -1)


def some(rows: int, objects: int, seed: int = 0) -> Tensor:
    """[B K] bool, at least one of each row."""
    mask = torch.rand(rows, objects, generator=draw(seed)) < 0.6
    mask[:, 0] = True
    return mask


def test_corners_and_centres_are_those_of_transformers() -> None:
    found = boxes(50)
    torch.testing.assert_close(corners(found), center_to_corners_format(found))
    torch.testing.assert_close(centres(corners(found)), found)


def test_generalised_iou_by_hand_and_as_the_metric_computes_it() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 3.0, 1.0]])
    # overlap 1 of 7, hull 9; no overlap, hull 3 of which 1 is bare
    assert generalised_iou(a, b).tolist() == pytest.approx([1 / 7 - 2 / 9, -1 / 3])
    one, other = corners(boxes(7)), corners(boxes(5, seed=9))
    want = giou_matrix(one.numpy(), other.numpy())
    np.testing.assert_allclose(generalised_iou(one[:, None], other[None]).numpy(), want, atol=1e-12)


def test_boxes_without_area_stay_finite() -> None:
    point = torch.zeros(1, 4, requires_grad=True)
    generalised_iou(point, torch.zeros(1, 4)).sum().backward()
    assert point.grad is not None and point.grad.isfinite().all()


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_assignment_is_cheaper(rows: int, queries: int, objects: int, seed: int) -> None:
    costs = torch.randn(rows, queries, objects, generator=draw(seed))
    mask = torch.rand(rows, objects, generator=draw(seed + 1)) < 0.7
    which = assign(costs, mask)
    for row in range(rows):
        real = mask[row].nonzero()[:, 0].tolist()
        got = {k: int(which[row, k]) for k in range(objects) if which[row, k] >= 0}
        assert len(got) == min(queries, len(real)) and set(got) <= set(real)
        assert len(set(got.values())) == len(got)
        table = costs[row][:, real].numpy()
        short = table if queries <= len(real) else table.T
        tries = permutations(range(short.shape[1]), short.shape[0])
        best = min(sum(short[i, j] for i, j in enumerate(order)) for order in tries)
        assert sum(float(costs[row, q, k]) for k, q in got.items()) == pytest.approx(best, abs=1e-5)


def test_matching_by_hand() -> None:
    """The cheapest query of both objects is query 0; together 0 -> 1 and 1 -> 0 cost 3, the other way round 10."""
    costs = torch.tensor([[[1.0, 0.0], [3.0, 9.0], [8.0, 8.0]]])
    assert assign(costs, torch.tensor([[True, True]])).tolist() == [[1, 0]]
    assert assign(costs, torch.tensor([[True, False]])).tolist() == [[0, -1]]
    assert assign(costs, torch.tensor([[False, False]])).tolist() == [[-1, -1]]
    assert in_order(costs, torch.tensor([[False, True]])).tolist() == [[-1, 1]]
    assert in_order(costs[:, :1], torch.tensor([[True, True]])).tolist() == [[0, -1]]
    with pytest.raises(SensoriumError, match=r"costs \[1, 3, 2\] and mask \[1, 3\]"):
        assign(costs, torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_detr_losses_and_matching_are_those_of_transformers(seed: int) -> None:
    rows, queries, objects, classes = 4, 6, 3, 5
    found, truth, mask = boxes(rows, queries, seed=seed), boxes(rows, objects, seed=seed + 7), some(rows, objects, seed)
    logits = torch.randn(rows, queries, classes + 1, generator=draw(seed), dtype=torch.float64)
    labels = torch.randint(classes, (rows, objects), generator=draw(seed))
    matcher = HungarianMatcher(class_cost=1, bbox_cost=DISTANCE, giou_cost=OVERLAP)
    loss = ImageLoss(matcher, classes, 0.1, ["labels", "boxes"]).double()
    targets = [{"class_labels": labels[b][mask[b]], "boxes": truth[b][mask[b]]} for b in range(rows)]
    outputs = {"logits": logits, "pred_boxes": found}
    theirs = loss(outputs, targets)
    naming = logits.softmax(-1).gather(2, labels[:, None].expand(-1, queries, -1))
    which = assign(box_costs(found, corners(truth)) - naming, mask)
    for row, (query, target) in enumerate(matcher(outputs, targets)):
        assert which[row][mask[row]][target].tolist() == query.tolist()
    ours = box_terms(found, corners(truth), which)
    torch.testing.assert_close(ours["distance"], DISTANCE * theirs["loss_bbox"])
    torch.testing.assert_close(ours["overlap"], OVERLAP * theirs["loss_giou"])
    torch.testing.assert_close(class_loss(logits, labels, which), theirs["loss_ce"])


def test_soft_tokens_by_hand() -> None:
    """Query 1 has an object that two of three words name; query 0 has none and should say so at a tenth."""
    logits = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 10.0]]]).log()
    named, which = torch.tensor([[[True, False, True]]]), torch.tensor([[1]])
    want = -(math.log(2 / 20) + math.log(5 / 20)) / 2 - 0.1 * math.log(4 / 10)
    assert soft_tokens(logits, named, which).item() == pytest.approx(want)
    nameless = soft_tokens(logits, torch.zeros_like(named), which).item()
    assert nameless == pytest.approx(-0.1 * (math.log(4 / 10) + math.log(10 / 20)))


def test_align_by_hand() -> None:
    """Object 0 is query 1, named by words 0 and 1; positives compete with each other as in the paper's equations."""
    scores = torch.tensor([[[1.0, 4.0, 2.0], [3.0, 5.0, 7.0]]]).log()
    named, which = torch.tensor([[[True, True, False]]]), torch.tensor([[1]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    objects = -(math.log(3 / 15) + math.log(5 / 15)) / 2
    words = -math.log(3 / 4) - math.log(5 / 9)
    assert align(scores, named, which, mask).item() == pytest.approx((objects + words) / 2)


def padded(x: Tensor, axis: int, fill: float | bool) -> Tensor:
    shape = list(x.shape)
    shape[axis] = 2
    return torch.cat([x, torch.full(shape, fill, dtype=x.dtype)], axis)


@pytest.mark.parametrize("fill", [7.0, float("nan")])
def test_padded_objects_and_words_change_nothing(fill: float) -> None:
    found, truth, mask = boxes(3, 5), corners(boxes(3, 3, seed=4)), some(3, 3)
    scores = torch.randn(3, 5, 4, generator=draw(1), dtype=torch.float64)
    named = torch.rand(3, 3, 4, generator=draw(2)) < 0.5
    named[..., 0] = True
    real = torch.ones(3, 4, dtype=torch.bool)
    which = assign(box_costs(found, truth), mask)
    more = padded(truth, 1, fill)
    with_padding = assign(padded(box_costs(found, truth), 2, 1e9), padded(mask, 1, False))
    assert torch.equal(with_padding[:, :3], which) and (with_padding[:, 3:] == -1).all()
    for name, value in box_terms(found, truth, which).items():
        torch.testing.assert_close(box_terms(found, more, with_padding)[name], value)
    wide = padded(padded(named, 1, False), 2, False)
    value = align(scores, named & mask[..., None], which, real)
    junk = padded(scores, 2, fill)
    torch.testing.assert_close(
        align(junk, wide & padded(mask, 1, False)[..., None], with_padding, padded(real, 1, False)), value
    )
    logits = torch.cat([scores, scores[..., :1]], -1)
    longer = torch.cat([padded(scores, 2, -math.inf), scores[..., :1]], -1)
    torch.testing.assert_close(soft_tokens(longer, wide, with_padding), soft_tokens(logits, named, which))


def test_gradients() -> None:
    found, truth, mask = boxes(2, 4).requires_grad_(), corners(boxes(2, 3, seed=5)), some(2, 3, 3)
    which = assign(box_costs(found, truth), mask)
    named, real = torch.rand(2, 3, 5, generator=draw(2)) < 0.5, torch.tensor([[True] * 5, [True] * 4 + [False]])
    named &= real[:, None]
    scores = torch.randn(2, 4, 6, generator=draw(3), dtype=torch.float64).requires_grad_()
    labels = torch.randint(5, (2, 3), generator=draw(4))
    assert torch.autograd.gradcheck(lambda f: tuple(box_terms(f, truth, which).values()), (found,))
    assert torch.autograd.gradcheck(lambda s: soft_tokens(s, named, which), (scores,))
    assert torch.autograd.gradcheck(lambda s: align(s[..., :5], named, which, real), (scores,))
    assert torch.autograd.gradcheck(lambda s: class_loss(s, labels, which), (scores,))


def test_a_query_without_an_object_moves_no_box() -> None:
    found, truth = boxes(1, 4).requires_grad_(), corners(boxes(1, 1, seed=5))
    which = assign(box_costs(found, truth), torch.ones(1, 1, dtype=torch.bool))
    torch.stack(list(box_terms(found, truth, which).values())).sum().backward()
    assert found.grad is not None
    moved = found.grad[0].abs().sum(-1) > 0
    assert moved.tolist() == [k == int(which[0, 0]) for k in range(4)]


def test_a_batch_without_objects_is_zero_and_has_a_gradient() -> None:
    scores = torch.randn(2, 3, 5).requires_grad_()
    none, nothing = torch.full((2, 2), -1), torch.zeros(2, 2, 5, dtype=torch.bool)
    found = torch.rand(2, 3, 4).requires_grad_()
    terms = box_terms(found, torch.zeros(2, 2, 4), none)
    total = sum(terms.values()) + align(scores, nothing, none, torch.ones(2, 5, dtype=torch.bool))
    assert isinstance(total, Tensor) and total.item() == 0
    total.backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_low_precision_is_widened() -> None:
    scores, named, which = (
        torch.randn(2, 3, 5).bfloat16(),
        torch.ones(2, 1, 4, dtype=torch.bool),
        torch.zeros(2, 1).long(),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = soft_tokens(scores, named, which)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_tokens(scores.float(), named, which))
