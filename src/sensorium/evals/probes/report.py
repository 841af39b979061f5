"""What a probe says of frozen features, as scores. Shape legend: N rows, D features, C classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..metrics.classification import accuracy, class_auroc
from .linear import Floats, Ints, linear_scores

Probe = Callable[[Floats, Ints, Floats], Floats]
"""Train features [N D], class numbers [N], test features [M D] -> [M C] scores of the classes, in their order."""


def probed(train: Floats, labels: Ints, test: Floats, truth: Ints, probe: Probe = linear_scores) -> dict[str, float]:
    """[N D], [N], [M D], [M] -> "auroc", mean over classes against the rest, and "accuracy" of a probe.

    Test rows of a class that no train row has count as wrong and take no part in the AUROC. NaN for no test row.
    """
    scores, classes = probe(train, labels, test), np.unique(labels)
    said = classes[scores.argmax(1)]
    known = np.isin(truth, classes)
    of = class_auroc(scores[known], np.searchsorted(classes, truth[known]))
    return {
        "auroc": float(np.nanmean(of)) if np.isfinite(of).any() else float("nan"),
        "accuracy": accuracy(_numbers(said, classes, truth), _numbers(truth, classes, truth)),
    }


def _numbers(values: Ints, *holders: Ints) -> Ints:
    """Classes of any numbers -> numbers from 0, equal where they are equal."""
    return np.asarray(np.searchsorted(np.unique(np.concatenate(holders)), values), np.int64)
