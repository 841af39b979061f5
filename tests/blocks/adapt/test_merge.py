from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.blocks.adapt.merge import average, interpolate, task_arithmetic
from sensorium.core import SensoriumError


def state(*values: float, count: int = 0) -> dict[str, Tensor]:
    return {"w": torch.tensor(values), "n": torch.tensor(count)}


def test_by_hand() -> None:
    a, b, c = state(0.0, 2.0, count=1), state(4.0, 2.0, count=2), state(2.0, -1.0, count=3)
    assert interpolate(a, b, 0.25)["w"].tolist() == [1.0, 2.0]
    assert average([a, b, c])["w"].tolist() == [2.0, 1.0]
    assert task_arithmetic(a, [b, c], 0.5)["w"].tolist() == [3.0, 0.5]  # 0 + (4 + 2) / 2, 2 + (0 - 3) / 2


def test_the_ends_are_the_states() -> None:
    a, b = state(0.5, 2.0), state(-1.0, 3.0)
    assert torch.equal(interpolate(a, b, 0.0)["w"], a["w"]) and torch.equal(interpolate(a, b, 1.0)["w"], b["w"])
    assert torch.equal(average([a])["w"], a["w"])
    assert torch.equal(task_arithmetic(a, [b], 1.0)["w"], b["w"])
    assert torch.equal(task_arithmetic(a, [], 1.0)["w"], a["w"])


def test_counts_are_the_last_ones_and_nothing_is_shared() -> None:
    a, b = state(1.0, count=1), state(3.0, count=7)
    merged = interpolate(a, b, 0.5)
    assert int(merged["n"]) == 7
    merged["w"].zero_(), merged["n"].zero_()
    assert a["w"].item() == 1.0 and b["w"].item() == 3.0 and int(b["n"]) == 7


def test_states_that_differ_are_named() -> None:
    with pytest.raises(SensoriumError, match="'v' is not in all"):
        interpolate({"w": torch.ones(1)}, {"w": torch.ones(1), "v": torch.ones(1)}, 0.5)
    with pytest.raises(SensoriumError, match=r"'w' is \[1\] and \[2\]"):
        average([state(1.0), state(1.0, 2.0)])
    with pytest.raises(SensoriumError, match="no states"):
        average([])
