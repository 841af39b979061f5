from __future__ import annotations

import math

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.evals.probes.nearest import knn_probe, knn_scores


def test_votes_hand_computed() -> None:
    """Cosines 1, 0 and -1 at temperature 1: votes e, 1 and 1/e; the nearest two count."""
    train, labels = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]), np.array([7, -2, 7])
    test = np.array([[3.0, 0.0]])
    both = knn_scores(train, labels, test, k=2, temperature=1.0)
    np.testing.assert_allclose(both, [[1 / (math.e + 1), math.e / (math.e + 1)]])
    every = knn_scores(train, labels, test, k=50, temperature=1.0)
    np.testing.assert_allclose(every[0, 0], 1 / (math.e + 1 + 1 / math.e))
    assert knn_probe(train, labels, test).tolist() == [7]


@pytest.mark.parametrize("k", [1, 5])
def test_classes_are_those_of_scikit_learn(k: int) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors").KNeighborsClassifier
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(120, 6)), rng.integers(0, 4, 120), rng.normal(size=(80, 6))

    def votes(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / 0.07)

    theirs = neighbours(k, metric="cosine", weights=votes, algorithm="brute").fit(x, y)
    np.testing.assert_allclose(knn_scores(x, y, z, k), theirs.predict_proba(z), atol=1e-6)


def test_a_row_of_nothing_is_no_error() -> None:
    scores = knn_scores(np.eye(2), np.array([0, 1]), np.zeros((1, 2)))
    np.testing.assert_allclose(scores, [[0.5, 0.5]])


def test_settings_that_mean_nothing_are_one_clear_line() -> None:
    for k, temperature in ((0, 0.07), (3, 0.0), (3, math.nan)):
        with pytest.raises(SensoriumError, match="expected 1 or more and above 0"):
            knn_scores(np.eye(2), np.array([0, 1]), np.eye(2), k, temperature)
    with pytest.raises(SensoriumError, match=r"expected \[N D\]"):
        knn_scores(np.eye(2), np.array([0, 1, 2]), np.eye(2))
