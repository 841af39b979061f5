"""Does a confidence of 0.8 mean right 8 times in 10? Shape legend: N items, C classes, B bins.

A bin holds its upper edge and not its lower one (Guo et al. 2017; the first holds 0).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sensorium.core.errors import SensoriumError

from .inputs import Bools, Floats, Ints, classes, flags, floats, same_length


class Reliability(NamedTuple):
    """[B] each: how many items, mean confidence and share right; NaN in an empty bin."""

    items: Ints
    confidence: Floats
    accuracy: Floats


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Reliability:
    """[N] in 0…1, [N] bool -> table of bins of equal width. scikit-learn's `calibration_curve`, empty bins kept."""
    sure, right = _pair(confidence, correct, bins)
    return _table(sure, right, np.linspace(0, 1, bins + 1))


def equal_mass_reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Reliability:
    """[N] in 0…1, [N] bool -> table of bins between quantiles, equal confidences in one bin.

    scikit-learn's `calibration_curve(strategy="quantile")`, empty bins kept.
    """
    sure, right = _pair(confidence, correct, bins)
    return _table(sure, right, np.quantile(sure, np.linspace(0, 1, bins + 1)) if len(sure) else np.zeros(bins + 1))


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """[N] in 0…1, [N] bool -> expected calibration error over bins of equal width; NaN for none.

    Guo et al. 2017, eq. 3. torchmetrics' `calibration_error`, but for an edge, which it puts into the bin above.
    """
    return _error(reliability(confidence, correct, bins))


def equal_mass_ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """[N] in 0…1, [N] bool -> expected calibration error over bins of equal mass (Nguyen and O'Connor 2015)."""
    return _error(equal_mass_reliability(confidence, correct, bins))


def top_confidence(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, Bools]:
    """[N C], [N] -> [N] highest probability, [N] bool is its class the label: what the functions above take."""
    table, truth = _distributions(probabilities, labels)
    if not len(table):
        return np.zeros(0), np.zeros(0, dtype=bool)
    return table.max(1), table.argmax(1) == truth


def brier(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """[N C], [N] -> [N] squared error summed over the classes, 0 to 2 (Brier 1950).

    Its mean is scikit-learn's `brier_score_loss(scale_by_half=False)`; for two classes that is twice the binary score.
    """
    table, truth = _distributions(probabilities, labels)
    return np.asarray((table**2).sum(1) - 2 * table[np.arange(len(truth)), truth] + 1, dtype=np.float64)


def nll(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """[N C], [N] -> [N] -log of the label's probability, in nats; infinite at probability 0.

    Its mean is scikit-learn's `log_loss`, which cuts probabilities off at the smallest number instead.
    """
    table, truth = _distributions(probabilities, labels)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(table[np.arange(len(truth)), truth]), dtype=np.float64)


def _pair(confidence: ArrayLike, correct: ArrayLike, bins: int) -> tuple[Floats, Bools]:
    sure, right = floats("confidence", confidence), flags("correct", correct)
    same_length(confidences=sure, outcomes=right)
    if len(wrong := sure[(sure < 0) | (sure > 1)]):
        raise SensoriumError(f"confidence holds {wrong[0]:g}; expected 0 to 1")
    if bins < 1:
        raise SensoriumError(f"bins is {bins}; expected 1 or more")
    return sure, right


def _table(sure: Floats, right: Bools, edges: Floats) -> Reliability:
    bins = len(edges) - 1
    at = np.searchsorted(edges[1:-1], sure)
    count = np.bincount(at, minlength=bins)
    sums = (np.bincount(at, weights, minlength=bins) for weights in (sure, right))
    means = (np.where(count > 0, total / np.maximum(count, 1), np.nan) for total in sums)
    return Reliability(count, *means)


def _error(table: Reliability) -> float:
    if not table.items.sum():
        return float("nan")
    gaps = np.abs(np.nan_to_num(table.accuracy - table.confidence))
    return float((table.items * gaps).sum() / table.items.sum())


def _distributions(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, Ints]:
    table = floats("probabilities", probabilities, 2)
    truth = classes("labels", labels, table.shape[1] if table.size else None)
    same_length(rows_of_probabilities=table, labels=truth)
    if len(wrong := table[(table < 0) | (table > 1)]):
        raise SensoriumError(f"probabilities hold {wrong[0]:g}; expected 0 to 1")
    if len(table) and (off := np.abs(table.sum(1) - 1)).max() > 1e-2:  # float16 sums are off by some 1e-3
        raise SensoriumError(f"row {off.argmax()} of probabilities sums to {table[off.argmax()].sum():g}; expected 1")
    return table, truth
