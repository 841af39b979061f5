"""Vega-Lite specifications of a race's charts, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .table import name_of

Json = Mapping[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
TITLES = {
    "forest": "Differences to the baseline, seed by seed interval (thick) and test items (thin)",
    "measures": "Other measures with a decided difference",
    "curves": "Validation score while training (mean and standard deviation over seeds)",
    "cost": "What a score costs",
}
VERDICTS = ["better", "undecided", "worse"]
COLOURS = ["#1a7f37", "#7a7a7a", "#c2352b"]


def _chart(height: int | dict[str, int], **more: Any) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
        **more,
    }


def _primary(race: Json) -> Json:
    found: Json = next(m for m in race["metrics"] if m.get("primary"))
    return found


def _intervals(entrants: Sequence[Json], metric: str) -> list[dict[str, Any]]:
    found = []
    for e in entrants:
        d = e.get("differences", {}).get(metric)
        if d and None not in (d["mean"], d["low"], d["high"]):
            item = {"item_low": d.get("item_low"), "item_high": d.get("item_high")}
            found.append({"entrant": e["label"], **{k: d[k] for k in ("mean", "low", "high", "verdict")}, **item})
    return found


def _forest(values: list[dict[str, Any]], label: str) -> dict[str, Any]:
    y = {"field": "entrant", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}}
    colour = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": VERDICTS, "range": COLOURS},
        "legend": {"orient": "bottom", "title": None},
    }
    shape = {
        "field": "verdict",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": VERDICTS, "range": ["triangle-up", "circle", "triangle-down"]},
    }
    tip = [{"field": f, "type": "quantitative", "format": "+.3f"} for f in ("mean", "low", "high")]

    def x(field: str) -> dict[str, Any]:
        return {
            "field": field,
            "type": "quantitative",
            "title": f"difference in {label}",
            "axis": {"format": "+.3~f", "tickCount": 7},
        }

    return _chart(
        {"step": 26},
        data={"values": values},
        layer=[
            {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "size": 1},
                "encoding": {"y": y, "x": x("item_low"), "x2": {"field": "item_high"}, "color": colour},
            },
            {
                "mark": {"type": "rule", "size": 4},
                "encoding": {"y": y, "x": x("low"), "x2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": x("mean"),
                    "color": colour,
                    "shape": shape,
                    "tooltip": [{"field": "entrant"}, *tip],
                },
            },
        ],
    )


def _measures(race: Json, table: Json) -> dict[str, Any] | None:
    primary = _primary(race)["name"]
    panels = []
    for metric in race["metrics"]:
        values = _intervals(table["entrants"], metric["name"])
        if (
            metric["name"] != primary
            and metric.get("higher", True)
            and any(v["verdict"] != "undecided" for v in values)
        ):
            spec = _forest(values, metric["label"])
            panels.append(
                {k: v for k, v in spec.items() if k not in ("$schema", "background", "width", "autosize")}
                | {"width": 560}
            )
    if not panels:
        return None
    return {"$schema": SCHEMA, "background": "transparent", "vconcat": panels}


def _curves(race: Json, table: Json) -> dict[str, Any] | None:
    values = []
    for e in table["entrants"]:
        curve = e.get("curve") or {}
        scores = [s for s in curve.get("values", []) if s]
        if e.get("baseline") and not e.get("reference"):
            continue
        for i, samples in enumerate(curve.get("samples", []) if scores else []):
            at = [s[i] for s in scores if len(s) > i and s[i] is not None]
            if at:
                mean, sd = float(np.mean(at)), float(np.std(at, ddof=1)) if len(at) > 1 else 0.0
                values.append(
                    {"entrant": name_of(e), "samples": samples, "mean": mean, "low": mean - sd, "high": mean + sd}
                )
    if not values:
        return None
    x = {"field": "samples", "type": "quantitative", "title": "samples seen", "axis": {"format": "~s"}}
    # The legend is drawn from the first layer, whose bands are nearly transparent.
    legend = {"title": None, "symbolLimit": 40, "symbolOpacity": 1, "symbolType": "circle"}
    colour = {"field": "entrant", "type": "nominal", "legend": legend}

    def y(field: str) -> dict[str, Any]:
        title = f"validation {_primary(race)['label']}"
        return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}

    band = {"x": x, "y": y("low"), "y2": {"field": "high"}, "color": colour}
    line = {
        "x": x,
        "y": y("mean"),
        "color": colour,
        "strokeDash": {"field": "entrant", "type": "nominal", "legend": None},
    }
    return _chart(
        320,
        data={"values": values},
        layer=[
            {"mark": {"type": "area", "opacity": 0.1}, "encoding": band},
            {"mark": {"type": "line", "point": True, "strokeWidth": 2}, "encoding": line},
        ],
    )


def _cost(race: Json, table: Json) -> dict[str, Any]:
    metric = _primary(race)
    values = [
        {
            "entrant": name_of(e),
            "cpu_s": max(e["cost"]["cpu_s"], 0.01),
            "score": e["scores"][metric["name"]]["mean"],
            "trained": "trained" if e["trained"] else "no training",
        }
        for e in table["entrants"]
        if e["scores"].get(metric["name"], {}).get("mean") is not None and (e.get("reference") or not e.get("baseline"))
    ]
    x = {
        "field": "cpu_s",
        "type": "quantitative",
        "title": "CPU-seconds per run",
        "scale": {"type": "log", "padding": 30},
    }
    y = {
        "field": "score",
        "type": "quantitative",
        "title": f"test {metric['label']}",
        "scale": {"zero": False, "padding": 20},
    }
    encoding = {"x": x, "y": y}
    shape = {"field": "trained", "type": "nominal", "legend": {"title": None, "orient": "bottom"}}
    tip = [{"field": "entrant"}, {"field": "score", "format": ".3f"}, {"field": "cpu_s", "format": ".1f"}]
    return _chart(
        320,
        data={"values": values},
        layer=[
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 0.8},
                "encoding": {**encoding, "shape": shape, "tooltip": tip},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 9, "fontSize": 11},
                "encoding": {**encoding, "text": {"field": "entrant"}},
            },
        ],
    )


def all_of(race: Json, table: Json) -> dict[str, Any]:
    """Every chart that has something to show, by name."""
    values = _intervals(table["entrants"], _primary(race)["name"])
    found = {
        "forest": _forest(values, _primary(race)["label"]) if values else None,
        "measures": _measures(race, table),
        "curves": _curves(race, table),
        "cost": _cost(race, table),
    }
    return {name: spec for name, spec in found.items() if spec is not None}
