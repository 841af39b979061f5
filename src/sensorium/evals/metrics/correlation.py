"""Correlation across runs with its interval, and power laws of loss over compute.

Intervals are `statistics.Interval`; where nothing can be said (three pairs or fewer, a constant) a correlation's is -1
to 1 with p 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from sensorium.core.errors import SensoriumError
from sensorium.core.rng import derive
from sensorium.evals.statistics import Interval

from .inputs import Floats, floats, same_length


def pearson(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Interval:
    """[n], [n] -> linear correlation, interval by Fisher's z. scipy's `pearsonr`, with its interval and p value."""
    a, b = _pair(x, y)
    if (unknown := _unknown(a, b, level)) is not None:
        return unknown
    found = stats.pearsonr(a, b)
    return _fisher(float(found.statistic), float(found.pvalue), 1.0, len(a), level)


def spearman(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Interval:
    """[n], [n] -> rank correlation, interval by Fisher's z (Bonett and Wright 2000). scipy's `spearmanr`."""
    a, b = _pair(x, y)
    if (unknown := _unknown(a, b, level)) is not None:
        return unknown
    found = stats.spearmanr(a, b)
    r = float(found.statistic)
    return _fisher(r, float(found.pvalue), 1 + r * r / 2, len(a), level)


def kendall(x: ArrayLike, y: ArrayLike, level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """[n], [n] -> tau-b, percentile interval over pairs redrawn with replacement. scipy's `kendalltau`.

    Redraws in which x or y is constant say nothing and are left out. Memory grows with n².
    """
    a, b = _pair(x, y)
    if (unknown := _unknown(a, b, level)) is not None:
        return unknown
    found = stats.kendalltau(a, b)
    if len(a) <= 3:
        return Interval(float(found.statistic), -1.0, 1.0, 1.0, len(a), level)
    signs = [np.sign(v[:, None] - v[None]) for v in (a, b)]
    rng = np.random.Generator(np.random.Philox(derive("kendall", seed)))
    drawn = rng.multinomial(len(a), np.full(len(a), 1 / len(a)), draws).astype(np.float64)
    agree, first, second = (((drawn @ s) * drawn).sum(1) for s in (signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2))
    known = (first > 0) & (second > 0)
    taus = agree[known] / np.sqrt(first[known] * second[known])
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(found.statistic), float(low), float(high), float(found.pvalue), len(a), level)


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """loss = floor + scale · compute^-exponent, fitted to log loss.

    `covariance` is of (log scale, exponent), with a fitted floor also of that; `variance` is of one run's log loss.
    """

    scale: float
    exponent: float
    floor: float
    covariance: Floats
    variance: float
    n: int


def power_law(compute: ArrayLike, loss: ArrayLike) -> PowerLaw:
    """[n], [n] both positive -> the law without floor, by least squares in logarithms (exact). At least 3 runs."""
    x, y = _runs(compute, loss, 3)
    design = np.stack([np.ones_like(x), -x], 1)
    found = np.linalg.lstsq(design, y)[0]
    return _law(np.append(found, 0.0), design, y - design @ found)


def power_law_with_floor(compute: ArrayLike, loss: ArrayLike) -> PowerLaw:
    """[n], [n] both positive -> the law with a floor of 0 or more, by least squares on log loss. At least 4 runs.

    Hoffmann et al. 2022 without their robust loss. Covariance by linearisation: generous doubt is in order far outside.
    """
    x, y = _runs(compute, loss, 4)
    least = float(np.exp(y.min()))
    fits = [_from_floor(x, y, share * least, least) for share in (0.0, 0.5, 0.9, 0.99)]
    best = min(fits, key=lambda fit: float(fit.cost))
    return _law(best.x, best.jac, best.fun)


def exponent_interval(law: PowerLaw, level: float = 0.95) -> Interval:
    """The exponent with its Student-t interval."""
    free = law.n - len(law.covariance)
    error = float(np.sqrt(law.covariance[1, 1]))
    half = float(stats.t.ppf((1 + level) / 2, free)) * error
    p = float(2 * stats.t.sf(abs(law.exponent) / error, free)) if error else float(law.exponent == 0)
    return Interval(law.exponent, law.exponent - half, law.exponent + half, p, law.n, level)


def predict(law: PowerLaw, compute: float, level: float = 0.95) -> Interval:
    """The loss of one more run at `compute`, with its prediction interval (p 0: a loss is above 0)."""
    if not 0 < compute < np.inf:
        raise SensoriumError(f"compute is {compute:g}; expected a number above 0")
    power = law.scale * compute**-law.exponent
    loss = law.floor + power
    slope = np.array([power, -power * np.log(compute), 1.0])[: len(law.covariance)] / loss  # of log loss
    spread = np.sqrt(law.variance + slope @ law.covariance @ slope)
    half = float(stats.t.ppf((1 + level) / 2, law.n - len(slope)) * spread)
    return Interval(loss, loss * np.exp(-half), loss * np.exp(half), 0.0, law.n, level)


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = floats("x", x), floats("y", y)
    same_length(x=a, y=b)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise SensoriumError("x or y holds an infinite number; expected finite ones")
    return a, b


def _unknown(a: Floats, b: Floats, level: float) -> Interval | None:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Interval(float("nan"), -1.0, 1.0, 1.0, len(a), level)
    return None


def _fisher(r: float, p: float, factor: float, n: int, level: float) -> Interval:
    """The interval of a variance of factor / (n - 3) on the scale of artanh."""
    if n <= 3:
        return Interval(r, -1.0, 1.0, 1.0, n, level)
    with np.errstate(divide="ignore"):
        half = stats.norm.ppf((1 + level) / 2) * np.sqrt(factor / (n - 3))
        low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return Interval(r, float(low), float(high), p, n, level)


def _runs(compute: ArrayLike, loss: ArrayLike, least: int) -> tuple[Floats, Floats]:
    """Logarithms of both."""
    x, y = floats("compute", compute), floats("loss", loss)
    same_length(compute=x, loss=y)
    for name, values in (("compute", x), ("loss", y)):
        if not ((values > 0) & (values < np.inf)).all():
            raise SensoriumError(f"{name} holds a number that is not positive and finite; expected positive ones")
    if len(x) < least or len(np.unique(x)) < least - 1:
        raise SensoriumError(f"{len(x)} runs at {len(np.unique(x))} amounts of compute; expected {least} or more")
    return np.log(x), np.log(y)


def _from_floor(x: Floats, y: Floats, floor: float, least: float) -> optimize.OptimizeResult:
    slope, start = np.polyfit(x, np.log(np.exp(y) - floor), 1)

    def residuals(theta: Floats) -> Floats:
        return np.asarray(np.logaddexp(theta[0] - theta[1] * x, np.log(theta[2])) - y)

    def jacobian(theta: Floats) -> Floats:
        power = np.exp(theta[0] - theta[1] * x)
        return np.asarray(np.stack([power, -power * x, np.ones_like(x)], 1) / (power + theta[2])[:, None])

    bounds = ([-np.inf, -np.inf, 1e-300], [np.inf, np.inf, least])
    start_at = [start, -slope, max(floor, 1e-6 * least)]
    return optimize.least_squares(
        residuals, start_at, jacobian, bounds, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000
    )


def _law(theta: Floats, design: Floats, residuals: Floats) -> PowerLaw:
    free = len(design) - design.shape[1]
    variance = float(residuals @ residuals) / free
    inverse = np.linalg.pinv(design)
    covariance = variance * (inverse @ inverse.T)
    return PowerLaw(float(np.exp(theta[0])), float(theta[1]), float(theta[2]), covariance, variance, len(design))
