from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.adapt.budget import memory_adjusted, step_bytes
from sensorium.blocks.flops import step_flops
from sensorium.core import Batch, Field, Method, Rng, Terms


class Square(Method):
    """One product without bias and its square: [B 3] -> scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        value = batch["x"]
        assert isinstance(value, Field)
        y: Tensor = self.layer(value.data)
        return {"square": (y * y).sum()}


def rows(n: int) -> Batch:
    return {"x": Field(torch.ones(n, 3))}


def test_by_hand() -> None:
    method = Square()
    # Six weights, their gradients and two moments; the input [5 3] for the weight's gradient, y [5 2] for the square's.
    assert step_bytes(method, rows(5)) == 4 * (6 * 4 + 15 + 10)
    frozen = Square().requires_grad_(False)
    assert step_bytes(frozen, rows(5)) == 4 * 6
    assert method.layer.weight.grad is None


def test_the_reference_costs_its_flops() -> None:
    method = Square()
    assert memory_adjusted(method, rows(5), method) == step_flops(method, rows(5))
    less = memory_adjusted(method, rows(5), Wide())
    assert less == pytest.approx(step_flops(method, rows(5)) * 196 / (196 + 4 * 4 * 10))


class Wide(Method):
    """The same beside ten weights that are trained and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.square, self.more = Square(), nn.Parameter(torch.zeros(10))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return self.square.losses(batch, rng)
