from __future__ import annotations

import math

import pytest

from sensorium.blocks.schedules import continued, falling, infinite, rewarmed

EVERY = pytest.mark.parametrize("meta", [rewarmed, continued, infinite, falling])


@EVERY
def test_a_multiple_stays_between_nothing_and_the_full_rate(meta) -> None:  # type: ignore[no-untyped-def]
    for task in range(4):
        values = [meta(task, 4)(k / 100) for k in range(101)]
        assert all(0 <= v <= 1 for v in values) and max(values) > 0.1


def test_by_hand() -> None:
    assert [rewarmed(3, 4)(d) for d in (0, 0.05, 0.1, 0.55, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert [falling(3, 4)(d) for d in (0.1, 0.55)] == pytest.approx([0.5, 0.25])
    assert [infinite(0, 4)(d) for d in (0.05, 0.5, 0.9, 1)] == pytest.approx([0.5, 1, 0.5, 0])
    assert [infinite(1, 4)(d) for d in (0, 0.5, 0.9)] == pytest.approx([1, 1, 0.5])
    assert continued(1, 4)(0.5) == pytest.approx(0.5 * (1 + math.cos(math.pi * (0.375 - 0.1) / 0.9)))


def test_one_cosine_goes_on_over_the_tasks() -> None:
    whole = [continued(task, 3)(k / 10) for task in range(3) for k in range(10)]
    assert whole == pytest.approx([rewarmed(0, 1)(k / 30) for k in range(30)])
    assert continued(0, 3)(1.0) == pytest.approx(continued(1, 3)(0.0))
