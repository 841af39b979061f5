"""Committed loss curves: what `core`, `data` and `run` compute is in no key, so a change of numbers must show here.

Where one differs on purpose, raise `NUMERICS` in run/runs.py, which makes every verdict stale, and write them again:
python tests/run/test_reference.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import sensorium as sm
from sensorium.lab import sets
from sensorium.lab.sets import CROWDED, ONE, Recipe
from sensorium.lab.spoken import Spoken
from sensorium.run.runs import NUMERICS

CURVES = Path(__file__).with_name("reference.json")
SAMPLES, BATCH = 160, 16
ROWS = (64, 16, 16)
WORLD = {
    "world/one": Recipe(rows=ROWS, config=CROWDED, wrong="binding"),
    "world/asked": Recipe(rows=ROWS, config=ONE, form="short", asked=("colour", "shape")),
}
SPOKEN = {"world/said": Spoken(rows=ROWS, voices=4)}
RUNS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "pictures and texts, two towers": ("clip", "world/one", {"dim": 16}),
    "questions and answers, a decoder": ("baseline/prefix-lm", "world/asked", {"dim": 32, "layers": 1, "heads": 2}),
    "sounds and characters, mixed rows": ("mslam", "world/said", {"dim": 16, "layers": 1}),
}


def curve(name: str, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The losses of every step, the rows that went in, the last scores."""
    patch.setenv("SENSORIUM_HOME", str(folder / "home"))
    patch.setattr(sets, "RECIPES", WORLD)
    patch.setattr(sets, "SPOKEN", SPOKEN)
    paper, data, config = RUNS[name]
    rows, out = sm.Dataset(sets.data_set(data)), folder / "run"
    sm.train(paper, rows, samples=SAMPLES, batch=BATCH, towers="scratch", config=config, out=out, say=lambda line: None)
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    return {"rows": [s["rows"] for s in steps], "losses": [s["terms"] for s in steps]}


@pytest.mark.parametrize("name", RUNS)
def test_losses_are_those_that_were_committed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads(CURVES.read_text())
    assert kept["numerics"] == NUMERICS, "NUMERICS was raised: write the curves again"
    found = curve(name, tmp_path, monkeypatch)
    assert found["rows"] == kept[name]["rows"]
    for step, (now, then) in enumerate(zip(found["losses"], kept[name]["losses"], strict=True)):
        assert now == pytest.approx(then, rel=1e-3), f"step {step}"


if __name__ == "__main__":
    curves: dict[str, Any] = {"numerics": NUMERICS}
    for run in RUNS:
        with TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as context:
            curves[run] = curve(run, Path(scratch), context)
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")
