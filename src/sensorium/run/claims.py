"""A paper's claim, measured: arms at equal samples, tuned on validation, paired seeds, judged, a ledger row.

Finished arms lie in $SENSORIUM_HOME/claims under the key of their content: papers share baselines, and a killed
reproduction goes on where it was.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from sensorium.core import (
    Above,
    Claim,
    Keeps,
    NotBelow,
    Paper,
    Scores,
    SensoriumError,
    Statement,
    Trial,
    nearest,
)
from sensorium.data.cache import home
from sensorium.data.dataset import Dataset
from sensorium.data.split import auto_mode, split

from .checkpoint import write_json
from .device import Meter, settle
from .features import Progress
from .keys import LIBRARIES, arm_key
from .ledger import TIERS, Measured, Row, append, latest, machine, now, stale
from .load import attribute, label, paper, papers, resolve
from .plan import HASHES, Job, given_bases, plan, wanted
from .race import TUNING_SEED, Run, dataset_of, line_of, result_of, work, worker_pool
from .runs import NUMERICS, Outcome, key_of
from .statements import DEARER, Verdict, arms_of, check, judge, per_sample, record
from .tasks import TRIVIAL, trivial

SETS = "sensorium.lab.sets:data_set"
TOWERS = "sensorium.lab.bases:choose"
LACKS = "sensorium.lab.bases:lacks"
SCALE = {"lab": 1.0, "deep": 4.0}
"""Samples of a tier as a multiple of the claim's."""
SMOKE_STEPS = 20
LONGER = (1.5, 2.0, 3.0)
"""Further lengths of the baseline's cost curve, where equal samples are not equal cost."""
CHOICE = 0.5


@dataclass(frozen=True)
class Reproduced:
    """What a reproduction gave: its row in the ledger, per arm the curves of its seeds, and what the trivial predictor
    scores by seed."""

    row: Row
    claim: Claim
    names: Mapping[str, str]
    curves: Mapping[str, Sequence[Mapping[str, Sequence[float]]]]
    trivial: Sequence[Mapping[str, float]] = ()


def claims_of(name: str) -> Mapping[str, Claim]:
    """The claims of a paper by name.

    Raises:
        SensoriumError: an unknown paper, or one that claims nothing.
    """
    found = paper(name).CLAIMS
    if not found:
        raise SensoriumError(f"{label(name)} makes no claim that can be measured here")
    return found


class TimeUp(Exception):
    """The time that was given is over; finished runs are kept."""


class Reproduction:
    """One claim at one tier. After `until`, in seconds of `time.monotonic`, no further run begins."""

    def __init__(
        self,
        name: str,
        claim: str,
        tier: str,
        *,
        workers: int,
        say: Callable[[str], None],
        progress: Progress,
        until: float = math.inf,
        bases: Mapping[str, str] = {},
    ) -> None:
        known = claims_of(name)
        if claim not in known:
            raise SensoriumError(f"{label(name)} has no claim {claim!r}{nearest(claim, known)}")
        if tier not in TIERS:
            raise SensoriumError(f"unknown tier {tier!r}{nearest(tier, TIERS)}")
        if workers < 1:
            raise SensoriumError(f"--workers {workers}; expected at least 1")
        self.paper, self.name, self.tier = resolve(name), claim, tier
        self.claim = known[claim]
        self.workers, self.say, self.progress, self.until = workers, say, progress, until
        self.bases = bases
        takes = {base for arm in self.claim.arms for base in wanted(self._paper(arm))}
        if spare := sorted(set(bases) - takes):
            raise SensoriumError(f"base {spare[0]!r} is taken by no arm of this claim{nearest(spare[0], takes)}")
        check(self.claim)
        if self.claim.beats not in TRIVIAL:
            raise SensoriumError(f"trivial predictor {self.claim.beats!r}{nearest(self.claim.beats, TRIVIAL)}")
        for arm, a in self.claim.arms.items():
            if a.stream:
                raise SensoriumError(f"arm {arm!r} names a stream, which reproduce does not carry out yet")
            if a.run:
                _function(a.run)
        self.names = {arm: self._called(arm) for arm in self.claim.arms} | {self.claim.beats: self.claim.beats}

    def _called(self, arm: str) -> str:
        """An arm in words: the paper's name for ours and for other papers, the arm's own for a part that is missing."""
        other = self.claim.arms[arm].paper
        return label(self.paper) if arm == "ours" else label(other) if other and arm == "baseline" else arm

    def described(self) -> str:
        """What will be measured, in one line."""
        runs = len(self.claim.arms) * (len(self.claim.rates) + self.claim.seeds)
        data = ", ".join(dict.fromkeys(arm.data or self.claim.data for arm in self.claim.arms.values()))
        arms = ", ".join(self.names[arm] for arm in self.claim.arms)
        data += "".join(
            f", {source} as {name}, of which no property is measured" for name, source in self.bases.items()
        )
        size = "20 steps each" if self.tier == "smoke" else f"up to {runs} runs of {self.samples:,} samples"
        return f"{label(self.paper)}, {self.name}: {arms} on {data}; {size}"

    @cached_property
    def folders(self) -> Mapping[str, Path]:
        """Where the data of each arm lies."""
        names = {arm.data or self.claim.data for arm in self.claim.arms.values()}
        return {name: attribute(SETS)(name) for name in sorted(names)}

    @property
    def samples(self) -> int:
        """Per run, at this tier."""
        if self.tier == "smoke":
            return SMOKE_STEPS * self.claim.batch
        return round(self.claim.budget.samples * SCALE[self.tier])

    def job(self, arm: str, rate: float, seed: int, samples: int | None = None) -> Job:
        """The job of an arm. Seeds are paired: one seed is one split, one order and one start for all arms."""
        a = self.claim.arms[arm]
        folder = self.folders[a.data or self.claim.data]
        mode = "given" if (a.data or self.claim.data).startswith("world/") else auto_mode(self._data(arm))[0]
        return Job(
            paper=resolve(a.run.partition(":")[0] or a.paper or self.paper),
            data=str(folder),
            towers=attribute(TOWERS)(self.claim.towers),
            rate=rate,
            samples=self.samples if samples is None else samples,
            seed=seed,
            config=dict(a.config),
            split=mode,
            batch=self.claim.batch,
            split_seed=0 if seed == TUNING_SEED else seed,
            measures=tuple(a.measures),
            bases=self._begun(arm),
        )

    def _begun(self, arm: str) -> Mapping[str, str]:
        """What an arm begins from, where checkpoints are given for starts that it takes."""
        module = self._paper(arm)
        given = {name: source for name, source in self.bases.items() if name in wanted(module)}
        return given_bases(module, attribute(TOWERS)(self.claim.towers), given)

    def _foreign(self) -> dict[str, str]:
        """The checkpoints that stand in for shared starts, with their hashes: "base causal-lm"."""
        arms = [self._begun(arm) for arm in self.claim.arms]
        return {f"base {name}": begun[name] for begun in arms for name in begun if name in self.bases}

    def _data(self, arm: str) -> Dataset:
        return dataset_of(Job("", str(self.folders[self.claim.arms[arm].data or self.claim.data]), {}, 0.0, 0, 0))

    def folder(self, arm: str, job: Job) -> Path:
        """Where the run of an arm's job lies, shared between claims."""
        name = [key_of(job, self._data(arm).fingerprint), *self.claim.arms[arm].run.split(":")[1:]]
        return home() / "claims" / "-".join(name)

    def carry_out(self, runs: Sequence[tuple[str, Run]]) -> None:
        """Every run that is not finished, in worker processes.

        Raises:
            TimeUp: after the runs that had begun, when `until` is over.
        """
        places = {self.folder(arm, r.job): (arm, r) for arm, r in runs}
        pending = {f: r for f, r in places.items() if not (f / "scores.json").is_file()}
        done = len(places) - len(pending)
        if done and pending:
            self.say(f"{done} of {len(places)} runs were finished before")
        with worker_pool(min(self.workers, len(pending))) as workers:
            waiting: dict[Future[None], tuple[Path, Run]] = {}
            for folder, (arm, run) in pending.items():
                if function := self.claim.arms[arm].run:
                    future = workers.submit(compute, run.job, function, str(folder))
                else:
                    future = workers.submit(work, run.job, str(folder), run.test, run.keep)
                waiting[future] = folder, run
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    folder, run = waiting.pop(future)
                    result_of(future, run)
                    done += 1
                    self.say(line_of(run, _outcome(folder)))
                    self.progress("runs", done, len(places))
                if time.monotonic() > self.until:
                    waiting = {future: value for future, value in waiting.items() if not future.cancel()}
        if done < len(places):
            raise TimeUp

    def outcome(self, arm: str, rate: float, seed: int, samples: int | None = None) -> Outcome:
        """The stored outcome of a finished run."""
        return _outcome(self.folder(arm, self.job(arm, rate, seed, samples)))

    def final(self, arm: str, rate: float, seed: int) -> Job:
        """The job of an arm at its rate; what has no rate takes no training steps."""
        return self.job(arm, rate, seed, None if rate or self.claim.arms[arm].run else 0)

    def last(self, arm: str, rate: float, seed: int) -> Outcome:
        """The stored outcome of the arm's finished run."""
        return _outcome(self.folder(arm, self.final(arm, rate, seed)))

    def warm(self) -> None:
        """Features and sets that several workers would otherwise compute at once; names what cannot be built."""
        for arm, a in self.claim.arms.items():
            if a.run:
                self._trained[arm] = False
                continue
            trained = plan(self.job(arm, self.claim.rates[0], TUNING_SEED), self._data(arm), self.progress).method
            self._trained[arm] = any(p.requires_grad for p in trained.parameters())

    def rates(self) -> dict[str, float]:
        """Each arm's best rate on validation; an optimum at the edge extends the grid once, for all arms."""
        grid = tuple(sorted(self.claim.rates))
        trained = [arm for arm, yes in self._trained.items() if yes]
        best: dict[str, float] = dict.fromkeys(self._trained, 0.0)
        if self.tier == "smoke":
            return best | dict.fromkeys(trained, grid[len(grid) // 2])
        for _ in range(2):
            each = [(arm, rate) for arm in trained for rate in grid]
            self.carry_out([(a, Run(self.job(a, r, TUNING_SEED), "tuning", False, False)) for a, r in each])
            for arm in trained:
                merits = {r: merit(self.claim, arm, self.outcome(arm, r, TUNING_SEED).validation) for r in grid}
                best[arm] = max(grid, key=merits.__getitem__)
            edges = [best[arm] for arm in trained if best[arm] in (grid[0], grid[-1])]
            if not edges or len(grid) > len(self.claim.rates):
                break
            low = sum(rate == min(grid) for rate in edges) >= len(edges) / 2
            more = min(grid) / 3 if low else max(grid) * 3
            self.say(f"best rate at the edge of the grid: {more:.2g} is tried for every arm")
            grid = tuple(sorted((*grid, more)))
        return best

    def run(self) -> Reproduced:
        """The whole reproduction; appends its row to the ledger."""
        self._trained: dict[str, bool] = {}
        self.warm()
        rates = self.rates()
        seeds = 1 if self.tier == "smoke" else self.claim.seeds
        verdicts: list[Verdict] = []
        for count in (seeds, 2 * seeds):
            self.carry_out(
                [
                    (arm, Run(self.final(arm, rate, seed), "final", True, False))
                    for seed in range(count)
                    for arm, rate in rates.items()
                ]
            )
            verdicts = self.judged(rates, count)
            seeds = count
            if self.tier == "smoke" or not any(v.open for v in verdicts):
                break
            if count == self.claim.seeds:
                self.say(f"undecided with {count} seeds: once more with {2 * count}")
        row = self.row(rates, seeds, verdicts)
        append(row)
        trivial = self.trivial(rates, seeds) if self.tier != "smoke" else ()
        return Reproduced(row, self.claim, self.names, self.curves(rates, seeds), trivial)

    def scores(self, arm: str, rate: float, seeds: int) -> list[dict[str, float]]:
        """Test scores by seed; {} where a run diverged."""
        return [dict(self.last(arm, rate, s).test) for s in range(seeds)]

    def costs(self, arm: str, rate: float, seeds: int) -> list[dict[str, float]]:
        """Costs by seed; `cpu_s` is training alone, without reading the data."""
        found = []
        for s in range(seeds):
            cost = dict(self.last(arm, rate, s).cost)
            found.append(cost | {"cpu_s": cost.get("cpu_s", 0.0) - cost.get("setup_s", 0.0)})
        return found

    def curves(self, rates: Mapping[str, float], seeds: int) -> dict[str, list[dict[str, list[float]]]]:
        """Validation scores by samples and by CPU-seconds."""
        found: dict[str, list[dict[str, list[float]]]] = {}
        for arm, rate in rates.items():
            found[arm] = []
            for seed, cost in enumerate(self.costs(arm, rate, seeds)):
                curve = self.last(arm, rate, seed).curve
                each = cost["cpu_s"] / cost["samples"] if cost.get("samples") else 0.0
                spent = [n * each for n in curve["samples"]]
                scores = {m: v for m, v in curve.items() if m not in ("samples", "values")}
                found[arm].append({"samples": curve["samples"], "cpu_s": spent, **scores})
        return found

    def judged(self, rates: Mapping[str, float], seeds: int) -> list[Verdict]:
        """The verdict on every statement."""
        if self.tier == "smoke":
            ran = "smoke: every arm ran, nothing is judged"
            return [Verdict(record(s), "not tested", ran) for s in self.claim.says]
        named = [name for arm in self.claim.arms for name in wanted(self._paper(arm))]
        if lacks := attribute(LACKS)(attribute(TOWERS)(self.claim.towers), self.claim.needs, named, [*self.bases]):
            return [Verdict(record(s), "not tested", lacks[0]) for s in self.claim.says]
        runs = {arm: self.scores(arm, rate, seeds) for arm, rate in rates.items()}
        costs = {arm: self.costs(arm, rate, seeds) for arm, rate in rates.items()}
        trivial = self.trivial(rates, seeds)
        longer = self.longer(rates, costs, seeds)
        found = []
        for s in self.claim.says:
            gate = gate_of(s, self.claim.beats, trivial[0])
            table = {**runs, self.claim.beats: trivial}
            curves = self.curves(rates, seeds)
            found.append(
                judge(s, table, curves, costs, longer=longer, beats=gate, names=self.names, seeds=self.claim.seeds)
            )
        return found

    def trivial(self, rates: Mapping[str, float], seeds: int) -> list[dict[str, float]]:
        """What the trivial predictor scores on the test rows of each seed."""
        arm = next(iter(rates))
        data = self._data(arm)
        metrics = {m for a, rate in rates.items() for m in self.scores(a, rate, 1)[0]}
        found = []
        for seed in range(seeds):
            job = self.job(arm, 1.0, seed)
            parts = split(data, job.split_seed, job.split)
            drawn = trivial(self.claim.beats, data, parts.train, parts.test)
            found.append({m: value for m in metrics if (value := _by_chance(m, drawn)) is not None})
        return found

    def longer(
        self, rates: Mapping[str, float], costs: Mapping[str, Sequence[Mapping[str, float]]], seeds: int
    ) -> dict[str, list[dict[str, list[float]]]]:
        """The baseline of a statement at 1, 1.5, 2 and 3 times its samples, where ours is the dearer per sample."""
        each = {arm: per_sample(c) for arm, c in costs.items()}
        pairs = {(s.ours, s.baseline) for s in self.claim.says if isinstance(s, Above | NotBelow | Keeps)}
        dear = {base for ours, base in pairs if base in rates and base != ours and each[ours] / each[base] > DEARER}
        found: dict[str, list[dict[str, list[float]]]] = {}
        for base in sorted(dear):
            steps = [round(self.samples * k) for k in LONGER]
            self.say(f"{self.names[base]} again at {', '.join(f'{k:g}x' for k in LONGER)}: equal samples cost it less")
            each_run = [self.job(base, rates[base], s, n) for s in range(seeds) for n in steps]
            self.carry_out([(base, Run(job, "longer", True, False)) for job in each_run])
            found[base] = [self._long(base, rates[base], seed, (self.samples, *steps)) for seed in range(seeds)]
        return found

    def _long(self, arm: str, rate: float, seed: int, samples: Sequence[int]) -> dict[str, list[float]]:
        outcomes = [self.outcome(arm, rate, seed, n) for n in samples]
        columns: dict[str, list[float]] = {"samples": [float(n) for n in samples]}
        for metric in outcomes[0].test:
            columns[metric] = [o.test.get(metric, math.nan) for o in outcomes]
        return columns

    def keys(self, rates: Collection[str]) -> dict[str, str]:
        """What each arm's scores depend on, as today's code and data have it."""
        trial = {"rates": list(self.claim.rates), "samples": self.samples, "batch": self.claim.batch}
        towers = attribute(TOWERS)(self.claim.towers)

        def begun(arm: str) -> Mapping[str, str]:
            return self._begun(arm) or attribute(HASHES)(wanted(self._paper(arm)), towers)

        return {
            name: arm_key(
                arm,
                self.paper,
                data=self._data(name).fingerprint,
                bases=towers | {f"base {n}": sha for n, sha in begun(name).items()},
                trial=trial,
                numerics=NUMERICS,
            )
            for name, arm in self.claim.arms.items()
            if name in rates
        }

    def _paper(self, arm: str) -> Paper:
        """The module of an arm."""
        a = self.claim.arms[arm]
        return paper(a.run.partition(":")[0] or a.paper or self.paper)

    def stale(self) -> list[str]:
        """Why the newest row of this tier does not speak of today's code, or that there is none."""
        newest = latest(self.paper, self.name, self.tier, self._foreign())
        return ["not measured"] if newest is None else stale(newest, self.keys(newest.arms), self.claim.says)

    def row(self, rates: Mapping[str, float], seeds: int, verdicts: Sequence[Verdict]) -> Row:
        """The ledger's line."""
        keys = self.keys(rates)
        measured = {
            arm: Measured(keys[arm], rate or None, self.scores(arm, rate, seeds), self.costs(arm, rate, seeds))
            for arm, rate in rates.items()
        }
        spent = sum(c["total_cpu_s"] for m in measured.values() for c in m.costs)
        return Row(
            paper=self.paper,
            claim=self.name,
            tier=self.tier,
            verdicts=verdicts,
            arms=measured,
            samples=self.samples,
            seeds=list(range(seeds)),
            data={name: self._data(arm).fingerprint for arm, name in self._sets().items()},
            bases=attribute(TOWERS)(self.claim.towers) | self._foreign(),
            versions={name: version(name).partition("+")[0] for name in ("sensorium", *LIBRARIES)},
            machine=machine(),
            date=now(),
            seconds=round(spent, 1),
        )

    def _sets(self) -> dict[str, str]:
        """One arm per data set."""
        return {name: a.data or self.claim.data for name, a in self.claim.arms.items()}


def _function(name: str) -> Callable[[Trial], Scores]:
    """ "slug:function" -> what an arm runs that trains nothing.

    Raises:
        SensoriumError: an unknown paper, or a function that it has not, with the nearest.
    """
    slug, _, leaf = name.partition(":")
    module = paper(slug)
    known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    if leaf not in known:
        raise SensoriumError(f"{label(slug)} has no function {leaf!r} to run{nearest(leaf, known)}")
    found: Callable[[Trial], Scores] = getattr(module, leaf)
    return found


def compute(job: Job, function: str, folder: str) -> None:
    """What an arm's function scores, in a worker process, stored as the outcome of a run.

    It has no cost per sample: what a function trains, and at which equal budget, is its own affair.
    """
    settle()
    meter = Meter()
    scores = {name: float(value) for name, value in _function(function)(job.trial).items()}
    cost = {"cpu_s": meter.seconds, "total_cpu_s": meter.seconds, "peak_mb": meter.peak_mb}
    outcome = Outcome({}, scores, {"samples": [], "values": []}, cost)
    write_json(Path(folder) / "scores.json", vars(outcome))


def _outcome(folder: Path) -> Outcome:
    return Outcome(**json.loads((folder / "scores.json").read_text(encoding="utf-8")))


def gate_of(statement: Statement, beats: str, trivial: Collection[str]) -> Above | None:
    """What an arm must be above before the statement is judged: the trivial predictor on the same metric, lower being
    better where the statement says so; None where that has no such score."""
    metric = getattr(statement, "metric", "")
    return (
        Above(metric, 0.0, baseline=beats, higher=getattr(statement, "higher", True))
        if metric and metric in trivial
        else None
    )


def merit(claim: Claim, arm: str, validation: Scores) -> float:
    """What a rate of an arm is chosen by, higher better: the score that `Claim.chosen` says, else the first metric that
    a statement names for the arm; -inf where the run has no such score."""
    says = [s for s in claim.says if arm in arms_of(s)] or list(claim.says)
    metric = claim.chosen.get(arm) or next((m for s in says if (m := getattr(s, "metric", ""))), "r@1")
    score = validation.get(metric, math.nan)
    said = (s for s in (*says, *claim.says) if getattr(s, "metric", "") == metric)
    better = score if next((getattr(s, "higher", True) for s in said), True) else -score
    return -math.inf if math.isnan(better) else better


def _by_chance(metric: str, drawn: Mapping[str, float]) -> float | None:
    """What a random order scores on a metric; None where that is not known."""
    if metric == "choice":
        return CHOICE
    if metric.startswith("fresh "):
        return drawn.get(metric.removeprefix("fresh "))
    return drawn.get(metric.partition("@16")[0].partition(" ")[0] if metric.startswith("r@10") else metric)


def by_use(claims: Sequence[Reproduction]) -> list[Reproduction]:
    """Claims whose arms serve the most claims first, so that a stopped evidence run has measured what is shared."""
    keys = [list(one.keys(one.claim.arms).values()) for one in claims]
    uses = Counter(key for own in keys for key in own)
    return [claims[i] for i in sorted(range(len(claims)), key=lambda i: -sum(uses[k] - 1 for k in keys[i]))]


@dataclass(frozen=True)
class Standing:
    """A claim with its newest row of the deepest tier, if any, and why that row no longer speaks of today's code."""

    paper: str
    claim: str
    row: Row | None
    stale: Sequence[str]


def standing(family: str = "") -> list[Standing]:
    """Every claim of every paper, or of one family."""
    families = {name: module.split(".")[2] for name, module in papers().items()}
    if family and family not in families.values():
        raise SensoriumError(f"unknown family {family!r}{nearest(family, set(families.values()) - {'baseline'})}")
    found = []
    for name, where in families.items():
        if family in ("", where):
            found += [_standing(name, claim) for claim in paper(name).CLAIMS]
    return found


def _standing(name: str, claim: str) -> Standing:
    row = next((r for tier in ("deep", "lab") if (r := latest(name, claim, tier))), None)
    if row is None:
        return Standing(name, claim, None, ())
    quiet = Reproduction(name, claim, row.tier, workers=1, say=lambda line: None, progress=lambda *_: None)
    return Standing(name, claim, row, quiet.stale())
