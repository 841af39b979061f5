"""One run: carried out, written as a folder, loaded again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
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
from sensorium.core import Batch, Field, FieldInfo, Fields, Method, Ranks, SensoriumError, Tokens
from sensorium.data.dataset import Dataset
from sensorium.data.media.image import fit as fitted
from sensorium.data.split import look_alikes

from .checkpoint import load_weights, newest, publish, to_json, weights, write_json
from .device import Meter, environment, settle
from .evaluate import Scored, Sought, retrieval
from .features import Progress
from .fit import Fit, Step
from .load import attribute, paper, resolve, source_hash
from .plan import BASES, SCRATCH_SIZE, Job, Plan, build, described, image_column, plan, text_column

FORMAT = 1
NUMERICS = 1
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
    """What a run gave: scores on validation and, where asked, on test; curve; cost; why it failed, if it did."""

    validation: dict[str, float]
    test: dict[str, float]
    curve: dict[str, list[float]]
    cost: dict[str, float]
    failed: str = ""


def key_of(job: Job, fingerprint: str) -> str:
    """The name of a run's content: job, data and source."""
    content = json.dumps([described(job) | {"data": fingerprint}, source_hash(job.paper), NUMERICS], sort_keys=True)
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
    """The plan with every text variant as a column, so that languages the method was not trained on are scored too."""
    missing = [k for k, kind in data.kinds.items() if kind == "text" and k not in p.rows.columns]
    towers = frozen_towers(p.method)
    extra = {k: text_column(data.texts(k), towers.get(role_of(k)), p.tokenizer) for k in missing}
    return Plan(p.job, p.method, p.stages, p.rows.with_columns(extra), p.split, p.fields, p.tokenizer)


def fresh_rows(p: Plan, data: Dataset) -> NDArray[np.bool_]:
    """Per test row: no row of its group in train and, with a frozen image tower, no picture closer than `ALIKE`."""
    alike = np.asarray(look_alikes(data, p.split))
    tower = attribute(BASES)(p.job.towers, p.fields).encoder("image", "pooled")
    if isinstance(tower, Frozen):
        image = image_column(data, "image", tower)
        assert isinstance(image, Tokens)
        x = unit(pool(image))
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
) -> Outcome:
    """Carry out a job. The folder appears whole when it is done, or not at all."""
    device = settle()
    meter = Meter()
    p = plan(job, data, say)
    p.method.to(device)
    setup = meter.seconds
    fit = Fit(p.method, p.stages, job.trial, device)
    validation = p.rows.select(p.split.validation)
    # A method that cannot rank texts and images is trained all the same; it has no retrieval scores.
    ranks = isinstance(p.method, Ranks) and {"image", "text"} <= set(p.rows.columns)
    wanted = sought(data, p.split.validation) if ranks else None
    curve: dict[str, list[float]] = {"samples": [], "values": []}
    lines, aside = [], 0.0
    points = {max(1, round(fit.steps * (i + 1) / POINTS)) for i in range(POINTS)}
    for step in fit:
        lines.append(json.dumps(asdict(step)))
        if step.n in points and wanted is not None:
            before = meter.seconds
            curve["samples"].append(step.samples)
            curve["values"].append(retrieval(p.method, validation, wanted, device).scores["r@1"])
            aside += meter.seconds - before
        if watch:
            watch(step, fit.steps)
    cost = {
        "samples": float(fit.samples),
        "cpu_s": meter.seconds - aside,
        "setup_s": setup,
        "peak_mb": meter.peak_mb,
        "parameters": float(sum(q.numel() for q in p.method.parameters() if q.requires_grad)) if fit.steps else 0.0,
    }
    final, tested = Scored({}, {}), Scored({}, {})
    if wanted is not None:
        p = with_variants(p, data)
        final = retrieval(p.method, p.rows.select(p.split.validation), wanted, device)
    if wanted is not None and test:
        what = sought(data, p.split.test, fresh_rows(p, data))
        tested = retrieval(p.method, p.rows.select(p.split.test), what, device)
    cost["total_cpu_s"] = meter.seconds
    outcome = Outcome(final.scores, tested.scores, curve, cost)
    if folder is not None:
        _save(folder, p, data, outcome, tested, lines, fit, keep)
    return outcome


def timed(job: Job, data: Dataset, say: Progress | None = None) -> Timing:
    """Time a job of `TRIAL_STEPS` steps on this machine. The first steps pay for allocation; the median does not."""
    seconds: list[float] = []

    def watch(step: Step, total: int) -> None:
        seconds.append(step.seconds)

    total = execute(job, data, test=False, say=say, watch=watch).cost["total_cpu_s"]
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return Timing(step, max(0.0, total - len(seconds) * step), total)


def _save(
    folder: Path, p: Plan, data: Dataset, outcome: Outcome, tested: Scored, lines: list[str], fit: Fit, keep: bool
) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    canonical = resolve(p.job.paper)
    record = {
        "format": FORMAT,
        "job": described(p.job),
        "paper": canonical,
        "source": source_hash(p.job.paper),
        "fields": {k: asdict(v) for k, v in p.fields.items()},
        "kinds": dict(data.kinds),
        "data": data.fingerprint,
        "towers": {r: t.identity for r, t in frozen_towers(p.method).items()},
        "split": p.split.note,
    }
    write_json(temporary / "run.json", record)
    write_json(temporary / "scores.json", asdict(outcome))
    write_json(temporary / "env.json", environment())
    (temporary / "steps.jsonl").write_text("".join(line + "\n" for line in lines))
    if p.tokenizer is not None:
        (temporary / "tokenizer.json").write_text(p.tokenizer.to_str())
    if canonical.endswith(".py"):
        shutil.copy(canonical, temporary / "paper.py")
    if tested.items:
        table = {"row": p.split.test, "group": data.groups[p.split.test], **tested.items}
        pq.write_table(pa.table(table), temporary / "items.parquet")
    if keep:
        where = np.full(len(data), "", dtype=object)
        for name in ("train", "validation", "test"):
            where[getattr(p.split, name)] = name
        content = data.content("image").view(np.int64) if "image" in data.kinds else np.arange(len(data))
        pq.write_table(
            pa.table({"id": list(data.ids), "image": content, "split": where.tolist()}), temporary / "rows.parquet"
        )
        data.write_quarantine(temporary / "quarantine.jsonl")
        state = {"samples": fit.samples, "step": fit.total, "seed": p.job.seed}
        publish(
            temporary / "checkpoints" / str(fit.total),
            {"model.safetensors": weights(p.method), "state.json": to_json(state)},
        )
    if folder.exists():
        folder.rmdir()  # an empty folder may be taken; what is in one is never cleared
    temporary.rename(folder)


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

    def read(self, key: str, values: Sequence[Any]) -> Batch:
        """Texts or PIL pictures -> a batch of one key."""
        role = role_of(key)
        self.needs(role)
        tower = frozen_towers(self.method).get(role)
        if role == "text":
            if tower is not None and tower.tokenise is not None:
                return {key: tower.tokenise([str(v) for v in values])}
            return {key: text_column([str(v) for v in values], None, self.tokenizer)}
        size = tower.size if tower is not None else SCRATCH_SIZE
        return {key: Field(torch.from_numpy(np.stack([fitted(v, size) for v in values])))}

    def column(self, data: Dataset, key: str, say: Progress | None = None) -> Batch:
        """A key of a data set for every row, through stored features."""
        role = role_of(key)
        self.needs(role)
        if key not in data.kinds:
            raise SensoriumError(f"{data.path} has no {key!r}; it has {', '.join(data.kinds)}")
        tower = frozen_towers(self.method).get(role)
        if role == "image":
            return {key: image_column(data, key, tower, say)}
        return {key: text_column(data.texts(key), tower, self.tokenizer, say)}

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tokens:
        """A batch of one key -> its embedding on the CPU, in blocks of 256 rows."""
        ((key, value),) = batch.items()
        parts = []
        for start in range(0, len(value), 256):
            index = torch.arange(start, min(start + 256, len(value)))
            block = {key: value.rows(index).to(self.device)}
            parts.append(self.method.embed(self.method.frozen(block), key).to("cpu"))  # type: ignore[operator]
        return Tokens(torch.cat([t.x for t in parts]), torch.cat([t.mask for t in parts]))

    @torch.no_grad()
    def rank(self, queries: Batch, items: Batch) -> torch.Tensor:
        """Scores [Q I] on the CPU."""
        q, i = ({k: v.to(self.device) for k, v in side.items()} for side in (queries, items))
        scores: torch.Tensor = self.method.rank(q, i)  # type: ignore[operator]
        return scores.cpu()


def _field(stored: dict[str, Any]) -> FieldInfo:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return FieldInfo(**values)


def load(path: str | Path, trust_code: bool = False) -> Model:
    """A run folder -> the model in eval mode. A run of a user's file needs that file, or `trust_code` for its copy."""
    folder = Path(path)
    folder = folder / "best" if (folder / "race.json").is_file() else folder
    try:
        record = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        raise SensoriumError(f"{path} is not a run: it has no run.json") from None
    except ValueError:
        raise SensoriumError(f"{folder / 'run.json'} is not readable JSON") from None
    if not isinstance(record, dict):
        raise SensoriumError(f"{folder / 'run.json'} is not the record of a run")
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
        fields = {k: _field(v) for k, v in record["fields"].items()}
    except (TypeError, AttributeError) as problem:
        raise SensoriumError(f"{folder / 'run.json'} is not the record of a run: {problem}") from None
    method = build(paper(name), job, fields)
    load_weights(method, newest(folder) / "model.safetensors")
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
