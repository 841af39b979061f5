"""A Practitioner's Guide to Continual Multimodal Pretraining.

Roth et al., 2024, arXiv 2408.14471 (FoMo-in-Flux). A trained pair encoder is updated on a stream of domains, each
update within a budget of memory-adjusted FLOPs: batches mix new rows with replayed and pretraining ones, and after each
update the weights are merged with those of before. Differs from CLIP in that it begins trained and must stay so; from
the paper in its size, and in that memory is counted, not measured.
Claim: merging with replay is on the Pareto front of knowledge accumulation and zero-shot retention.
Measured (ten seeds): 0.70 geometric mean of accumulation and retention, plain fine-tuning 0.23, merging alone 0.42,
replay alone 0.67. Merging keeps 0.08 more of the start; most of the gain over plain fine-tuning is replay's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.adapt.budget import memory_adjusted
from sensorium.blocks.adapt.lora import adapt, folded, layers, restart
from sensorium.blocks.adapt.merge import State, interpolate, task_arithmetic
from sensorium.blocks.adapt.regularise import distil, fisher, l2
from sensorium.blocks.schedules import Meta, continued, falling, infinite, rewarmed
from sensorium.blocks.two_tower import TwoTower
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Method,
    NotBelow,
    Rng,
    Scores,
    SensoriumError,
    Space,
    Terms,
    Tokens,
    Trial,
    choice,
    derive,
)
from sensorium.data.media.image import fit
from sensorium.data.mixtures import (
    Domains,
    Foreign,
    Mixture,
    Ordering,
    as_given,
    buffer,
    common_first,
    easy_first,
    hard_first,
    rare_first,
    shares,
    shuffled,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs, Stream
from sensorium.data.tokenise import encode
from sensorium.evals.metrics.retention import balance, front
from sensorium.evals.retrieval import relevance, score_retrieval
from sensorium.lab.sets import recipe, scenes
from sensorium.lab.starts import opened
from sensorium.run.evaluate import Scored
from sensorium.run.fit import Stage
from sensorium.run.tasks import Question

START = "pair-encoder"
BASES = {"pair-encoder": "ids"}
NEEDS = {"image": "image", "text": "ids", "label": "label optional"}
PARTS = {
    "stream of domains": "domains",
    "orderings of the stream": "ORDERINGS",
    "budget in memory-adjusted FLOPs": "steps_within",
    "mixtures of new, replayed and pretraining rows": "mixed",
    "parameter-efficient updates": "adapt",
    "regularisers towards the start": "REGULARISERS",
    "merging after each update": "MERGES",
    "meta learning-rate schedules": "META",
    "knowledge accumulation and zero-shot retention": "streamed",
}
PARTIAL = (
    "the 63 data sets and their concepts; real CLIP weights; similarity and time orderings; further PEFT (DoRA, VeRA)"
)
POOL = 4_000
"""Rows of the start's own training set that are replayed as pretraining data."""
HELD = ("world/scenes", "world/binding", "world/crowded")
"""What the start was measured to do zero-shot, and the stream never shows."""
ASKED = 300
"""Rows of each of these that are ranked."""
LOOKED = 256
"""Rows per domain from which its difficulty is told."""


@dataclass(frozen=True)
class Config:
    """How a stream is laid out (`tasks` updates at most, `ordering`) and what each update does.

    `mixture`: new, buffer, pool or replay; at most `kept` rows are kept for replay. `regulariser`: none, l2, ewc or
    distil, weighed by `weight`. `rank` above 0 trains low-rank deltas alone. `merge`: none, ema, interpolation or
    arithmetic, with the `share` of what is new. `schedule`: rewarmed, continued, infinite or falling.
    """

    tasks: int = 6
    ordering: str = "random"
    mixture: str = "replay"
    kept: int = 2_000
    regulariser: str = "none"
    weight: float = 1.0
    rank: int = 0
    merge: str = "ema"
    share: float = 0.5
    schedule: str = "rewarmed"


Merge = Callable[[State, State, State, float], tuple[State, State]]
"""Weights of the start, of before the update, of after it, share -> those that are used, those that train on."""


def unmerged(start: State, before: State, tuned: State, share: float) -> tuple[State, State]:
    """The tuned weights."""
    return tuned, tuned


def ema(start: State, before: State, tuned: State, share: float) -> tuple[State, State]:
    """A moving average over updates, from which the next one goes on."""
    merged = interpolate(before, tuned, share)
    return merged, merged


def interpolation(start: State, before: State, tuned: State, share: float) -> tuple[State, State]:
    """Post hoc between the start and the tuned weights, which train on unmerged."""
    return interpolate(start, tuned, share), tuned


def arithmetic(start: State, before: State, tuned: State, share: float) -> tuple[State, State]:
    """Each update tunes the start anew, and what it changed is added."""
    return task_arithmetic(before, [_moved(before, start, tuned)], share), start


def _moved(before: State, start: State, tuned: State) -> State:
    return {n: b + tuned[n] - start[n] if b.is_floating_point() else tuned[n] for n, b in before.items()}


class Continual(Method):
    """A pair encoder that is updated; beside it the frozen weights that it started from and those that are used after
    the update before. Pictures larger than the start's are shrunk to its `size`."""

    def __init__(self, model: TwoTower, config: Config, size: int) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.start = deepcopy(model).requires_grad_(False)
        self.before = deepcopy(model).requires_grad_(False)
        self.model = model
        if config.rank:
            adapt(model, layers(model), config.rank, alpha=config.rank)
        self.merge = choice("merge", config.merge, MERGES)
        self.regulariser = choice("regulariser", config.regulariser, REGULARISERS)
        self.importance: Mapping[str, Tensor] = {}
        self.ends: Sequence[int] = ()
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.done: Tensor

    @property
    def spaces(self) -> Mapping[str, Space]:
        """Those of the pair encoder."""
        return self.model.spaces

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        seen = self.shrunk(batch)
        return {**self.model.losses(seen, rng), **self.regulariser(self, seen)}

    def after_step(self, batch: Batch) -> None:
        self.done += 1
        if int(self.done) in self.ends:
            self.merged(last=int(self.done) == self.ends[-1])

    @torch.no_grad()
    def merged(self, last: bool) -> None:
        """Ends an update: what is used goes into `before`; the model goes on from it, or from where its merge says."""
        used, onward = self.merge(
            self.start.state_dict(), self.before.state_dict(), folded(self.model), self.config.share
        )
        onward = {n: v.clone() for n, v in (used if last else onward).items()}
        self.before.load_state_dict(used)
        restart(self.model, onward)

    def begin(self) -> None:
        """Takes the weights of now for those of the start."""
        for copy in (self.start, self.before):
            copy.load_state_dict(folded(self.model))

    def shrunk(self, batch: Batch) -> Batch:
        """The batch with pictures of at most the start's size."""
        return {k: self._small(v) if isinstance(v, Field) and v.data.ndim == 4 else v for k, v in batch.items()}

    def _small(self, image: Field) -> Field:
        if image.data.shape[-1] <= self.size:
            return image
        return replace(image, data=F.interpolate(image.data.float(), (self.size, self.size), mode="area"))

    def embed(self, batch: Batch, of: str) -> Tokens:
        return self.model.embed(self.shrunk(batch), of)

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return self.model.rank(self.shrunk(queries), self.shrunk(items))


def free(method: Continual, batch: Batch) -> Terms:
    """Nothing holds the weights."""
    return {}


def near_start(method: Continual, batch: Batch) -> Terms:
    """Half the squared distance of the weights from the start's."""
    return {"l2": method.config.weight * l2(method.model, method.start.state_dict())}


def consolidated(method: Continual, batch: Batch) -> Terms:
    """The same, each weight by its Fisher information on pretraining rows."""
    return {"ewc": method.config.weight * l2(method.model, method.start.state_dict(), method.importance)}


def distilled(method: Continual, batch: Batch) -> Terms:
    """The start's ranking of the batch is kept, in both directions."""
    pair = {"image": batch["image"]}, {"text": batch["text"]}
    with torch.no_grad():
        right = method.start.scale * method.start.rank(*pair)
    said = method.model.scale * method.model.rank(*pair)
    return {"distil": method.config.weight * (distil(said, right) + distil(said.T, right.T)) / 2}


REGULARISERS: Mapping[str, Callable[[Continual, Batch], Terms]] = {
    "none": free,
    "l2": near_start,
    "ewc": consolidated,
    "distil": distilled,
}
MERGES: Mapping[str, Merge] = {
    "none": unmerged,
    "ema": ema,
    "interpolation": interpolation,
    "arithmetic": arithmetic,
}
META: Mapping[str, Meta] = {
    "rewarmed": rewarmed,
    "continued": continued,
    "infinite": infinite,
    "falling": falling,
}
ORDERINGS: Mapping[str, Ordering] = {
    "given": as_given,
    "random": shuffled,
    "easy": easy_first,
    "hard": hard_first,
    "common": common_first,
    "rare": rare_first,
}
MIXTURES = {"new": (1, 0, 0), "buffer": (1, 1, 0), "pool": (1, 0, 1), "replay": (1, 1, 1)}
"""Shares of new rows, of rows of earlier updates and of pretraining rows in a batch."""


def build(config: Config, fields: Fields, bases: Bases) -> Continual:
    """The pair encoder, to be updated."""
    if config.rank and config.regulariser in ("l2", "ewc"):
        raise SensoriumError(f"regulariser {config.regulariser!r} holds whole weights, not low-rank deltas; set rank=0")
    model = bases.copy(START)
    assert isinstance(model, TwoTower)
    return Continual(model, config, opened(START).fields["image"].shape[-1])


def domains(rows: Rows) -> dict[str, NDArray[np.int64]]:
    """The rows of the data set by domain, their label; all are one domain where there are no labels."""
    if "label" not in rows.columns:
        return {"": rows.index}
    label = rows.columns["label"].rows(torch.from_numpy(rows.index))
    assert isinstance(label, Field)
    number = label.data if label.mask is None else label.data.masked_fill(~label.mask, -1)
    names = (*rows.fields["label"].classes, "")
    return {names[k]: rows.index[number.numpy() == k] for k in np.unique(number.numpy()).tolist()}


def described(method: Continual, rows: Rows, parts: Mapping[str, NDArray[np.int64]], seed: int) -> Domains:
    """Sizes of the domains, and the start's contrast on some rows of each as a share of what guessing loses."""
    losses = []
    method.start.eval()
    for index in parts.values():
        batch = rows.select(index[:LOOKED]).batch(np.arange(min(LOOKED, len(index))))
        with torch.no_grad():
            loss = float(method.start.losses(method.shrunk(batch), Rng(seed))["contrast"])
        losses.append(loss / np.log(len(batch["row"])) if len(batch["row"]) > 1 else 1.0)
    return Domains(list(parts), [len(index) for index in parts.values()], losses, seed)


@cache
def generated(name: str, part: str, n: int, size: int) -> Rows:
    """The first scenes of a generated set, in the ids of the start; equal texts are a group."""
    made = scenes(recipe(name), part, n)
    pictures = np.stack([fit(Image.open(io.BytesIO(png)).convert("RGB"), size) for png in made["image"]])
    groups = np.unique(made["text"], return_inverse=True)[1]
    text = encode(opened(START).words(), made["text"], opened(START).fields["text"].length)
    return Rows({"image": Field(torch.from_numpy(pictures)), "text": text}, np.arange(n), {}, groups)


def mixed(config: Config, rows: Rows, new: NDArray[np.int64], past: NDArray[np.int64], batch: int, seed: int) -> Stream:
    """Batches of new rows, beside rows of earlier updates and of the start's own training set, as the mixture says."""
    weights = choice("mixture", config.mixture, MIXTURES)
    fresh, again, pool = shares(batch, (weights[0], weights[1] * bool(len(past)), weights[2]))
    streams: list[Stream] = [Epochs(rows.select(new), fresh, derive(seed, "new"))]
    if again:
        streams.append(Epochs(buffer(rows.select(past), config.kept, seed), again, derive(seed, "buffer")))
    if pool:
        pretraining = generated(HELD[0], "train", POOL, rows.fields["image"].shape[-1])
        streams.append(Foreign(Epochs(pretraining, pool, derive(seed, "pool"))))
    return Mixture(streams)


def steps_within(method: Continual, rows: Rows, trial: Trial) -> int:
    """Steps that cost as many memory-adjusted FLOPs as the trial's samples cost plain fine-tuning."""
    plain_config = replace(method.config, rank=0, regulariser="none")
    plain = Continual(deepcopy(method.start).requires_grad_(True), plain_config, method.size)
    batch = rows.batch(np.arange(min(trial.batch, len(rows))))
    cost, reference = (memory_adjusted(m, batch, plain) for m in (method, plain))
    return max(1, round(trial.budget.steps(trial.batch) * reference / cost))


def informed(method: Continual, rows: Rows, trial: Trial) -> Mapping[str, Tensor]:
    """The Fisher information of the start's weights on its own training rows, of mean 1: where a start knows its rows
    nearly by heart, it is so small that no weight of the term would be felt."""
    pool = Epochs(generated(HELD[0], "train", POOL, rows.fields["image"].shape[-1]), trial.batch, trial.seed)
    method.eval()

    def loss(step: int) -> Callable[[], Tensor]:
        return lambda: method.model.losses(method.shrunk(pool.batch(step)), trial.rng)["contrast"]

    found = fisher(method.model, (loss(step) for step in range(min(16, pool.per_epoch))))
    mean = torch.cat([value.flatten() for value in found.values()]).mean().clamp_min(torch.finfo(torch.float32).tiny)
    return {name: value / mean for name, value in found.items()}


def stages(config: Config, method: Continual, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """One per update: domains in their order, in as many groups as there are updates."""
    method.begin()
    if config.regulariser == "ewc":
        method.importance = informed(method, rows, trial)
    parts, steps = domains(rows), steps_within(method, rows, trial)
    order = choice("ordering", config.ordering, ORDERINGS)(described(method, rows, parts, trial.seed))
    tasks = min(config.tasks, len(parts), max(1, steps // 2))  # the last step of a schedule has a rate of nothing
    if tasks < 1:
        raise SensoriumError(f"tasks {config.tasks}; expected at least 1")
    meta = choice("schedule", config.schedule, META)
    every = [np.concatenate([list(parts.values())[k] for k in group]) for group in np.array_split(order, tasks)]
    ends = [steps * (task + 1) // tasks for task in range(tasks)]
    method.ends = tuple(ends)
    found = []
    for task, (new, count) in enumerate(zip(every, np.diff([0, *ends]).tolist(), strict=True)):
        past = np.concatenate([rows.index[:0], *every[:task]])
        stream = mixed(config, rows, new, past, trial.batch, derive(trial.seed, task))
        found.append(Stage(stream, Budget(count * trial.batch), trial.batch, schedule=meta(task, tasks)))
    return found


@torch.no_grad()
def first_hits(method: Continual | TwoTower, batch: Batch, texts: Sequence[str], images: Sequence[int]) -> float:
    """R@1 of a batch of pairs in both directions; equal texts and equal images are right too."""
    method.eval()
    text, image = {"text": batch["text"]}, {"image": batch["image"]}
    to_image, to_text = method.rank(text, image).cpu(), method.rank(image, text).cpu()
    return score_retrieval(to_image, to_text, relevance(texts, images)).scores["r@1"]


def learnt(asked: Question, method: Continual | TwoTower) -> list[float]:
    """R@1 within each domain among the rows asked about."""
    found = []
    for index in domains(asked.rows).values():
        batch = {k: v.to(asked.device) for k, v in asked.plan.rows.select(index).batch(np.arange(len(index))).items()}
        texts = asked.data.texts("text")
        images = asked.data.content("image")[index].tolist()
        found.append(first_hits(method, _of(asked).shrunk(batch), [texts[int(i)] for i in index], images))
    return found


def retained(asked: Question, method: Continual | TwoTower) -> list[float]:
    """R@1 on each set that the start knows and the stream does not show."""
    part = "validation" if np.array_equal(asked.index, asked.plan.split.validation) else "test"
    found = []
    for name in HELD:
        rows = generated(name, part, ASKED, _of(asked).size)
        batch = {k: v.to(asked.device) for k, v in rows.batch(rows.index).items()}
        found.append(first_hits(method, batch, rows.groups.tolist(), range(ASKED)))
    return found


def _of(asked: Question) -> Continual:
    method = asked.plan.method
    assert isinstance(method, Continual)
    return method


def streamed(asked: Question) -> Scored:
    """Accumulation, retention and their geometric mean, of the run and of its start."""
    method, scores = _of(asked), {}
    who_is: Mapping[str, Continual | TwoTower] = {"": method, "start ": method.start}
    for who, model in who_is.items():
        gained, kept = learnt(asked, model), retained(asked, model)
        scores[f"{who}accumulation"], scores[f"{who}retention"] = float(np.mean(gained)), float(np.mean(kept))
        scores[f"{who}geometric"] = balance(gained, kept)
    return Scored(scores, {})


def table(scores: Mapping[str, Scores]) -> str:
    """Scores by method -> a Markdown table, best geometric mean first, that says which are on the Pareto front."""
    columns = ("accumulation", "retention", "geometric")
    best = dict(zip(scores, front([[s[c] for c in columns[:2]] for s in scores.values()]), strict=True))
    lines = ["| method | " + " | ".join(columns) + " | on the front |", "|---|" + "---|" * (len(columns) + 1)]
    for name in sorted(scores, key=lambda n: -scores[n]["geometric"]):
        values = " | ".join(f"{scores[name][c]:.3f}" for c in columns)
        lines.append(f"| {name} | {values} | {'yes' if best[name] else 'no'} |")
    return "\n".join(lines)


MEASURES = ("sensorium.papers.adapt.continual_pretraining:streamed",)


def _arm(**changes: str | float) -> Arm:
    plain: dict[str, str | float] = {"mixture": "new", "merge": "none"}
    return Arm(config=plain | changes, measures=MEASURES)


CLAIMS = {
    "pareto": Claim(
        arms={
            "ours": Arm(measures=MEASURES),
            "baseline": _arm(),
            "replay alone": _arm(mixture="replay"),
            "merging alone": _arm(merge="ema"),
            "interpolation": _arm(merge="interpolation"),
            "low rank": _arm(rank=8),
            "l2": _arm(regulariser="l2"),
        },
        says=[
            Above("geometric", 0.05),
            Above("geometric", 0.05, baseline="merging alone"),
            Above("retention", 0.01, baseline="replay alone"),
            NotBelow("geometric", 0.05, baseline="replay alone"),
        ],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        data="world/stream",
        towers="scratch",
        batch=64,
    )
}
