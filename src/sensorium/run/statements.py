"""What a claim's runs say: each statement becomes an interval, a verdict and one sentence (DESIGN section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sensorium.core import (
    Above,
    Cheaper,
    Claim,
    Keeps,
    NotBelow,
    SensoriumError,
    Sooner,
    Statement,
    Trend,
    nearest,
)
from sensorium.evals import statistics
from sensorium.evals.statistics import FIRST_LEVEL, Interval

Word = Literal["holds", "fails", "inconclusive", "no headroom", "not learned", "not tested"]
Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Arm -> per seed: name -> value. The i-th of every arm is the same seed; a diverged run is {}."""
Curves = Mapping[str, Sequence[Mapping[str, Sequence[float]]]]
"""Arm -> per seed: counts (samples, cpu_s, flops) and metrics, columns of equal length; a diverged run is {}."""
Array = NDArray[np.float64]

STATEMENTS: dict[str, type[Statement]] = {kind.__name__: kind for kind in get_args(Statement)}
COUNTED = ("flops", "parameters", "samples")
"""Costs that are counted, not measured: equal values are exact, however few."""
DEARER = 1.1
"""Cost per sample, relative to the baseline's, above which a verdict also needs equal cost."""
GATE = 0.90
"""Level at which an arm must beat the trivial predictor; here five equal seeds suffice, as of a saturated score."""
_STRENGTH: tuple[Word, ...] = ("fails", "not learned", "no headroom", "not tested", "inconclusive", "holds")


@dataclass(frozen=True)
class Verdict:
    """A judged statement: `estimate`, `low` and `high` are a gain (above 0 is better), a ratio or a rise.

    `alone` of the `n` seeds meet the statement by themselves. `open`: twice the seeds could still decide it.
    `equal_cost` is the same statement at equal cost, asked where ours is dearer: `verdict` is the weaker of the two.
    """

    statement: Mapping[str, Any]
    verdict: Word
    sentence: str
    estimate: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    level: float = FIRST_LEVEL
    n: int = 0
    p: float = 1.0
    alone: int = 0
    open: bool = False
    equal_cost: Verdict | None = None


def record(statement: Statement) -> dict[str, Any]:
    """A statement as JSON-ready data, its kind under "says"."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(statement).items()}
    return {"says": type(statement).__name__, **plain}


def arms_of(statement: Statement) -> tuple[str, ...]:
    """The arms that a statement is about, each once, the floor of Keeps last."""
    if isinstance(statement, Trend):
        named: tuple[str, ...] = (*statement.arms, *statement.baselines)
    else:
        named = (statement.ours, statement.baseline, getattr(statement, "floor", ""))
    return tuple(dict.fromkeys(a for a in named if a))


def check(claim: Claim) -> None:
    """Every arm of every statement is an arm of the claim, or its trivial predictor.

    Raises:
        SensoriumError: naming the statement, the arm and the nearest one.
    """
    known = [*claim.arms, claim.beats]
    for statement in claim.says:
        for arm in arms_of(_known(statement)):
            if arm not in known:
                raise SensoriumError(f"{type(statement).__name__}: unknown arm {arm!r}{nearest(arm, known)}")


def judge(
    statement: Statement,
    runs: Runs,
    curves: Curves | None = None,
    costs: Runs | None = None,
    *,
    longer: Curves | None = None,
    beats: Above | None = None,
    names: Mapping[str, str] | None = None,
    seeds: int = 5,
) -> Verdict:
    """The verdict on one statement from the scores, learning curves and costs of its arms.

    `longer`: the baseline's checkpoints at 1, 1.5, 2 and 3 times its cost (columns cpu_s and metrics), for equal cost.
    `beats`: what every arm must hold first, its `baseline` the trivial predictor, scored in `runs` with every seed.
    `names`: how arms are called in the sentence. `seeds`: those of the first look; twice as many are a second one.

    Raises:
        SensoriumError: an unknown statement, arm or metric, with the nearest name.
    """
    _known(statement)
    m = _Measured(runs, curves or {}, costs or {}, longer or {}, names or {}, seeds)
    verdict = _looked(statement, m)
    if verdict.verdict == "not tested":
        return verdict
    if why := _unlearned(statement, m, beats) or _ceiling(statement, m):
        word, reason = why
        said = f"{verdict.sentence} by itself, but {word}: {reason}"
        return replace(verdict, verdict=word, sentence=said, open=False)
    return _with_equal_cost(statement, m, verdict)


def overall(verdicts: Iterable[Verdict]) -> Word:
    """The weakest of a claim's verdicts: it holds where all of them do. None at all is "not tested"."""
    return min((v.verdict for v in verdicts), key=_STRENGTH.index, default="not tested")


@dataclass(frozen=True)
class _Measured:
    runs: Runs
    curves: Curves
    costs: Runs
    longer: Curves
    names: Mapping[str, str]
    seeds: int

    def name(self, arm: str) -> str:
        return self.names.get(arm, arm)

    def column(self, arm: str, metric: str) -> Array:
        """[seeds of the arm] scores; not a number where a run has none."""
        return _column(self.runs, arm, metric)

    def cost(self, arm: str, name: str) -> Array:
        """[seeds of the arm] of a cost; any metric of the runs may serve as one."""
        known = {k for table in (self.costs, self.runs) for run in table.get(arm, ()) for k in run}
        if known and name not in known:
            raise SensoriumError(f"arm {arm!r} has no {name!r}{nearest(name, known)}")
        measured = any(name in run for run in self.costs.get(arm, ()))
        return _column(self.costs if measured else self.runs, arm, name)


def _column(table: Runs, arm: str, name: str) -> Array:
    if arm not in table:
        raise SensoriumError(f"unknown arm {arm!r}{nearest(arm, table)}")
    known = {k for run in table[arm] for k in run}
    if known and name not in known:
        raise SensoriumError(f"arm {arm!r} has no {name!r}{nearest(name, known)}")
    return np.array([run.get(name, math.nan) for run in table[arm]], dtype=np.float64)


def _known(statement: Statement) -> Statement:
    if not isinstance(statement, Statement):
        name = type(statement).__name__
        raise SensoriumError(f"unknown statement {name!r}{nearest(name, STATEMENTS)}")
    return statement


@dataclass(frozen=True)
class _Look:
    """How a statement is read: of n seeds the interval of the first k, its verdict, who agrees, in what words."""

    n: int
    interval: Callable[[int, float], Interval]
    verdict: Callable[[Interval], statistics.Verdict]
    meets: NDArray[np.bool_]
    said: Callable[[Interval], str]
    asked: str


def _looked(statement: Statement, m: _Measured) -> Verdict:
    look = _READ[type(statement)](statement, m)
    about = " and ".join(m.name(a) for a in arms_of(statement))
    if look.n < 2:
        seeds = f"{look.n} seed" + "s" * (look.n != 1)
        return _untested(statement, f"{about}: {seeds} in common, at least 2 are needed")
    found, word = statistics.extended(look.interval, look.verdict, look.n, m.seeds)
    alone = int(look.meets[: found.n].sum())
    said = look.said(found) if math.isfinite(found.mean) else f"{about}: some seed has no score"
    split = f" ({alone} of {found.n} seeds)" if 0 < alone < found.n else ""
    return Verdict(
        statement=record(statement),
        verdict=word,
        sentence=f"{said}; {look.asked}: {word}{split}",
        estimate=found.mean,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        p=found.p,
        alone=alone,
        open=word == "inconclusive" and found.n < 2 * m.seeds and math.isfinite(found.mean),
    )


def _untested(statement: Statement, why: str) -> Verdict:
    return Verdict(record(statement), "not tested", f"{why}: not tested")


def _cut(*columns: Array) -> list[Array]:
    """The seeds that all have: the i-th of every arm is the same seed."""
    n = min(len(c) for c in columns)
    return [c[:n] for c in columns]


def _above(statement: Above, m: _Measured) -> _Look:
    asked = f"asked for {statement.by:g}" + ("" if statement.higher else " below")
    return _gain(statement, m, statement.by, lambda i: statistics.above(i, statement.by), asked)


def _not_below(statement: NotBelow, m: _Measured) -> _Look:
    asked = f"allowed {statement.margin:g} {'below' if statement.higher else 'above'}"
    return _gain(statement, m, -statement.margin, lambda i: statistics.not_below(i, statement.margin), asked)


def _gain(
    statement: Above | NotBelow,
    m: _Measured,
    least: float,
    verdict: Callable[[Interval], statistics.Verdict],
    asked: str,
) -> _Look:
    ours, base = _cut(m.column(statement.ours, statement.metric), m.column(statement.baseline, statement.metric))
    sign = 1 if statement.higher else -1
    gain = sign * (ours - base)
    where = f"{m.name(statement.baseline)} on {statement.metric}"

    def said(i: Interval) -> str:
        up = sign * i.mean >= 0
        way = f"{'above' if up else 'below'} {where}"
        return f"{m.name(statement.ours)} is {_numbers(i, sign if up else -sign, way)}"

    return _Look(len(gain), lambda k, level: statistics.paired_t(gain[:k], level), verdict, gain >= least, said, asked)


def _keeps(statement: Keeps, m: _Measured) -> _Look:
    of = statement.of or statement.metric
    ours, base = _cut(m.column(statement.ours, statement.metric), m.column(statement.baseline, of))
    what = f"{m.name(statement.baseline)}'s {of}"
    if statement.ours == statement.baseline:
        what = f"its {of} as {statement.metric}"
    if statement.floor:
        ours, under, base, beneath = _cut(
            ours, m.column(statement.floor, statement.metric), base, m.column(statement.floor, of)
        )
        sign = 1 if statement.higher else -1
        ours, base = sign * (ours - under), sign * (base - beneath)
        what = f"{m.name(statement.baseline)}'s gain over {m.name(statement.floor)} on {of}"
    elif not statement.higher:
        ours, base = base, ours  # twice the error is half the score
    return _Look(
        len(ours),
        lambda k, level: statistics.ratio(ours[:k], base[:k], level),
        lambda i: statistics.keeps(i, statement.share),
        ours >= statement.share * base,
        lambda i: f"{m.name(statement.ours)} keeps {_numbers(i, 1, f'of {what}')}",
        f"asked for {statement.share:g}",
    )


def _trend(statement: Trend, m: _Measured) -> _Look:
    scores = np.stack(_cut(*(m.column(a, statement.metric) for a in (*statement.arms, *statement.baselines))), axis=1)
    what = statement.metric
    if statement.baselines:
        arms = len(statement.arms)
        scores = scores[:, :arms] - scores[:, arms:]
        what = f"the gain on {statement.metric}"
    sign = 1 if statement.higher else -1
    rises = sign * statistics.rise(scores, statement.at or range(len(statement.arms)))
    along = f"from {m.name(statement.arms[0])} to {m.name(statement.arms[-1])}"

    def said(i: Interval) -> str:
        up = sign * i.mean >= 0
        return f"{what} {'rises' if up else 'falls'} by {_numbers(i, sign if up else -sign, along)}"

    return _Look(
        len(rises),
        lambda k, level: statistics.paired_t(rises[:k], level),
        lambda i: statistics.above(i, statement.by),
        rises >= statement.by,
        said,
        f"asked for {'a rise' if statement.higher else 'a fall'} of {statement.by:g}",
    )


def _sooner(statement: Sooner, m: _Measured) -> _Look:
    ours, base, ours_end, base_end = _reaches(statement, m)
    never, base_never = np.isinf(ours), np.isinf(base)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Who never got there took at least its whole curve; where neither did, nothing is known.
        ratios = np.where(never, ours_end, ours) / np.where(base_never, base_end, base)
    ratios[never & base_never] = np.nan

    def verdict(i: Interval) -> statistics.Verdict:
        word = statistics.at_most(i, statement.by)
        bound = {"holds": never, "fails": base_never}.get(word)
        return "inconclusive" if bound is not None and bound[: i.n].any() else word

    level = f"{m.name(statement.baseline)}'s final {statement.metric}"
    if statement.level is not None:
        level = f"{statement.metric} {statement.level:g}"
    whose = f"of {m.name(statement.baseline)}'s {statement.over}"

    def said(i: Interval) -> str:
        missed = int(never[: i.n].sum())
        tail = f", never in {missed} of {i.n} seeds" if missed else ""
        return f"{m.name(statement.ours)} reaches {level} in {_numbers(i, 1, whose)}{tail}"

    return _Look(
        len(ratios),
        lambda k, level: statistics.geometric(ratios[:k], level),
        verdict,
        ~never & (ratios <= statement.by),
        said,
        f"asked for at most {statement.by:g}",
    )


def _reaches(statement: Sooner, m: _Measured) -> tuple[Array, Array, Array, Array]:
    """[seeds] each: where ours and the baseline reach the level (infinity: never), and where their curves end."""
    for arm in (statement.ours, statement.baseline):
        if arm not in m.curves:
            raise SensoriumError(f"no learning curve of arm {arm!r}{nearest(arm, m.curves)}")
    pairs = zip(m.curves[statement.ours], m.curves[statement.baseline], strict=False)
    rows = [_reach(_points(ours, statement), _points(base, statement), statement) for ours, base in pairs]
    ours, base, ours_end, base_end = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return ours, base, ours_end, base_end


def _reach(ours: tuple[Array, Array], base: tuple[Array, Array], statement: Sooner) -> tuple[float, ...]:
    if not (len(ours[0]) and len(base[0])):
        return (math.nan,) * 4
    sign = 1 if statement.higher else -1
    level = sign * (base[1][-1] if statement.level is None else statement.level)
    there = (statistics.reached(count, sign * score, level) for count, score in (ours, base))
    return *there, ours[0][-1], base[0][-1]


def _points(curve: Mapping[str, Sequence[float]], statement: Sooner) -> tuple[Array, Array]:
    for name in (statement.over, statement.metric):
        if curve and name not in curve:
            raise SensoriumError(f"a learning curve has no {name!r}{nearest(name, curve)}")
    count, score = (np.asarray(curve.get(k, ()), dtype=np.float64) for k in (statement.over, statement.metric))
    return count, score


def _cheaper(statement: Cheaper, m: _Measured) -> _Look:
    ours, base = _cut(m.cost(statement.ours, statement.cost), m.cost(statement.baseline, statement.cost))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = ours / base
    whose = f"of {m.name(statement.baseline)} in {statement.cost}"

    def interval(k: int, level: float) -> Interval:
        found = statistics.geometric(ratios[:k], level)
        exact = statement.cost in COUNTED and bool(np.all(ratios[:k] == ratios[0]))
        one = float(ratios[0])
        return replace(found, mean=one, low=one, high=one) if exact else found

    return _Look(
        len(ratios),
        interval,
        lambda i: statistics.at_most(i, statement.by),
        ratios <= statement.by,
        lambda i: f"{m.name(statement.ours)} takes {_numbers(i, 1, whose)}",
        f"asked for at most {statement.by:g}",
    )


_READ: dict[type, Callable[[Any, _Measured], _Look]] = {
    Above: _above,
    NotBelow: _not_below,
    Keeps: _keeps,
    Sooner: _sooner,
    Trend: _trend,
    Cheaper: _cheaper,
}


def _numbers(i: Interval, sign: int, what: str) -> str:
    """ "0.31 `what` [0.22, 0.40]", with as many decimals as the interval's width asks for."""
    low, high = sorted((sign * i.low, sign * i.high))
    wide = math.isfinite(low) and math.isfinite(high)
    scale = (high - low if wide else 0) or abs(i.mean) or 1.0
    decimals = min(6, max(0, 1 - math.floor(math.log10(scale))))
    ends = f"[{low:.{decimals}f}, {high:.{decimals}f}]" if wide else "[no interval]"
    return f"{sign * i.mean:.{decimals}f} {what} {ends}"


def _unlearned(statement: Statement, m: _Measured, beats: Above | None) -> tuple[Word, str] | None:
    """ "not learned" where some arm does not beat the trivial predictor, "no headroom" where none does."""
    if beats is None:
        return None
    arms = [a for a in arms_of(statement) if a != beats.baseline]
    failed = [m.name(a) for a in arms if not _beats(beats, a, m)]
    if not failed:
        return None
    word: Word = "no headroom" if len(failed) == len(arms) else "not learned"
    shown = f"{' and '.join(failed)} {'are' if len(failed) > 1 else 'is'} not shown to beat {beats.baseline}"
    return word, f"{shown} on {beats.metric}" + (f" by {beats.by:g}" if beats.by else "")


def _beats(beats: Above, arm: str, m: _Measured) -> bool:
    scores, trivial = m.column(arm, beats.metric), m.column(beats.baseline, beats.metric)
    if len(trivial) < len(scores):
        raise SensoriumError(
            f"{beats.baseline} is scored with {len(trivial)} seeds; expected {len(scores)}, as many as {arm}"
        )
    gain = (scores - trivial[: len(scores)]) * (1 if beats.higher else -1)
    return statistics.above(statistics.paired_t(gain, GATE), beats.by) == "holds"


def _ceiling(statement: Statement, m: _Measured) -> tuple[Word, str] | None:
    """ "no headroom" where the baseline's mean touches the ceiling that the statement names."""
    if isinstance(statement, Sooner | Cheaper) or statement.ceiling is None:
        return None
    arm = (*statement.baselines, *statement.arms)[0] if isinstance(statement, Trend) else statement.baseline
    metric = (statement.of if isinstance(statement, Keeps) else "") or statement.metric
    mean = float(np.mean(m.column(arm, metric)))
    if not (mean >= statement.ceiling if statement.higher else mean <= statement.ceiling):
        return None
    return "no headroom", f"{m.name(arm)} is at {mean:.3g} on {metric}, ceiling {statement.ceiling:g}"


def per_sample(costs: Sequence[Mapping[str, float]]) -> float:
    """CPU-seconds per sample: the median over seeds, since a busy machine doubles one now and then; NaN where it was
    not measured or nothing is trained."""
    trained = [run for run in costs if run.get("samples") and run.get("cpu_s")]
    return float(np.median([run["cpu_s"] / run["samples"] for run in trained])) if trained else math.nan


def _with_equal_cost(statement: Statement, m: _Measured, verdict: Verdict) -> Verdict:
    """Judged again at equal cost where ours is the dearer by over 10%; the weaker verdict counts.

    Where ours is the cheaper, equal samples are already the stricter test. Trend and Cheaper have no equal cost.
    """
    if isinstance(statement, Trend | Cheaper) or statement.ours == statement.baseline:
        return verdict
    times = per_sample(m.costs.get(statement.ours, ())) / per_sample(m.costs.get(statement.baseline, ()))
    if not times > DEARER or (isinstance(statement, Sooner) and statement.over != "samples"):
        return verdict
    equal = _equal_cost(statement, m, times)
    said = f"{verdict.sentence}; at equal cost ({times:.2g}x per sample) {equal.sentence}"
    other: Word = "inconclusive" if equal.verdict == "not tested" else equal.verdict
    word = min(verdict.verdict, other, key=_STRENGTH.index)
    if word != verdict.verdict:
        said += f"; together: {word}"
    still = word == "inconclusive" and (verdict.open or equal.open)
    return replace(verdict, verdict=word, sentence=said, open=still, equal_cost=equal)


def _equal_cost(statement: Above | NotBelow | Keeps | Sooner, m: _Measured, times: float) -> Verdict:
    """The statement against the baseline's score at `times` ours' samples, interpolated between its checkpoints."""
    if isinstance(statement, Sooner):
        curves = [c for arm in (statement.ours, statement.baseline) for c in m.curves[arm] if c]
        if all("cpu_s" in c for c in curves):
            return _looked(replace(statement, over="cpu_s"), m)
        return _untested(statement, "the learning curves have no cpu_s")
    metric = (statement.of if isinstance(statement, Keeps) else "") or statement.metric
    seen = [times * run.get("samples", math.nan) for run in m.costs[statement.ours]]
    longer = zip(m.longer.get(statement.baseline, ()), seen, strict=False)
    scores = [_at(curve, metric, samples) for curve, samples in longer]
    if len(scores) < 2 or not np.isfinite(scores).all():
        return _untested(statement, f"no checkpoint of {m.name(statement.baseline)} is that long")
    base = [{**run, metric: s} for run, s in zip(m.runs[statement.baseline], scores, strict=False)]
    return _looked(statement, replace(m, runs={**m.runs, statement.baseline: base}))


def _at(curve: Mapping[str, Sequence[float]], metric: str, samples: float) -> float:
    for name in ("samples", metric):
        if name not in curve:
            raise SensoriumError(f"the baseline's checkpoints have no {name!r}{nearest(name, curve)}")
    return float(np.interp(samples, curve["samples"], curve[metric], left=math.nan, right=math.nan))
