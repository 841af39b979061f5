from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.objectives.adversarial import (
    critic_hinge,
    critic_logistic,
    generator_hinge,
    generator_logistic,
    gradient_penalty,
)

LOG3 = math.log(3)


def scores(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_logistic_by_hand() -> None:
    """sigmoid(log 3) = 3/4: a real one so sure costs log 4/3, a made one log 4."""
    assert critic_logistic(scores(LOG3), scores(LOG3)).item() == pytest.approx(math.log(4 / 3) + math.log(4))
    assert generator_logistic(scores(LOG3, -LOG3)).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)


def test_logistic_is_binary_cross_entropy() -> None:
    real, made = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ones, entropy = torch.ones_like(real), F.binary_cross_entropy_with_logits
    torch.testing.assert_close(critic_logistic(real, made), entropy(real, ones) + entropy(made, 0 * ones))
    torch.testing.assert_close(generator_logistic(made), entropy(made, ones))


def test_hinge_by_hand() -> None:
    """Beyond the margin nothing is to gain: 3 and -2 cost nothing, 0.5 costs 0.5, and a made 1 costs 2."""
    assert critic_hinge(scores(3.0, 0.5), scores(-2.0, 1.0)).item() == pytest.approx(0.25 + 1.0)
    assert generator_hinge(scores(-2.0, 1.0)).item() == pytest.approx(0.5)


def test_a_hinged_critic_has_no_gradient_beyond_the_margin() -> None:
    real, made = scores(3.0, 0.5), scores(-2.0, 1.0)
    critic_hinge(real, made).backward()
    assert real.grad is not None and made.grad is not None
    assert real.grad.tolist() == [0.0, -0.5] and made.grad.tolist() == [0.0, 0.5]


def test_a_generator_that_fools_nobody_still_learns() -> None:
    """At a score of -20 the loss that saturates has slope 2e-9; this one has slope 1."""
    made = scores(-20.0)
    generator_logistic(made).backward()
    assert made.grad is not None and made.grad.item() == pytest.approx(-1.0, abs=1e-6)


def test_far_scores_are_finite() -> None:
    far = torch.tensor([1e4, -1e4])
    assert torch.isfinite(critic_logistic(far, far)) and torch.isfinite(generator_logistic(far))


def test_the_penalty_of_a_linear_critic_is_half_its_squared_weight() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    real = torch.randn(5, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert gradient_penalty(lambda x: (x * weight).sum((1, 2)), real).item() == pytest.approx(0.5 * 14.25)


def test_the_penalty_of_a_square_is_by_row() -> None:
    """|x|² has slope 2x: half of 4|x|², 2 (1 + 4) and 2 (9), their mean 14."""
    real = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert gradient_penalty(lambda x: x.square().sum(1), real).item() == pytest.approx(14.0)


def test_the_penalty_trains_the_critic_also_where_nobody_asked_for_gradients() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    real = torch.randn(4, 3, dtype=torch.float64)
    first = critic[0].weight
    gradient_penalty(critic, real).backward()
    assert first.grad is not None and real.grad is None
    slope, h = first.grad[0, 0].item(), 1e-6
    with torch.no_grad():
        found = []
        for step in (h, -2 * h):
            first[0, 0] += step
            found.append(gradient_penalty(critic, real).item())
    assert (found[0] - found[1]) / (2 * h) == pytest.approx(slope, rel=1e-4)
