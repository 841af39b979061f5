"""Charts of measured claims: forests of statements, scores by seed, learning curves; each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal

from sensorium.run.claims import Reproduced
from sensorium.run.statements import Verdict

from .table import MISSING
from .vega import DASHES, INK, PALETTE, Chart, figure

VERDICTS = {
    "holds": ("#2da44e", "triangle-up", "▲"),
    "fails": ("#e5534b", "triangle-down", "▼"),
    "inconclusive": ("#85858f", "circle", "●"),
    "no headroom": ("#d9730d", "square", "■"),
    "not learned": ("#8b63d9", "diamond", "◆"),
    "not tested": ("#0f9aa8", "cross", "✚"),
    "not measured": ("#85858f", "stroke", "○"),
}
"""Colour, shape in a chart and sign in a text of each verdict."""
RATIOS = ("Keeps", "Sooner", "Cheaper")
LEFT = ("Sooner", "Cheaper")
"""Ratios of costs: the smaller the better."""
COUNTS = ("samples", "cpu_s", "flops")
"""Columns of a learning curve that are counted, not scored."""

Scale = Literal["linear", "log", "symlog"]
Values = Mapping[str, Sequence[float]]
"""Arm -> a value per seed; not a number where a run has none."""


@dataclass(frozen=True)
class Point:
    """A line of a forest: an estimate, its interval, what it says in words, and where a click leads."""

    row: str
    verdict: str
    mean: float
    low: float
    high: float
    found: str
    link: str = ""

    @property
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) or math.isfinite(self.high)


@dataclass(frozen=True)
class Axis:
    """Where the points of a forest stand: `asked` and, where it is one value, `none` (no difference) become rules."""

    title: str
    asked: float
    label: str
    none: float | None = None
    scale: Scale = "linear"
    limits: tuple[float, float] = field(default=(-math.inf, math.inf))

    def place(self, value: float) -> float:
        """A value -> where it stands, in units in which the axis is even."""
        if self.scale == "log":
            return math.log(value)
        return math.copysign(math.log1p(abs(value)), value) if self.scale == "symlog" else value

    def back(self, place: float) -> float:
        """The value at a place."""
        if self.scale == "log":
            return math.exp(place)
        return math.copysign(math.expm1(abs(place)), place) if self.scale == "symlog" else place

    def shows(self, value: float) -> bool:
        """Whether a value has a place at all."""
        return math.isfinite(value) and (self.scale != "log" or value > 0)

    def domain(self, points: Sequence[Point]) -> tuple[float, float]:
        """First and last value: every point, end and rule inside, within the limits, with some air around."""
        values = [v for p in points for v in (p.mean, p.low, p.high) if self.shows(v)]
        values += [v for v in (self.asked, self.none) if v is not None and self.shows(v)]
        low, high = max(min(values), self.limits[0]), min(max(values), self.limits[1])
        first, last = self.place(low), self.place(high)
        air = 0.08 * (last - first) or 0.1 * abs(first) or 0.1
        return self.back(first - air), self.back(last + air)


def asked_of(says: Mapping[str, Any]) -> float:
    """The margin, share or factor that a statement names, as its estimate has to be."""
    margin = says.get("margin")
    return float(-margin if margin is not None else says.get("by", says.get("share", math.nan)))


def axis_of(says: Mapping[str, Any]) -> Axis:
    """The axis of one statement, in its own units."""
    kind, asked = says["says"], asked_of(says)
    if kind in LEFT:
        return Axis("← better", asked, _asked(kind, asked), 1.0, "log")
    return Axis("better →", asked, _asked(kind, asked), 1.0 if kind == "Keeps" else 0.0)


def _asked(kind: str, asked: float) -> str:
    if kind == "NotBelow":
        return f"allowed: {asked:g}"
    return f"asked: {'at most ' if kind in LEFT else ''}{asked:g}"


def _what(says: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What the estimate of a statement is."""
    kind, metric = says["says"], str(says.get("metric") or says.get("cost"))
    ours, baseline = (names.get(arm, arm) for arm in (says.get("ours", ""), says.get("baseline", "")))
    less = "" if says.get("higher", True) else ", where less is better"
    if kind == "Trend":
        first, last = (names.get(arm, arm) for arm in (says["arms"][0], says["arms"][-1]))
        gain = "gain on " if says.get("baselines") else ""
        return f"{'rise' if says.get('higher', True) else 'fall'} of {gain}{metric} from {first} to {last}"
    if kind == "Keeps":
        return f"share of {baseline}'s {says.get('of') or metric} that {ours} keeps{less}"
    if kind == "Sooner":
        return f"{says.get('over', 'samples')} of {ours} to reach the level ÷ those of {baseline}"
    if kind == "Cheaper":
        return f"{metric} of {ours} ÷ that of {baseline}"
    return f"gain of {ours} over {baseline} on {metric}{less}"


def short(value: float) -> str:
    """A number in few digits, or a dash where it is none."""
    if not math.isfinite(value):
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def ends(v: Verdict) -> str:
    """The interval of a verdict, or that there is none."""
    if not (math.isfinite(v.low) or math.isfinite(v.high)):
        return "no interval"
    return f"[{short(v.low)}, {short(v.high)}]"


def found(v: Verdict) -> str:
    """Estimate and interval in words."""
    return f"{short(v.estimate)} {ends(v)}" if math.isfinite(v.estimate) else "no number"


def forest(points: Sequence[Point], axis: Axis, step: int) -> dict[str, Any]:
    """Estimates with intervals, `step` pixels each, the asked-for margin as a rule; a dashed rule is no difference."""
    domain = axis.domain(points)
    values = [_drawn(p, axis, domain) for p in points]
    there = [v for v in VERDICTS if any(p.verdict == v for p in points)]
    y = {"field": "row", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 300}}
    links = any(p.link for p in points)
    legend = {"orient": "bottom", "columns": 2, "title": None, "symbolOpacity": 1} if links or len(there) > 1 else None
    words = {"field": "verdict", "type": "nominal", "legend": legend}
    colour = {**words, "scale": {"domain": there, "range": [VERDICTS[v][0] for v in there]}}
    shape = {**words, "scale": {"domain": there, "range": [VERDICTS[v][1] for v in there]}}
    tip = [{"field": f, "type": "nominal"} for f in ("row", "verdict", "found")]
    scale = {"type": axis.scale, "domain": list(domain), "nice": False, "zero": False}

    def x(name: str) -> dict[str, Any]:
        return {
            "field": name,
            "type": "quantitative",
            "title": axis.title,
            "scale": scale,
            "axis": _ticks(axis, domain),
        }

    point = {"y": y, "x": x("mean"), "stroke": colour, "fill": colour, "shape": shape, "tooltip": tip}
    if links:
        point["href"] = {"field": "link"}
    note = {"y": y, "x": x("mean"), "text": {"field": "note"}}
    return figure(
        {"step": step},
        data={"values": values},
        layer=[
            *_rules(axis, domain, scale),
            {
                "mark": {"type": "rule", "size": 4, "opacity": 0.8},
                "transform": [{"filter": "isValid(datum.low)"}],
                "encoding": {"y": y, "x": x("low"), "x2": {"field": "high"}, "stroke": colour},
            },
            {"mark": {"type": "point", "size": 100, "opacity": 1, "strokeWidth": 1.5}, "encoding": point},
            *(_note(side, note) for side in ("left", "right") if any(v["side"] == side for v in values)),
        ],
    )


def _drawn(p: Point, axis: Axis, domain: tuple[float, float]) -> dict[str, Any]:
    """A point as the chart draws it: what lies beyond the axis stands at its edge, with a note."""
    first, last = domain

    def inside(value: float, otherwise: float) -> float:
        return min(max(value, first), last) if axis.shows(value) else otherwise

    mean = inside(p.mean, axis.asked)
    note = "" if p.bounded else "no interval"
    if mean != p.mean:
        note = f"{short(p.mean)}, beyond this axis"
    across = (axis.place(mean) - axis.place(first)) / (axis.place(last) - axis.place(first))
    drawn: dict[str, Any] = {"row": p.row, "verdict": p.verdict, "found": p.found, "link": p.link, "mean": mean}
    drawn |= {"note": note, "side": "right" if across > 0.75 else "left"}
    return drawn | ({"low": inside(p.low, first), "high": inside(p.high, last)} if p.bounded else {})


def _note(side: str, encoding: dict[str, Any]) -> dict[str, Any]:
    mark = {"type": "text", "align": side, "baseline": "middle", "dx": -11 if side == "right" else 11, "dy": -8}
    keep = [{"filter": f"datum.side == '{side}' && datum.note != ''"}]
    return {"mark": {**mark, "fontSize": 11}, "transform": keep, "encoding": encoding}


def _rules(axis: Axis, domain: tuple[float, float], scale: dict[str, Any]) -> Iterator[dict[str, Any]]:
    one: dict[str, Any] = {"values": [{}]}

    def at(value: float) -> dict[str, Any]:
        return {"datum": value, "type": "quantitative", "scale": scale, "title": axis.title}

    if axis.none is not None:
        dash = {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6}
        yield {"data": one, "mark": dash, "encoding": {"x": at(axis.none)}}
    across = (axis.place(axis.asked) - axis.place(domain[0])) / (axis.place(domain[1]) - axis.place(domain[0]))
    align = "left" if across < 0.3 else "right" if across > 0.7 else "center"
    yield {"data": one, "mark": {"type": "rule", "size": 2}, "encoding": {"x": at(axis.asked)}}
    yield {
        "data": one,
        "mark": {"type": "text", "align": align, "baseline": "bottom", "fontSize": 12},
        "encoding": {"x": at(axis.asked), "y": {"value": -4}, "text": {"value": axis.label}},
    }


def _ticks(axis: Axis, domain: tuple[float, float]) -> dict[str, Any]:
    steps: Sequence[float] = (1.0, 3.0)
    if axis.scale == "log":
        decades = math.log10(domain[1] / domain[0])
        steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 1.5 else (1.0, 3.0) if decades < 5 else (1.0,)
    one_way = [m * 10.0**p for p in range(-9 if axis.scale == "log" else 0, 10) for m in steps]
    values = [v for v in (*(-v for v in reversed(one_way)), 0.0, *one_way) if domain[0] <= v <= domain[1]]
    plain = {"format": ",~r", "tickCount": 7, "labelOverlap": True}
    return plain if axis.scale == "linear" or len(values) < 2 else {**plain, "values": values}


def statement_chart(name: str, v: Verdict, names: Mapping[str, str]) -> Chart | None:
    """One statement in its own units, at equal samples and at equal cost; None where there is no number."""
    looks = [(f"{v.n} seeds", v)]
    if v.equal_cost is not None:
        looks = [("equal samples", v), ("equal cost", v.equal_cost)]
    axis = axis_of(v.statement)
    points = [Point(row, look.verdict, look.estimate, look.low, look.high, found(look)) for row, look in looks]
    points = [p for p in points if axis.shows(p.mean)]
    if not points or not axis.shows(axis.asked):
        return None
    return Chart(
        name=name,
        title=_what(v.statement, names),
        caption=f"{axis.label}, a line; the interval at {v.level:.0%}. Dashed: no difference.",
        spec=forest(points, axis, 34),
        heads=("", "estimate", "interval", "level", "asked", "seeds", "alone", "p", "verdict"),
        rows=[_numbers(row, look, axis) for row, look in looks],
    )


def _numbers(row: str, v: Verdict, axis: Axis) -> tuple[str, ...]:
    alone = f"{v.alone} of {v.n}"
    return (
        row,
        short(v.estimate),
        ends(v),
        f"{v.level:.0%}",
        f"{axis.asked:g}",
        str(v.n),
        alone,
        f"{v.p:.3g}",
        v.verdict,
    )


def named(result: Reproduced) -> dict[str, str]:
    """Arm -> how it is called; the arm's own name stands beside it where two would be called alike."""
    called = {arm: result.names.get(arm, arm) for arm in result.row.arms}
    alike = {name for name in called.values() if list(called.values()).count(name) > 1}
    return {arm: f"{name} ({arm})" if name in alike else name for arm, name in called.items()}


def metrics_of(result: Reproduced) -> list[str]:
    """What the statements are about, scores and costs, each once."""
    says = [v.statement for v in result.row.verdicts]
    return list(dict.fromkeys(str(s[k]) for s in says for k in ("metric", "of", "cost") if s.get(k)))


def by_seed(result: Reproduced, metric: str) -> dict[str, list[float]]:
    """Arm -> score per seed, or cost where no run has such a score; arms without any are left out."""
    found = {}
    for arm, measured in result.row.arms.items():
        table = measured.scores if any(metric in run for run in measured.scores) else measured.costs
        if any(metric in run for run in table):
            found[arm] = [float(run.get(metric, math.nan)) for run in table]
    return found


def seeds_chart(name: str, result: Reproduced, metric: str, trivial: Sequence[float]) -> Chart | None:
    """Every seed's score in every arm, paired by a line; the trivial predictor's mean as a rule."""
    names, scores = named(result), by_seed(result, metric)
    seeds = result.row.seeds
    values: list[dict[str, Any]] = [
        {"arm": names[arm], "at": i, "seed": str(seed), "score": score}
        for i, (arm, column) in enumerate(scores.items())
        for seed, score in zip(seeds, column, strict=False)
        if math.isfinite(score)
    ]
    if not values:
        return None
    known = [v for v in trivial if math.isfinite(v)]
    rule = _beside([v["score"] for v in values], fmean(known)) if known else None
    return Chart(
        name=name,
        title=f"{metric} by seed",
        caption="One line per seed joins its arms. The upright stroke is an arm's mean."
        + (f" Dashed: {result.claim.beats}." if rule is not None else "")
        + (f" Far off: {result.claim.beats}, {short(fmean(known))}." if known and rule is None else ""),
        spec=_strip(values, metric, [names[arm] for arm in scores], rule, result.claim.beats),
        heads=("arm", *(f"seed {s}" for s in seeds), "mean"),
        rows=[
            *(_seed_row(names[arm], column, len(seeds)) for arm, column in scores.items()),
            *([_seed_row(result.claim.beats, trivial, len(seeds))] if known else []),
        ],
    )


def _beside(scores: Sequence[float], trivial: float) -> float | None:
    """The trivial predictor's score, unless it is so far off that the seeds could no longer be told apart."""
    low, high = min(scores), max(scores)
    return trivial if low == high or max(low - trivial, trivial - high) < 5 * (high - low) else None


def _seed_row(name: str, column: Sequence[float], seeds: int) -> list[str]:
    there = [v for v in column if math.isfinite(v)]
    cells = [short(v) for v in column] + [MISSING] * (seeds - len(column))
    return [name, *cells[:seeds], short(fmean(there)) if there else MISSING]


def _strip(
    values: list[dict[str, Any]], metric: str, arms: Sequence[str], trivial: float | None, beats: str
) -> dict[str, Any]:
    y = {"field": "arm", "type": "nominal", "sort": list(arms), "title": None, "axis": {"labelLimit": 240}}
    x = {"field": "score", "type": "quantitative", "title": metric, "scale": {"zero": False, "padding": 14}}
    x["axis"] = {"format": ",~r", "tickCount": 7, "labelOverlap": True}
    mean = {**x, "aggregate": "mean"}
    colour = {**y, "scale": {"domain": list(arms), "range": PALETTE}, "legend": None}
    del colour["axis"]
    tip = [{"field": "arm"}, {"field": "seed"}, {"field": "score", "format": ".4g"}]
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.4, "color": INK},
            "encoding": {"y": y, "x": x, "detail": {"field": "seed"}, "order": {"field": "at", "type": "quantitative"}},
        },
        {"mark": {"type": "tick", "thickness": 3, "size": 22}, "encoding": {"y": y, "x": mean, "color": colour}},
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.85},
            "encoding": {"y": y, "x": x, "color": colour, "tooltip": tip},
        },
    ]
    if trivial is not None:
        at = {"x": {"datum": trivial, "type": "quantitative"}}
        right = trivial > fmean(v["score"] for v in values)
        words = {
            "type": "text",
            "align": "right" if right else "left",
            "dx": -5 if right else 5,
            "baseline": "bottom",
            "fontSize": 12,
        }
        text = {**at, "y": {"value": -4}, "text": {"value": beats}}
        layers += [
            {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": at},
            {"data": {"values": [{}]}, "mark": words, "encoding": text},
        ]
    return figure({"step": 36}, data={"values": values}, layer=layers)


def curve_charts(result: Reproduced) -> Iterator[Chart]:
    """Every scored column of the learning curves by samples and by CPU-seconds, where the runs have them."""
    runs = [run for seeds in result.curves.values() for run in seeds]
    scored = list(dict.fromkeys(column for run in runs for column in run if column not in COUNTS))
    for i, metric in enumerate(scored):
        for over, title in (("samples", "samples seen"), ("cpu_s", "CPU-seconds of training")):
            chart = _curves(f"curve-{i}-{over}", result, metric, over, title)
            if chart is not None:
                yield chart


def _points(run: Values, over: str, metric: str) -> list[tuple[float, float]]:
    """[points] (count, score) of a run, in order; not a number where it has none."""
    return list(zip(run.get(over, ()), run.get(metric, ()), strict=False))


def _medians(seeds: Sequence[Values], over: str, metric: str) -> list[tuple[float, float]]:
    """The median count and score of the seeds that have a number, checkpoint by checkpoint."""
    runs = [_points(run, over, metric) for run in seeds]
    found = []
    for i in range(max(map(len, runs), default=0)):
        at = [run[i] for run in runs if len(run) > i and all(map(math.isfinite, run[i]))]
        if at:
            found.append((median(x for x, _ in at), median(y for _, y in at)))
    return found


def _curves(name: str, result: Reproduced, metric: str, over: str, title: str) -> Chart | None:
    names = named(result)
    seeds: list[dict[str, Any]] = []
    middle: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    for arm, runs in result.curves.items():
        called = names.get(arm, arm)
        for seed, run in enumerate(runs):
            at = [p for p in _points(run, over, metric) if all(map(math.isfinite, p))]
            seeds += [{"arm": called, "seed": str(seed), "x": x, "y": y} for x, y in at]
        medians = _medians(runs, over, metric)
        middle += [{"arm": called, "x": x, "y": y} for x, y in medians]
        rows += [[called, *(f"{y:.3f} at {x:,.4g}" for x, y in medians)]] if medians else []
    if not any(v["x"] > 0 for v in middle):
        return None
    most = max(map(len, rows))
    return Chart(
        name=name,
        title=f"validation {metric} by {title}",
        caption="Thick: the median over seeds; thin: each seed. An arm that trains nothing has no line.",
        spec=_lines(seeds, middle, f"validation {metric}", title),
        heads=("median of", *(f"checkpoint {i}" for i in range(1, most))),
        rows=[row + [MISSING] * (most - len(row)) for row in rows],
    )


def _lines(seeds: list[dict[str, Any]], middle: list[dict[str, Any]], score: str, count: str) -> dict[str, Any]:
    x = {"field": "x", "type": "quantitative", "title": count, "scale": {"zero": True}}
    x["axis"] = {"format": "~s", "tickCount": 8}
    y = {"field": "y", "type": "quantitative", "title": score, "scale": {"zero": False}}
    legend = {"title": None, "orient": "bottom", "symbolType": "stroke", "symbolSize": 500, "symbolOpacity": 1}
    arms = list(dict.fromkeys(v["arm"] for v in middle))
    arm = {"field": "arm", "type": "nominal", "legend": legend}
    colour = {**arm, "scale": {"domain": arms, "range": PALETTE}}
    dash = {**arm, "scale": {"domain": arms, "range": DASHES}}
    tip = [{"field": "arm"}, {"field": "x", "title": count, "format": ",.4~g"}, {"field": "y", "format": ".3f"}]
    plain = {**colour, "legend": None}
    return figure(
        300,
        layer=[
            {
                "data": {"values": seeds},
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.35},
                "encoding": {"x": x, "y": y, "stroke": colour, "detail": {"field": "seed"}},
            },
            {
                "data": {"values": middle},
                "mark": {"type": "line", "strokeWidth": 2.5},
                "encoding": {"x": x, "y": y, "stroke": colour, "strokeDash": dash},
            },
            {
                "data": {"values": middle},
                "mark": {"type": "point", "size": 28, "strokeWidth": 0, "opacity": 1},
                "encoding": {"x": x, "y": y, "fill": plain, "tooltip": tip},
            },
        ],
    )


def panels(name: str, measured: Sequence[tuple[str, str, Verdict]]) -> Iterator[Chart]:
    """(label, link, verdict) of many statements -> one forest per kind, each statement in units of what it asked for.

    Where a statement asks for a gain of 0 there is no such unit: these have a forest per metric in the metric's own.
    """
    groups: dict[tuple[str, str], list[tuple[str, str, Verdict]]] = {}
    for label, link, v in measured:
        metric = "" if asked_of(v.statement) else str(v.statement.get("metric"))
        groups.setdefault((str(v.statement["says"]), metric), []).append((label, link, v))
    ordered = [key for kind in PANELS for key in sorted(groups) if key[0] == kind]
    for i, (kind, metric) in enumerate(ordered):
        chart = _panel(f"{name}-{i}", kind, metric, groups[kind, metric])
        if chart is not None:
            yield chart


PANELS: dict[str, tuple[str, Axis]] = {
    "Above": ("Better by a margin", Axis("gain ÷ the margin asked for   (better →)", 1.0, "asked", 0.0, "symlog")),
    "NotBelow": (
        "Not worse by more than a margin",
        Axis("gain ÷ the margin allowed   (better →)", -1.0, "allowed", 0.0, "symlog"),
    ),
    "Trend": (
        "Rises or falls by a margin",
        Axis("change ÷ what was asked for   (better →)", 1.0, "asked", 0.0, "symlog"),
    ),
    "Keeps": ("A share is kept", Axis("share kept ÷ share asked for   (better →)", 1.0, "asked", limits=(0.0, 2.0))),
    "Sooner": ("Sooner there", Axis("ratio ÷ what was asked for   (← better)", 1.0, "at most", scale="log")),
    "Cheaper": ("Cheaper", Axis("ratio ÷ what was asked for   (← better)", 1.0, "at most", scale="log")),
}


def _panel(name: str, kind: str, metric: str, group: Sequence[tuple[str, str, Verdict]]) -> Chart | None:
    title, axis = PANELS[kind]
    if metric:
        title, axis = f"{title} of 0, on {metric}", Axis(f"gain on {metric}   (better →)", 0.0, "asked: any", 0.0)
    points = []
    for label, link, v in group:
        unit = 1.0 if metric else abs(asked_of(v.statement))
        points.append(Point(label, v.verdict, v.estimate / unit, v.low / unit, v.high / unit, found(v), link))
    shown = [p for p in points if axis.shows(p.mean)]
    if not shown:
        return None
    missing = len(points) - len(shown)
    return Chart(
        name=name,
        title=title,
        caption=f"{missing} without a number {'is' if missing == 1 else 'are'} in the table alone." if missing else "",
        spec=forest(shown, axis, 22),
        heads=("statement", "estimate", "interval", "level", "asked", "seeds", "verdict"),
        rows=[_line(label, v) for label, _, v in group],
    )


def _line(label: str, v: Verdict) -> tuple[str, ...]:
    return label, short(v.estimate), ends(v), f"{v.level:.0%}", f"{asked_of(v.statement):g}", str(v.n), v.verdict
