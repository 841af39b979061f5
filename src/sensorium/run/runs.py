"""One run: carried out, written as a folder, loaded again."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.frozen import Frozen, frozen_towers, role_of
from sensorium.core import Field, FieldInfo, Fields, Method, SensoriumError, Tokens
from sensorium.data.cache import replacing, write_atomic
from sensorium.data.columns import Column, sound_field, wave_column
from sensorium.data.dataset import Dataset
from sensorium.data.media.image import fit as fitted
from sensorium.data.split import look_alikes
from sensorium.evals.tasks import TASKS

from .checkpoint import load_weights, newest, write_json
from .device import Meter, environment, settle
from .evaluate import Scored, Sought
from .features import Features, Progress
from .fit import Fit, Step
from .keys import source_key, source_path
from .load import attribute, paper, resolve, source_hash
from .plan import BASES, Job, Plan, build, described, image_column, plan, text_column
from .save import SAVE_EVERY, Journal, Past, digest, every, record_of, same_run, state_of
from .stop import Stopped, deferred
from .tasks import Question, scored, tasks_of

FORMAT = 1
NUMERICS = 2
"""Raised by hand when `core` or `run` change numbers, so that finished arms are not taken for current ones."""
POINTS = 8
"""Validation scores along a learning curve."""
ALIKE = 0.8
"""Cosine of pooled features above which a picture has a look-alike in train."""


TRIAL_STEPS = 20


@dataclass(frozen=True)
class Timing:
    """CPU-seconds of one step (0 where nothing is trained), of all that does not grow with steps, and of the timing."""

    step_s: float
    fixed_s: float
    total_s: float


@dataclass(frozen=True)
class Outcome:
    """What a run gave: scores on validation and, where asked, on test; cost; why it failed, if it did.

    `curve` holds validation scores by samples; "values" are those of the task's primary metric.
    """

    validation: dict[str, float]
    test: dict[str, float]
    curve: dict[str, list[float]]
    cost: dict[str, float]
    failed: str = ""


def key_of(job: Job, fingerprint: str) -> str:
    """The name of a run's content: job, data, and the syntax of the paper and of all that it imports."""
    source = source_key(source_path(job.paper))
    content = json.dumps([described(job) | {"data": fingerprint}, source, NUMERICS], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def sought(data: Dataset, index: NDArray[np.int64], fresh: NDArray[np.bool_] | None = None) -> Sought:
    """What is right among the rows `index`."""
    variants = [k for k, kind in data.kinds.items() if kind == "text" and k.startswith("text.") and "/" not in k]
    return Sought(
        [data.texts("text")[i] for i in index],
        [int(data.content("image")[i]) for i in index],
        {k: [data.texts(k)[i] for i in index] for k in variants},
        fresh,
    )


def with_variants(p: Plan, data: Dataset) -> Plan:
    """The plan with every further text and picture as a column, so that languages and negatives that the method was not
    trained on are scored too."""
    towers = frozen_towers(p.method)
    extra: dict[str, Column] = {}
    for key, kind in data.kinds.items():
        if kind == "text" and key not in p.rows.columns:
            extra[key] = text_column(data.texts(key), towers.get(role_of(key)), p.tokenizer)
        elif kind == "image" and key not in p.rows.columns:
            extra[key] = image_column(data, key, towers.get(role_of(key)))
    return Plan(p.job, p.method, p.stages, p.rows.with_columns(extra), p.split, p.fields, p.tokenizer)


def fresh_rows(p: Plan, data: Dataset) -> NDArray[np.bool_]:
    """Per test row: no row of its group in train and, with a frozen image tower, no picture closer than `ALIKE`."""
    alike = np.asarray(look_alikes(data, p.split))
    tower = attribute(BASES)(p.job.towers, p.fields).encoder("image", "pooled")
    if isinstance(tower, Frozen):
        image = image_column(data, "image", tower)
        assert isinstance(image, Features)
        x = unit(pool(image.to("cpu")))
        near = (x[p.split.test] @ x[p.split.train].T).max(1).values
        alike = alike | (near > ALIKE).numpy()
    return ~alike


def execute(
    job: Job,
    data: Dataset,
    folder: Path | None = None,
    *,
    test: bool = True,
    say: Progress | None = None,
    watch: Callable[[Step, int], None] | None = None,
    keep: bool = True,
    budget: str = "",
    due: Callable[[Step], bool] | None = None,
    tell: Callable[[str], object] = warnings.warn,
) -> Outcome:
    """Carry out a job, or what a killed process left of it in `folder`, which the caller holds (`lock.held`).

    A checkpoint is written when `due` says so and, with `keep`, at the end; `scores.json`, written last, says that the
    run is finished. SIGTERM and Ctrl-C end it with `Stopped` after a step, saved. `tell` is told where it goes on.
    """
    device = settle()
    meter = Meter()
    p = plan(job, data, say)
    p.method.to(device)
    fit = Fit(p.method, p.stages, job.trial, device)
    journal = _journal(folder, p, data, fit, keep, budget, tell) if folder is not None else None
    # A method that can do no task is trained all the same; it has no scores.
    tasks = tasks_of(p.method, list(p.rows.columns))
    tasks.sort(key=lambda name: name != job.task)  # the one asked for comes first, and its primary metric is the curve
    try:
        past = _train(p, data, fit, journal, tasks, device, meter, watch, keep, due or every(SAVE_EVERY))
    except FloatingPointError:
        if journal:
            journal.forget()
        raise
    earlier = past.cost["total_cpu_s"] - meter.seconds
    final, tested = Scored({}, {}), Scored({}, {})
    if "retrieval" in tasks:
        p = with_variants(p, data)
    for task in tasks:
        final = final.joined(scored(task, _question(p, data, p.split.validation, device, task)))
        if test:
            fresh = fresh_rows(p, data) if task == "retrieval" else None
            tested = tested.joined(scored(task, _question(p, data, p.split.test, device, task, fresh)))
    for name in job.measures:
        measure = attribute(name)
        final = final.joined(measure(Question(p, data, p.split.validation, device)))
        if test:
            tested = tested.joined(measure(Question(p, data, p.split.test, device)))
    past.cost["total_cpu_s"] = earlier + meter.seconds
    outcome = Outcome(final.scores, tested.scores, past.curve, past.cost)
    if folder is not None:
        _finish(folder, p, data, outcome, tested, keep)
    return outcome


def _question(
    p: Plan,
    data: Dataset,
    index: NDArray[np.int64],
    device: torch.device,
    task: str,
    fresh: NDArray[np.bool_] | None = None,
) -> Question:
    return Question(p, data, index, device, sought(data, index, fresh) if task == "retrieval" else None)


def _train(
    p: Plan,
    data: Dataset,
    fit: Fit,
    journal: Journal | None,
    tasks: Sequence[str],
    device: torch.device,
    meter: Meter,
    watch: Callable[[Step, int], None] | None,
    keep: bool,
    due: Callable[[Step], bool],
) -> Past:
    """All steps that are left, with validation scores on the way; what the run has gathered and cost by then."""
    setup, aside = meter.seconds, 0.0
    before = (journal.resume() if journal else None) or Past(cost={"cpu_s": setup, "setup_s": setup})
    asked = [_question(p, data, p.split.validation, device, name) for name in tasks[:1]]
    points = {max(1, round(fit.steps * (i + 1) / POINTS)) for i in range(POINTS)}
    curve = before.curve

    def past() -> Past:
        return Past(curve, _cost(before.cost, fit, meter, setup + aside))

    with deferred() as stopped, journal.writing() if journal else nullcontext() as write:
        for step in fit:
            if write:
                write(step)
            start = meter.seconds
            if step.n in points and tasks:
                scores = scored(tasks[0], asked[0]).scores
                curve["samples"].append(step.samples)
                curve["values"].append(scores[TASKS[tasks[0]].primary])
                for metric, value in scores.items():
                    curve.setdefault(metric, []).append(value)
            if journal and due(step):
                journal.save(past())
            aside += meter.seconds - start
            if watch:
                watch(step, fit.steps)
            if stopped():
                break
        done = past()
        if journal and (keep or stopped()):
            journal.save(done)
    if stopped():
        raise Stopped(f"stopped after step {fit.total:,} of {fit.steps:,}", stopped())
    return done


def _cost(before: Mapping[str, float], fit: Fit, meter: Meter, apart: float) -> dict[str, float]:
    """Cost so far: `cpu_s` as if the run had never been stopped, `total_cpu_s` all that it took."""
    return {
        "samples": float(fit.samples),
        "cpu_s": before["cpu_s"] + meter.seconds - apart,
        "setup_s": before["setup_s"],
        "peak_mb": max(before.get("peak_mb", 0.0), meter.peak_mb),
        "parameters": float(fit.trained),
        "total_cpu_s": before.get("total_cpu_s", 0.0) + meter.seconds,
    }


def timed(job: Job, data: Dataset, say: Progress | None = None) -> Timing:
    """Time a job of `TRIAL_STEPS` steps on this machine. The first steps pay for allocation; the median does not."""
    seconds: list[float] = []

    def watch(step: Step, total: int) -> None:
        seconds.append(step.seconds)

    total = execute(job, data, test=False, say=say, watch=watch).cost["total_cpu_s"]
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return Timing(step, max(0.0, total - len(seconds) * step), total)


def _journal(
    folder: Path, p: Plan, data: Dataset, fit: Fit, keep: bool, budget: str, tell: Callable[[str], object]
) -> Journal:
    """Begin a run's folder, or open that of the same run, unfinished."""
    record = {
        "format": FORMAT,
        **identity(p.job, data),
        "paper": resolve(p.job.paper),
        "fields": {k: asdict(v) for k, v in p.fields.items()},
        "kinds": dict(data.kinds),
        "towers": {r: t.identity for r, t in frozen_towers(p.method).items()},
        "split": p.split.note,
    }
    if (state := state_of(folder)) not in ("nothing", "unfinished"):
        raise SensoriumError(f"{folder} holds {'a finished run' if state == 'finished' else 'something else'}")
    if state == "nothing":
        write_json(folder / "run.json", record | {"budget": budget})
    stored = record_of(folder)
    same_run(folder, stored, record)
    if other := _other_versions(folder):
        tell(f"{folder} was begun under {other}; numbers may differ from those of a run under one version")
    tokenizer = p.tokenizer.to_str() if p.tokenizer is not None else ""
    _describe(folder, p, data, keep, tokenizer)
    marks = {"job": digest(json.dumps(stored["job"], sort_keys=True)), "data": data.fingerprint}
    return Journal(folder, fit, marks | {"tokenizer": digest(tokenizer)}, tell)


def _other_versions(folder: Path) -> str:
    """The versions that a run was begun under, where its numbers depend on them and they are others now."""
    try:
        before = json.loads((folder / "env.json").read_text())
    except (OSError, ValueError):
        return ""
    now = environment()
    return ", ".join(f"{k} {before[k]}" for k in ("torch", "numpy", "machine") if before.get(k, now[k]) != now[k])


def identity(job: Job, data: Dataset) -> dict[str, Any]:
    """What a run was asked for and from: what must be equal when it goes on."""
    return {"job": described(job), "source": source_hash(job.paper), "data": data.fingerprint, "numerics": NUMERICS}


def _describe(folder: Path, p: Plan, data: Dataset, keep: bool, tokenizer: str) -> None:
    """The files that say what is trained on what; a run that goes on writes the same ones."""
    write_json(folder / "env.json", environment())
    if tokenizer:
        write_atomic(folder / "tokenizer.json", tokenizer.encode())
    if (source := resolve(p.job.paper)).endswith(".py"):
        write_atomic(folder / "paper.py", Path(source).read_bytes())
    if keep:
        where = np.full(len(data), "", dtype=object)
        for name in ("train", "validation", "test"):
            where[getattr(p.split, name)] = name
        content = data.content("image").view(np.int64) if "image" in data.kinds else np.arange(len(data))
        _table(folder / "rows.parquet", {"id": list(data.ids), "image": content, "split": where.tolist()})
        data.write_quarantine(folder / "quarantine.jsonl")


def _table(path: Path, columns: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _finish(folder: Path, p: Plan, data: Dataset, outcome: Outcome, tested: Scored, keep: bool) -> None:
    if tested.items:
        test = p.split.test
        _table(folder / "items.parquet", {"row": test, "group": data.groups[test], **tested.items})
    write_json(folder / "scores.json", asdict(outcome))
    if not keep:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


@dataclass
class Model:
    """A trained run in use: embeds and ranks raw texts and pictures."""

    method: Method
    fields: Fields
    tokenizer: Tokenizer | None
    record: dict[str, Any]
    path: Path
    device: torch.device

    @property
    def paper(self) -> str:
        """Slug or file of the paper."""
        return str(self.record["paper"])

    def needs(self, role: str) -> None:
        """One clear line where the run has no such role."""
        spaces = getattr(self.method, "spaces", {})
        if role not in spaces:
            raise SensoriumError(
                f"{self.path} ({self.paper}) does not embed {role}; it embeds {', '.join(spaces) or 'nothing'}"
            )

    def read(self, key: str, values: Sequence[Any]) -> dict[str, Column]:
        """Texts, PIL pictures or Audios -> a batch of one key."""
        role = role_of(key)
        self.needs(role)
        tower = frozen_towers(self.method).get(role)
        if role == "text":
            if tower is not None and tower.tokenise is not None:
                return {key: tower.tokenise([str(v) for v in values])}
            return {key: text_column([str(v) for v in values], None, self.tokenizer)}
        if role == "audio":
            return {key: sound_field(values, self.fields[key].rate, self.fields[key].length)}
        size = tower.size if tower is not None else self.fields[key].shape[-1]
        return {key: Field(torch.from_numpy(np.stack([fitted(v, size) for v in values])))}

    def column(self, data: Dataset, key: str, say: Progress | None = None) -> dict[str, Column]:
        """A key of a data set for every row, through stored features."""
        role = role_of(key)
        self.needs(role)
        if key not in data.kinds:
            raise SensoriumError(f"{data.path} has no {key!r}; it has {', '.join(data.kinds)}")
        tower = frozen_towers(self.method).get(role)
        if role == "image":
            return {key: image_column(data, key, tower, say)}
        if role == "audio":
            return {key: wave_column(data, key, self.fields[key].rate, self.fields[key].length)}
        return {key: text_column(data.texts(key), tower, self.tokenizer, say)}

    @torch.no_grad()
    def embed(self, batch: Mapping[str, Column]) -> Tokens:
        """A batch of one key -> its embedding on the CPU, in blocks of 256 rows."""
        ((key, value),) = batch.items()
        parts = []
        for start in range(0, len(value), 256):
            index = torch.arange(start, min(start + 256, len(value)))
            block = {key: value.rows(index).to(self.device)}
            parts.append(self.method.embed(self.method.frozen(block), key).to("cpu"))  # type: ignore[operator]
        return Tokens(torch.cat([t.x for t in parts]), torch.cat([t.mask for t in parts]))

    @torch.no_grad()
    def rank(self, queries: Mapping[str, Column], items: Mapping[str, Column]) -> torch.Tensor:
        """Scores [Q I] on the CPU."""
        q, i = ({k: v.to(self.device) for k, v in side.items()} for side in (queries, items))
        scores: torch.Tensor = self.method.rank(q, i)  # type: ignore[operator]
        return scores.cpu()


def field_of(stored: Mapping[str, Any]) -> FieldInfo:
    """A field as it was stored in JSON."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return FieldInfo(**values)


def load(path: str | Path, trust_code: bool = False) -> Model:
    """A run folder -> the model in eval mode. A run of a user's file needs that file, or `trust_code` for its copy."""
    folder = Path(path)
    folder = folder / "best" if (folder / "race.json").is_file() else folder
    record = record_of(folder)
    if record.get("format") != FORMAT:
        raise SensoriumError(f"{path} has format {record.get('format')!r}; this version reads format {FORMAT}")
    if missing := [k for k in ("job", "paper", "source", "fields") if k not in record]:
        raise SensoriumError(f"{folder / 'run.json'} is not the record of a run: it has no {missing[0]!r}")
    name = record["paper"]
    if name.endswith(".py") and not (Path(name).is_file() and source_hash(name) == record["source"]):
        if not trust_code:
            raise SensoriumError(
                f"{path} was trained from {name}, which is missing or changed here; --trust-code runs its copy"
            )
        name = str(folder / "paper.py")
    try:
        job = Job(**(record["job"] | {"paper": name, "start": ""}))
        fields = {k: field_of(v) for k, v in record["fields"].items()}
    except (TypeError, AttributeError) as problem:
        raise SensoriumError(f"{folder / 'run.json'} is not the record of a run: {problem}") from None
    method = build(paper(name), job, fields)
    checkpoint = newest(folder)
    if state_of(folder) == "unfinished":
        warnings.warn(f"{path} is unfinished; this is its checkpoint {checkpoint.name}", stacklevel=2)
    load_weights(method, checkpoint / "model.safetensors")
    tokenizer = folder / "tokenizer.json"
    device = settle()
    return Model(
        method.to(device).eval(),
        fields,
        Tokenizer.from_file(str(tokenizer)) if tokenizer.is_file() else None,
        record,
        folder,
        device,
    )
