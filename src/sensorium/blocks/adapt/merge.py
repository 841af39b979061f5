"""Weights of several models into one: interpolation, averages, task arithmetic. A state is tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from sensorium.core import SensoriumError

State = Mapping[str, Tensor]


def interpolate(a: State, b: State, share: float) -> dict[str, Tensor]:
    """(1 - share) a + share b (WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903, eq. 1)."""
    return _each([a, b], lambda x, y: x + share * (y - x))


def average(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean of one or more (model soups, Wortsman et al. 2022, arXiv 2203.05482)."""
    if not states:
        raise SensoriumError("no states to average; expected one or more")
    return _each(states, lambda *values: sum(values[1:], values[0]) / len(values))


def task_arithmetic(start: State, tuned: Sequence[State], scale: float) -> dict[str, Tensor]:
    """start + scale * the sum of what each tuning changed (Ilharco et al. 2022, arXiv 2212.04089)."""
    return _each([start, *tuned], lambda s, *each: s + scale * sum((t - s for t in each), s - s))


def _each(states: Sequence[State], merged: Callable[..., Tensor]) -> dict[str, Tensor]:
    """Floats are merged; whole numbers, which count something, are the last state's."""
    first = states[0]
    for other in states[1:]:
        if odd := set(first) ^ set(other):
            raise SensoriumError(f"states differ: {min(odd)!r} is not in all of them")
        if odd := {n for n in first if first[n].shape != other[n].shape}:
            raise SensoriumError(
                f"states differ: {min(odd)!r} is {list(first[min(odd)].shape)} and {list(other[min(odd)].shape)}"
            )
    return {
        name: merged(*(s[name] for s in states)) if value.is_floating_point() else states[-1][name].clone()
        for name, value in first.items()
    }
