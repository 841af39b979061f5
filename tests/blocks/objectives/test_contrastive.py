from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.objectives.contrastive import info_nce, same_group, symmetric
from sensorium.core import SensoriumError


def table(q: int, i: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(q, i, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 6), st.integers(0, 4), st.floats(0.1, 100), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_one_positive_is_cross_entropy(q: int, more: int, scale: float, seed: int) -> None:
    scores = table(q, q + more, seed, scale)
    torch.testing.assert_close(info_nce(scores), F.cross_entropy(scores, torch.arange(q)))


def test_symmetric_is_the_mean_of_both_directions() -> None:
    scores, at = table(5, 5), torch.arange(5)
    torch.testing.assert_close(symmetric(scores), (F.cross_entropy(scores, at) + F.cross_entropy(scores.T, at)) / 2)
    positives = table(5, 5, 1) > 0
    want = (info_nce(scores, positives) + info_nce(scores.T, positives.T)) / 2
    torch.testing.assert_close(symmetric(scores, positives), want)


def test_hand_computed() -> None:
    """Odds 2, 3 positive and 5 negative, 7 extra: each positive against itself and 12; the second row has none."""
    scores = torch.tensor([[2.0, 3.0, 5.0], [1.0, 1.0, 1.0]]).log()
    positives = torch.tensor([[True, True, False], [False, False, False]])
    extra = torch.tensor([[7.0], [7.0]]).log()
    assert info_nce(scores, positives).item() == pytest.approx(-(math.log(2 / 7) + math.log(3 / 8)) / 2)
    assert info_nce(scores, positives, extra).item() == pytest.approx(-(math.log(2 / 14) + math.log(3 / 15)) / 2)


def test_other_positives_do_not_compete() -> None:
    scores, positives = table(1, 3), torch.tensor([[True, True, False]])
    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(info_nce(scores, positives), scores)
    assert (gradient[0, :2] < 0).all() and gradient[0, 2] > 0
    assert info_nce(scores, torch.ones(1, 3, dtype=torch.bool)).item() == 0  # nothing but positives


@pytest.mark.parametrize("fill", [1e4, float("nan"), float("inf")])
def test_masked_extra_changes_nothing(fill: float) -> None:
    scores, extra = table(4, 4).requires_grad_(), table(4, 3, 1)
    mask = torch.tensor([True, False, True]).expand(4, 3)
    with_padding = extra.masked_fill(~mask, fill).requires_grad_()
    loss = info_nce(scores, extra=with_padding, extra_mask=mask)
    torch.testing.assert_close(loss, info_nce(scores, extra=extra[:, [0, 2]]))
    loss.backward()
    assert with_padding.grad is not None and not with_padding.grad[:, 1].any() and with_padding.grad.isfinite().all()
    nothing = torch.zeros(4, 3, dtype=torch.bool)
    torch.testing.assert_close(info_nce(scores, extra=extra, extra_mask=nothing), info_nce(scores))


def test_no_positive_at_all_is_zero_with_a_gradient() -> None:
    scores = table(2, 3).requires_grad_()
    loss = info_nce(scores, torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and scores.grad is not None and not scores.grad.any()


def test_one_pair_alone_is_finite() -> None:
    scores = torch.ones(1, 1, requires_grad=True)
    info_nce(scores).backward()
    assert scores.grad is not None and scores.grad.item() == 0


def test_gradients() -> None:
    scores, extra = table(3, 4).requires_grad_(), table(3, 2, 1).requires_grad_()
    positives, mask = same_group(torch.tensor([0, 1, 5]), torch.tensor([0, 0, 1, 2])), table(3, 2, 2) > 0
    assert torch.autograd.gradcheck(lambda s, e: info_nce(s, positives, e, mask), (scores, extra))
    assert torch.autograd.gradcheck(lambda s: symmetric(s, positives), (scores,))


def test_same_group() -> None:
    assert same_group(torch.tensor([1, 2]), torch.tensor([2, 1, 2])).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_low_precision_is_widened() -> None:
    scores = table(4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(scores)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce(scores.float()))


def test_no_diagonal_is_an_error() -> None:
    with pytest.raises(SensoriumError, match=r"\(3, 2\)"):
        info_nce(torch.zeros(3, 2))
