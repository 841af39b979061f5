from __future__ import annotations

import pytest
import torch

from sensorium.blocks.codecs.pixels import picture, signal
from sensorium.core import Field, SensoriumError


def test_every_value_comes_back() -> None:
    every = Field(torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16))
    assert torch.equal(picture(signal(every)).data, every.data)
    assert signal(every).min().item() == -127 / 128 and signal(every).max().item() == 1


def test_what_lies_outside_is_cut_off() -> None:
    assert picture(torch.tensor([-3.0, 0.0, 3.0]).view(1, 3, 1, 1)).data.flatten().tolist() == [0, 127, 255]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"\[2, 4, 8, 8\]; expected \[B 3 H W\]"):
        signal(Field(torch.zeros(2, 4, 8, 8, dtype=torch.uint8)))
