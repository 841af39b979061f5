"""A run with everything it wrote, and a race as its report shows it. Their folders hold data: nothing is trusted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import UndefinedError
from starlette.requests import Request
from starlette.responses import Response

from sensorium.apps.server.search import searchable
from sensorium.apps.server.state import Served, paints, writes
from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset
from sensorium.run.load import label
from sensorium.run.report import of_race
from sensorium.run.report.table import MISSING, finite, number
from sensorium.run.report.vega import DASHES, PALETTE, Chart, figure
from sensorium.run.runs import Model
from sensorium.run.save import state_of

from .able import offers
from .pages import named, render, served_by

SHOWN, MOST_LINES = 12, 50
"""Rows of the data and rows set aside that a run's page shows."""
LARGEST = 64 << 20
"""Bytes of a file that a page reads."""
POINTS = 200
"""Points of a curve: more are not told apart."""
SPLITS = ("train", "validation", "test")


def stored(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object out of a run's folder; what is no finite number is None."""
    try:
        found = finite(json.loads(_text(folder / name)))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SensoriumError(f"{folder.name}/{name} is not a readable JSON object")
    return found


def _text(path: Path) -> str:
    """A file that a run wrote; "" where it has none."""
    try:
        if path.stat().st_size > LARGEST:
            raise SensoriumError(f"{path.parent.name}/{path.name} is larger than {LARGEST >> 20} MB")
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as problem:
        raise SensoriumError(f"{path.parent.name}/{path.name} is not read: {problem.strerror}") from None


def _records(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file that are objects; a torn last one is left out."""
    found = []
    for line in _text(path).splitlines():
        try:
            value = finite(json.loads(line))
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def run(request: Request) -> Response:
    """One run: scores, curves, rows, rows set aside, config, environment."""
    there = served_by(request)
    name = request.path_params["name"]
    folder, model = named("run", name, there.paths), there.models[name]
    record, state = stored(folder, "run.json"), state_of(folder)
    scores = stored(folder, "scores.json") if state == "finished" else {}
    aside = _records(folder / "quarantine.jsonl")
    charts = [*_scores_chart(scores), *_losses_chart(_records(folder / "steps.jsonl"))]
    data_name = there.trained_on.get(name, "")
    counts, samples = _rows(folder, there.data.get(data_name))
    return render(
        request,
        "run.html",
        charts,
        name=name,
        paper=label(model.paper),
        slug="" if model.paper.endswith(".py") else model.paper,
        state=state,
        record=record,
        job=_flat(record.get("job")),
        scores=_table(scores),
        cost=_flat(scores.get("cost")),
        failed=scores.get("failed") or "",
        env=_flat(stored(folder, "env.json")) if (folder / "env.json").is_file() else {},
        data=data_name,
        counts=counts,
        uses=_uses(there, name, model),
        samples=samples,
        aside=aside[:MOST_LINES],
        more=max(0, len(aside) - MOST_LINES),
        kinds=Counter(str(bad.get("reason")).rpartition(": ")[2] for bad in aside).most_common(5),
    )


def _uses(there: Served, name: str, model: Model) -> dict[str, str]:
    """The pages on which a run can be used -> in words."""
    able = [o for o in offers(there) if name in o.runs]
    found = {"/search": "search with it"} if any(searchable(model, data) for data in there.data.values()) else {}
    found |= {"/image": "ask it about a picture"} if able else {}
    found |= {"/chat": "chat with it"} if writes(model) else {}
    return found | ({"/paint": "paint with it"} if paints(model) else {})


def _flat(value: Any) -> dict[str, str]:
    """An object as names and values in words; nested ones as JSON."""
    if not isinstance(value, Mapping):
        return {}
    return {str(k): _in_words(v) for k, v in value.items()}


def _in_words(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or MISSING
    return f"{value:,.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Scores:
    """A metric, on validation and on test."""

    metric: str
    validation: str
    test: str


def _table(scores: Mapping[str, Any]) -> list[Scores]:
    parts = [part if isinstance(part := scores.get(k), Mapping) else {} for k in ("validation", "test")]
    return [
        Scores(str(metric), *(_number(part.get(metric)) for part in parts))
        for metric in dict.fromkeys([*parts[1], *parts[0]])
    ]


def _number(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else MISSING


def _rows(folder: Path, data: Dataset | None) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Rows per split, and some of each, with their place in the data where that is served."""
    try:
        table = pq.read_table(folder / "rows.parquet", columns=["id", "split"])
        ids, splits = table["id"].to_pylist(), table["split"].to_pylist()
    except (OSError, KeyError, pa.ArrowException):
        return {}, []
    counts = Counter(map(str, splits))
    samples = []
    for split in SPLITS:
        rows = [i for i, s in enumerate(splits) if s == split]
        for i in rows[:: max(1, len(rows) // (SHOWN // len(SPLITS)))][: SHOWN // len(SPLITS)]:
            samples.append({"id": str(ids[i]), "split": split, **_shown(data, i, str(ids[i]))})
    return {s: counts[s] for s in SPLITS if counts[s]}, samples


def _shown(data: Dataset | None, row: int, name: str) -> dict[str, Any]:
    """The text of a row, where the data is there and its row is the same one."""
    if data is None or row >= len(data) or data.ids[row] != name:
        return {"row": None, "text": ""}
    text = data.texts("text")[row] if data.kinds.get("text") == "text" else ""
    return {"row": row if data.kinds.get("image") == "image" else None, "text": text}


def _scores_chart(scores: Mapping[str, Any]) -> Iterator[Chart]:
    """Validation scores along the run; only what lies in 0 to 1 shares an axis."""
    curve = scores.get("curve")
    curve = curve if isinstance(curve, Mapping) else {}
    at = _numbers(curve.get("samples"))
    lines = {}
    for metric, column in curve.items():
        values = _numbers(column)
        if metric not in ("samples", "values") and len(values) == len(at) and _shares(values):
            lines[str(metric)] = list(zip(at, values, strict=True))
    if at and lines:
        yield _lines("scores", "Validation scores while training", "score", lines, ".3f")


def _losses_chart(steps: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """The named losses by samples seen: means over neighbouring steps where there are many."""
    terms: dict[str, list[tuple[float | None, float | None]]] = {}
    for step in steps:
        named_losses = step.get("terms")
        for name, value in named_losses.items() if isinstance(named_losses, Mapping) else ():
            terms.setdefault(str(name), []).append((_finite(step.get("samples")), _finite(value)))
    lines = {name: _thinned(points) for name, points in terms.items()}
    if any(lines.values()):
        yield _lines("losses", "Losses", "loss", lines, ".4g")


def _thinned(points: Sequence[tuple[float | None, float | None]]) -> list[tuple[float | None, float | None]]:
    width = -(-len(points) // POINTS)
    found: list[tuple[float | None, float | None]] = []
    for i in range(0, len(points), max(1, width)):
        there = [(x, y) for x, y in points[i : i + width] if x is not None and y is not None]
        if there:
            found.append((there[-1][0], sum(y for _, y in there) / len(there)))
    return found


def _numbers(values: Any) -> list[float | None]:
    return [_finite(v) for v in values] if isinstance(values, list) else []


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _shares(values: Sequence[float | None]) -> bool:
    """Whether these are shares: a rank or an error belongs on an axis of its own."""
    return any(v is not None for v in values) and all(v is None or 0 <= v <= 1 for v in values)


def _lines(
    name: str, title: str, what: str, lines: Mapping[str, Sequence[tuple[float | None, float | None]]], spec: str
) -> Chart:
    values = [
        {"line": line, "samples": x, "value": y}
        for line, points in lines.items()
        for x, y in points
        if x is not None and y is not None
    ]
    legend = {"title": None, "symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 2.5}
    who = {"field": "line", "type": "nominal", "sort": None, "legend": legend}
    axis = {"format": "~s", "tickCount": 8}
    tip = [{"field": "line"}, {"field": "samples", "format": ","}, {"field": "value", "format": spec}]
    drawn = figure(
        300,
        data={"values": values},
        mark={"type": "line", "strokeWidth": 2, "point": {"size": 18, "filled": True}},
        encoding={
            "x": {"field": "samples", "type": "quantitative", "title": "samples seen", "axis": axis},
            "y": {"field": "value", "type": "quantitative", "title": what, "scale": {"zero": False}},
            "color": {**who, "scale": {"range": PALETTE}},
            "strokeDash": {**who, "scale": {"range": DASHES}},
            "tooltip": tip,
        },
    )
    ends = [[p for p in points if None not in p] for points in lines.values()]
    rows = [
        (line, format(there[0][1], spec), format(there[-1][1], spec), f"{there[-1][0]:,.0f}")
        for line, there in zip(lines, ends, strict=True)
        if there
    ]
    return Chart(name, title, "By samples seen.", drawn, ("", "first", "last", "samples"), rows)


def sentence(folder: Path) -> str:
    """What came out of a race, in its own words; "" where it is not finished."""
    if not (folder / "table.json").is_file():
        return ""
    try:
        return str(stored(folder, "table.json").get("sentence", ""))
    except SensoriumError:
        return ""


def races(request: Request) -> Response:
    """The races that are served, with what came out of each."""
    return render(request, "races.html", races={n: sentence(p) for n, p in served_by(request).races.items()})


def race(request: Request) -> Response:
    """One race: the body of its report."""
    name = request.path_params["name"]
    folder = named("race", name, served_by(request).races)
    try:
        values = of_race(folder)
        return render(request, "race_page.html", values.pop("charts"), name=name, **values)
    except (LookupError, TypeError, ValueError, AttributeError, UndefinedError) as problem:
        raise SensoriumError(f"the files of race {name!r} do not fit together: {problem}") from None


PAGES = {"/runs/{name:path}": run, "/races": races, "/races/{name:path}": race}
