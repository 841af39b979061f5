"""Intervals and verdicts: one way to say that a difference is there (DESIGN section 6).

Differences are *ours minus baseline, higher is better*: turn the sign of a metric such as the median rank first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Verdict = Literal["holds", "fails", "inconclusive"]
RaceVerdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Interval:
    """An estimate from `n` independent units, its two-sided interval at `level` and the p value of "it is 0"."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    level: float


def _unknown(values: NDArray[np.float64], n: int, level: float) -> Interval | None:
    """The infinite interval where nothing can be said: fewer than two units, or a value that is not a number."""
    if n >= 2 and np.isfinite(values).all():
        return None
    return Interval(float(values.mean()) if len(values) else float("nan"), -np.inf, np.inf, 1.0, n, level)


def paired_t(differences: ArrayLike, level: float = 0.98) -> Interval:
    """[n] paired differences, one per seed -> mean and Student-t interval.

    Fewer than two, or any not finite: infinite interval, p 1. All equal: the interval is the mean, p 0 (1 at 0).
    """
    d = np.asarray(differences, dtype=np.float64).ravel()
    if (unknown := _unknown(d, len(d), level)) is not None:
        return unknown
    if np.ptp(d) == 0:
        return Interval(float(d[0]), float(d[0]), float(d[0]), float(d[0] == 0), len(d), level)
    mean, error = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * error
    p = 2 * stats.t.sf(abs(mean / error), len(d) - 1)
    return Interval(float(mean), float(mean - half), float(mean + half), float(p), len(d), level)


def cluster_bootstrap(
    values: ArrayLike, clusters: ArrayLike, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """[N] per-item differences, [N] cluster of each -> mean over items, percentile interval over redrawn clusters.

    `n` counts clusters; with fewer than two, or a value that is not finite, the interval is infinite and p 1.
    """
    v = np.asarray(values, dtype=np.float64).ravel()
    names, of = np.unique(np.asarray(clusters).ravel(), return_inverse=True)
    if len(of) != len(v):
        raise ValueError(f"{len(v)} values and {len(of)} clusters; expected one cluster per value")
    if (unknown := _unknown(v, len(names), level)) is not None:
        return unknown
    sums, sizes = np.bincount(of, v), np.bincount(of)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    piece = max(1, (1 << 22) // len(names))  # 32 MB of indices at once
    for start in range(0, draws, piece):
        chosen = rng.integers(len(names), size=(min(piece, draws - start), len(names)))
        means[start : start + piece] = sums[chosen].sum(1) / sizes[chosen].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (draws + 1))
    return Interval(float(v.mean()), float(low), float(high), float(p), len(names), level)


def holm(pvalues: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """[n] p values -> which are rejected by Holm's step-down, at family-wise error `alpha`. NaN is never rejected."""
    p = np.nan_to_num(np.asarray(pvalues, dtype=np.float64), nan=np.inf)
    order = np.argsort(p, kind="stable")
    passes = p[order] <= alpha / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order] = np.logical_and.accumulate(passes)
    return [bool(r) for r in rejected]


def above(interval: Interval, by: float) -> Verdict:
    """Holds: lower end above 0 and estimate at least `by`. Fails: upper end below `by`. Else inconclusive."""
    if interval.low > 0 and interval.mean >= by:
        return "holds"
    return "fails" if interval.high < by else "inconclusive"


def not_below(interval: Interval, margin: float) -> Verdict:
    """Holds: lower end above -`margin`. Fails: upper end below -`margin`. Else inconclusive."""
    if interval.low > -margin:
        return "holds"
    return "fails" if interval.high < -margin else "inconclusive"


def race_verdict(seed_interval: Interval, item_interval: Interval) -> RaceVerdict:
    """Better or worse only where both the seeds and the test items exclude 0 on that side."""
    if seed_interval.low > 0 and item_interval.low > 0:
        return "better"
    return "worse" if seed_interval.high < 0 and item_interval.high < 0 else "undecided"
