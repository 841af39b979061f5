from __future__ import annotations

import torch
from torch import Tensor

from sensorium.blocks.towers.audio import AudioTower
from sensorium.core import Field

RATE = 8000


def sound(counts: list[int], samples: int, fill: float = 0.0) -> Field:
    wave = torch.randn(len(counts), samples, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(samples) < torch.tensor(counts)[:, None]
    return Field(wave.masked_fill(~mask, fill), mask)


def tower() -> AudioTower:
    torch.manual_seed(0)
    return AudioTower(RATE, dim=16, heads=2)


@torch.no_grad()
def test_one_token_for_every_forty_milliseconds() -> None:
    """A second has 98 frames of 25 ms, of which every fourth makes a token."""
    out = tower()(sound([8000, 2000, 0], 8000))
    assert out.x.shape == (3, 25, 16) and out.mask.sum(1).tolist() == [25, 6, 0]
    assert out.pos is not None
    torch.testing.assert_close(out.pos[0, :3, 0], torch.tensor([0.0125, 0.0525, 0.0925]))


@torch.no_grad()
def test_padding_and_loudness_change_nothing() -> None:
    model, short = tower(), sound([4000, 3000], 4000)
    wide = sound([4000, 3000], 4000, float("nan")).data
    wide = torch.nn.functional.pad(wide, (0, 900), value=float("nan"))
    assert short.mask is not None
    mask = torch.nn.functional.pad(short.mask, (0, 900))
    a, b = model(short), model(Field(wide, mask))
    torch.testing.assert_close(a.x, b.x[:, : a.x.shape[1]], atol=1e-5, rtol=0)
    quiet = model(Field(short.data / 50, short.mask))
    torch.testing.assert_close(quiet.x, a.x, atol=1e-2, rtol=0)


def test_every_weight_gets_a_gradient_and_no_row_is_fine() -> None:
    model = tower()
    model(sound([4000], 4000)).x.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert model(Field(*(v[:0] for v in _tensors(sound([4000], 4000))))).x.shape[0] == 0


def _tensors(field: Field) -> tuple[Tensor, Tensor]:
    assert field.mask is not None
    return field.data, field.mask
