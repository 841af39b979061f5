from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from sensorium.core import SensoriumError
from sensorium.evals.metrics.calibration import (
    brier,
    ece,
    equal_mass_ece,
    equal_mass_reliability,
    nll,
    reliability,
    top_confidence,
)


def test_by_hand() -> None:
    """Two bins: 0.2 and 0.4 hold one right of two, 0.9 alone is wrong."""
    table = reliability([0.2, 0.4, 0.9], [1, 0, 0], bins=2)
    assert table.items.tolist() == [2, 1]
    assert table.confidence == pytest.approx([0.3, 0.9]) and table.accuracy.tolist() == [0.5, 0]
    assert ece([0.2, 0.4, 0.9], [1, 0, 0], bins=2) == pytest.approx((2 * 0.2 + 0.9) / 3)
    assert brier([[0.7, 0.2, 0.1]], [1]) == pytest.approx(0.49 + 0.64 + 0.01)
    assert nll([[0.25, 0.75], [1, 0]], [0, 1]).tolist() == [pytest.approx(np.log(4)), np.inf]
    confidence, correct = top_confidence([[0.7, 0.3], [0.4, 0.6]], [1, 1])
    assert confidence.tolist() == [0.7, 0.6] and correct.tolist() == [False, True]


def test_upper_edges_belong_to_a_bin() -> None:
    assert reliability([0, 0.5, 1], [1, 1, 1], bins=2).items.tolist() == [2, 1]
    assert ece([0, 1, 1], [0, 1, 1]) == 0 and ece([1.0], [0]) == 1


@given(st.integers(0, 500), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_ece_is_torchmetrics(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.random(30), rng.random(30) < 0.5
    want = binary_calibration_error(torch.tensor(confidence), torch.tensor(correct).long(), n_bins=bins)
    assert ece(confidence, correct, bins) == pytest.approx(float(want), abs=1e-6)


def test_ece_of_classes_is_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(5), 200), rng.integers(0, 5, 200)
    want = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 5, n_bins=15)
    assert ece(*top_confidence(probabilities, labels)) == pytest.approx(float(want), abs=1e-6)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(("strategy", "metric"), [("uniform", reliability), ("quantile", equal_mass_reliability)])
def test_tables_are_sklearns(strategy: str, metric: type, coarse: bool) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, 7, 90) / 6 if coarse else rng.beta(5, 1, 90)
    correct = rng.random(90) < confidence
    accuracy, mean = calibration_curve(correct, confidence, n_bins=9, strategy=strategy)
    table = metric(confidence, correct, 9)
    full = table.items > 0
    assert table.accuracy[full] == pytest.approx(accuracy) and table.confidence[full] == pytest.approx(mean)
    assert table.items.sum() == 90 and np.isnan(table.accuracy[~full]).all()


def test_equal_mass_shares_the_items_out() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.beta(9, 1, 1000)
    assert equal_mass_reliability(confidence, confidence > 0.5, 10).items.tolist() == [100] * 10
    same = equal_mass_reliability([0.8] * 10, [1] * 8 + [0] * 2, 5)
    assert same.items.tolist() == [10, 0, 0, 0, 0] and equal_mass_ece([0.8] * 10, [1] * 8 + [0] * 2, 5) < 1e-12


def test_a_calibrated_forecaster_has_a_small_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    correct = rng.random(20_000) < confidence
    assert ece(confidence, correct) < 0.02 and equal_mass_ece(confidence, correct) < 0.02
    assert ece(np.sqrt(confidence), correct) > 0.1


def test_brier_and_nll_are_sklearns() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60)
    want = brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False)
    assert brier(probabilities, labels).mean() == pytest.approx(want)
    assert nll(probabilities, labels).mean() == pytest.approx(log_loss(labels, probabilities, labels=range(4)))
    two = brier(probabilities[:, :2] / probabilities[:, :2].sum(1, keepdims=True), labels % 2).mean()
    half = probabilities[:, 1] / probabilities[:, :2].sum(1)
    assert two == pytest.approx(2 * brier_score_loss(labels % 2, half))


def test_nothing_is_nan() -> None:
    assert np.isnan(ece([], [])) and np.isnan(equal_mass_ece([], []))
    assert reliability([], [], 3).items.tolist() == equal_mass_reliability([], [], 3).items.tolist() == [0, 0, 0]
    assert len(brier([], [])) == len(nll([], [])) == 0
    assert np.isnan(ece(*top_confidence([], [])))


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"confidence holds 1.5; expected 0 to 1"):
        ece([1.5], [1])
    with pytest.raises(SensoriumError, match="1 confidences and 2 outcomes"):
        ece([0.5], [1, 0])
    with pytest.raises(SensoriumError, match=r"row 1 of probabilities sums to 1.2; expected 1"):
        brier([[0.5, 0.5], [0.6, 0.6]], [0, 0])
    with pytest.raises(SensoriumError, match="bins is 0"):
        reliability([0.5], [1], 0)
    with pytest.raises(SensoriumError, match=r"probabilities hold 1\.5"):
        nll([[1.5, -0.5]], [0])
