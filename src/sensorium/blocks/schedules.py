"""Learning rates over a stream of tasks: task, tasks -> a schedule, share of the task done -> multiple of the rate.

Roth et al. 2024, arXiv 2408.14471: whether each update warms up and cools down by itself, or as a part of a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
Meta = Callable[[int, int], Schedule]
WARMUP = 0.1
COOLDOWN = 0.2


def _cosine(done: float) -> float:
    """Linear rise over `WARMUP`, then half a cosine to zero."""
    if done < WARMUP:
        return done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def rewarmed(task: int, tasks: int) -> Schedule:
    """Each task warms up to the full rate and cools down to nothing."""
    return _cosine


def continued(task: int, tasks: int) -> Schedule:
    """One warm-up and one cosine over the whole stream, whose length must be known."""
    return lambda done: _cosine((task + done) / tasks)


def infinite(task: int, tasks: int) -> Schedule:
    """One warm-up, then the full rate; each task ends on a linear cool-down, from which the next one jumps back."""

    def at(done: float) -> float:
        risen = min(1.0, done / WARMUP) if task == 0 else 1.0
        return risen * min(1.0, (1 - done) / COOLDOWN)

    return at


def falling(task: int, tasks: int) -> Schedule:
    """Each task warms up and cools down below a peak that falls from task to task, as 1 / sqrt(task)."""
    return lambda done: _cosine(done) / math.sqrt(task + 1)
