from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sensorium.evals.statistics import (
    Interval,
    Verdict,
    above,
    at_most,
    cluster_bootstrap,
    extended,
    geometric,
    holm,
    keeps,
    not_below,
    paired_t,
    race_verdict,
    ratio,
    reached,
    rise,
)

FINITE = st.floats(-1, 1)


def interval(low: float, mean: float, high: float) -> Interval:
    return Interval(mean, low, high, 0.5, 5, 0.98)


def different(i: Interval) -> Verdict:
    """A two-sided verdict: any difference from 0."""
    return "holds" if i.low > 0 else "fails" if i.high < 0 else "inconclusive"


def decided(draws: np.ndarray) -> tuple[float, float]:
    """[N n] differences -> share called a difference at the first look, and in all."""
    looks = [extended(lambda k, level, d=d: paired_t(d[:k], level), different, draws.shape[1]) for d in draws]  # type: ignore[misc]
    found = [i.n for i, word in looks if word != "inconclusive"]
    return found.count(5) / len(draws), len(found) / len(draws)


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


def test_equal_seeds_speak_by_their_number_alone() -> None:
    five, ten = paired_t([0.2] * 5, 0.98), paired_t([0.2] * 10, 0.96)
    assert (five.mean, five.low, five.high, five.p) == (0.2, -math.inf, math.inf, 2.0**-4)
    assert (ten.mean, ten.low, ten.high, ten.p) == (0.2, 0.2, 0.2, 2.0**-9)
    assert paired_t([0.2] * 6).high == math.inf and paired_t([0.2] * 7).high == 0.2  # 2^-5 > 0.02 >= 2^-6
    assert paired_t([0.0] * 10) == Interval(0.0, 0.0, 0.0, 1.0, 10, 0.98)


def test_equal_seeds_extend_once_and_then_decide() -> None:
    saturated = np.ones(10) - 0.52
    for n, want in ((5, "inconclusive"), (10, "holds")):
        look, word = extended(lambda k, level: paired_t(saturated[:k], level), lambda i: above(i, 0.1), n)
        assert (word, look.n) == (want, n)


def test_t_calls_a_null_a_difference_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    intervals = [paired_t(d) for d in draws]
    false = np.mean([i.low > 0 or i.high < 0 for i in intervals])
    assert 0.01 <= false <= 0.03
    assert false == np.mean([i.p < 0.02 for i in intervals])


def test_two_looks_call_at_most_six_in_a_hundred_nulls_a_difference() -> None:
    first, both = decided(np.random.default_rng(0).normal(size=(20_000, 10)))
    assert first == pytest.approx(0.02, abs=0.003)  # Monte-Carlo error 0.001
    assert first < both <= 0.06  # 0.053, Monte-Carlo error 0.0016


@pytest.mark.parametrize(("rows", "accuracy"), [(500, 0.5), (500, 0.99), (50, 0.9)])
def test_two_looks_hold_their_rate_on_accuracies(rows: int, accuracy: float) -> None:
    rng = np.random.default_rng(rows)
    ours, base = (rng.binomial(rows, accuracy, (6000, 10)) / rows for _ in range(2))
    assert 0.035 <= decided(ours - base)[1] <= 0.0645  # at most 0.056, Monte-Carlo error 0.003


def test_two_looks_hold_their_rate_where_differences_have_two_values() -> None:
    coin = np.random.default_rng(0).choice([-0.2, 0.2], (4000, 10))
    first, both = decided(coin)
    assert first == 0 and both == pytest.approx(22 / 1024, abs=0.008)  # 9 or 10 alike of 10


@pytest.mark.slow
def test_two_looks_at_full_size() -> None:
    rng = np.random.default_rng(1)
    first, both = decided(rng.normal(size=(100_000, 10)))
    assert first == pytest.approx(0.02, abs=0.0015) and 0.05 <= both <= 0.056  # Monte-Carlo error 0.0007
    assert decided(rng.normal(1, 1, (10_000, 10)))[1] == pytest.approx(0.78, abs=0.015)
    assert decided(rng.normal(2, 1, (10_000, 10)))[0] == pytest.approx(0.73, abs=0.015)
    assert decided(rng.normal(2, 1, (10_000, 10)))[1] > 0.999
    rare = np.where(rng.random((10_000, 10)) < 0.8, 0.1, -0.4) + 0.02 * rng.normal(size=(10_000, 10))
    assert decided(rare)[1] == pytest.approx(0.33, abs=0.02)  # what five seeds cannot see, as the docstring says


def test_a_first_verdict_is_never_revised() -> None:
    clear = np.array([0.3, 0.31, 0.29, 0.3, 0.32, -9, -9, -9, -9, -9])
    look, word = extended(lambda k, level: paired_t(clear[:k], level), lambda i: above(i, 0.1), 10)
    assert (word, look.n, look.level) == ("holds", 5, 0.98)


def test_the_second_look_waits_for_all_its_seeds() -> None:
    noisy = np.array([0.4, -0.1, 0.3, 0.2, -0.05, 0.3, 0.25, 0.2, 0.3, 0.35])
    looks = {
        n: extended(lambda k, level: paired_t(noisy[:k], level), lambda i: above(i, 0.1), n) for n in (3, 5, 9, 10)
    }
    assert {n: (i.n, i.level, w) for n, (i, w) in looks.items()} == {
        3: (3, 0.98, "inconclusive"),
        5: (5, 0.98, "inconclusive"),
        9: (5, 0.98, "inconclusive"),
        10: (10, 0.96, "holds"),
    }
    two = extended(lambda k, level: paired_t(noisy[:k], level), lambda i: above(i, 0.1), 6, first=3)
    assert two[0].n == 6


def test_a_seed_that_diverged_decides_nothing_at_either_look() -> None:
    broken = np.array([0.3, 0.31, math.nan, 0.3, 0.32, 0.3, 0.31, 0.3, 0.29, 0.3])
    for n in (5, 10):
        look, word = extended(lambda k, level: paired_t(broken[:k], level), lambda i: above(i, 0.1), n)
        assert word == "inconclusive" and look.low == -math.inf


@given(st.lists(st.tuples(st.floats(0.2, 1), st.floats(0.2, 1)), min_size=3, max_size=10), st.floats(0.3, 3))
@settings(max_examples=150, deadline=None)
def test_a_share_outside_fiellers_interval_is_one_that_a_t_test_rejects(
    pairs: list[tuple[float, float]], share: float
) -> None:
    x, y = np.array(pairs).T
    assume(np.ptp(x) > 1e-3 and np.ptp(y) > 1e-3 and np.std(x - share * y) > 1e-4)
    got = ratio(x, y, 0.9)
    assert got.mean == pytest.approx(x.mean() / y.mean())
    p = stats.ttest_rel(x, share * y).pvalue
    assume(abs(p - 0.1) > 1e-6)
    if np.isfinite(got.low):
        assert (got.low <= share <= got.high) == (p > 0.1)
    else:
        assert stats.ttest_1samp(y, 0).pvalue > 0.1


def test_ratio_by_hand() -> None:
    """Ours 1, 2, 3 against 4, 5, 6: t(0.95, 2) = 2.920, t²s²/n = 2.842 for each variance and the covariance."""
    c = 2.919986**2 / 3
    a, b, d = 25 - c, 10 - c, 4 - c
    got = ratio([1, 2, 3], [4, 5, 6], 0.9)
    want = [(b + sign * math.sqrt(b * b - a * d)) / a for sign in (-1, 1)]
    assert (got.low, got.high) == pytest.approx(want, rel=1e-5) and got.mean == pytest.approx(0.4)
    assert got.n == 3 and got.level == 0.9


def test_ratio_where_nothing_can_be_said() -> None:
    for y in ([0.1, -0.1, 0.2, -0.3], [-1.0, -1.1, -1.2, -1.0], [0.0] * 4, [1.0, math.nan, 1.0, 1.0]):
        got = ratio([0.5, 0.6, 0.5, 0.4], y)
        assert (got.low, got.high) == (-math.inf, math.inf)
        assert keeps(got, 0.5) == "inconclusive"
    assert ratio([0.9] * 5, [1.0] * 5).high == math.inf
    assert ratio([0.9] * 10, [1.0] * 10, 0.96).low == 0.9
    with pytest.raises(ValueError, match="2 scores of ours and 3 of the baseline"):
        ratio([1, 2], [1, 2, 3])


def test_ratio_covers() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0.6, 0.05, (3000, 5))
    ours, base = 0.95 * shared + rng.normal(0, 0.02, (3000, 5)), shared + rng.normal(0, 0.02, (3000, 5))
    found = [ratio(x, y, 0.9) for x, y in zip(ours, base, strict=True)]
    assert np.mean([i.low <= 0.95 <= i.high for i in found]) == pytest.approx(0.9, abs=0.017)  # error 0.0055


def test_geometric_is_the_t_interval_of_logarithms() -> None:
    ratios = [0.5, 0.6, 0.55, 0.4]
    ends = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.98)
    got = geometric(ratios)
    assert (got.low, got.mean, got.high) == pytest.approx((np.exp(ends.low), stats.gmean(ratios), np.exp(ends.high)))
    turned = geometric(1 / np.array(ratios))
    assert (turned.low, turned.high) == pytest.approx((1 / got.high, 1 / got.low))
    for bad in ([1.0, 0.0], [1.0, -1.0], [1.0, math.inf], [2.0]):
        assert (geometric(bad).low, geometric(bad).high) == (0.0, math.inf)


def test_reached_by_hand() -> None:
    x, y = [10, 20, 30, 40], [0.1, 0.3, 0.2, 0.5]
    assert reached(x, y, 0.2) == 15  # the first time, though it falls back
    assert reached(x, y, 0.3) == 20 and reached(x, y, 0.35) == 35
    assert reached(x, y, 0.05) == 10 and reached(x, y, 0.6) == math.inf and reached([], [], 0) == math.inf
    assert reached(x, [0.1, math.nan, 0.2, 0.5], 0.15) == pytest.approx(20)  # a missing score is bridged
    assert reached(x, [math.nan] * 4, 0.1) == math.inf


@given(st.lists(FINITE, min_size=2, max_size=8, unique=True), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_where_a_rising_curve_reaches_a_level_it_has_that_level(values: list[float], share: float) -> None:
    y = np.sort(values)
    assume(np.diff(y).min() > 1e-6)
    x, level = np.arange(len(y)) * 7.0, y[0] + share * (y[-1] - y[0])
    assert np.interp(reached(x, y, level), x, y) == pytest.approx(level, abs=1e-9)


@given(st.lists(FINITE, min_size=2, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_rise_is_the_regression_slope_over_the_span(values: list[float], random: object) -> None:
    at = np.cumsum(np.random.default_rng(len(values)).uniform(0.5, 2, len(values)))
    want = stats.linregress(at, values).slope * (at[-1] - at[0])
    assert rise([values, [2 * v for v in values]], at) == pytest.approx([want, 2 * want], abs=1e-9)


def test_rise_of_two_arms_is_their_difference() -> None:
    assert rise([[0.2, 0.5], [0.3, 0.1]], [0, 1]) == pytest.approx([0.3, -0.2])


@pytest.mark.parametrize("n", [10, 40])
def test_bootstrap_covers(n: int) -> None:
    """Clusters of 1 to 4 items with a shared part: the cluster interval covers, one over single items does not."""
    assert 0.925 <= coverage(n, 600) <= 0.97  # 0.95 with a Monte-Carlo error of 0.009
    assert coverage(n, 300, lone=True) < 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least"), [(5, 0.89), (10, 0.92), (20, 0.92), (100, 0.935)])
def test_bootstrap_covers_at_every_number_of_clusters(n: int, least: float) -> None:
    assert least <= coverage(n, 2000, draws=2000) <= 0.96  # Monte-Carlo error 0.005


def coverage(n: int, times: int, lone: bool = False, draws: int = 500) -> float:
    """How often the 95% interval covers the mean 0.3; `lone` takes every item for its own cluster."""
    rng = np.random.default_rng(n)
    hits = 0
    for seed in range(times):
        clusters = np.repeat(np.arange(n), rng.integers(1, 5, n))
        values = 0.3 + rng.normal(size=n)[clusters] + 0.2 * rng.normal(size=len(clusters))
        got = cluster_bootstrap(values, np.arange(len(values)) if lone else clusters, draws=draws, seed=seed)
        hits += got.low <= 0.3 <= got.high
    return hits / times


def test_bootstrap_is_the_slow_bootstrap() -> None:
    rng = np.random.default_rng(0)
    clusters, values = rng.integers(0, 30, 100), rng.normal(0.2, 1, 100)
    names, means, again = np.unique(clusters), [], np.random.default_rng(1)
    for _ in range(4000):
        chosen = again.choice(names, len(names))
        means.append(np.concatenate([values[clusters == c] for c in chosen]).mean())
    got = cluster_bootstrap(values, clusters, draws=4000)
    tail = stats.norm.cdf(stats.t.ppf(0.025, len(names) - 1) * np.sqrt(len(names) / (len(names) - 1)))
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(means, [tail, 1 - tail])), abs=0.02)
    assert got.low < np.quantile(means, 0.025) and got.high > np.quantile(means, 0.975)
    assert got.mean == pytest.approx(values.mean()) and got.n == len(names)
    assert got.p == pytest.approx(2 * min(np.mean(np.array(means) <= 0), np.mean(np.array(means) >= 0)), abs=0.04)


@given(st.integers(3, 30), st.floats(-1, 1), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_bootstraps_p_value_agrees_with_its_interval(n: int, mean: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(mean, 1, n)
    at = cluster_bootstrap(values, range(n), draws=1000, seed=seed)
    for level in (0.5, 0.8, 0.95):
        if abs(at.p - (1 - level)) > 0.02:
            again = cluster_bootstrap(values, range(n), level, draws=1000, seed=seed)
            assert (again.low > 0 or again.high < 0) == (at.p < 1 - level)


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
    assert cluster_bootstrap([1.0] * 4, range(4)).low == -math.inf  # equal items speak by their number alone
    assert cluster_bootstrap([1.0] * 8, range(8)) == Interval(1.0, 1.0, 1.0, 2.0**-7, 8, 0.95)
    with pytest.raises(ValueError, match="2 values and 3 clusters"):
        cluster_bootstrap([1, 2], [1, 2, 3])


def test_too_few_clusters_are_no_evidence() -> None:
    """Three positive values are one of four outcomes of chance, whatever their mean."""
    assert cluster_bootstrap([1.0, 1.1, 1.2], range(3)).low == -math.inf
    assert cluster_bootstrap([1.0, 1.1, 1.2, 1.3], range(4)).low == -math.inf
    assert cluster_bootstrap([1.0, 1.1, 1.2, 1.3, 1.4], range(5)).low > 0.9


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


def test_verdicts_on_ratios() -> None:
    assert keeps(interval(0.95, 0.97, 0.99), 0.95) == "holds"
    assert keeps(interval(0.94, 0.97, 0.99), 0.95) == "inconclusive"
    assert keeps(interval(0.90, 0.92, 0.94), 0.95) == "fails"
    assert at_most(interval(0.3, 0.4, 0.6), 0.5) == "holds"
    assert at_most(interval(0.3, 0.55, 0.8), 0.5) == "inconclusive"  # cheaper, but perhaps not by enough
    assert at_most(interval(0.6, 0.7, 0.8), 0.5) == "fails"
    assert at_most(interval(0.3, 0.4, 1.1), 0.5) == "inconclusive"
    assert at_most(interval(1.1, 1.2, 1.25), 1.25) == "holds"  # at most a quarter dearer
    assert at_most(interval(1.0, 1.0, 1.0), 1.0) == "holds"  # as equal counts of parameters
    assert at_most(interval(1.0, 1.2, 1.3), 1.25) == "inconclusive"
    assert at_most(interval(1.26, 1.3, 1.4), 1.25) == "fails"


def test_race_needs_seeds_and_items() -> None:
    up, flat, down = interval(0.1, 0.2, 0.3), interval(-0.1, 0.2, 0.3), interval(-0.3, -0.2, -0.1)
    table = {(up, up): "better", (down, down): "worse"}
    for seeds in (up, flat, down):
        for items in (up, flat, down):
            assert race_verdict(seeds, items) == table.get((seeds, items), "undecided")
