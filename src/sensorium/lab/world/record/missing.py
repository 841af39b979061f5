"""What is missing, by a known mechanism, with the probability of each hole: completely at random, at random, or not.

Little and Rubin's terms (Statistical Analysis with Missing Data). Masks: True is real. Shape legend: N rows, C columns
(or modalities).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import uniform

MECHANISMS = ("mcar", "mar", "mnar", "label")
"""mcar: on nothing; mar: on a column that is never missing; mnar: on the missing value itself; label: on the target."""


@dataclass(frozen=True, eq=False)
class Missing:
    """A mask, bool [N C], True is real; and float64 [N C], how likely each hole was."""

    mask: np.ndarray
    probability: np.ndarray
    mechanism: str


def missing(
    high: np.ndarray,
    index: np.ndarray,
    mechanism: str,
    rate: float,
    strength: float = 0.8,
    driver: int = 0,
    label: np.ndarray | None = None,
    seed: int = 0,
) -> Missing:
    """Holes at `rate`: times (1 + strength) where what the mechanism looks at is high, times (1 - strength) elsewhere.

    `high`, bool [N C], is true of half of each column (`Table.high`, bits of modalities); `label`, bool [N], likewise.
    A negative strength turns the dependence round: the shift of a missing-not-at-random test. Row i of `index` [N] and
    the seed name the draws.

    Raises:
        SensoriumError: an unknown mechanism, a rate or strength for which there is no probability, no label.
    """
    if mechanism not in MECHANISMS:
        raise SensoriumError(f"mechanism {mechanism!r}{nearest(mechanism, MECHANISMS)}")
    if not (0 <= rate <= 1 and -1 <= strength <= 1 and rate * (1 + abs(strength)) <= 1):
        raise SensoriumError(f"rate {rate}, strength {strength}; expected rate x (1 + |strength|) from 0 to 1")
    if not 0 <= driver < high.shape[1]:
        raise SensoriumError(f"driver {driver}; expected a column from 0 to {high.shape[1] - 1}")
    if mechanism == "label" and label is None:
        raise SensoriumError("mechanism 'label' without labels; expected one per row")
    chance = rate * (1 + strength * np.where(_looked_at(high, mechanism, driver, label), 1.0, -1.0))
    if mechanism == "mcar":
        chance = np.full(high.shape, rate)
    if mechanism == "mar":
        chance[:, driver] = 0.0
    luck = uniform(index, high.shape[1], seed, "missing", mechanism)
    return Missing(luck >= chance, chance, mechanism)


def _looked_at(high: np.ndarray, mechanism: str, driver: int, label: np.ndarray | None) -> np.ndarray:
    if mechanism == "mar":
        return np.broadcast_to(high[:, driver, None], high.shape)
    if mechanism == "label" and label is not None:
        return np.broadcast_to(np.asarray(label, bool)[:, None], high.shape)
    return high
