"""The Python face: what the commands do, as functions that return objects."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGINT
from tempfile import mkdtemp
from typing import Any

from sensorium.apps.search import Hit, find
from sensorium.core import SensoriumError, cpu_seconds
from sensorium.data.dataset import Dataset
from sensorium.evals.tasks import TASKS
from sensorium.lab.bases import choose
from sensorium.run import report as pages
from sensorium.run.device import enough_memory
from sensorium.run.features import Progress
from sensorium.run.load import config as settings_of
from sensorium.run.load import label, resolve
from sensorium.run.load import paper as paper_of
from sensorium.run.lock import held, refuse_held
from sensorium.run.plan import Job, given_bases
from sensorium.run.race import Race, Settings
from sensorium.run.runs import TRIAL_STEPS, Model, execute, identity, load, timed
from sensorium.run.save import every, free, record_of, same_run, state_of
from sensorium.run.stop import Stopped


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
    bases: Mapping[str, str] = {},
    config: Mapping[str, Any] | None = None,
    start: str = "",
    split: str = "given",
    out: str | Path | None = None,
    resume: bool = False,
    save_every: str = "1m",
    progress: Progress = _quiet,
    say: Callable[[str], None] = print,
) -> Model:
    """Train one paper and return the model. `budget` is CPU time and becomes samples once, by timing 20 steps;
    `samples` says it directly. `start` is a run whose weights to start from, `bases` the checkpoints that stand in for
    shared starts which the paper takes, by name or folder: {"causal-lm": "smollm2-135m"}. The run folder is `out`, or
    a temporary one.

    A checkpoint is kept for every `save_every` of CPU time. SIGTERM and Ctrl-C finish the step, save and raise
    `Stopped`; `resume` goes on with what lies in `out`, under the same settings, to the very weights that a run without
    a stop would have. A finished run is returned as it is."""
    data = Dataset(data) if isinstance(data, str) else data
    name = resolve(paper)
    if not (math.isfinite(rate) and rate > 0):
        raise SensoriumError(f"rate {rate:g}; expected a positive number, such as 0.001")
    if samples < 0 or batch < 2:
        raise SensoriumError(f"samples {samples}, batch {batch}; expected at least 0 samples and 2 rows per step")
    if seed < 0:
        raise SensoriumError(f"seed {seed}; expected 0 or a positive number")
    if split not in ("given", "redrawn"):
        raise SensoriumError(f"split {split!r}; expected given or redrawn")
    settings_of(paper_of(name), config or {})
    chosen = choose(towers)
    begun = given_bases(paper_of(name), chosen, bases)
    folder = Path(out) if out is not None else Path(mkdtemp(prefix="sensorium-")) / label(name)
    job = Job(
        name,
        str(data.path),
        chosen,
        rate,
        samples or TRIAL_STEPS * batch,
        seed,
        config=dict(config or {}),
        roles=_roles(data),
        split=split,
        batch=batch,
        max_bad=data.max_bad,
        start=start,
        measures=tuple(getattr(paper_of(name), "MEASURES", ())),
        bases=begun,
    )
    due = every(cpu_seconds(save_every))
    refuse_held(folder)
    free(folder, resume)
    if state_of(folder) == "finished":
        _same(folder, job, data, samples, budget)
        say(f"{folder} is finished; nothing is left to do")
        return load(folder, trust_code=True)
    if resume and state_of(folder) == "nothing":
        say(f"{folder} holds no run yet; it is begun")
    with held(folder, f"sensorium train {label(name)} {data.path}"):
        free(folder, resume)
        try:
            if state_of(folder) == "unfinished":
                job = _same(folder, job, data, samples, budget)
            elif not samples:
                job = replace(job, samples=_affordable(job, data, budget, progress))
                spent = f"budget {budget} of CPU time = {job.samples:,} samples"
                say(spent if job.samples else f"{label(name)} takes no training step: the budget is not spent")
            with enough_memory(batch):
                outcome = execute(
                    job,
                    data,
                    folder,
                    say=progress,
                    watch=lambda step, total: progress("train", step.n, total),
                    budget="" if samples else budget,
                    due=due,
                    tell=say,
                )
        except FloatingPointError as problem:
            raise SensoriumError(f"{label(name)} diverged: {problem}; a smaller rate may help") from None
        except KeyboardInterrupt as stop:
            line = "stopped before the first step; nothing is kept"
            if state_of(folder) == "unfinished":
                line = f"{str(stop) or 'stopped'}; {folder} holds what was done, the same command with --resume goes on"
            raise Stopped(line, getattr(stop, "number", SIGINT)) from None
    first = {"r@10", *(task.primary for task in TASKS.values())}
    shown = ", ".join(f"{k} {v:.3f}" for k, v in outcome.test.items() if k in first) or "has no score to give"
    say(
        f"{label(name)}: test {shown}; {outcome.cost['cpu_s']:.1f} CPU-s, "
        f"{int(outcome.cost['parameters']):,} parameters trained"
    )
    known = {*first, *outcome.curve}
    if job.measures and (more := {k: v for k, v in outcome.test.items() if not {k, k.removeprefix("fresh ")} & known}):
        say(", ".join(f"{k} {v:.3f}" for k, v in more.items()))
    return load(folder, trust_code=True)


def _same(folder: Path, job: Job, data: Dataset, samples: int, budget: str) -> Job:
    """The job that `folder` was started with, where it is the one asked for now; a budget became samples then."""
    stored = record_of(folder)
    if not samples:
        started = stored.get("budget") or f"{stored['job']['samples']:,} samples"
        if started != budget:
            raise SensoriumError(f"{folder} was started with {started}, asked for budget {budget}")
        job = replace(job, samples=stored["job"]["samples"])
    same_run(folder, stored, identity(job, data))
    return job


def _affordable(job: Job, data: Dataset, budget: str, progress: Progress) -> int:
    """Samples that a budget pays for, by timing 20 steps; one too small is refused with the smallest that would do."""
    cost = timed(job, data, progress)
    left = cpu_seconds(budget) - cost.total_s - cost.fixed_s
    if cost.step_s and left < TRIAL_STEPS * cost.step_s:
        least = math.ceil(cost.total_s + cost.fixed_s + TRIAL_STEPS * cost.step_s)
        raise SensoriumError(f"budget {budget} is too small; the smallest that would do here is {least}s")
    return int(left / cost.step_s) * job.batch if cost.step_s else 0


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
    bases: Mapping[str, str] = {},
    split: str = "auto",
    batch: int = 256,
    out: str | Path | None = None,
    progress: Progress = _quiet,
    say: Callable[[str], None] = print,
) -> Board:
    """Race papers (slugs or .py files; all that fit where empty) at equal budget. `bases` as in `train`, for the
    entrants that take them. A stopped race with the same `out` continues."""
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
        dict(bases),
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
