from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.objectives.self_distillation import (
    PrototypeHead,
    across_views,
    block_masks,
    hidden_patches,
    sinkhorn,
    surprise,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Sinkhorn-Knopp


def by_multiplication(logits: np.ndarray, temperature: float, rounds: int) -> np.ndarray:
    """Columns, then rows, on plain numbers."""
    table = np.exp(logits.astype(np.float64) / temperature)
    for _ in range(rounds):
        table /= table.sum(0, keepdims=True)
        table /= table.sum(1, keepdims=True)
    return table


@pytest.mark.parametrize("rounds", [1, 3])
def test_sinkhorn_normalises_columns_and_rows_in_turn(rounds: int) -> None:
    logits = noise(7, 4)
    want = by_multiplication(logits.numpy(), 0.5, rounds)
    np.testing.assert_allclose(sinkhorn(logits, 0.5, rounds).numpy(), want, atol=1e-5)


def test_sinkhorn_hand_computed() -> None:
    """Odds (1, 1) and (3, 1): columns give (1/4, 1/2) and (3/4, 1/2), rows (1/3, 2/3) and (3/5, 2/5)."""
    found = sinkhorn(torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log(), 1.0, 1)
    torch.testing.assert_close(found, torch.tensor([[1 / 3, 2 / 3], [3 / 5, 2 / 5]]))


def test_prototypes_end_up_used_equally_where_one_would_win_all() -> None:
    logits = noise(64, 8)
    logits[:, 0] += 5
    assert logits.softmax(1)[:, 0].mean() > 0.8
    found = sinkhorn(logits, 1.0, 50)
    torch.testing.assert_close(found.sum(1), torch.ones(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.mean(0), torch.full((8,), 1 / 8), atol=1e-3, rtol=0)


@given(st.integers(1, 9), st.integers(1, 6), st.floats(0.001, 2), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_assignments_are_finite_and_rows_sum_to_one(n: int, k: int, temperature: float, seed: int) -> None:
    found = sinkhorn(noise(n, k, seed=seed), temperature)
    assert found.isfinite().all() and (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(n), atol=1e-4, rtol=0)


def test_no_row_gives_no_row_and_nothing_has_a_gradient() -> None:
    assert sinkhorn(torch.zeros(0, 5), 0.1).shape == (0, 5)
    assert not sinkhorn(torch.zeros(2, 5, requires_grad=True), 0.1).requires_grad


# Losses


def test_surprise_of_sure_assignments_is_cross_entropy() -> None:
    logits, right = noise(5, 3), torch.tensor([0, 2, 1, 1, 0])
    found = surprise(logits, F.one_hot(right, 3).float(), 0.1)
    torch.testing.assert_close(found, F.cross_entropy(logits / 0.1, right, reduction="none"))


def test_every_view_learns_from_every_other_view_of_the_teacher() -> None:
    student, teacher = noise(5, 4, 3), noise(2, 4, 3, seed=1).softmax(-1)
    each = [
        F.cross_entropy(student[v] / 0.2, teacher[w], reduction="none").mean()
        for v in range(5)
        for w in range(2)
        if v != w
    ]
    assert len(each) == 8
    torch.testing.assert_close(across_views(student, teacher, 0.2), torch.stack(each).mean())


def test_a_view_does_not_learn_from_itself() -> None:
    student = noise(2, 3, 4).requires_grad_()
    teacher = torch.stack([torch.full((3, 4), 0.25), noise(3, 4).softmax(1)])
    (gradient,) = torch.autograd.grad(across_views(student, teacher, 1.0), student)
    torch.testing.assert_close(gradient[1], (student[1].softmax(1) - 0.25) / 6)


def test_hidden_patches_count_by_picture() -> None:
    """One picture of one masked patch, one of two: ln 2, and the mean of ln 2 and ln 4."""
    sure = torch.tensor([[1.0, 0.0]]).expand(3, 2)
    odds = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 3.0]]).log()
    loss = hidden_patches(odds, sure, torch.tensor([0, 5, 5]), 1.0)
    assert loss.item() == pytest.approx((math.log(2) + (math.log(2) + math.log(4)) / 2) / 2)


def test_no_masked_patch_costs_nothing() -> None:
    student = torch.zeros(0, 4, requires_grad=True)
    loss = hidden_patches(student, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 0.1)
    loss.backward()
    assert loss.item() == 0


def test_the_teacher_has_no_gradient() -> None:
    head = PrototypeHead(4, 6, 8, 3)
    x = noise(2, 5, 4)
    across_views(head(x), sinkhorn(head(x).flatten(0, 1), 0.1).unflatten(0, (2, 5)), 0.1).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


# The head


def test_logits_are_cosines_with_prototypes() -> None:
    head = PrototypeHead(4, 6, 8, 3)
    x = noise(5, 2, 4)
    with torch.no_grad():
        head.prototypes.mul_(torch.arange(1.0, 7.0)[:, None])
        found = head(x)
        want = F.cosine_similarity(head.layers(x)[..., None, :], head.prototypes, dim=-1)
    assert found.shape == (5, 2, 6)
    torch.testing.assert_close(found, want, atol=1e-5, rtol=0)


# Masks


@given(st.integers(1, 9), st.integers(2, 9), st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_mask_is_one_block_and_never_all(rows: int, columns: int, a: float, b: float, seed: int) -> None:
    masks = block_masks(12, rows, columns, (min(a, b), max(a, b)), 1.0, torch.Generator().manual_seed(seed))
    for mask in masks.unflatten(1, (rows, columns)):
        down, across = mask.any(1), mask.any(0)
        assert torch.equal(mask, down[:, None] & across) and mask.any() and not mask.all()
        for line in (down, across):
            at = line.nonzero()[:, 0]
            assert at[-1] - at[0] + 1 == len(at)


def test_masks_have_the_share_and_the_chance_asked_for() -> None:
    masks = block_masks(2000, 8, 8, (0.1, 0.5), 0.4, torch.Generator().manual_seed(0))
    some = masks.any(1)
    assert some.float().mean().item() == pytest.approx(0.4, abs=0.04)
    share = masks[some].float().mean(1)
    assert share.mean().item() == pytest.approx(0.3, abs=0.02) and share.min() > 0.05 and share.max() < 0.6
    where = masks.float().mean(0).unflatten(0, (8, 8))
    torch.testing.assert_close(where, where.flip(1), atol=0.04, rtol=0)  # no side is favoured
