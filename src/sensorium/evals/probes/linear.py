"""The linear probe. Shape legend: N rows, D features, C classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensorium.core.errors import SensoriumError

Floats = NDArray[np.float64]


def linear_probe(train: Floats, labels: NDArray[np.int64], test: Floats, ridge: float = 1e-3) -> NDArray[np.int64]:
    """[N D], [N], [M D] -> [M] the likeliest class of each test row, by ridge regression on one-hot labels.

    Features are standardised on the train rows and `ridge` is a share of N; scikit-learn's `RidgeClassifier` at
    alpha = ridge * N gives the same classes.
    """
    if len(train) != len(labels) or train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
        raise SensoriumError(
            f"probe of {train.shape} with {len(labels)} labels on {test.shape}; expected [N D], [N], [M D]"
        )
    if not len(train):
        raise SensoriumError("a probe without train rows; expected some")
    classes, y = np.unique(labels, return_inverse=True)
    mean, spread = train.mean(0), train.std(0) + 1e-9
    x, z = (train - mean) / spread, (test - mean) / spread
    target = np.eye(len(classes))[y]
    offset = target.mean(0)
    weight = np.linalg.solve(x.T @ x + ridge * len(x) * np.eye(x.shape[1]), x.T @ (target - offset))
    return np.asarray(classes[(z @ weight + offset).argmax(1)], np.int64)
