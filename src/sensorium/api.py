"""The Python face: what the commands do, as functions that return objects."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from sensorium.apps.search import Hit, find
from sensorium.core import SensoriumError, cpu_seconds
from sensorium.data.dataset import Dataset
from sensorium.lab.bases import choose
from sensorium.run import report as pages
from sensorium.run.features import Progress
from sensorium.run.fit import Step
from sensorium.run.load import config as settings_of
from sensorium.run.load import label, resolve
from sensorium.run.load import paper as paper_of
from sensorium.run.plan import Job
from sensorium.run.race import Race, Settings
from sensorium.run.runs import TRIAL_STEPS, Model, execute, load, timed


def _quiet(what: str, done: int, total: int) -> None:
    """No progress."""


def _roles(data: Dataset) -> dict[str, str] | None:
    return dict(data.roles) if data.roles else None


def train(
    paper: str,
    data: Dataset | str,
    *,
    budget: str = "1m",
    samples: int = 0,
    rate: float = 1e-3,
    seed: int = 0,
    batch: int = 256,
    towers: str = "auto",
    config: Mapping[str, Any] | None = None,
    start: str = "",
    split: str = "given",
    out: str | Path | None = None,
    progress: Progress = _quiet,
    say: Callable[[str], None] = print,
) -> Model:
    """Train one paper and return the model. `budget` is CPU time and becomes samples once, by timing 20 steps;
    `samples` says it directly. `start` is a run whose weights to start from. The run folder is `out`, or a
    temporary one."""
    data = Dataset(data) if isinstance(data, str) else data
    name = resolve(paper)
    if not (math.isfinite(rate) and rate > 0):
        raise SensoriumError(f"rate {rate:g}; expected a positive number, such as 0.001")
    if samples < 0 or batch < 2:
        raise SensoriumError(f"samples {samples}, batch {batch}; expected at least 0 samples and 2 rows per step")
    if split not in ("given", "redrawn"):
        raise SensoriumError(f"split {split!r}; expected given or redrawn")
    settings_of(paper_of(name), config or {})
    folder = Path(out) if out is not None else Path(mkdtemp(prefix="sensorium-")) / label(name)
    if folder.exists() and any(folder.iterdir()):
        raise SensoriumError(f"{folder} is not empty; give out a new folder")
    job = Job(
        name,
        str(data.path),
        choose(towers),
        rate,
        samples or TRIAL_STEPS * batch,
        seed,
        config=dict(config or {}),
        roles=_roles(data),
        split=split,
        batch=batch,
        max_bad=data.max_bad,
        start=start,
    )
    if not samples:
        cost = timed(job, data, progress)
        left = cpu_seconds(budget) - cost.total_s - cost.fixed_s
        if cost.step_s and left < TRIAL_STEPS * cost.step_s:
            least = math.ceil(cost.total_s + cost.fixed_s + TRIAL_STEPS * cost.step_s)
            raise SensoriumError(f"budget {budget} is too small; the smallest that would do here is {least}s")
        job = replace(job, samples=int(left / cost.step_s) * batch if cost.step_s else 0)
        say(f"budget {budget} of CPU time = {job.samples:,} samples")

    def watch(step: Step, total: int) -> None:
        progress("train", step.n, total)

    try:
        outcome = execute(job, data, folder, say=progress, watch=watch)
    except FloatingPointError as problem:
        raise SensoriumError(f"{label(name)} diverged: {problem}; a smaller rate may help") from None
    shown = ", ".join(f"{k} {v:.3f}" for k, v in outcome.test.items() if k in ("r@1", "r@10")) or "has no score to give"
    say(
        f"{label(name)}: test {shown}; {outcome.cost['cpu_s']:.1f} CPU-s, "
        f"{int(outcome.cost['parameters']):,} parameters trained"
    )
    return load(folder, trust_code=True)


@dataclass(frozen=True)
class Board:
    """A finished race: the table, the best run, the report."""

    path: Path
    race: Mapping[str, Any]
    table: Mapping[str, Any]

    @property
    def best(self) -> Model:
        """The entrant with the best validation score, ready to use."""
        return load(self.path, trust_code=True)

    @property
    def sentence(self) -> str:
        """Which helps here, by how much, at what cost."""
        return str(self.table["sentence"])

    def report(self, path: str | Path) -> Path:
        """Write the report as one file that opens offline."""
        return Path(shutil.copy(pages.write(self.path), path))

    def __str__(self) -> str:
        return str(pages.table_text(dict(self.race), dict(self.table)))


def race(
    papers: Sequence[str],
    data: Dataset | str,
    *,
    task: str = "retrieval",
    budget: str = "5m",
    seeds: int = 5,
    workers: int = 2,
    towers: str = "auto",
    split: str = "auto",
    batch: int = 256,
    out: str | Path | None = None,
    progress: Progress = _quiet,
    say: Callable[[str], None] = print,
) -> Board:
    """Race papers (slugs or .py files; all that fit where empty) at equal budget. A stopped race with the same `out`
    continues."""
    data = Dataset(data) if isinstance(data, str) else data
    folder = Path(out) if out is not None else Path(mkdtemp(prefix="sensorium-race-"))
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        str(data.path),
        task,
        budget,
        seeds,
        tuple(papers),
        workers,
        choose(towers),
        _roles(data),
        split,
        batch,
        data.max_bad,
        f"sm.race({list(papers)!r}, {str(data.path)!r}, budget={budget!r}, seeds={seeds})",
    )
    contest = Race(settings, folder, say, progress)
    contest.claim(folder)
    contest.run()
    race_json, table = (json.loads((folder / f"{n}.json").read_text()) for n in ("race", "table"))
    return Board(folder, race_json, table)


def search(
    model: Model | str, data: Dataset | str, text: str | None = None, image: str | Path | None = None, top: int = 10
) -> list[Hit]:
    """The rows whose pictures match words, a picture, or both."""
    model = load(model) if isinstance(model, str) else model
    data = Dataset(data) if isinstance(data, str) else data
    return find(model, data, text, Path(image) if image is not None else None, top)
