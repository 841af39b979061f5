"""The first page: what is served, and where to go from here."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sensorium import catalogue
from sensorium.core import SensoriumError
from sensorium.run.load import label
from sensorium.run.report.table import number
from sensorium.run.runs import Model

from .able import offers
from .chat import writers
from .pages import render, served_by
from .paint import painters
from .runs import sentence, stored


def start(request: Request) -> Response:
    """What is served and how much of the catalogue can be trained."""
    there = served_by(request)
    rows = [row for row in catalogue.rows() if row.kind != "baseline"]
    return render(
        request,
        "start.html",
        runs={name: _run(path, there.models[name]) for name, path in there.paths.items()},
        races={name: sentence(path) for name, path in there.races.items()},
        asks=[offer.kind.title.lower() for offer in offers(there) if offer.runs],
        writers=list(writers(there)),
        painters=painters(there),
        papers=len(rows),
        built=sum(bool(row.path) for row in rows),
        measured=sum(bool(row.verdicts) for row in rows),
    )


def _run(path: Path, model: Model) -> dict[str, str]:
    """A run in a few words: its paper and what it scored."""
    test: Any = {}
    with suppress(SensoriumError):
        test = stored(path, "scores.json").get("test") or {}
    return {"paper": label(model.paper), "score": f"R@1 {number(test['r@1'])}" if "r@1" in test else ""}


PAGES = {"/": start}
