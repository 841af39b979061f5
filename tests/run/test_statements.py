"""Statements judged on made-up runs whose verdict is known by hand, and on null data."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import (
    Above,
    Arm,
    Budget,
    Cheaper,
    Claim,
    Keeps,
    NotBelow,
    SensoriumError,
    Sooner,
    Statement,
    Trend,
)
from sensorium.evals.statistics import paired_t, ratio
from sensorium.run.statements import STATEMENTS, Verdict, arms_of, check, judge, overall, record

NOISE = np.array([0.004, -0.011, 0.002, 0.013, -0.006, 0.009, -0.003, 0.001, -0.012, 0.007])


def scored(metric: str, **arms: Sequence[float]) -> dict[str, list[dict[str, float]]]:
    """Arm -> one record per seed."""
    return {arm: [{metric: float(v)} for v in values] for arm, values in arms.items()}


def around(mean: float, n: int = 5, turn: int = 0) -> list[float]:
    """Five (or n) seeds with a small fixed noise."""
    return list(mean + np.roll(NOISE, turn)[:n])


EACH: list[Statement] = [
    Above("r@1", 0.02),
    NotBelow("r@1", 0.02, higher=False),
    Keeps("r@10@16", 0.98, of="r@10", baseline="ours"),
    Sooner("accuracy", 0.5, level=0.9, over="cpu_s"),
    Trend("r@1", 0.1, arms=("a", "b"), at=(16.0, 64.0), higher=False),
    Cheaper("parameters", 0.01, baseline="full tuning"),
]


# Statements as data


@pytest.mark.parametrize("statement", EACH, ids=lambda s: type(s).__name__)
def test_a_statement_pickles_and_is_json(statement: Statement) -> None:
    assert pickle.loads(pickle.dumps(statement)) == statement and hash(statement) == hash(statement)
    written = record(statement)
    assert json.loads(json.dumps(written)) == written
    kind = STATEMENTS[written.pop("says")]
    assert kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}) == statement


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Above("r@1", -0.1), "Above: by is -0.1; expected 0 or more"),
        (lambda: Above("r@1", math.nan), "Above: by is nan; expected 0 or more"),
        (lambda: NotBelow("r@1", 0.0), "NotBelow: margin is 0.0; expected more than 0"),
        (lambda: Keeps("r@1", 0.0), "Keeps: share is 0.0; expected more than 0"),
        (lambda: Keeps("r@1", 0.9, baseline="ours"), "Keeps: baseline is 'ours'; expected an arm other than ours"),
        (lambda: Sooner("r@1", 1.5), "Sooner: by is 1.5; expected a share above 0 and up to 1"),
        (lambda: Trend("r@1", 0.1, ("a",)), r"Trend: arms is \('a',\); expected at least two arms"),
        (lambda: Trend("r@1", 0.1, ("a", "b"), ("c",)), "Trend: baselines is .*; expected none or 2, one per arm"),
        (lambda: Trend("r@1", 0.1, ("a", "b"), at=(2.0, 1.0)), "Trend: at is .*; expected none or 2 rising numbers"),
        (lambda: Cheaper("cpu_s", 0.0), "Cheaper: by is 0.0; expected more than 0"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(wrong: Any, words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        wrong()


def test_arms_of_a_statement() -> None:
    assert arms_of(Above("r@1", 0.1)) == ("ours", "baseline")
    assert arms_of(Keeps("r@1", 0.9, of="r@10", baseline="ours", floor="none")) == ("ours", "none")
    assert arms_of(Trend("r@1", 0.1, ("a", "b"), ("c", "c"))) == ("a", "b", "c")


def test_a_claim_with_an_unknown_arm_is_told_the_nearest() -> None:
    def claim(*says: Statement) -> Claim:
        arms = {"ours": Arm(), "baseline": Arm(paper="baseline/clip")}
        return Claim(arms=arms, says=says, beats="majority", rates=(1e-3,), budget=Budget(100))

    check(claim(Above("r@1", 0.1), Above("r@1", 0.1, baseline="majority")))
    with pytest.raises(SensoriumError, match=r"^Above: unknown arm 'bseline'; did you mean 'baseline'\?$"):
        check(claim(Above("r@1", 0.1, baseline="bseline")))
    with pytest.raises(SensoriumError, match="unknown statement 'Abov'; did you mean 'Above'"):
        check(claim(cast(Statement, type("Abov", (), {})())))


# Verdicts


def test_above_by_hand() -> None:
    runs = scored("swap accuracy", ours=around(0.81), baseline=around(0.5, turn=3))
    found = judge(Above("swap accuracy", 0.1), runs, names={"ours": "concept-negatives", "baseline": "clip"})
    want = paired_t(np.array(around(0.81)) - around(0.5, turn=3))
    assert (found.estimate, found.low, found.high) == pytest.approx((want.mean, want.low, want.high))
    assert (found.verdict, found.n, found.level, found.alone, found.open) == ("holds", 5, 0.98, 5, False)
    assert found.sentence == (
        "concept-negatives is 0.313 above clip on swap accuracy [0.304, 0.321]; asked for 0.1: holds"
    )
    assert found.statement == record(Above("swap accuracy", 0.1))


def test_above_fails_where_the_gain_is_surely_smaller() -> None:
    found = judge(Above("r@1", 0.1), scored("r@1", ours=around(0.42), baseline=around(0.4, turn=3)))
    assert found.verdict == "fails" and not found.open and "0.02" in found.sentence


def test_what_is_undecided_stays_open_until_the_second_look() -> None:
    wide = [0.3, -0.1, 0.25, 0.05, 0.2, 0.3, 0.28, 0.22, 0.27, 0.3]
    runs = {n: scored("r@1", ours=[0.4 + d for d in wide[:n]], baseline=[0.4] * n) for n in (5, 9, 10)}
    looks = {n: judge(Above("r@1", 0.1), r) for n, r in runs.items()}
    assert [(v.verdict, v.n, v.open) for v in looks.values()] == [
        ("inconclusive", 5, True),
        ("inconclusive", 5, True),
        ("holds", 10, False),
    ]
    split = judge(Above("r@1", 0.1), scored("r@1", ours=[0.9, 0.1] * 5, baseline=[0.4] * 10))
    assert (split.verdict, split.n, split.open) == ("inconclusive", 10, False)
    assert looks[10].level == 0.96 and looks[5].sentence.endswith("inconclusive (3 of 5 seeds)")
    assert judge(Above("r@1", 0.1), scored("r@1", ours=[0.4 + d for d in wide], baseline=[0.4] * 10), seeds=3).n == 6


def test_lower_is_better_turns_the_sign_and_the_words() -> None:
    runs = scored("perplexity", ours=around(12.0), baseline=around(15.0, turn=3))
    found = judge(Above("perplexity", 1, higher=False), runs)
    assert found.verdict == "holds" and found.estimate == pytest.approx(3.0, abs=0.01) and found.low > 0
    assert "ours is 2.99" in found.sentence and "below baseline on perplexity" in found.sentence
    assert judge(Above("perplexity", 1), runs).verdict == "fails"
    assert "below baseline" in judge(Above("perplexity", 1), runs).sentence
    worse = judge(NotBelow("perplexity", 0.5, "baseline", "ours", higher=False), runs)
    assert worse.verdict == "fails" and "allowed 0.5 above" in worse.sentence


def test_not_below_by_hand() -> None:
    runs = scored("r@1", ours=around(0.49), baseline=around(0.5, turn=3))
    assert judge(NotBelow("r@1", 0.05), runs).verdict == "holds"
    assert judge(NotBelow("r@1", 0.01), runs).verdict == "inconclusive"
    assert (
        judge(NotBelow("r@1", 0.05), scored("r@1", ours=around(0.3), baseline=around(0.5, turn=3))).verdict == "fails"
    )
    assert "; allowed 0.05 below: holds" in judge(NotBelow("r@1", 0.05), runs).sentence


def test_keeps_is_fiellers_ratio_and_the_paired_difference_agrees() -> None:
    ours, base = np.array(around(0.57)), np.array(around(0.6, turn=3))
    want = ratio(ours, base)
    for share in (0.85, 0.9, 0.95, 0.99, 1.05):
        found = judge(Keeps("r@1", share), scored("r@1", ours=ours, baseline=base))
        assert (found.estimate, found.low, found.high) == (want.mean, want.low, want.high)
        difference = paired_t(ours - share * base)
        expected = "holds" if difference.low >= 0 else "fails" if difference.high < 0 else "inconclusive"
        assert found.verdict == expected
    assert judge(Keeps("r@1", 0.9), scored("r@1", ours=ours, baseline=base)).verdict == "holds"


def test_keeps_its_own_full_score() -> None:
    runs = {"ours": [{"r@10": a, "r@10@16": b} for a, b in zip(around(0.8), around(0.79, turn=2), strict=True)]}
    found = judge(Keeps("r@10@16", 0.9, of="r@10", baseline="ours"), runs)
    assert found.verdict == "holds" and found.sentence.startswith("ours keeps 0.98")
    assert "of its r@10 as r@10@16" in found.sentence


def test_keeps_a_share_of_an_effect() -> None:
    """0.75 is four fifths of the way from 0.55 to 0.8; without the floor it would be 94 in 100."""
    runs = scored("accuracy", ours=around(0.75), baseline=around(0.8, turn=3), none=around(0.55, turn=6))
    found = judge(Keeps("accuracy", 0.6, floor="none"), runs)
    assert found.verdict == "holds" and found.estimate == pytest.approx(0.8, abs=0.02)
    assert "of baseline's gain over none on accuracy" in found.sentence
    assert judge(Keeps("accuracy", 0.9, floor="none"), runs).verdict == "fails"
    assert judge(Keeps("accuracy", 0.9), runs).verdict == "holds"


def test_keeps_of_an_error_is_turned_over() -> None:
    runs = scored("perplexity", ours=around(20.0), baseline=around(10.0, turn=3))
    found = judge(Keeps("perplexity", 0.9, higher=False), runs)
    assert found.estimate == pytest.approx(0.5, abs=0.01) and found.verdict == "fails"


def test_no_share_can_be_taken_of_an_effect_that_is_not_there() -> None:
    runs = scored("accuracy", ours=around(0.55), baseline=around(0.56, turn=3), none=around(0.55, turn=6))
    found = judge(Keeps("accuracy", 0.5, floor="none"), runs)
    assert found.verdict == "inconclusive" and found.low == -math.inf


def curve(*points: tuple[float, float], metric: str = "r@1") -> dict[str, list[float]]:
    return {"samples": [x for x, _ in points], metric: [y for _, y in points]}


def learnt(pace: float, top: float = 0.6, seeds: int = 5) -> list[dict[str, list[float]]]:
    """Curves 1 - exp(-3 x / (100 pace)) of `top`, seen every 10 samples up to 100; seeds differ in pace by 1%."""
    paces = [pace * (0.98 + 0.01 * k) for k in range(seeds)]
    return [curve(*((x, top * (1 - math.exp(-0.03 * x / p))) for x in range(10, 110, 10))) for p in paces]


def test_sooner_by_hand() -> None:
    """At twice the pace ours is at the baseline's end after half of its samples."""
    base, fast = learnt(1.0), learnt(0.5)
    found = judge(Sooner("r@1", 0.6), {}, {"ours": fast, "baseline": base[::-1]})
    assert found.verdict == "holds" and found.estimate == pytest.approx(0.5, abs=0.005) and found.high < 1
    assert found.sentence.startswith("ours reaches baseline's final r@1 in 0.50")
    assert "of baseline's samples" in found.sentence
    assert judge(Sooner("r@1", 0.3), {}, {"ours": fast, "baseline": base}).verdict == "inconclusive"  # all five equal
    assert judge(Sooner("r@1", 0.3), {}, {"ours": fast, "baseline": base[::-1]}).verdict == "fails"


def test_sooner_at_a_level_is_interpolated() -> None:
    ours = [curve((10, 0.2), (20, 0.4 + e)) for e in (0.0, 0.01, -0.01, 0.005, 0.0)]
    base = [curve((10, 0.1), (20, 0.2), (40, 0.4)) for _ in range(5)]
    found = judge(Sooner("r@1", 0.6, level=0.3), {}, {"ours": ours, "baseline": base})
    assert found.estimate == pytest.approx(15 / 30, abs=0.01) and found.verdict == "holds"
    assert "ours reaches r@1 0.3 in 0.499 of baseline's samples" in found.sentence


def test_who_never_gets_there_is_never_sooner() -> None:
    base, slow = learnt(1.0, seeds=10), learnt(1.0, top=0.5, seeds=10)
    found = judge(Sooner("r@1", 0.9), {}, {"ours": slow, "baseline": base})
    assert found.verdict == "fails" and "never in 10 of 10 seeds" in found.sentence
    once = [*learnt(0.5)[:4], slow[4]]
    assert judge(Sooner("r@1", 0.9), {}, {"ours": once, "baseline": base}).verdict == "inconclusive"


def test_a_baseline_that_never_gets_there_cannot_make_it_fail() -> None:
    """The baseline took more than its whole curve: 0.7 is an upper bound of the ratio."""
    base, ours = learnt(2.0, top=0.6), [curve((20, 0.1), (70 + k, 0.6), (100, 0.6)) for k in range(5)]
    curves = {"ours": ours, "baseline": base}
    assert judge(Sooner("r@1", 0.75, level=0.55), {}, curves).verdict == "holds"
    assert judge(Sooner("r@1", 0.2, level=0.55), {}, curves).verdict == "inconclusive"
    neither = judge(Sooner("r@1", 0.5, level=0.9), {}, curves)
    assert neither.verdict == "inconclusive" and math.isnan(neither.estimate)


def test_sooner_where_less_is_better() -> None:
    """The baseline ends at 4 after 30; ours falls from 10 at 0 by one a sample, give or take."""
    base = [curve((10, 9.0), (20, 5.0), (30, 4.0), metric="loss") for _ in range(5)]
    fast = [curve((0, 10.0 + e), (10, 0.0 + e), metric="loss") for e in (0, 0.1, 0.2, 0.1, 0.3)]
    found = judge(Sooner("loss", 0.5, higher=False), {}, {"ours": fast, "baseline": base})
    assert found.verdict == "holds" and found.estimate == pytest.approx(6.14 / 30, abs=0.002)


def test_trend_is_the_slope_over_the_span() -> None:
    runs = scored("r@1", a=around(0.3), b=around(0.35, turn=3), c=around(0.5, turn=6))
    found = judge(Trend("r@1", 0.1, ("a", "b", "c")), runs)
    assert found.verdict == "holds" and found.estimate == pytest.approx(0.2, abs=0.005)
    assert found.sentence.startswith("r@1 rises by 0.197 from a to c [0.176, 0.219]; asked for a rise of 0.1: holds")
    assert judge(Trend("r@1", 0.1, ("c", "b", "a")), runs).verdict == "fails"
    falls = judge(Trend("r@1", 0.1, ("c", "b", "a"), higher=False), runs)
    assert falls.verdict == "holds" and "r@1 falls by 0.197" in falls.sentence and "asked for a fall" in falls.sentence


def test_trend_minds_where_the_arms_stand() -> None:
    """0.1, 0.2, 0.3 at 0, 1, 10: the slope is (3.2 - 2.2) / 60.7 a unit, 0.165 over the span."""
    runs = scored("r@1", a=[0.1] * 5, b=[0.2] * 5, c=[0.3] * 5)
    at = judge(Trend("r@1", 0.1, ("a", "b", "c"), at=(0.0, 1.0, 10.0)), runs)
    assert at.estimate == pytest.approx(10 / (101 - 121 / 3))


def test_a_gain_that_shrinks() -> None:
    runs = scored(
        "r@1",
        **{"ours 16": around(0.6), "clip 16": around(0.4, turn=2), "ours 256": around(0.7, turn=4)},
        **{"clip 256": around(0.68, turn=6)},
    )
    shrinks = Trend("r@1", 0.1, ("ours 16", "ours 256"), ("clip 16", "clip 256"), higher=False)
    found = judge(shrinks, runs)
    assert found.verdict == "holds" and found.estimate == pytest.approx(0.18, abs=0.01)
    assert found.sentence.startswith("the gain on r@1 falls by")


def test_cheaper_by_hand() -> None:
    costs = {
        "ours": [{"cpu_s": 4.0 + e, "parameters": 1e3} for e in NOISE[:5]],
        "baseline": [{"cpu_s": 10.0 + e, "parameters": 1e5} for e in np.roll(NOISE, 3)[:5]],
    }
    found = judge(Cheaper("cpu_s", 0.5), {}, costs=costs)
    assert found.verdict == "holds" and found.estimate == pytest.approx(0.4, abs=0.01)
    assert "of baseline in cpu_s" in found.sentence and "asked for at most 0.5" in found.sentence
    assert judge(Cheaper("cpu_s", 0.3), {}, costs=costs).verdict == "fails"
    assert judge(Cheaper("cpu_s", 1.25, "baseline", "ours"), {}, costs=costs).verdict == "fails"


def test_counted_costs_are_exact_and_measured_ones_are_not() -> None:
    costs = {"ours": [{"parameters": 10.0, "peak_mb": 10.0}] * 5, "baseline": [{"parameters": 1e3, "peak_mb": 1e3}] * 5}
    exact = judge(Cheaper("parameters", 0.01), {}, costs=costs)
    assert exact.verdict == "holds" and exact.low == exact.estimate == exact.high == pytest.approx(0.01)
    assert judge(Cheaper("peak_mb", 0.5), {}, costs=costs).verdict == "inconclusive"


def test_any_metric_of_the_runs_is_a_cost() -> None:
    runs = {"ours": [{"tokens": 8.0 + k} for k in range(5)], "baseline": [{"tokens": 64.0 + k} for k in range(5)]}
    assert judge(Cheaper("tokens", 0.25), runs, costs={"ours": [{"cpu_s": 1.0}] * 5}).verdict == "holds"


# What can keep a verdict from being given


def test_a_diverged_seed_never_holds() -> None:
    good, base = around(0.8), around(0.4, turn=3)
    for broken in ({}, {"r@1": math.nan}, {"r@1": math.inf}):
        runs = scored("r@1", ours=good, baseline=base)
        runs["ours"][2] = broken
        for statement in (
            Above("r@1", 0.1),
            NotBelow("r@1", 0.1),
            Keeps("r@1", 0.9),
            Trend("r@1", 0.1, ("baseline", "ours")),
        ):
            found = judge(statement, runs)
            assert found.verdict == "inconclusive" and not found.open
            assert "some seed has no score" in found.sentence
    curves = {"ours": [*learnt(0.5)[:4], {}], "baseline": learnt(1.0)}
    assert judge(Sooner("r@1", 0.9), {}, curves).verdict == "inconclusive"
    costs = {"ours": [{"cpu_s": 1.0}, {}, {"cpu_s": 1.1}], "baseline": [{"cpu_s": 4.0}] * 3}
    assert judge(Cheaper("cpu_s", 0.5), {}, costs=costs).verdict == "inconclusive"


def test_five_equal_seeds_ask_for_five_more() -> None:
    runs = {n: scored("accuracy", ours=[1.0] * n, baseline=[0.52] * n) for n in (5, 10)}
    first, second = (judge(Above("accuracy", 0.1), r) for r in runs.values())
    assert (first.verdict, first.open, second.verdict) == ("inconclusive", True, "holds")
    assert "ours is 0.48 above baseline on accuracy [no interval]" in first.sentence


def test_fewer_than_two_seeds_are_not_tested() -> None:
    one = judge(Above("r@1", 0.1), scored("r@1", ours=[0.5], baseline=[0.4, 0.4]))
    assert one.verdict == "not tested" and one.n == 0
    assert one.sentence == "ours and baseline: 1 seed in common, at least 2 are needed: not tested"
    assert judge(Above("r@1", 0.1), {"ours": [], "baseline": []}).verdict == "not tested"
    assert judge(Sooner("r@1", 0.5), {}, {"ours": [], "baseline": []}).verdict == "not tested"


def test_a_baseline_at_its_ceiling_leaves_no_headroom() -> None:
    runs = scored("accuracy", ours=around(0.98), baseline=around(0.96, turn=3))
    found = judge(Above("accuracy", 0.01, ceiling=0.95), runs)
    assert found.verdict == "no headroom" and not found.open and found.estimate == pytest.approx(0.02, abs=0.01)
    assert found.sentence.endswith("no headroom: baseline is at 0.958 on accuracy, ceiling 0.95")
    assert judge(Above("accuracy", 0.01, ceiling=0.97), runs).verdict != "no headroom"
    low = scored("loss", ours=around(0.1), baseline=around(0.2, turn=3), mid=around(0.5, turn=6))
    assert judge(Above("loss", 0.01, higher=False, ceiling=0.25), low).verdict == "no headroom"
    assert judge(Trend("loss", 0.1, ("mid", "ours"), higher=False, ceiling=0.25), low).verdict == "holds"
    assert judge(Trend("loss", 0.1, ("baseline", "ours"), higher=False, ceiling=0.25), low).verdict == "no headroom"


def test_every_arm_must_beat_the_trivial_predictor() -> None:
    beats = Above("r@1", 0.0, baseline="random order")
    runs = scored("r@1", ours=around(0.8), baseline=around(0.4, turn=3), chance=around(0.01, turn=5))
    runs["random order"] = [{"r@1": 0.01}] * 5
    assert judge(Above("r@1", 0.1), runs, beats=beats).verdict == "holds"
    found = judge(Above("r@1", 0.1, baseline="chance"), runs, beats=beats)
    assert found.verdict == "not learned" and found.n == 5
    assert found.sentence.endswith("not learned: chance is not shown to beat random order on r@1")
    runs["chance too"] = runs["chance"]
    neither = judge(Above("r@1", 0.1, "chance too", "chance"), runs, beats=beats)
    assert neither.verdict == "no headroom" and "chance too and chance are not shown" in neither.sentence
    assert judge(Above("r@1", 0.1, baseline="random order"), runs, beats=beats).verdict == "holds"


def test_a_saturated_arm_has_learned() -> None:
    runs = scored("accuracy", ours=around(0.9), baseline=[1.0] * 5, majority=[0.52] * 5)
    beats = Above("accuracy", 0.0, baseline="majority")
    assert judge(NotBelow("accuracy", 0.2), runs, beats=beats).verdict == "holds"


def test_a_trivial_predictor_needs_every_seed() -> None:
    runs = scored("accuracy", ours=around(0.9), baseline=around(0.8), majority=[0.52])
    with pytest.raises(SensoriumError, match="majority is scored with 1 seeds; expected 5, as many as ours"):
        judge(Above("accuracy", 0.05), runs, beats=Above("accuracy", 0.0, baseline="majority"))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (Above("r@1", 0.1, ours="our"), "unknown arm 'our'; did you mean 'ours'?"),
        (Above("r@11", 0.1), "arm 'ours' has no 'r@11'; did you mean 'r@1'?"),
        (Keeps("r@1", 0.9, floor="floor"), "unknown arm 'floor'"),
        (Trend("r@1", 0.1, ("ours", "base line")), "unknown arm 'base line'; did you mean 'baseline'?"),
        (Cheaper("cpu", 0.5), "arm 'ours' has no 'cpu'; did you mean 'cpu_s'?"),
        (Cheaper("cpu_s", 0.5, ours="our"), "unknown arm 'our'; did you mean 'ours'?"),
        (Sooner("r@1", 0.5, ours="our"), "no learning curve of arm 'our'; did you mean 'ours'?"),
        (Sooner("r@1", 0.5, over="sample"), "a learning curve has no 'sample'; did you mean 'samples'?"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(statement: Statement, words: str) -> None:
    runs = scored("r@1", ours=around(0.8), baseline=around(0.4))
    costs = {arm: [{"cpu_s": 1.0}] * 5 for arm in runs}
    with pytest.raises(SensoriumError) as refused:
        judge(statement, runs, {"ours": learnt(1), "baseline": learnt(1)}, costs)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_an_unknown_statement_is_refused() -> None:
    with pytest.raises(SensoriumError, match="unknown statement 'str'; expected one of Above, Cheaper, Keeps"):
        judge(cast(Statement, "Above"), {})


# Equal cost


def dear(times: float, tops: Sequence[float]) -> dict[str, Any]:
    """Ours at 0.6, the baseline at 0.4 for 10 CPU-s and at `tops` after 1.5, 2 and 3 times as much."""
    costs = {"ours": [{"cpu_s": 10.0 * times + e, "samples": 100.0} for e in NOISE[:5]]}
    costs["baseline"] = [{"cpu_s": 10.0, "samples": 100.0}] * 5
    base = around(0.4, turn=3)
    longer = [{"samples": [100.0, 150.0, 200.0, 300.0], "r@1": [b, *(b - 0.4 + t for t in tops)]} for b in base]
    return {"runs": scored("r@1", ours=around(0.6), baseline=base), "costs": costs, "longer": {"baseline": longer}}


def test_equal_cost_reads_the_baselines_curve_at_ours_cost() -> None:
    """At 17.5 CPU-s, midway between 0.45 and 0.5, the baseline is at 0.475."""
    found = judge(Above("r@1", 0.1), **dear(1.75, (0.45, 0.5, 0.55)))
    assert found.verdict == "holds" and found.equal_cost is not None and found.equal_cost.verdict == "holds"
    assert found.estimate == pytest.approx(0.2, abs=0.01)
    assert found.equal_cost.estimate == pytest.approx(0.125, abs=0.01)
    assert "; at equal cost (1.8x per sample) ours is 0.12" in found.sentence


def test_one_run_on_a_busy_machine_makes_nothing_dearer() -> None:
    busy = dear(1.0, (0.45, 0.5, 0.55))
    busy["costs"]["ours"] = [*busy["costs"]["ours"][:4], {"cpu_s": 40.0, "samples": 100.0}]
    assert judge(Above("r@1", 0.1), **busy).equal_cost is None


def test_the_weaker_verdict_counts() -> None:
    fails = judge(Above("r@1", 0.1), **dear(1.75, (0.6, 0.7, 0.8)))
    assert fails.verdict == "fails" and fails.sentence.endswith("together: fails")
    assert fails.equal_cost is not None and fails.equal_cost.verdict == "fails" and fails.estimate > 0.19
    kept = judge(NotBelow("r@1", 0.1), **dear(1.75, (0.45, 0.5, 0.55)))
    assert kept.verdict == "holds"
    share = judge(Keeps("r@1", 1.4), **dear(1.75, (0.45, 0.5, 0.55)))
    assert share.verdict == "fails" and share.low > 1.4 and share.equal_cost is not None
    assert share.equal_cost.estimate == pytest.approx(0.6 / 0.475, abs=0.01)


def test_no_checkpoint_that_long_leaves_it_inconclusive() -> None:
    for given_up in (dear(3.5, (0.45, 0.5, 0.55)), dear(1.75, (0.45, 0.5, 0.55)) | {"longer": {}}):
        found = judge(Above("r@1", 0.1), **given_up)
        assert found.verdict == "inconclusive" and not found.open
        assert found.equal_cost is not None and found.equal_cost.verdict == "not tested"
        assert "no checkpoint of baseline is that long: not tested; together: inconclusive" in found.sentence
    lost = dear(3.5, (0.45, 0.5, 0.55))
    assert judge(Above("r@1", 0.5), **lost).verdict == "fails"


@pytest.mark.parametrize("times", [0.5, 1.0, 1.05])
def test_equal_cost_is_asked_of_the_dearer_alone(times: float) -> None:
    assert judge(Above("r@1", 0.1), **dear(times, (0.45, 0.5, 0.55))).equal_cost is None


def test_what_takes_no_samples_has_no_equal_cost() -> None:
    given_up = dear(1.75, (0.45, 0.5, 0.55))
    given_up["costs"]["baseline"] = [{"cpu_s": 1.0, "samples": 0.0}] * 5
    assert judge(Above("r@1", 0.1), **given_up).equal_cost is None


def test_sooner_in_samples_must_be_sooner_in_time() -> None:
    """Half the samples at three times the cost of a sample is no gain."""
    curves = {"ours": learnt(0.5), "baseline": learnt(1.0)[::-1]}
    for arm, times in (("ours", 3.0), ("baseline", 1.0)):
        for c in curves[arm]:
            c["cpu_s"] = [times * x for x in c["samples"]]
    costs = {"ours": [{"cpu_s": 300.0, "samples": 100.0}] * 5, "baseline": [{"cpu_s": 100.0, "samples": 100.0}] * 5}
    found = judge(Sooner("r@1", 0.7), {}, curves, costs)
    assert found.verdict == "fails" and found.equal_cost is not None and found.equal_cost.estimate > 1.5
    assert judge(Sooner("r@1", 0.7), {}, curves).verdict == "holds"
    for c in curves["ours"]:
        del c["cpu_s"]
    untold = judge(Sooner("r@1", 0.7), {}, curves, costs)
    assert untold.verdict == "inconclusive" and "the learning curves have no cpu_s" in untold.sentence


# Whole claims, null data


def test_a_claim_is_as_strong_as_its_weakest_verdict() -> None:
    def said(*words: str) -> list[Verdict]:
        return [Verdict({}, cast(Any, w), w) for w in words]

    assert overall(said("holds", "holds")) == "holds" and overall([]) == "not tested"
    assert overall(said("holds", "inconclusive", "no headroom")) == "no headroom"
    assert overall(said("inconclusive", "fails", "not learned")) == "fails"


@given(st.integers(0, 10_000), st.sampled_from(EACH[:3]))
@settings(max_examples=25, deadline=None)
def test_a_verdict_is_json_but_for_what_is_not_finite(seed: int, statement: Statement) -> None:
    rng = np.random.default_rng(seed)
    runs = {
        a: [{"r@1": float(rng.random()), "r@10": 0.5, "r@10@16": 0.4} for _ in range(5)] for a in ("ours", "baseline")
    }
    found = judge(statement, runs)
    back = Verdict(**json.loads(json.dumps(asdict(found))))
    assert back == found or math.isnan(found.estimate)


@pytest.mark.parametrize("kind", ["Above", "Keeps", "Trend", "Sooner", "Cheaper", "NotBelow"])
def test_null_data_rarely_holds(kind: str) -> None:
    """Arms that do not differ, by the smallest statement of each kind, both looks: at most 2.7% hold by mistake."""
    rng, times = np.random.default_rng(5), 1200

    def runs() -> dict[str, list[dict[str, float]]]:
        shared = rng.normal(0, 0.05, 10)
        return scored("r@1", **{a: 0.5 + shared + rng.normal(0, 0.03, 10) for a in ("ours", "mid", "baseline")})

    def curves() -> dict[str, list[dict[str, list[float]]]]:
        return {
            a: [
                curve(*((x, float(0.5 - 10 / (x + 20) + rng.normal(0, 0.02))) for x in range(10, 110, 10)))
                for _ in range(10)
            ]
            for a in ("ours", "baseline")
        }

    held = 0
    for _ in range(times if kind != "Sooner" else 600):
        if kind == "Above":
            found = judge(Above("r@1", 0.0), runs())
        elif kind == "Keeps":
            found = judge(Keeps("r@1", 1.0), runs())
        elif kind == "Trend":
            found = judge(Trend("r@1", 0.0, ("baseline", "mid", "ours")), runs())
        elif kind == "Sooner":
            found = judge(Sooner("r@1", 1.0), {}, curves())
        elif kind == "Cheaper":
            found = judge(Cheaper("r@1", 1.0), runs())
        else:  # truly worse by exactly the margin
            worse = runs()
            worse["ours"] = [{"r@1": r["r@1"] - 0.1} for r in worse["ours"]]
            found = judge(NotBelow("r@1", 0.1), worse)
        held += found.verdict == "holds"
    assert held / times <= 0.027 + 3 * math.sqrt(0.027 * 0.973 / times)
