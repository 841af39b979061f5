from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.towers.patches import LinearPatches, Patches, UNetPatches
from sensorium.core import SensoriumError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(name: str) -> Patches:
    torch.manual_seed(0)
    return LinearPatches(4, 16) if name == "linear" else UNetPatches(2, 16, 8)


EACH = pytest.mark.parametrize("name", ["linear", "unet"])


def through(patches: Patches, x: Tensor, time: Tensor) -> Tensor:
    h, skips = patches.enter(x, time)
    return patches.leave(h, time, skips, (x.shape[2], x.shape[3]))


def test_patches_by_hand() -> None:
    """The identity as weights: patch 1 of a picture whose pixels count 0, 1, 2 … holds columns 2 and 3 of rows 0, 1."""
    patches = LinearPatches(2, 12)
    for layer in (patches.into, patches.out):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.arange(16.0).view(1, 1, 4, 4) + torch.tensor([0.0, 100.0, 200.0]).view(1, 3, 1, 1)
    h, skips = patches.enter(x, torch.zeros(1, 12))
    assert h[0, 1].tolist() == [2, 3, 6, 7, 102, 103, 106, 107, 202, 203, 206, 207]
    assert torch.equal(patches.leave(h, torch.zeros(1, 12), skips, (4, 4)), x)
    assert torch.equal(patches.enter(x, torch.ones(1, 12))[0], h + 1)


@EACH
def test_patches_lie_row_by_row(name: str) -> None:
    """A wide picture whose last patch alone is changed changes the last vector most, and nothing far from it."""
    patches, time = made(name), drawn(1, 16)
    x = drawn(1, 3, 8, 24)
    other = x.clone()
    other[:, :, 6:, 22:] += 1
    moved = (patches.enter(x, time)[0] - patches.enter(other, time)[0]).norm(dim=-1)[0]
    assert moved.shape == (12,) and moved.argmax() == 11
    assert name == "unet" or moved[:11].max() == 0


@EACH
def test_shapes_come_back_and_rows_do_not_mix(name: str) -> None:
    patches, time, x = made(name), drawn(3, 16), drawn(3, 3, 8, 12, seed=1)
    order = torch.tensor([2, 0, 1])
    out = through(patches, x, time)
    assert out.shape == x.shape
    torch.testing.assert_close(through(patches, x[order], time[order]), out[order])


@EACH
def test_time_matters(name: str) -> None:
    patches, x = made(name), drawn(1, 3, 8, 8)
    assert (through(patches, x, drawn(1, 16)) - through(patches, x, drawn(1, 16, seed=1))).abs().mean() > 0.01


@EACH
def test_every_parameter_gets_a_gradient(name: str) -> None:
    patches = made(name)
    through(patches, drawn(2, 3, 8, 8), drawn(2, 16)).square().mean().backward()
    assert [n for n, p in patches.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_way_out_is_handed_each_level_of_the_way_in() -> None:
    patches, x, time = made("unet"), drawn(1, 3, 8, 8), drawn(1, 16)
    h, skips = patches.enter(x, time)
    assert [tuple(s.shape[2:]) for s in skips] == [(4, 4), (2, 2)]
    out = patches.leave(h, time, skips, (8, 8))
    for k in range(2):
        without = [s * 0 if i == k else s for i, s in enumerate(skips)]
        assert (patches.leave(h, time, without, (8, 8)) - out).abs().mean() > 0.01


def test_sixteen_patches_of_eight_pixels() -> None:
    patches = UNetPatches(3, 32, 16)
    assert patches.side == 8 and patches.enter(drawn(2, 3, 32, 32), drawn(2, 32))[0].shape == (2, 16, 32)


@EACH
def test_sizes_that_do_not_split_are_refused(name: str) -> None:
    with pytest.raises(SensoriumError, match="10 x 8 does not split into patches of 4"):
        made(name).enter(drawn(1, 3, 10, 8), drawn(1, 16))


def test_a_net_without_levels_is_refused() -> None:
    with pytest.raises(SensoriumError, match="0 levels; expected 1 or more"):
        UNetPatches(0, 16)
