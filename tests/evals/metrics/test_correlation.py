from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from sensorium.core import SensoriumError
from sensorium.evals.metrics.correlation import (
    exponent_interval,
    kendall,
    pearson,
    power_law,
    power_law_with_floor,
    predict,
    spearman,
)

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=12)
COMPUTE = np.geomspace(1e3, 1e6, 8)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_values_are_scipys_with_ties(items: list[tuple[int, int]]) -> None:
    x, y = np.array(items).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(pearson(x, y).mean)
        return
    for metric, reference in ((pearson, stats.pearsonr), (spearman, stats.spearmanr), (kendall, stats.kendalltau)):
        got, want = metric(x, y), reference(x, y)
        assert (got.mean, got.p) == pytest.approx((want.statistic, want.pvalue), abs=1e-12)
        assert -1 <= got.low <= got.high <= 1 and got.n == len(x)
    ends = stats.pearsonr(x, y).confidence_interval(0.9)
    got = pearson(x, y, 0.9)
    assert (got.low, got.high) == pytest.approx((ends.low, ends.high), abs=1e-9)


def test_fisher_by_hand() -> None:
    """r = 0.8 of 5 pairs: artanh r ± 1.96 / √2; ranks have √(1 + r²/2) of it."""
    x, y = [1, 2, 3, 4, 5], [1, 3, 2, 5, 4]
    for metric, factor in ((pearson, 1.0), (spearman, np.sqrt(1 + 0.32))):
        got = metric(x, y)
        assert got.mean == pytest.approx(0.8)
        half = 1.959964 * factor / np.sqrt(2)
        assert (got.low, got.high) == pytest.approx((np.tanh(np.arctanh(0.8) - half), np.tanh(np.arctanh(0.8) + half)))


@pytest.mark.parametrize("metric", [pearson, spearman, kendall])
def test_intervals_cover(metric: Callable[..., object]) -> None:
    """Normal pairs with correlation 0.6: Spearman's (6/π) asin 0.3, Kendall's (2/π) asin 0.6."""
    truth = {pearson: 0.6, spearman: 6 / np.pi * np.arcsin(0.3), kendall: 2 / np.pi * np.arcsin(0.6)}[metric]
    rng, hits = np.random.default_rng(0), 0
    for n in range(400):
        x = rng.normal(size=40)
        got = metric(x, 0.6 * x + 0.8 * rng.normal(size=40), **({"draws": 500, "seed": n} if metric is kendall else {}))
        hits += got.low <= truth <= got.high
    assert 0.91 <= hits / 400 <= 0.98


def test_kendalls_bootstrap_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 20)
    y = x + rng.integers(0, 6, 20)
    chosen = rng.integers(0, 20, (3000, 20))
    taus = [stats.kendalltau(x[c], y[c]).statistic for c in chosen]
    got = kendall(x, y, draws=3000)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(taus, [0.025, 0.975])), abs=0.03)
    assert kendall(x, y, seed=1) == kendall(x, y, seed=1) != kendall(x, y, seed=2)


@pytest.mark.parametrize("metric", [pearson, spearman, kendall])
def test_where_nothing_can_be_said(metric: Callable[..., object]) -> None:
    constant = metric([1, 1, 1, 1], [1, 2, 3, 4])
    assert np.isnan(constant.mean) and (constant.low, constant.high, constant.p) == (-1, 1, 1)
    assert np.isnan(metric([], []).mean) and np.isnan(metric([1], [2]).mean)
    for n in (2, 3):
        few = metric(range(n), range(n))
        assert few.mean == pytest.approx(1) and (few.low, few.high, few.p) == (-1, 1, 1)
    line = metric(range(9), range(9))
    assert (line.mean, line.low, line.high) == pytest.approx((1, 1, 1))


def noisy(seed: int, floor: float = 0.0, noise: float = 0.01) -> np.ndarray:
    loss = floor + 20 * COMPUTE**-0.3
    return loss * np.exp(noise * np.random.default_rng(seed).normal(size=len(COMPUTE)))


def test_power_law_is_a_line_in_logarithms() -> None:
    loss = noisy(0)
    law, want = power_law(COMPUTE, loss), stats.linregress(np.log(COMPUTE), np.log(loss))
    assert (law.exponent, np.log(law.scale)) == pytest.approx((-want.slope, want.intercept)) and law.floor == 0
    half = stats.t.ppf(0.975, 6) * want.stderr
    got = exponent_interval(law)
    assert (got.low, got.high, got.p) == pytest.approx((-want.slope - half, -want.slope + half, want.pvalue))


def test_prediction_interval_is_the_textbooks() -> None:
    loss, x = noisy(0), np.log(COMPUTE)
    want = stats.linregress(x, np.log(loss))
    at = np.log(1e8)
    residuals = np.log(loss) - want.intercept - want.slope * x
    spread = np.sqrt((residuals**2).sum() / 6 * (1 + 1 / 8 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
    centre, half = want.intercept + want.slope * at, stats.t.ppf(0.975, 6) * spread
    got = predict(power_law(COMPUTE, loss), 1e8)
    assert (got.mean, got.low, got.high) == pytest.approx(tuple(np.exp([centre, centre - half, centre + half])))


def test_exact_laws_are_found() -> None:
    law = power_law(COMPUTE, 20 * COMPUTE**-0.3)
    assert (law.scale, law.exponent) == pytest.approx((20, 0.3))
    for floor in (1.7, 0.01, 3e-5):
        law = power_law_with_floor(COMPUTE, floor + 20 * COMPUTE**-0.3)
        assert (law.scale, law.exponent, law.floor) == pytest.approx((20, 0.3, floor), rel=1e-3)
        assert predict(law, 1e9).mean == pytest.approx(floor + 20 * 1e9**-0.3, rel=1e-3)
    small = power_law_with_floor(COMPUTE, 1e-6 * (1.7 + 20 * COMPUTE**-0.3))
    assert (small.exponent, small.floor) == pytest.approx((0.3, 1.7e-6), rel=1e-3)


def test_a_floor_is_fitted_as_curve_fit_does() -> None:
    loss = noisy(3, floor=1.5)
    law = power_law_with_floor(COMPUTE, loss)

    def log_loss(c: np.ndarray | float, a: float, b: float, e: float) -> np.ndarray:
        return np.log(e + np.exp(a) * c**-b)

    theta, covariance = optimize.curve_fit(log_loss, COMPUTE, np.log(loss), p0=[3, 0.3, 1.0], xtol=1e-12, ftol=1e-12)
    assert (np.log(law.scale), law.exponent, law.floor) == pytest.approx(tuple(theta), rel=1e-4)
    np.testing.assert_allclose(law.covariance, covariance, rtol=1e-2)
    steps = 1e-6 * np.diag(theta)
    slope = [(log_loss(1e7, *(theta + d)) - log_loss(1e7, *(theta - d))) / (2 * d.sum()) for d in steps]
    residuals = np.log(loss) - log_loss(COMPUTE, *theta)
    half = stats.t.ppf(0.975, 5) * np.sqrt(residuals @ residuals / 5 + np.array(slope) @ covariance @ slope)
    got, centre = predict(law, 1e7), log_loss(1e7, *theta)
    assert (got.low, got.high) == pytest.approx((np.exp(centre - half), np.exp(centre + half)), rel=1e-4)


def test_no_floor_in_the_data_leaves_none_below_zero() -> None:
    for seed in range(10):
        law = power_law_with_floor(COMPUTE, noisy(seed))
        assert 0 <= law.floor < noisy(seed).min()
        assert np.isfinite(law.covariance).all()


@pytest.mark.parametrize(("fit", "floor", "bound"), [(power_law, 0.0, 0.90), (power_law_with_floor, 1.5, 0.88)])
def test_predictions_cover(fit: Callable[..., object], floor: float, bound: float) -> None:
    """A run ten times as large as the largest falls in the 95% interval."""
    rng, hits = np.random.default_rng(0), 0
    for seed in range(100):
        new = (floor + 20 * 1e7**-0.3) * np.exp(0.01 * rng.normal())
        got = predict(fit(COMPUTE, noisy(seed, floor)), 1e7)
        hits += got.low <= new <= got.high
    assert bound <= hits / 100


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match="2 x and 3 y"):
        pearson([1, 2], [1, 2, 3])
    with pytest.raises(SensoriumError, match="loss holds a number that is not positive"):
        power_law(COMPUTE, np.zeros(8))
    with pytest.raises(SensoriumError, match="2 runs at 2 amounts of compute; expected 3"):
        power_law([1, 2], [2, 1])
    with pytest.raises(SensoriumError, match="expected 4 or more"):
        power_law_with_floor([1, 1, 1, 1], [2, 1, 3, 4])
    with pytest.raises(SensoriumError, match="compute is -1"):
        predict(power_law(COMPUTE, noisy(0)), -1)
    with pytest.raises(SensoriumError, match="infinite"):
        spearman([1, np.inf], [1, 2])
