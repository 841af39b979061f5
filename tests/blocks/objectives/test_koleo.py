from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial import cKDTree

from sensorium.blocks.objectives.koleo import koleo


def test_hand_computed() -> None:
    """Unit vectors at 0, 60 and 180 degrees: the nearest lie 1, 1 and √3 away, whatever the lengths were."""
    x = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(3) / 2], [-1.0, 0.0]]) * torch.tensor([[1.0], [7.0], [0.1]])
    assert koleo(x).item() == pytest.approx(-(0 + 0 + math.log(math.sqrt(3))) / 3, abs=1e-5)


def test_nearest_distances_are_those_of_a_tree() -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.nn.functional.normalize(x, dim=1).numpy()
    distance = cKDTree(y).query(y, k=2)[0][:, 1]
    assert koleo(x).item() == pytest.approx(-sum(math.log(d) for d in distance) / 40, rel=1e-6)


def test_a_step_down_spreads_the_batch() -> None:
    x = (torch.ones(6, 4) + 0.1 * torch.randn(6, 4, generator=torch.Generator().manual_seed(1))).requires_grad_()
    before = koleo(x)
    before.backward()
    assert x.grad is not None
    assert koleo(x.detach() - 0.01 * x.grad) < before.detach() - 0.01


def test_equal_rows_cost_much_and_break_nothing() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    loss = koleo(x)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-8)) and x.grad is not None and not x.grad.any()


def test_a_single_row_has_no_neighbour() -> None:
    x = torch.ones(1, 4, requires_grad=True)
    koleo(x).backward()
    assert koleo(x).item() == 0 and x.grad is not None
