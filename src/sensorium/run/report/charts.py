"""Vega-Lite specifications of a race's charts, as plain data, and the same numbers as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .table import finite, interval, names, number, primary, verdict_of
from .vega import DASHES, INK, PALETTE, Chart, figure

Json = Mapping[str, Any]
VERDICTS = {
    "better": ("#2da44e", "triangle-up"),
    "better*": ("#2da44e", "triangle-up"),
    "undecided": ("#85858f", "circle"),
    "worse*": ("#e5534b", "triangle-down"),
    "worse": ("#e5534b", "triangle-down"),
}
SHOWN_ACROSS = 700
"""Pixels that a chart is assumed to be wide when labels are placed: as on paper. A wider one only gives them room."""


def _label(metric: Json) -> str:
    return str(metric["label"]) + ("" if metric.get("higher", True) else " (lower is better)")


def _intervals(table: Json, metric: str) -> list[dict[str, Any]]:
    found = []
    for name, e in zip(names(table), table["entrants"], strict=True):
        d = (e.get("differences") or {}).get(metric) or {}
        if None not in (d.get("mean"), d.get("low"), d.get("high")):
            ends = {k: d.get(k) for k in ("mean", "low", "high", "item_low", "item_high")}
            found.append({"entrant": name, **ends, "verdict": verdict_of(d)})
    return found


def _forest(values: list[dict[str, Any]], label: str) -> dict[str, Any]:
    there = [v for v in VERDICTS if any(row["verdict"] == v for row in values)]
    y = {"field": "entrant", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}}
    shades = {"domain": there, "range": [VERDICTS[v][0] for v in there]}
    # White inside where Holm's correction does not hold the verdict.
    fills = {"domain": there, "range": ["#ffffff" if v.endswith("*") else VERDICTS[v][0] for v in there]}
    shapes = {"domain": there, "range": [VERDICTS[v][1] for v in there]}
    words = {"field": "verdict", "type": "nominal", "legend": {"orient": "bottom", "title": None, "symbolOpacity": 1}}
    tip = [{"field": "entrant", "type": "nominal"}, {"field": "verdict", "type": "nominal"}] + [
        {"field": f, "type": "quantitative", "format": "+.3f"} for f in ("mean", "low", "high", "item_low", "item_high")
    ]

    def x(field: str) -> dict[str, Any]:
        axis = {"format": "+.3~f", "tickCount": 7}
        return {"field": field, "type": "quantitative", "title": f"difference in {label}", "axis": axis}

    def rule(low: str, high: str, **mark: Any) -> dict[str, Any]:
        return {
            "mark": {"type": "rule", **mark},
            "transform": [{"filter": f"isValid(datum.{low}) && isValid(datum.{high})"}],
            "encoding": {"y": y, "x": x(low), "x2": {"field": high}},
        }

    seeds = rule("low", "high", size=7, opacity=0.45)
    seeds["encoding"]["stroke"] = {**words, "scale": shades}
    items = rule("item_low", "item_high", size=2)
    items["encoding"]["stroke"] = {**words, "scale": shades}
    point = {
        "y": y,
        "x": x("mean"),
        "stroke": {**words, "scale": shades},
        "fill": {**words, "scale": fills},
        "shape": {**words, "scale": shapes},
        "tooltip": tip,
    }
    return figure(
        {"step": 26},
        data={"values": values},
        layer=[
            {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
            seeds,
            items,
            {"mark": {"type": "point", "size": 110, "opacity": 1, "strokeWidth": 2}, "encoding": point},
        ],
    )


def _differences(race: Json, table: Json) -> Iterator[Chart]:
    """The forest of the primary metric, then one for each other metric with a decided difference."""
    heads = ("entrant", "mean", "98% over seeds", "95% over test items", "verdict")
    for metric in sorted(race["metrics"], key=lambda m: m["name"] != primary(race)["name"]):
        first = metric["name"] == primary(race)["name"]
        values = _intervals(table, metric["name"])
        if not values or not (first or any(v["verdict"] != "undecided" for v in values)):
            continue
        yield Chart(
            name="forest" if first else f"measure-{race['metrics'].index(metric)}",
            title=f"Difference in {_label(metric)}" + (" to the baseline" if first else ""),
            caption="Thick: 98% t interval over paired seeds. Thin, on top: 95% bootstrap interval over test items. "
            "Dashed: no difference. White inside, with a star: decided, yet not held after Holm's correction."
            if first
            else "",
            spec=_forest(values, _label(metric)),
            heads=heads,
            rows=[
                (
                    v["entrant"],
                    number(v["mean"], "+.3f"),
                    interval(v["low"], v["high"]),
                    interval(v["item_low"], v["item_high"]),
                    v["verdict"],
                )
                for v in values
            ],
        )


def _series(table: Json) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds along each entrant's run; of the baseline only its best rate."""
    found = []
    for name, e in zip(names(table), table["entrants"], strict=True):
        curve = e.get("curve") or {}
        if e.get("baseline") and not e.get("reference"):
            continue
        for i, samples in enumerate(curve.get("samples") or []):
            at = [s[i] for s in curve.get("values") or [] if len(s) > i and s[i] is not None]
            if at and samples is not None:
                mean = math.fsum(at) / len(at)
                sd = math.sqrt(math.fsum((v - mean) ** 2 for v in at) / (len(at) - 1)) if len(at) > 1 else 0.0
                found.append({"entrant": name, "samples": samples, "mean": mean, "low": mean - sd, "high": mean + sd})
    return found


def _curves(race: Json, table: Json) -> Iterator[Chart]:
    values = _series(table)
    if not values:
        return
    title = f"validation {_label(primary(race))}"
    x: dict[str, Any] = {"field": "samples", "type": "quantitative", "title": "samples seen"}
    x |= {"axis": {"format": "~s", "tickCount": 8}}
    legend = {"title": None, "symbolLimit": 60, "symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 2.5}
    who = {"field": "entrant", "type": "nominal", "sort": None, "legend": legend}
    colour = {**who, "scale": {"range": PALETTE}}
    faded = {"condition": {"param": "picked", "value": 1}, "value": 0.12}

    def y(field: str) -> dict[str, Any]:
        return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}

    fill = {**colour, "legend": None}
    band = {"x": x, "y": y("low"), "y2": {"field": "high"}, "fill": fill}
    pale = {"condition": {"param": "picked", "value": 0.12}, "value": 0.02}
    line = {
        "x": x,
        "y": y("mean"),
        "stroke": colour,
        "strokeDash": {**who, "scale": {"range": DASHES}},
        "opacity": faded,
    }
    dot = {"x": x, "y": y("mean"), "fill": fill, "opacity": faded}
    pick = {"name": "picked", "select": {"type": "point", "fields": ["entrant"]}, "bind": "legend"}
    tip = [{"field": "entrant"}, {"field": "samples", "format": ","}, {"field": "mean", "format": ".3f"}]
    spec = figure(
        340,
        data={"values": values},
        layer=[
            {"mark": {"type": "area"}, "encoding": {**band, "opacity": pale}},
            {"mark": {"type": "line", "strokeWidth": 2}, "encoding": line, "params": [pick]},
            {"mark": {"type": "point", "size": 26, "strokeWidth": 0}, "encoding": {**dot, "tooltip": tip}},
        ],
    )
    at = sorted({v["samples"] for v in values})
    cells = {(v["entrant"], v["samples"]): f"{v['mean']:.3f} ± {v['mean'] - v['low']:.3f}" for v in values}
    yield Chart(
        name="curves",
        title="Validation score while training",
        caption="Mean and standard deviation over seeds; of the baseline its best rate. A click on a name in the "
        "legend brings its line out. Entrants without training have no line.",
        spec=spec,
        heads=("entrant", *(f"{s:,}" for s in at)),
        rows=[[n, *(cells.get((n, s), "–") for s in at)] for n in dict.fromkeys(v["entrant"] for v in values)],
    )


PLACES = [
    (dx, dy, align)
    for d in (0, 12, 24, 36, 50, 64, 80)
    for dx, dy, align in (
        *((10, -d, "left"), (10, d, "left"), (-10, -d, "right"), (-10, d, "right")),
        *((0, -d - 13, "center"), (0, d + 14, "center")),
    )
]
"""Where a label may stand beside its point, nearest first: pixels right, pixels down, alignment."""
Box = tuple[float, float, float, float]


def _box(at: tuple[float, float], place: tuple[int, int, str], words: str) -> Box:
    dx, dy, align = place
    width = 6.6 * len(words)
    left = at[0] + dx - {"left": 0.0, "center": width / 2, "right": width}[align]
    return left, at[1] + dy - 7, left + width, at[1] + dy + 7


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def place_labels(
    points: Sequence[tuple[float, float]], words: Sequence[str], width: float
) -> list[tuple[int, int, str]]:
    """Points in pixels -> an offset and alignment per label, so that labels cover neither points nor each other."""
    taken: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    chosen = []
    for at, label in zip(points, words, strict=True):

        def cost(place: tuple[int, int, str], at: tuple[float, float] = at, label: str = label) -> float:
            box = _box(at, place, label)
            outside = max(0.0, -box[0]) + max(0.0, box[2] - width)
            return sum(_overlap(box, other) for other in taken) + 100 * outside

        chosen.append(min(PLACES, key=cost))
        taken.append(_box(at, chosen[-1], label))
    return chosen


def _spread(values: Sequence[float], pixels: float) -> list[float]:
    low, high = min(values), max(values)
    return [(v - low) / ((high - low) or 1.0) * pixels for v in values]


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 3, 10, 30 … around positive values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    grid = [m * 10.0**p for p in range(low, high + 1) for m in (1, 3)]
    inside = [a for a, b in pairwise(grid) if b >= min(values) and a <= max(values) * 1.5]
    return inside or grid


def _costs(race: Json, table: Json) -> list[dict[str, Any]]:
    """Cost and score of every entrant that has both; of the baseline only its best rate."""
    metric = primary(race)["name"]
    return [
        {
            "entrant": name,
            "cpu_s": max(e["cost"]["cpu_s"], 0.01),
            "score": e["scores"][metric]["mean"],
            "trained": "trained" if e["trained"] else "no training",
        }
        for name, e in zip(names(table), table["entrants"], strict=True)
        if (e["scores"].get(metric) or {}).get("mean") is not None
        and (e.get("cost") or {}).get("cpu_s") is not None
        and (e.get("reference") or not e.get("baseline"))
    ]


def _cost(race: Json, table: Json) -> Iterator[Chart]:
    metric, height, values = primary(race), 380, _costs(race, table)
    if not values:
        return
    across = _spread([math.log(v["cpu_s"]) for v in values], SHOWN_ACROSS - 130)
    down = [height - 60 - y for y in _spread([v["score"] for v in values], height - 60)]
    points = list(zip(across, down, strict=True))
    for v, (dx, dy, align) in zip(
        values, place_labels(points, [v["entrant"] for v in values], SHOWN_ACROSS), strict=True
    ):
        v |= {"dx": dx, "dy": dy, "align": align}
    label = f"test {_label(metric)}"
    encoding = {
        "x": {
            **{"field": "cpu_s", "type": "quantitative", "title": "CPU-seconds per run (logarithmic)"},
            **{"scale": {"type": "log", "padding": 40, "nice": False}},
            **{"axis": {"values": _ticks([v["cpu_s"] for v in values]), "format": "~g"}},
        },
        "y": {
            **{"field": "score", "type": "quantitative", "title": label},
            **{"scale": {"zero": False, "padding": 28, "nice": False}},
        },
    }
    kind = {
        "field": "trained",
        "type": "nominal",
        "legend": {"title": None, "orient": "bottom", "symbolFillColor": INK},
    }
    shape = {**kind, "scale": {"domain": ["trained", "no training"], "range": ["circle", "square"]}}
    tip = [{"field": "entrant"}, {"field": "score", "format": ".3f"}, {"field": "cpu_s", "format": ".1f"}]
    text = {"type": "text", "baseline": "middle", "fontSize": 12}
    where = {k: {"expr": f"datum.{k}"} for k in ("dx", "dy", "align")}
    yield Chart(
        name="cost",
        title="What a score costs",
        caption="Top left is best: a high score for little time. Of the baseline its best rate."
        if metric.get("higher", True)
        else "Bottom left is best. Of the baseline its best rate.",
        spec=figure(
            height,
            data={"values": values},
            layer=[
                {
                    "mark": {"type": "point", "filled": True, "size": 90, "color": PALETTE[0], "opacity": 1},
                    "encoding": {**encoding, "shape": shape, "tooltip": tip},
                },
                {"mark": {**text, **where}, "encoding": {**encoding, "text": {"field": "entrant"}}},
            ],
        ),
        heads=("entrant", "CPU-seconds", label, ""),
        rows=[(v["entrant"], f"{v['cpu_s']:.2f}", number(v["score"]), v["trained"]) for v in values],
    )


def all_of(race: Json, table: Json) -> list[Chart]:
    """Every chart that has something to show, in reading order."""
    race, table = finite(race), finite(table)
    return [*_differences(race, table), *_curves(race, table), *_cost(race, table)]
