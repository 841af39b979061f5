from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sensorium.evals.statistics import (
    Interval,
    above,
    cluster_bootstrap,
    holm,
    not_below,
    paired_t,
    race_verdict,
)


def interval(low: float, mean: float, high: float) -> Interval:
    return Interval(mean, low, high, 0.5, 5, 0.98)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.9, 0.96, 0.98]))
@settings(max_examples=60, deadline=None)
def test_t_is_scipys(differences: list[float], level: float) -> None:
    assume(np.std(differences) > 1e-6)
    got, want = paired_t(differences, level), stats.ttest_1samp(differences, 0)
    ends = want.confidence_interval(level)
    assert (got.low, got.high, got.p) == pytest.approx((ends.low, ends.high, want.pvalue), rel=1e-9, abs=1e-12)
    assert got.mean == pytest.approx(np.mean(differences)) and got.n == len(differences) and got.level == level


def test_t_where_nothing_can_be_said() -> None:
    one = paired_t([0.3])
    assert (one.mean, one.low, one.high, one.p, one.n) == (0.3, -math.inf, math.inf, 1.0, 1)
    assert math.isnan(paired_t([]).mean) and paired_t([]).high == math.inf
    broken = paired_t([0.1, float("nan"), 0.2])
    assert (broken.low, broken.high, broken.p) == (-math.inf, math.inf, 1.0)
    assert above(broken, 0.0) == "inconclusive" == not_below(broken, 0.1)


def test_t_without_variance() -> None:
    assert paired_t([0.2] * 3) == Interval(0.2, 0.2, 0.2, 0.0, 3, 0.98)
    assert paired_t([0.0] * 5) == Interval(0.0, 0.0, 0.0, 1.0, 5, 0.98)


def test_t_calls_a_null_a_difference_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    intervals = [paired_t(d) for d in draws]
    false = np.mean([i.low > 0 or i.high < 0 for i in intervals])
    assert 0.01 <= false <= 0.03
    assert false == np.mean([i.p < 0.02 for i in intervals])


def test_bootstrap_covers() -> None:
    """40 clusters of 1 to 4 items with a shared part: the cluster interval covers, one over single items does not."""
    rng = np.random.default_rng(0)
    hit: list[bool] = []
    naive: list[bool] = []
    for n in range(300):
        clusters = np.repeat(np.arange(40), rng.integers(1, 5, 40))
        values = 0.3 + rng.normal(size=40)[clusters] + 0.2 * rng.normal(size=len(clusters))
        for found, of in ((hit, clusters), (naive, np.arange(len(clusters)))):
            got = cluster_bootstrap(values, of, draws=500, seed=n)
            found.append(got.low <= 0.3 <= got.high)
    assert 0.90 <= np.mean(hit) <= 0.98
    assert np.mean(naive) < 0.88


def test_bootstrap_is_the_slow_bootstrap() -> None:
    rng = np.random.default_rng(0)
    clusters, values = rng.integers(0, 30, 100), rng.normal(0.2, 1, 100)
    names, means, again = np.unique(clusters), [], np.random.default_rng(1)
    for _ in range(4000):
        chosen = again.choice(names, len(names))
        means.append(np.concatenate([values[clusters == c] for c in chosen]).mean())
    got = cluster_bootstrap(values, clusters, draws=4000)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)
    assert got.mean == pytest.approx(values.mean()) and got.n == len(names)
    assert got.p == pytest.approx(2 * min(np.mean(np.array(means) <= 0), np.mean(np.array(means) >= 0)), abs=0.03)


def test_bootstrap_edges() -> None:
    rng = np.random.default_rng(0)
    values, names = rng.normal(size=20), [f"c{n % 7}" for n in range(20)]
    assert cluster_bootstrap(values, names, seed=3) == cluster_bootstrap(values, names, seed=3)
    assert cluster_bootstrap(values, names, seed=3) != cluster_bootstrap(values, names, seed=4)
    one = cluster_bootstrap([0.5, 0.7], [1, 1])
    assert (one.low, one.high, one.p, one.n) == (-math.inf, math.inf, 1.0, 1) and one.mean == pytest.approx(0.6)
    assert cluster_bootstrap([1.0, float("nan")], [0, 1]).high == math.inf
    assert cluster_bootstrap([], []).low == -math.inf
    assert cluster_bootstrap([0.0] * 4, range(4)).p == 1.0
    assert cluster_bootstrap([1.0] * 4, range(4)).p < 0.01
    with pytest.raises(ValueError, match="2 values and 3 clusters"):
        cluster_bootstrap([1, 2], [1, 2, 3])


def test_bootstrap_in_pieces_is_still_a_bootstrap() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, 10_000)
    got = cluster_bootstrap(values, np.arange(10_000), draws=1000)  # 419 draws a piece
    assert (got.low, got.high) == pytest.approx((values.mean() - 0.0196, values.mean() + 0.0196), abs=0.004)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]  # 0.005 ≤ .0125, 0.01 ≤ .0167, 0.03 > .025
    assert holm([0.02, 0.03]) == [True, True]
    assert holm([0.03, 0.03, 0.001]) == [False, False, True]
    assert holm([0.026, 0.001 * 26]) == [False, False]  # the smaller fails, so no later one passes
    assert holm([]) == [] and holm([float("nan"), 0.01]) == [False, True]
    assert holm([0.05]) == [True] and holm([0.05], alpha=0.01) == [False]


def test_verdicts() -> None:
    assert above(interval(0.01, 0.03, 0.05), 0.03) == "holds"
    assert above(interval(0.01, 0.03, 0.05), 0.04) == "inconclusive"  # there, but perhaps too small
    assert above(interval(0.0, 0.03, 0.06), 0.03) == "inconclusive"
    assert above(interval(0.001, 0.01, 0.02), 0.03) == "fails"  # there, and surely too small
    assert not_below(interval(-0.01, 0.0, 0.01), 0.02) == "holds"
    assert not_below(interval(-0.03, 0.0, 0.03), 0.02) == "inconclusive"
    assert not_below(interval(-0.06, -0.04, -0.03), 0.02) == "fails"
    assert not_below(interval(-0.02, 0.0, 0.01), 0.02) == "inconclusive"


def test_race_needs_seeds_and_items() -> None:
    up, flat, down = interval(0.1, 0.2, 0.3), interval(-0.1, 0.2, 0.3), interval(-0.3, -0.2, -0.1)
    table = {(up, up): "better", (down, down): "worse"}
    for seeds in (up, flat, down):
        for items in (up, flat, down):
            assert race_verdict(seeds, items) == table.get((seeds, items), "undecided")
