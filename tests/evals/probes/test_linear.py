from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.evals.probes.linear import linear_probe, linear_scores


def test_classes_are_those_of_scikit_learn() -> None:
    ridge_classifier = pytest.importorskip("sklearn.linear_model").RidgeClassifier
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 12)), rng.integers(0, 4, 200)
    x[:, :4] += 1.2 * np.eye(4)[y]
    z = rng.normal(size=(300, 12))
    scaled, tested = (x - x.mean(0)) / x.std(0), (z - x.mean(0)) / x.std(0)
    expected = ridge_classifier(alpha=0.05 * 200).fit(scaled, y).predict(tested)
    assert (linear_probe(x, y, z, ridge=0.05) == expected).all()


def test_what_is_linear_is_found_and_what_is_not_there_is_not() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 600)
    x = rng.normal(size=(600, 8)) + 5 * np.eye(8)[y]
    assert (linear_probe(x[:400], y[:400], x[400:]) == y[400:]).mean() > 0.95
    noise = rng.normal(size=(600, 8))
    assert (linear_probe(noise[:400], y[:400], noise[400:]) == y[400:]).mean() < 0.45


def test_labels_may_be_any_numbers_and_a_feature_constant() -> None:
    x = np.array([[0.0, 5.0], [1.0, 5.0], [0.1, 5.0], [0.9, 5.0]])
    assert linear_probe(x, np.array([7, -2, 7, -2]), np.array([[0.05, 5.0], [0.95, 5.0]])).tolist() == [7, -2]


def test_shapes_that_do_not_fit_are_one_clear_line() -> None:
    with pytest.raises(SensoriumError, match=r"expected \[N D\]"):
        linear_probe(np.zeros((3, 2)), np.zeros(4, np.int64), np.zeros((1, 2)))
    with pytest.raises(SensoriumError, match="without train rows"):
        linear_probe(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros((1, 2)))


def test_scores_are_those_of_scikit_learn() -> None:
    ridge = pytest.importorskip("sklearn.linear_model").Ridge
    rng = np.random.default_rng(3)
    x, y, z = rng.normal(size=(90, 7)), rng.integers(2, 5, 90), rng.normal(size=(40, 7))
    scaled, tested = (x - x.mean(0)) / x.std(0), (z - x.mean(0)) / x.std(0)
    expected = ridge(alpha=0.02 * 90).fit(scaled, np.eye(5)[y][:, 2:]).predict(tested)
    np.testing.assert_allclose(linear_scores(x, y, z, ridge=0.02), expected, atol=1e-8)
