"""The linear probe. Shape legend: N train rows, M test rows, D features, C classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensorium.core.errors import SensoriumError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def linear_values(train: Floats, targets: Floats, test: Floats, ridge: float = 1e-3) -> Floats:
    """[N D], [N C] numbers, [M D] -> [M C] by ridge regression.

    Features are standardised on the train rows and `ridge` is a share of N; scikit-learn's `Ridge` at alpha = ridge * N
    on the same features gives the same numbers.
    """
    checked(train, targets, test)
    mean, spread = train.mean(0), train.std(0) + 1e-9
    x, z = (train - mean) / spread, (test - mean) / spread
    offset = targets.mean(0)
    weight = np.linalg.solve(x.T @ x + ridge * len(x) * np.eye(x.shape[1]), x.T @ (targets - offset))
    return np.asarray(z @ weight + offset, np.float64)


def linear_scores(train: Floats, labels: Ints, test: Floats, ridge: float = 1e-3) -> Floats:
    """[N D], [N] class numbers, [M D] -> [M C] scores of the classes that `labels` hold, in their order.

    `linear_values` of one-hot labels.
    """
    classes, y = np.unique(labels, return_inverse=True)
    return linear_values(train, np.eye(len(classes))[y], test, ridge)


def linear_probe(train: Floats, labels: Ints, test: Floats, ridge: float = 1e-3) -> Ints:
    """[N D], [N], [M D] -> [M] the likeliest class of each test row, as scikit-learn's `RidgeClassifier` has it."""
    scores = linear_scores(train, labels, test, ridge)
    return np.asarray(np.unique(labels)[scores.argmax(1)], np.int64)


def checked(train: Floats, labels: Ints | Floats, test: Floats) -> None:
    """An error unless a probe can be fitted on these and read on those."""
    if len(train) != len(labels) or train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
        raise SensoriumError(
            f"probe of {train.shape} with {len(labels)} labels on {test.shape}; expected [N D], [N], [M D]"
        )
    if not len(train):
        raise SensoriumError("a probe without train rows; expected some")
