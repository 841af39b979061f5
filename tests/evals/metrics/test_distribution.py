from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from sensorium.core import SensoriumError
from sensorium.evals.metrics import distribution
from sensorium.evals.metrics.distribution import (
    frechet,
    frechet_distance,
    gaussian,
    mean_pairwise_distance,
    median_distance,
    mmd,
    polynomial,
    precision_recall,
    rbf,
)


def two_sets(seed: int = 0, n: int = 60, m: int = 50, dims: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(dims, dims))
    return rng.normal(size=(n, dims)), rng.normal(size=(m, dims)) @ mixed + 0.5


def test_frechet_by_hand() -> None:
    """(m₁ - m₂)² + (σ₁ - σ₂)² in one dimension; the same along each axis of diagonal covariances."""
    assert frechet_distance([0], [[4]], [3], [[1]]) == pytest.approx(9 + 1)
    assert frechet_distance([0, 0], np.diag([4, 9]), [1, 2], np.diag([1, 1])) == pytest.approx(1 + 4 + 1 + 4)
    assert frechet([[0], [2]], [[5], [9]]) == pytest.approx(36 + (np.sqrt(2) - np.sqrt(8)) ** 2)


def test_frechet_is_sqrtms_and_torchmetrics() -> None:
    a, b = two_sets()
    (m1, c1), (m2, c2) = gaussian(a), gaussian(b)
    want = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * np.real(sqrtm(c1 @ c2)))
    assert frechet(a, b) == pytest.approx(want, rel=1e-9)
    torch_says = _compute_fid(*(torch.tensor(v) for v in (m1, c1, m2, c2)))
    assert frechet(a, b) == pytest.approx(float(torch_says), rel=1e-9)


def test_frechet_of_fewer_samples_than_dimensions() -> None:
    """Then the trace of the root is that of the small matrix of inner products."""
    a, b = two_sets(n=5, m=4, dims=40)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    xc, yc = (v - v.mean(0) for v in (a, b))
    root = np.linalg.norm(xc @ yc.T, "nuc") / np.sqrt(4 * 3)
    spread = (xc**2).sum() / 4 + (yc**2).sum() / 3
    assert frechet(a, b) == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * root, rel=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)
    assert frechet(np.ones((3, 4)), np.ones((2, 4))) == 0


def test_mmd_by_hand() -> None:
    """1-D, kernel xy: within 0·2 and 1·3, across (0 + 2)(1 + 3) / 4."""
    linear = polynomial(degree=1, scale=1.0, offset=0.0)
    assert mmd([[0], [2]], [[1], [3]], linear) == pytest.approx(0 + 3 - 2 * 8 / 4)


def test_mmd_is_torchmetrics() -> None:
    a, b = two_sets(n=50, m=50)
    want = poly_mmd(torch.tensor(a), torch.tensor(b))
    assert mmd(a, b) == pytest.approx(float(want), rel=1e-9)
    want = poly_mmd(torch.tensor(a), torch.tensor(b), degree=2, gamma=0.5, coef=2.0)
    assert mmd(a, b, polynomial(2, 0.5, 2.0)) == pytest.approx(float(want), rel=1e-9)


def test_rbf_mmd_of_unequal_sets_is_the_plain_sum() -> None:
    a, b = two_sets(n=20, m=30)
    k = [np.exp(-(cdist(x, y) ** 2) / (2 * 3.0**2)) for x, y in ((a, a), (b, b), (a, b))]
    want = (k[0].sum() - 20) / (20 * 19) + (k[1].sum() - 30) / (30 * 29) - 2 * k[2].mean()
    assert mmd(a, b, rbf(3.0)) == pytest.approx(want, rel=1e-10)


def test_mmd_is_unbiased_and_grows_with_the_distance() -> None:
    rng = np.random.default_rng(0)
    null = [mmd(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), rbf(1.0)) for _ in range(300)]
    assert abs(np.mean(null)) < 4 * np.std(null) / np.sqrt(300) and min(null) < 0
    x = rng.normal(size=(100, 3))
    assert mmd(x, x + 0.5, rbf(1.0)) < mmd(x, x + 1, rbf(1.0))


def test_median_distance_is_scipys() -> None:
    a, b = two_sets()
    assert median_distance(a, b) == pytest.approx(np.median(pdist(np.concatenate([a, b]))))
    long = np.arange(5400.0)[:, None]  # every second one is taken
    assert median_distance(long[:3000], long[3000:]) == pytest.approx(np.median(pdist(long[::2])))


def test_precision_and_recall_by_hand() -> None:
    """On a line, k = 1. Real 0, 1, 10 have radii 1, 1, 9; generated 0.5, 30, 31 have 29.5, 1, 1."""
    got = precision_recall([[0], [1], [10]], [[0.5], [30], [31]], k=1)
    assert got == (1 / 3, 1)
    assert precision_recall([[0], [1]], [[5], [6]], k=1) == (0, 0)
    assert precision_recall([[0], [1]], [[2], [9]], k=1).precision == 0.5  # at the radius is inside


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_the_plain_loops(k: int) -> None:
    a, b = two_sets(n=40, m=30, dims=3)
    radius_a, radius_b = (np.sort(cdist(x, x))[:, k] for x in (a, b))
    precision = np.mean([any(np.linalg.norm(s - a, axis=1) <= radius_a) for s in b])
    recall = np.mean([any(np.linalg.norm(s - b, axis=1) <= radius_b) for s in a])
    assert precision_recall(a, b, k) == pytest.approx((precision, recall))


def test_copies_are_at_distance_zero_wherever_they_lie() -> None:
    """Radii of repeated samples are 0: a copy far from the origin is inside, its neighbour is not."""
    real = np.repeat(np.random.default_rng(0).normal(size=(5, 16)) + 1e4, 5, axis=0)
    assert precision_recall(real, real[::2] + 0.0, k=3) == (1, 1)
    assert precision_recall(real, real + 0.01, k=3) == (0, 0)


def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two_sets()
    whole = mmd(a, b), precision_recall(a, b), mean_pairwise_distance(a)
    monkeypatch.setattr(distribution, "_PIECE", 100)
    assert mmd(a, b) == pytest.approx(whole[0], rel=1e-12)
    assert (precision_recall(a, b), mean_pairwise_distance(a)) == (whole[1], pytest.approx(whole[2]))


def test_mean_pairwise_distance_is_scipys() -> None:
    a, _ = two_sets()
    assert mean_pairwise_distance(a) == pytest.approx(pdist(a).mean())
    assert mean_pairwise_distance([[0, 0], [3, 4]]) == 5 and mean_pairwise_distance(np.ones((4, 2))) == 0


def test_bad_input_is_named() -> None:
    a, b = two_sets()
    with pytest.raises(SensoriumError, match=r"first set has shape \[1, 8\]; expected 2 samples or more"):
        frechet(a[:1], b)
    with pytest.raises(SensoriumError, match="sets of 8 and 3 dimensions"):
        mmd(a, b[:, :3])
    with pytest.raises(SensoriumError, match="expected 4 samples or more"):
        precision_recall(a[:3], b)
    with pytest.raises(SensoriumError, match=r"covariance2 has shape \[1, 2\]"):
        frechet_distance([0], [[1]], [0], [[1, 2]])
    with pytest.raises(SensoriumError, match="bandwidth is 0"):
        rbf(0)
    with pytest.raises(SensoriumError, match="k is 0"):
        precision_recall(a, b, 0)
    with pytest.raises(SensoriumError, match="holds NaN"):
        frechet(a * np.nan, b)
