from __future__ import annotations

import math

import pytest
import torch

from sensorium.blocks.objectives.nll import nll


def test_by_hand() -> None:
    """Probabilities 1/4, 3/4 and, masked, 1/2: (log 4 + log 4/3) / 2."""
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, math.log(3)], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert nll(logits, torch.tensor([[0, 1, 1]]), mask).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_every_real_id_counts_alike_whatever_its_row() -> None:
    g = torch.Generator().manual_seed(0)
    logits, ids = torch.randn(2, 3, 5, generator=g), torch.randint(0, 5, (2, 3), generator=g)
    mask = torch.tensor([[True, False, False], [True, True, True]])
    each = -logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
    torch.testing.assert_close(nll(logits, ids, mask), each[mask].sum() / 4)


@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_padding_changes_nothing(fill: float) -> None:
    logits, ids = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1)), torch.tensor([[0, 1, 2], [3, 4, 0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    want = nll(logits, ids, mask)
    assert torch.equal(nll(logits.masked_fill(~mask[..., None], fill), ids.masked_fill(~mask, -7), mask), want)


def test_gradients() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    ids, mask = torch.tensor([[0, 1, 2], [3, 0, 0]]), torch.tensor([[True, True, True], [True, False, False]])
    assert torch.autograd.gradcheck(lambda x: nll(x, ids, mask), (logits,))
    nll(logits, ids, mask).backward()
    assert logits.grad is not None and not logits.grad[~mask].any() and logits.grad[mask].any()


def test_nothing_real_is_a_loss_of_zero_with_a_gradient() -> None:
    logits = torch.randn(2, 3, 4).requires_grad_()
    loss = nll(logits, torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_bfloat16_is_summed_in_float32() -> None:
    logits = torch.randn(1, 4, 300, generator=torch.Generator().manual_seed(3)).bfloat16()
    ids, mask = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nll(logits, ids, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, nll(logits.double(), ids, mask).float())
