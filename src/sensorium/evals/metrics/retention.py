"""What is left of earlier tasks. Scores [S T]: after each stage of training, on each task; higher is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sensorium.core.errors import SensoriumError

from .inputs import Floats, floats, mean, same_length


def change(before: ArrayLike, after: ArrayLike) -> Floats:
    """[T] scores before, [T] after -> [T] share kept less 1: -0.1 is a tenth lost; NaN where nothing was there."""
    a, b = floats("before", before), floats("after", after)
    same_length(scores_before=a, scores_after=b)
    return np.where(a != 0, (b - a) / np.where(a != 0, np.abs(a), 1), np.nan)


def forgetting(scores: ArrayLike) -> float:
    """[T T] after learning task s, on task t -> mean loss of the earlier tasks from their best to the end.

    Chaudhry et al. 2018, eq. 3; NaN for a single task.
    """
    table = _square(scores)
    return mean([table[:-1, t].max() - table[-1, t] for t in range(len(table) - 1)])


def backward_transfer(scores: ArrayLike) -> float:
    """[T T] -> mean change of the earlier tasks from when they were learnt to the end; below 0 is forgetting.

    Lopez-Paz and Ranzato 2017, eq. 3; NaN for a single task.
    """
    table = _square(scores)
    return mean((table[-1] - table.diagonal())[:-1])


def forward_transfer(scores: ArrayLike, untrained: ArrayLike) -> float:
    """[T T], [T] scores of the untrained model -> mean lead of the later tasks just before they are learnt.

    Lopez-Paz and Ranzato 2017, eq. 4; NaN for a single task.
    """
    table, start = _square(scores), floats("untrained", untrained)
    same_length(tasks=table, untrained_scores=start)
    return mean(table.diagonal(1) - start[1:])


def _square(scores: ArrayLike) -> Floats:
    table = floats("scores", scores, 2)
    if table.shape[0] != table.shape[1] or not len(table):
        raise SensoriumError(f"scores have shape {list(table.shape)}; expected a row per stage and a column per task")
    return table


def balance(accumulation: ArrayLike, retention: ArrayLike) -> float:
    """[A] scores on what was learnt, [R] on what was never trained on -> the geometric mean of their two means.

    Roth et al. 2024, arXiv 2408.14471: knowledge accumulation against zero-shot retention.
    """
    learnt, kept = mean(floats("accumulation", accumulation)), mean(floats("retention", retention))
    if learnt < 0 or kept < 0:
        raise SensoriumError(f"accumulation {learnt:g} and retention {kept:g}; expected 0 or more for a geometric mean")
    return float(np.sqrt(learnt * kept))


def front(points: ArrayLike) -> np.ndarray:
    """[N K] scores, higher is better -> bool [N]: on the Pareto front, where no other is as good in all and better in
    one."""
    table = floats("points", points, 2)
    as_good = (table[:, None] >= table[None]).all(-1)  # [N N]: the row against the column
    better = (table[:, None] > table[None]).any(-1)
    return np.asarray(~(as_good & better).any(0))
