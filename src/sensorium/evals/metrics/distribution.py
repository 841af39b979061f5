"""How far apart two sets of feature vectors are, and how diverse one is.

Shape legend: N samples of one set, M of the other, D dimensions. All in float64. What the numbers mean depends on the
features: compare only values of one feature extractor and of equal numbers of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sensorium.core.errors import SensoriumError

from .inputs import Floats, floats

Kernel = Callable[[Floats, Floats], Floats]
_PIECE = 1 << 22  # numbers of a table held at once


class Manifolds(NamedTuple):
    """Share of generated samples among the real ones, and of real samples among the generated ones."""

    precision: float
    recall: float


def gaussian(features: ArrayLike) -> tuple[Floats, Floats]:
    """[N D] -> mean [D] and unbiased covariance [D D]; N ≥ 2."""
    samples = _samples("features", features, 2)
    return samples.mean(0), np.cov(samples, rowvar=False).reshape(samples.shape[1], -1)


def frechet(first: ArrayLike, second: ArrayLike) -> float:
    """[N D], [M D] -> Fréchet distance of the Gaussians fitted to both: FID where the features are Inception's.

    Biased upwards for few samples, more so for more dimensions; defined, by covariances of low rank, from 2 samples on.
    """
    a, b = _pair(first, second, 2)
    return frechet_distance(*gaussian(a), *gaussian(b))


def frechet_distance(mean1: ArrayLike, covariance1: ArrayLike, mean2: ArrayLike, covariance2: ArrayLike) -> float:
    """[D], [D D], [D], [D D] -> |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁C₂)^½) (Heusel et al. 2017), in squared units.

    The trace of the root is the sum of the singular values of A₁ᵀA₂ with C = AAᵀ, exact where the covariances are
    singular and `sqrtm` is not. torchmetrics' `_compute_fid`.
    """
    m1, m2 = floats("mean1", mean1), floats("mean2", mean2)
    a1, a2 = _factor("covariance1", covariance1, len(m1)), _factor("covariance2", covariance2, len(m2))
    if len(m1) != len(m2):
        raise SensoriumError(f"means of {len(m1)} and {len(m2)} dimensions; expected one number of dimensions")
    root = np.linalg.svd(a1.T @ a2, compute_uv=False).sum()
    return max(0.0, float(((m1 - m2) ** 2).sum() + (a1**2).sum() + (a2**2).sum() - 2 * root))


def polynomial(degree: int = 3, scale: float | None = None, offset: float = 1.0) -> Kernel:
    """The kernel (scale · xᵀy + offset)^degree, scale 1 / D unless given: KID's (Binkowski et al. 2018)."""
    return lambda x, y: (x @ y.T * (1 / x.shape[1] if scale is None else scale) + offset) ** degree


def rbf(bandwidth: float) -> Kernel:
    """The kernel exp(-|x - y|² / (2 bandwidth²)); `median_distance` is the usual bandwidth."""
    if not bandwidth > 0:
        raise SensoriumError(f"bandwidth is {bandwidth:g}; expected more than 0")
    return lambda x, y: np.exp(-_squared(x, y) / (2 * bandwidth**2))


def mmd(first: ArrayLike, second: ArrayLike, kernel: Kernel | None = None) -> float:
    """[N D], [M D] -> unbiased squared maximum mean discrepancy, below 0 by chance where the sets are alike.

    Gretton et al. 2012, eq. 3; N, M ≥ 2. With the default kernel `polynomial()` it is torchmetrics' `poly_mmd`, KID.
    """
    a, b = _pair(first, second, 2)
    kernel = kernel or polynomial()
    within = [(_total(x, x, kernel) - _diagonal(x, kernel)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return sum(within) - 2 * _total(a, b, kernel) / (len(a) * len(b))


def median_distance(first: ArrayLike, second: ArrayLike) -> float:
    """[N D], [M D] -> median distance between different samples of both together: a bandwidth for `rbf`."""
    both = np.concatenate(_pair(first, second, 1))
    both = both[:: -(-len(both) // 5000)]  # at most 5,000, or 200 MB of distances; the median of a part is as good
    return float(np.sqrt(np.median(_squared(both, both)[np.triu_indices(len(both), 1)])))


def precision_recall(real: ArrayLike, generated: ArrayLike, k: int = 3) -> Manifolds:
    """[N D], [M D] -> is a sample within the k-th nearest neighbour's distance of any sample of the other set?

    Kynkäänniemi et al. 2019, eq. 1 and 2; N, M > k.
    """
    a, b = _pair(real, generated, k + 1)
    if k < 1:
        raise SensoriumError(f"k is {k}; expected 1 or more")
    return Manifolds(_covered(b, a, _radii(a, k)), _covered(a, b, _radii(b, k)))


def mean_pairwise_distance(features: ArrayLike) -> float:
    """[N D] -> mean Euclidean distance of two different samples: diversity. scipy's `pdist`, N ≥ 2."""
    samples = _samples("features", features, 2)
    total = sum(float(np.sqrt(_squared(rows, samples)).sum()) for _, rows in _rows(samples, len(samples)))
    return total / (len(samples) * (len(samples) - 1))


def _samples(name: str, features: ArrayLike, least: int) -> Floats:
    samples = floats(name, features, 2)
    if len(samples) < least or not samples.shape[1]:
        raise SensoriumError(f"{name} has shape {list(samples.shape)}; expected {least} samples or more")
    return samples


def _pair(first: ArrayLike, second: ArrayLike, least: int) -> tuple[Floats, Floats]:
    a, b = _samples("first set", first, least), _samples("second set", second, least)
    if a.shape[1] != b.shape[1]:
        raise SensoriumError(f"sets of {a.shape[1]} and {b.shape[1]} dimensions; expected one number of dimensions")
    return a, b


def _factor(name: str, covariance: ArrayLike, dims: int) -> Floats:
    """[D D] -> A [D rank] with AAᵀ the covariance; what is negative or zero but for rounding is dropped."""
    matrix = floats(name, covariance, 2)
    if matrix.shape != (dims, dims):
        raise SensoriumError(f"{name} has shape {list(matrix.shape)}; expected {[dims, dims]}")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > dims * np.finfo(np.float64).eps * np.abs(values).max(initial=0)
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]), dtype=np.float64)


def _rows(x: Floats, width: int) -> Iterator[tuple[int, Floats]]:
    """Runs of rows, with where they start, so that a table of them by `width` stays small."""
    step = max(1, _PIECE // max(1, width))
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


def _squared(x: Floats, y: Floats) -> Floats:
    """[N D], [M D] -> [N M] squared distances; what is zero but for rounding is zero."""
    centre = y.mean(0)
    x, y = x - centre, y - centre
    norms_x, norms_y = (x**2).sum(1)[:, None], (y**2).sum(1)
    squared = (-2 * x) @ y.T
    squared += norms_x
    squared += norms_y
    squared *= squared > 1e-13 * (norms_x + norms_y.max(initial=0))
    return squared


def _total(x: Floats, y: Floats, kernel: Kernel) -> float:
    return sum(float(kernel(rows, y).sum()) for _, rows in _rows(x, len(y)))


def _diagonal(x: Floats, kernel: Kernel) -> float:
    return sum(float(np.trace(kernel(rows, rows))) for _, rows in _rows(x, 1 << 14))


def _radii(x: Floats, k: int) -> Floats:
    """[N D] -> [N] squared distance to the k-th nearest other sample."""
    out = np.empty(len(x))
    for start, rows in _rows(x, len(x)):
        squared = _squared(rows, x)
        squared[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf
        out[start : start + len(rows)] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return out


def _covered(samples: Floats, of: Floats, radii: Floats) -> float:
    inside = [(_squared(rows, of) <= radii).any(1) for _, rows in _rows(samples, len(of))]
    return float(np.concatenate(inside).mean())
