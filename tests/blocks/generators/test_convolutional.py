from __future__ import annotations

import pytest
import torch

from sensorium.blocks.generators.convolutional import Down, Up, halvings
from sensorium.core import SensoriumError


@pytest.mark.parametrize(("side", "n"), [(8, 1), (16, 2), (64, 4)])
def test_pictures_become_vectors_and_back(side: int, n: int) -> None:
    x = torch.randn(2, 3, side, side)
    assert halvings(side) == n
    z = Down(side, 3, 4, 10)(x)
    assert z.shape == (2, 10) and Up(side, 10, 4, 6)(z).shape == (2, 6, side, side)


@pytest.mark.parametrize("side", [4, 12, 0, 65])
def test_a_side_that_does_not_halve_down_is_named(side: int) -> None:
    with pytest.raises(SensoriumError, match=f"side {side}; expected a power of two"):
        Down(side, 3, 4, 1)


@pytest.mark.parametrize("make", [lambda: Down(8, 3, 4, 5), lambda: Up(8, 5, 4, 3)], ids=["down", "up"])
def test_rows_do_not_touch_and_every_weight_learns(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make()
    x = torch.randn(3, 3, 8, 8) if isinstance(net, Down) else torch.randn(3, 5)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-5, rtol=0)
    net(x).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
