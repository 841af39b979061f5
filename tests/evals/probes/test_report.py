from __future__ import annotations

import math

import numpy as np
import pytest

from sensorium.evals.probes.linear import linear_scores
from sensorium.evals.probes.nearest import knn_scores
from sensorium.evals.probes.report import Probe, probed


def blobs(n: int, seed: int, apart: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 5)) + apart * np.eye(5)[y], 10 * y - 4


@pytest.mark.parametrize("probe", [linear_scores, knn_scores])
def test_scores_are_those_of_scikit_learn(probe: Probe) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    (x, y), (z, truth) = blobs(150, 0), blobs(90, 1)
    found, scores = probed(x, y, z, truth, probe), probe(x, y, z)
    of = [metrics.roc_auc_score(truth == c, scores[:, k]) for k, c in enumerate(np.unique(y))]
    assert found["auroc"] == pytest.approx(np.mean(of))
    assert found["accuracy"] == metrics.accuracy_score(truth, np.unique(y)[scores.argmax(1)])
    assert 0.7 < found["accuracy"] < 1


def test_features_of_nothing_score_as_a_guess() -> None:
    (x, y), (z, truth) = blobs(400, 2, apart=0.0), blobs(400, 3, apart=0.0)
    assert probed(x, y, z, truth)["auroc"] == pytest.approx(0.5, abs=0.06)


def test_a_class_that_train_never_had_is_wrong_and_has_no_auroc() -> None:
    x, y = np.array([[0.0], [0.1], [1.0], [0.9]]), np.array([0, 0, 1, 1])
    found = probed(x, y, np.array([[0.0], [1.0], [1.0]]), np.array([0, 1, 2]))
    assert found == {"auroc": 1.0, "accuracy": pytest.approx(2 / 3)}


def test_one_class_alone_has_no_auroc() -> None:
    found = probed(np.eye(3), np.array([1, 1, 1]), np.eye(3), np.array([1, 1, 1]))
    assert math.isnan(found["auroc"]) and found["accuracy"] == 1
