"""The race: entrants at equal samples, tuned on validation, paired seeds, verdicts with intervals."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

from sensorium.blocks.towers.frozen import frozen_towers
from sensorium.core import Ranks, SensoriumError, cpu_seconds, nearest
from sensorium.data.dataset import Dataset
from sensorium.data.derive import negatives
from sensorium.data.split import auto_mode, overlap, split
from sensorium.evals.ranking import chance
from sensorium.evals.retrieval import relevance
from sensorium.evals.tasks import TASKS
from sensorium.evals.tasks import task as find_task

from .checkpoint import tidy, write_json
from .device import enough_memory, environment
from .examples import retrievals
from .features import Progress
from .load import label, paper, papers, resolve
from .lock import NAME as LOCK
from .lock import held
from .plan import Job, build, columns, fitted, given_bases, keys_for, unmet, wanted
from .runs import TRIAL_STEPS, Outcome, execute, key_of, timed
from .save import state_of
from .stop import Stopped
from .verdict import BASELINE, Final, judge, metrics

FORMAT = 1
RATES = (1e-3, 3e-3, 1e-2)
TUNING_SEED = 1000
FEWEST_STEPS = 40
MOST_SAMPLES = 409_600
GRACE = 20.0
"""Seconds that workers have to finish a step and save when a race is stopped."""
RESERVE = 0.9
"""Share of the budget that is planned; the rest covers what timing 20 steps cannot see."""


@dataclass(frozen=True)
class Entrant:
    """Who races: a paper by name, whether it takes training steps, and what 20 steps, set-up and scoring cost."""

    paper: str
    trained: bool
    step_s: float = 0.0
    fixed_s: float = 0.0


@dataclass
class Settings:
    """What a race was asked for; JSON-ready."""

    data: str
    task: str = "retrieval"
    budget: str = "5m"
    seeds: int = 5
    papers: Sequence[str] = ()
    workers: int = 2
    towers: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] | None = None
    split: str = "auto"
    batch: int = 256
    max_bad: float = 0.1
    command: str = "sensorium race"
    bases: Mapping[str, str] = field(default_factory=dict)
    """Checkpoints in the place of shared starts, by name or path."""


@lru_cache(maxsize=2)
def _data(path: str, roles: tuple[tuple[str, str], ...] | None, max_bad: float) -> Dataset:
    return Dataset(path, dict(roles) if roles else None, max_bad=max_bad)


def dataset_of(job: Job) -> Dataset:
    """The job's data set; a worker keeps the last two."""
    return _data(job.data, tuple(sorted(job.roles.items())) if job.roles else None, job.max_bad)


def work(job: Job, folder: str, test: bool, keep: bool) -> None:
    """One run in a worker process, which received names only; a killed one goes on from its checkpoint, where it is
    long enough to have one. One that diverges is recorded as that."""
    try:
        with held(Path(folder), f"sensorium race, {label(job.paper)} rate {job.rate:g} seed {job.seed}"):
            _work(job, folder, test, keep)
    except Stopped as stop:
        if parent_process() is not None:  # the pool would hand this process its next run
            os._exit(128 + stop.number)
        raise


def _work(job: Job, folder: str, test: bool, keep: bool) -> None:
    try:
        with enough_memory(job.batch):
            execute(job, dataset_of(job), Path(folder), test=test, keep=keep, tell=print)
    except FloatingPointError as problem:
        cost = dict.fromkeys(("samples", "cpu_s", "parameters", "peak_mb", "total_cpu_s"), 0.0)
        outcome = Outcome({}, {}, {"samples": [], "values": []}, cost, str(problem))
        write_json(Path(folder) / "scores.json", vars(outcome))


def available(data: Dataset, names: Sequence[str], roles: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Entrants whose needs the data meets, and why the others stay out. One that does not take the task's `roles` stays
    out; where it was named, that is an error."""
    chosen = [resolve(n) for n in names] if names else sorted(papers())
    if BASELINE not in chosen:
        chosen.insert(0, BASELINE)
    chosen.sort(key=lambda n: (n != BASELINE, not n.startswith("baseline/"), n))
    inside, out = [], []
    for name in dict.fromkeys(chosen):
        needs = paper(name).NEEDS
        why = unmet(needs, data.kinds)
        if missing := [r for r in roles if r not in needs]:
            why = f"takes no {' and no '.join(missing)}, so it cannot race here"
            if names:
                raise SensoriumError(f"{name} {why}")
        if why is None:
            inside.append(name)
        else:
            out.append({"paper": name, "reason": why})
    return inside, out


class Race:
    """Plans, runs and judges. Everything finished stays in `arms/`, so a killed race continues."""

    def __init__(self, settings: Settings, out: Path, say: Callable[[str], None], progress: Progress) -> None:
        self.settings, self.out, self.say, self.progress = settings, out, say, progress
        self.task = find_task(settings.task)
        if self.task.name != "retrieval":
            raise SensoriumError(f"task {self.task.name!r} cannot be raced yet; expected retrieval")
        if settings.seeds < 2:
            raise SensoriumError(
                f"--seeds {settings.seeds}: at least 2 seeds are needed for an interval, 5 for a verdict worth having"
            )
        self.seconds = cpu_seconds(settings.budget)
        self.data = Dataset(settings.data, dict(settings.roles) if settings.roles else None, max_bad=settings.max_bad)
        if why := unmet({k: k for k in self.task.needs}, self.data.kinds):
            raise SensoriumError(f"task {self.task.name} {self.data.lacks(why)}")
        mode, self.why_split = auto_mode(self.data)
        self.mode = mode if settings.split == "auto" else settings.split
        self.names, self.left_out = available(self.data, settings.papers, self.task.needs)
        takes = {base for name in self.names for base in wanted(paper(name))}
        if spare := sorted(set(settings.bases) - takes):
            raise SensoriumError(f"base {spare[0]!r} is taken by nobody in this race{nearest(spare[0], takes)}")
        self._timing = 0.0
        self._spent: dict[Path, float] = {}

    @property
    def used(self) -> float:
        """CPU-seconds of timing and of every run so far, each counted once."""
        return self._timing + sum(self._spent.values())

    def job(self, name: str, rate: float, samples: int, seed: int) -> Job:
        """The job of an entrant; seed 1000 is tuning and uses the first split."""
        s = self.settings
        return Job(
            paper=name,
            data=str(self.data.path),
            towers=dict(s.towers),
            rate=rate,
            samples=samples,
            seed=seed,
            roles=dict(s.roles) if s.roles else None,
            split=self.mode,
            batch=s.batch,
            task=s.task,
            split_seed=0 if seed == TUNING_SEED else seed,
            max_bad=s.max_bad,
            bases=self.bases(name),
        )

    def bases(self, name: str) -> Mapping[str, str]:
        """What an entrant begins from, where checkpoints are given for starts that it takes."""
        module, s = paper(name), self.settings
        return given_bases(module, s.towers, {k: v for k, v in s.bases.items() if k in wanted(module)})

    def warm(self) -> float:
        """Compute every feature once, here, so that workers only read. CPU-seconds it took."""
        start = time.process_time()
        seen: set[tuple[str, ...]] = set()
        variants = {k: "text" for k, kind in self.data.kinds.items() if kind == "text"}
        for name in [BASELINE, *self.names]:
            module = paper(name)
            for seed in range(self.settings.seeds):
                parts = split(self.data, seed, self.mode)
                job = self.job(name, 1e-3, 1, seed)
                fields, tokenizer = fitted(module, self.data, parts.train, job.towers, job.bases)
                keys = keys_for({**module.NEEDS, **variants}, self.data.kinds)
                if "text/negative" in keys and not any(negatives(self.data.texts("text"), parts.train.tolist())):
                    self.names.remove(name)
                    self.drop(name, "no caption here has a word that could be swapped for a negative one")
                    break
                try:
                    method = build(module, job, fields)
                    if not isinstance(method, Ranks):
                        raise SensoriumError(f"it has no `rank`, so it cannot race in {self.task.name}")
                except SensoriumError as problem:
                    if name == BASELINE or name in map(resolve, self.settings.papers):
                        raise SensoriumError(f"{name}: {problem}") from None
                    self.names.remove(name)
                    self.drop(name, str(problem))
                    break
                mark = (*keys, *(t.identity for t in frozen_towers(method).values()))
                derived = any("/" in k for k in keys)
                if (mark in seen and not derived) or not frozen_towers(method):
                    break
                seen.add(mark)
                columns(self.data, keys, method, tokenizer, parts.train, fields, self.progress)
        return time.process_time() - start

    def timed(self) -> list[Entrant]:
        """Time 20 steps, set-up and scoring of every entrant. A fixed 20 steps of the baseline alone would let a dearer
        entrant overrun the budget. A race that goes on keeps its timings."""
        path = self.out / "plan.json"
        if path.is_file():
            stored = json.loads(path.read_text())
            self._timing = stored["timing_s"]
            for name in [n for n in self.names if n not in stored["timed"]]:
                self.drop(name, "it diverged when it was timed")
            return [Entrant(n, c["step_s"] > 0, **c) for n, c in stored["timed"].items()]
        found = []
        for i, name in enumerate(self.names):
            self.progress("timing 20 steps of each entrant", i, len(self.names))
            try:
                cost = timed(self.job(name, RATES[0], TRIAL_STEPS * self.settings.batch, TUNING_SEED), self.data)
            except FloatingPointError as problem:
                self.drop(name, str(problem))
                continue
            self._timing += cost.total_s
            found.append(Entrant(name, cost.step_s > 0, cost.step_s, cost.fixed_s))
        self.progress("timing 20 steps of each entrant", len(self.names), len(self.names))
        return found

    def runs_of(self, entrant: Entrant, rates: int) -> int:
        """Runs an entrant takes in all, one extension of the grid included."""
        if not entrant.trained:
            return self.settings.seeds
        finals = (rates + 1) * self.settings.seeds if entrant.paper == BASELINE else self.settings.seeds
        return rates + 1 + finals

    def afford(self, entrants: Sequence[Entrant]) -> int:
        """Samples per run that the budget pays for; too small a budget is refused with the smallest that would do."""
        runs = {e.paper: self.runs_of(e, len(RATES)) for e in entrants}
        fixed = sum(runs[e.paper] * e.fixed_s for e in entrants) + self.used
        per_step = sum(runs[e.paper] * e.step_s for e in entrants)
        smallest = (fixed + FEWEST_STEPS * per_step) / RESERVE
        if smallest > self.seconds:
            total = sum(runs.values())
            raise SensoriumError(
                f"budget {self.settings.budget} is too small for {len(entrants)} entrants in {total} runs; "
                f"the smallest that would do here is {math.ceil(smallest / 30) * 30}s; fewer papers or seeds cost less"
            )
        steps = int((self.seconds * RESERVE - fixed) / max(per_step, 1e-9))
        return min(MOST_SAMPLES, steps * self.settings.batch)

    def arm(self, job: Job) -> Path:
        """Where a job's run lies or will lie."""
        return self.out / "arms" / key_of(job, self.data.fingerprint)

    def run_all(self, runs: Sequence[Run]) -> None:
        """Carry out runs in worker processes; finished ones are left as they are."""
        runs = list({self.arm(r.job): r for r in runs}.values())
        pending = [r for r in runs if not (self.arm(r.job) / "scores.json").is_file()]
        done = len(runs) - len(pending)
        if done and not self._spent:
            self.say(f"{done} of {len(runs)} runs were finished before")
        with worker_pool(min(self.settings.workers, len(pending))) as pool:
            waiting: dict[Future[None], Run] = {
                pool.submit(work, r.job, str(self.arm(r.job)), r.test, r.keep): r for r in pending
            }
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    run = waiting.pop(future)
                    result_of(future, run)
                    done += 1
                    outcome = self.read(run.job)
                    self.say(line_of(run, outcome))
                    self.progress("runs", done, len(runs))
        self._spent |= {self.arm(r.job): self.read(r.job).cost["total_cpu_s"] for r in runs}

    def read(self, job: Job) -> Outcome:
        """The stored outcome of a finished job."""
        return Outcome(**json.loads((self.arm(job) / "scores.json").read_text()))

    def tune(self, entrants: Sequence[Entrant], samples: int) -> tuple[dict[str, float], tuple[float, ...]]:
        """The best rate of each trained entrant on validation, and the grid. An optimum at the edge extends it once."""
        trained = [e.paper for e in entrants if e.trained]
        grid: tuple[float, ...] = RATES
        best: dict[str, float] = {}
        for _ in range(2):
            self.run_all(
                [Run(self.job(n, r, samples, TUNING_SEED), "tuning", False, False) for n in trained for r in grid]
            )
            best = {n: max(grid, key=lambda r, n=n: self.tuned(n, r, samples)) for n in trained}  # type: ignore[misc]
            edges = [r for r in best.values() if r in (grid[0], grid[-1])]
            if not edges or len(grid) > len(RATES):
                break
            low = sum(r == grid[0] for r in edges) >= len(edges) / 2
            more = grid[0] / 3 if low else grid[-1] * 3
            grid = (more, *grid) if low else (*grid, more)
            at = ", ".join(sorted(label(n) for n, r in best.items() if r in edges))
            self.say(f"best rate at the edge of the grid for {at}: {more:.2g} is tried for everyone")
        return best, grid

    def tuned(self, name: str, rate: float, samples: int) -> float:
        """Validation score of a tuning run, minus infinity where it diverged."""
        return self.read(self.job(name, rate, samples, TUNING_SEED)).validation.get(self.task.primary, -math.inf)

    def drop(self, name: str, why: str) -> None:
        """Say and keep why an entrant is out; a race without its baseline is none."""
        if name == BASELINE:
            raise SensoriumError(f"the baseline {BASELINE} did not finish: {why}")
        self.left_out.append({"paper": name, "reason": why})
        self.say(f"{label(name)} is out: {why}")

    def run(self) -> dict[str, Any]:
        """The whole race; returns the table and writes race.json, table.json and retrievals.json. One that is refused
        leaves no folder behind."""
        try:
            with held(self.out, self.settings.command):
                tidy(self.out)
                self.claim(self.out)
                return self._run()
        except SensoriumError:
            with suppress(OSError):
                self.out.rmdir()
            raise

    def _run(self) -> dict[str, Any]:
        self.announce()
        features_s = self.warm()
        entrants = self.timed()
        samples = self.samples(entrants)
        best, grid = self.tune(entrants, samples)
        seeds = range(self.settings.seeds)
        finals: dict[tuple[str, float], list[Job]] = {}
        for e in entrants:
            rates = [r for r in grid if self.tuned(e.paper, r, samples) > -math.inf] if e.trained else [0.0]
            if not rates:
                self.drop(e.paper, "diverged at every rate")
            for rate in rates if e.paper == BASELINE or not e.trained else rates and [best[e.paper]]:
                finals[e.paper, rate] = [self.job(e.paper, rate, samples if e.trained else 0, s) for s in seeds]
        # Seed by seed, so that a table of all entrants stands early and grows.
        self.run_all([Run(jobs[s], "final", True, s == 0) for s in seeds for jobs in finals.values()])
        for (name, rate), jobs in list(finals.items()):
            if failed := [j.seed for j in jobs if self.read(j).failed]:
                del finals[name, rate]
                if not any(n == name for n, _ in finals):
                    self.drop(name, f"diverged at rate {rate:.2g} with seed {failed[0]}")
        table = judge({k: [Final(j, self.read(j), self.arm(j)) for j in jobs] for k, jobs in finals.items()})
        self.write(samples, grid, features_s, table)
        return table

    def claim(self, folder: Path) -> None:
        """Refuse a folder that holds another race or anything else; the same settings continue."""
        mine = json.loads(json.dumps(vars(self.settings)))
        path = folder / "settings.json"
        if path.is_file():
            there = json.loads(path.read_text())
            free = ("workers", "command")
            if changed := [
                k
                for k in mine
                if k not in free and mine[k] != there.get(k, mine[k] if k == "bases" and not mine[k] else None)
            ]:
                k = changed[0]
                raise SensoriumError(
                    f"{folder} holds a race with {k} {there.get(k)!r}, asked for {mine[k]!r}; give --out a new folder"
                )
        elif state_of(folder) != "nothing":
            raise SensoriumError(f"{folder} is not empty and holds no race; give --out a new folder")

    def announce(self) -> None:
        """What races and who stays out."""
        data = self.data
        self.say(
            f"{data.name}: {len(data)} rows, {len(data.quarantine)} set aside; splits {self.mode} ({self.why_split})"
        )
        for note in data.notes:
            self.say(f"  {note}")
        for entry in self.left_out:
            self.say(f"  {entry['paper']} stays out: {entry['reason']}")
        self.say("towers: " + ", ".join(f"{k} {v}" for k, v in self.settings.towers.items()))

    def samples(self, entrants: Sequence[Entrant]) -> int:
        """Samples per run, decided once and stored, so that a continued race does not change it."""
        path = self.out / "plan.json"
        if path.is_file():
            return int(json.loads(path.read_text())["samples"])
        samples = self.afford(entrants)
        runs = sum(self.runs_of(e, len(RATES)) for e in entrants)
        costs = {e.paper: {"step_s": e.step_s, "fixed_s": e.fixed_s} for e in entrants}
        # Settings first: a race killed between the two is still known as this one.
        write_json(self.out / "settings.json", json.loads(json.dumps(vars(self.settings))))
        write_json(path, {"samples": samples, "timed": costs, "timing_s": self._timing})
        self.say(f"budget {self.settings.budget} of CPU time = {samples:,} samples for each of up to {runs} runs")
        return samples

    def write(self, samples: int, grid: Sequence[float], features_s: float, table: dict[str, Any]) -> None:
        """race.json, table.json, retrievals.json and the best run."""
        parts = split(self.data, 0, self.mode)
        right = relevance([self.data.texts("text")[i] for i in parts.test], self.data.content("image")[parts.test])
        s = self.settings
        race = {
            "format": FORMAT,
            "task": s.task,
            "metrics": metrics(table),
            "baseline": BASELINE,
            "rates": list(grid),
            "data": {
                "path": s.data,
                "name": self.data.name,
                "rows": len(self.data),
                "test_rows": len(parts.test),
                "roles": {k: c.source for k, c in self.data.columns.items()},
                "notes": self.data.notes,
                "quarantined": [vars(b) for b in self.data.quarantine],
                "split": f"{self.mode}: {self.why_split}. {parts.note}",
                "overlap": overlap(self.data, parts),
            },
            "budget": {
                "asked": s.budget,
                "cpu_s": self.seconds,
                "samples": samples,
                "batch": s.batch,
                "note": "CPU time of tuning, seeds and scoring; frozen features are apart",
            },
            "towers": dict(s.towers),
            "left_out": self.left_out,
            "seeds": list(range(s.seeds)),
            "command": s.command,
            "env": environment(),
            "features_cpu_s": features_s,
            "used_cpu_s": self.used,
            "chance": chance(right),
        }
        write_json(self.out / "table.json", table)
        best = self.arm(Job(**table["best_job"]))
        target, temporary = self.out / "best", self.out / ".best.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(best, temporary, ignore=shutil.ignore_patterns(LOCK))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        reference = self.arm(Job(**table["reference_job"]))
        write_json(
            self.out / "retrievals.json",
            retrievals(self.data, self.arm(Job(**table["rival_job"])), reference, parts.test),
        )
        write_json(self.out / "race.json", race)  # last: it says that the rest is there


@dataclass(frozen=True)
class Run:
    """A job with what it is for: scored on test or not, its weights kept or not."""

    job: Job
    purpose: str
    test: bool
    keep: bool


def line_of(run: Run, outcome: Outcome) -> str:
    """A finished run in one line."""
    shown, where = (outcome.test, "test") if run.test else (outcome.validation, "validation")
    if outcome.failed:
        return f"{run.purpose:<7}{label(run.job.paper):<18} rate {run.job.rate:.2g} diverged: {outcome.failed}"
    rate = f"rate {run.job.rate:.2g}" if run.job.samples else "no training"
    seed = "" if run.purpose == "tuning" else f" seed {run.job.seed}"
    primary = next((t.primary for t in TASKS.values() if t.primary in shown), "")
    score = f"{where} {primary.replace('r@', 'R@')} {shown[primary]:.3f}" if primary else "no score"
    cost = f"{outcome.cost['cpu_s']:.1f} CPU-s"
    return f"{run.purpose:<7}{label(run.job.paper):<18} {rate:<12}{seed:<7} {score}  {cost}"


def result_of(future: Future[None], run: Run) -> None:
    """What a run's worker raised, if anything; one clear line where it died."""
    try:
        future.result()
    except BrokenProcessPool:
        raise SensoriumError(
            f"a worker process died in {label(run.job.paper)} or beside it, perhaps for want of memory; finished runs "
            f"are kept, the same command continues, with fewer --workers if need be"
        ) from None


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned workers of one thread each, which are ended in order when the block is left by an error or a signal."""
    os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
    others = set(active_children())
    pool = ProcessPoolExecutor(max(1, workers), mp_context=get_context("spawn"), initializer=_follow)
    try:
        yield pool
    except BaseException:
        # Workers finish their step, save where a run is long enough for that, and go.
        mine = [p for p in active_children() if p not in others]
        for process in mine:
            process.terminate()
        until = time.monotonic() + GRACE
        for process in mine:
            process.join(max(0.0, until - time.monotonic()))
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _follow() -> None:
    """A worker leaves Ctrl-C to the race, which ends it, and dies when the race is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    race = parent_process()
    assert race is not None

    def watch() -> None:
        race.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
