from __future__ import annotations

import pytest
import torch

from sensorium.blocks.generators.energy import langevin


def test_without_noise_it_is_gradient_descent() -> None:
    """Of half a square a step of 0.1 leaves 0.9 of the way."""
    x = torch.tensor([[1.0, -2.0], [4.0, 0.0]])
    found = langevin(lambda y: 0.5 * y.square().sum(1), x, 3, 0.1)
    torch.testing.assert_close(found, x * 0.9**3)
    assert not found.requires_grad and x.tolist() == [[1.0, -2.0], [4.0, 0.0]]


def test_no_step_leaves_the_start() -> None:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(langevin(lambda y: y.sum(1), x, 0, 0.1), x)


def test_many_noisy_steps_draw_from_the_density() -> None:
    """exp(-x² / (2 · 4)) has a deviation of 2, in steps of 0.05 all but exactly."""
    draw = torch.Generator().manual_seed(0)
    found = langevin(lambda y: y.square().sum(1) / 8, torch.zeros(4000, 1), 400, 0.05, 0.1**0.5, draw)
    assert float(found.std()) == pytest.approx(2.0, rel=0.05) and abs(float(found.mean())) < 0.15


def test_it_runs_where_nobody_asked_for_gradients_and_leaves_none() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        found = langevin(lambda y: weight * y.square().sum(1), torch.ones(1, 2), 1, 0.1)
    torch.testing.assert_close(found, torch.full((1, 2), 0.6))
    assert weight.grad is None
