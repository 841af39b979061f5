from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.blocks.decode import paint
from sensorium.blocks.decode.diffuse import denoise
from sensorium.blocks.generators.once import JUMP, at_once
from sensorium.core import Rng

SHAPE = (2, 3, 4, 4)


@pytest.mark.parametrize("steps", [1, 2, 12])
def test_one_call_makes_the_picture_however_many_steps_are_painted(steps: int) -> None:
    asked: list[Tensor] = []

    def make(noise: Tensor) -> Tensor:
        asked.append(noise)
        return (noise * 0.3).tanh()

    canvas = at_once(make, SHAPE, torch.device("cpu"))
    found = denoise(canvas.field, canvas.shape, canvas.path, steps, Rng(3))
    assert len(asked) == 1
    assert torch.equal(found, (asked[0] * 0.3).tanh())
    assert torch.equal(asked[0], torch.randn(SHAPE, generator=Rng(3)("denoise")))
    made = paint(canvas, steps, Rng(3)).data
    assert torch.equal(made, (found * 128 + 127).round().to(torch.uint8))


def test_the_path_is_noise_at_one_and_picture_before() -> None:
    t = torch.tensor([0.0, 0.5, 0.999, 1.0])
    assert JUMP.alpha(t).tolist() == [1, 1, 1, 0] and JUMP.sigma(t).tolist() == [0, 0, 0, 1]
