from __future__ import annotations

import pytest
import torch
from torch import nn

from sensorium.blocks.memory.momentum import Momentum


def test_hand_computed() -> None:
    fast = nn.Linear(1, 1, bias=False)
    nn.init.constant_(fast.weight, 1.0)
    slow = Momentum(fast, 0.75)
    nn.init.constant_(fast.weight, 5.0)
    assert slow(torch.ones(1, 1)).item() == 1.0  # a copy, not a view
    slow.update(fast)
    assert slow(torch.ones(1, 1)).item() == 2.0  # 0.75 * 1 + 0.25 * 5
    slow.update(fast)
    assert slow(torch.ones(1, 1)).item() == 2.75
    assert fast.weight.requires_grad and fast.weight.item() == 5.0


def test_no_gradient_and_buffers_are_copied() -> None:
    fast = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    slow = Momentum(fast, 0.9)
    fast(torch.randn(8, 3))
    slow.update(fast)
    for kept, new in zip(slow.module.buffers(), fast.buffers(), strict=True):
        assert torch.equal(kept, new)
    assert not any(p.requires_grad for p in slow.parameters())
    assert not slow(torch.randn(8, 3, requires_grad=True)).requires_grad


def test_another_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Momentum(nn.Linear(2, 2), 0.9).update(nn.Linear(2, 2, bias=False))
