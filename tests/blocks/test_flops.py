from __future__ import annotations

import torch
from torch import nn

from sensorium.blocks.flops import step_flops
from sensorium.core import Batch, Field, Method, Rng, Terms


class Linear(Method):
    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5, bias=False), nn.Linear(5, 2, bias=False)
        self.first.weight.requires_grad_(not frozen)
        self.register_buffer("seen", torch.zeros(1))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        x = batch["value"]
        assert isinstance(x, Field)
        self.seen += 1  # type: ignore[operator]
        return {"loss": self.second(self.first(x.data)).square().sum()}


BATCH: Batch = {"value": Field(torch.ones(3, 4)), "row": Field(torch.arange(3))}


def test_two_layers_by_hand() -> None:
    """Forward 2*3*4*5 + 2*3*5*2; backward each once more for its weight, the second once more for its input."""
    assert step_flops(Linear(), BATCH) == 120 + 60 + 120 + 60 + 60


def test_what_is_frozen_costs_its_forward_pass_alone() -> None:
    assert step_flops(Linear(frozen=True), BATCH) == 120 + 60 + 60


def test_nothing_moves() -> None:
    method = Linear()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    step_flops(method, BATCH)
    assert method.seen.item() == 0 and method.first.weight.grad is None  # type: ignore[operator]
    assert torch.equal(torch.random.get_rng_state(), before)
