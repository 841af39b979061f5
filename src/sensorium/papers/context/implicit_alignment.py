"""Implicit Multimodal Alignment: On the Generalization of Frozen LLMs to Multimodal Inputs.

Shukor and Cord, 2024, arXiv 2405.16700. An analysis: a frozen language model is fed the tokens of a picture through a
trained projector, and what it does with these and with words is laid side by side, layer by layer: norms, narrow cones,
cosines across kinds (their mean over rows and layers is the implicit alignment score), which weights each activates.
From that follow two economies: tokens of pictures go past the ffn or the attention of layers, and one subnetwork, what
the most activated weights of all tasks have in common, serves them all.
Differs from baseline/prefix-lm in that the decoder is a shared start that never changes; the measures read any method
that says texts after the tokens of a picture. Differs from the paper in size, and in that the picture's tower, which
begins as the pair encoder's, is trained along with the projector.
Claim: the score goes up with that of the task and down with hallucination over checkpoints; skipping saves counted
FLOPs at a small loss; one mask serves several tasks.
Seen in one run (12,800 samples, 58 CPU-s; answers 0.58 exact): tokens of pictures turn less from layer to layer than
words (cosine 0.84 to 0.88; 0.11 to 0.72), similarity rises from 0.02 to 0.17, halves of the weights overlap by 0.76
(chance 0.33). Without their ffn 0.58 for 29% fewer FLOPs; with 70% of the weights 0.54 own, 0.55 shared, 0.01 drawn.
The correlation was seen without the norm before the projector alone, and then had no sign: 0.54 and -0.33 in two seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.blocks.alignment import (
    Masks,
    activated,
    alignment,
    by_chance,
    common,
    cone,
    left,
    length,
    overlap,
    steadiness,
    together,
)
from sensorium.blocks.decode import Decoder, Generates, Prompt
from sensorium.blocks.decode.capture import input_norms, matrices, of_kind, streams
from sensorium.blocks.decode.sparse import SKIPS, masked, pass_flops, skipping
from sensorium.blocks.prefix_lm import IMAGE, TEXT, PrefixLM, sayable
from sensorium.blocks.shared import decoder_of
from sensorium.blocks.towers.head import Projector
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
    Ids,
    Keeps,
    Method,
    Rng,
    Scores,
    SensoriumError,
    Terms,
    Tokens,
    Tower,
    Trial,
    nearest,
)
from sensorium.data.dataset import Dataset
from sensorium.evals.metrics.correlation import spearman
from sensorium.evals.metrics.hallucination import Chair, chair, pope, says_yes
from sensorium.lab.sets import data_set
from sensorium.lab.world.facts import COLOURS, SHAPES
from sensorium.lab.world.lang import read as read_text
from sensorium.lab.world.reader import read as read_picture
from sensorium.run.device import settle
from sensorium.run.evaluate import Scored
from sensorium.run.fit import Fit
from sensorium.run.plan import Job, plan
from sensorium.run.runs import load
from sensorium.run.tasks import LONGEST_ANSWER, LONGEST_CAPTION, Question, few, generated, scored

NEEDS = {
    "image": "image",
    "image.*": "image optional",
    "text": "ids",
    "text/question": "ids optional",
    "text/answer": "ids optional",
}
PARTS = {
    "frozen language model behind a trained projector": "PrefixLM",
    "activations of every layer, by kind of token": "streams",
    "norms and cone effect": "cone",
    "similarity across kinds, layer by layer": "together",
    "overlap of activated weights": "overlap",
    "implicit alignment score": "alignment",
    "skipped computation": "skipping",
    "one shared subnetwork": "common",
}
PARTIAL = (
    "video and audio tokens, which no prefix LM here reads; scores of attention, computed even where it is skipped"
)
BASES = {"causal-lm": "ids", "pair-encoder": "optional"}
SCRATCH, STARTED = "scratch", "pair-encoder"
EYES = (STARTED, SCRATCH)
"""How the picture's tower begins: as the pair encoder's, or as the run's own choice of towers has it."""
KINDS = {"image": IMAGE, "text": TEXT}
TASKS = {"text/answer": ("answer", "exact"), "text": ("caption", "cider")}
"""What is said -> the task that scores it, and its metric."""
MOST = 512
"""Rows that are looked into."""
SHARE, KEPT = 0.5, 0.7
"""Of the weights of each output: those that count as activated where overlap is measured, and those that a mask keeps.
"""
RATE = 3e-3
CHECKPOINTS = 6
DRAWS = 200


@dataclass(frozen=True)
class Config:
    """How the picture's tower begins, "pair-encoder" or "scratch"; which of the texts that the data has are learnt."""

    eye: str = STARTED
    says: tuple[str, ...] = ("text", "text/answer")


class Levelled(nn.Module):
    """[B T d_in] -> [B T d_out]: a projector behind a norm, so that it gives vectors about as long as words are inside
    a language model: much longer ones stay in its stream as they came."""

    def __init__(self, projector: Projector, dim: int) -> None:
        super().__init__()
        self.norm, self.projector = nn.RMSNorm(dim, 1e-6), projector

    def forward(self, t: Tokens) -> Tokens:
        real = t.x.to(self.norm.weight.dtype).masked_fill(~t.mask[..., None], 0)
        return self.projector(replace(t, x=self.norm(real)))  # type: ignore[no-any-return]


def build(config: Config, fields: Fields, bases: Bases) -> PrefixLM:
    """A frozen language model that reads pictures through a trained tower and projector.

    Raises:
        SensoriumError: a beginning that is neither of the two.
    """
    if config.eye not in EYES:
        raise SensoriumError(f"eye {config.eye!r}{nearest(config.eye, EYES)}")
    decoder = decoder_of(bases.get("causal-lm"))
    tower = begun(bases) if config.eye == STARTED else None
    tower = tower or bases.encoder("image", "tokens")
    method = PrefixLM(tower, decoder, sayable(fields, config.says))
    method.add_module("projector", Levelled(method.projector, tower.dim))
    return method


def begun(bases: Bases) -> Tower:
    """The pair encoder's image tower, to train on."""
    pair = bases.copy("pair-encoder")
    assert isinstance(pair, TwoTower)
    tower = pair.towers["image"]
    assert isinstance(tower, Tower)
    return tower


# What is measured of a run


def question(path: str | Path) -> Question:
    """The test rows of a finished run, of whichever paper: what `figures` and the measures below are asked with.

    Raises:
        SensoriumError: no run, or one whose data has changed since.
    """
    model = load(path)
    job = Job(**model.record["job"])
    data = Dataset(job.data, job.roles, max_bad=job.max_bad)
    if data.fingerprint != model.record["data"]:
        raise SensoriumError(f"{job.data} has changed since {path} was trained on it, so its test rows are not known")
    p = plan(job, data)
    return Question(replace(p, method=model.method), data, p.split.test, model.device)


def whole(prompt: Prompt, said: Ids) -> Tokens:
    """A prompt and the text that follows it as one sequence [B T D]: words of kind TEXT, all that is perceived IMAGE.

    Raises:
        SensoriumError: a prompt whose tokens have no kinds, or none that is perceived.
    """
    t, words = prompt.tokens, prompt.decoder.embed(said)
    if t.kind is None or not (t.kind[t.mask] > TEXT).any():
        raise SensoriumError("this prompt tells no words from what is perceived; expected tokens of a picture among it")
    kind = torch.cat([t.kind.clamp(max=IMAGE), torch.full_like(said.ids, TEXT)], 1)
    return Tokens(torch.cat([t.x, words.x.to(t.x.dtype)], 1), torch.cat([t.mask, words.mask], 1), kind=kind)


def prompts(asked: Question, to: str) -> Iterator[tuple[Prompt, Ids]]:
    """What a method is asked with before it says `to`, and what it should say, batch by batch."""
    method = asked.plan.method
    assert isinstance(method, Generates)
    for batch in asked.batches(*asked.plan.rows.columns):
        said, prompt = batch[to], method.prompt({k: v for k, v in batch.items() if k != to}, to)
        assert isinstance(prompt, Prompt) and isinstance(said, Ids)
        yield prompt, said


def says(asked: Question) -> list[str]:
    """The texts that a method says, of those that have a task here.

    Raises:
        SensoriumError: it says none.
    """
    method, where = asked.plan.method, asked.plan.rows.columns
    found = [to for to in TASKS if to in where and to in getattr(method, "generates", {})]
    if not found:
        raise SensoriumError(f"{asked.plan.job.paper} says neither answers nor captions, so nothing can be analysed")
    return found


@torch.no_grad()
def sequences(asked: Question, to: str) -> list[tuple[Decoder, Tokens]]:
    """Each batch of rows as its decoder reads it, the right text at the end."""
    return [(prompt.decoder, whole(prompt, said)) for prompt, said in prompts(asked, to)]


@torch.no_grad()
def figures(asked: Question) -> Scored:
    """Layer by layer, n = 0 the input: "norm", "cone" and "steady" of tokens of "image" and "text", their "similarity".

    "alignment" is the implicit alignment score; "overlap" that of the weights which either kind activates, "overlap by
    chance" that of as many drawn ones.
    """
    asked = few(asked, MOST)
    asked.plan.method.eval()
    read = [pair for to in says(asked) for pair in sequences(asked, to)]
    each = [layers(streams(decoder, t)) for decoder, t in read]
    scores = {name: float(np.mean([found[name] for found in each])) for name in each[0]}
    decoder, texts = read[0][0], [t for _, t in read]
    weights = {name: m.weight for name, m in matrices(decoder).items()}
    used = [activated(weights, input_norms(decoder, texts, kind), SHARE) for kind in KINDS.values()]
    scores["overlap"] = overlap(*used)
    scores["overlap by chance"] = overlap(*(by_chance(mask, n) for n, mask in enumerate(used)))
    return Scored(scores, {})


def layers(found: Sequence[Tokens]) -> dict[str, float]:
    """The figures of one batch of streams."""
    out = {"alignment": float(alignment(found, IMAGE, TEXT).mean())}
    for n, t in enumerate(found):
        kinds = {name: of_kind(t, kind) for name, kind in KINDS.items()}
        out[f"similarity {n}"] = float(together(kinds["image"], kinds["text"]).mean())
        for name, part in kinds.items():
            out |= {f"norm {name} {n}": float(length(part)), f"cone {name} {n}": float(cone(part))}
            if n:
                out[f"steady {name} {n}"] = float(steadiness(of_kind(found[n - 1], KINDS[name]), part))
    return out


class Edited(Method):
    """A method whose prompts are changed before it speaks; it learns as before."""

    def __init__(self, method: Method, edit: Callable[[Prompt, str], Prompt]) -> None:
        super().__init__()
        assert isinstance(method, Generates)
        self.method, self.edit, self.generates = method, edit, method.generates

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return self.method.losses(batch, rng)

    def prompt(self, batch: Batch, to: str) -> Prompt:
        assert isinstance(self.method, Generates)
        prompt = self.method.prompt(batch, to)
        assert isinstance(prompt, Prompt)
        return self.edit(prompt, to)


def tasks(asked: Question, edit: Callable[[Prompt, str], Prompt], what: str = "") -> dict[str, float]:
    """The primary score of each task under an edit: "exact WHAT", "cider WHAT"."""
    edited = replace(asked, plan=replace(asked.plan, method=Edited(asked.plan.method, edit)))
    found = {metric: scored(task, edited).scores[metric] for task, metric in (TASKS[to] for to in says(asked))}
    return {f"{metric} {what}".strip(): value for metric, value in found.items()}


def perceived(prompt: Prompt) -> Tensor:
    """Which tokens of a prompt are not words [B T] bool."""
    assert prompt.tokens.kind is not None
    return prompt.tokens.mask & (prompt.tokens.kind > TEXT)


def unchanged(prompt: Prompt, to: str) -> Prompt:
    """The prompt as it is."""
    return prompt


def past(parts: Sequence[str], first: int = 1) -> Callable[[Prompt, str], Prompt]:
    """Tokens of pictures go past these parts of every layer from the `first` on."""

    def edit(prompt: Prompt, to: str) -> Prompt:
        chosen = range(first, len(prompt.decoder.layers))
        return replace(prompt, decoder=skipping(prompt.decoder, perceived(prompt), chosen, parts))

    return edit


WAYS: Mapping[str, tuple[str, ...]] = {"ffn": (SKIPS[0],), "attention": (SKIPS[1],), "blocks": SKIPS}


@torch.no_grad()
def economy(asked: Question) -> Scored:
    """Scores and counted FLOPs of reading the prompts where tokens of pictures skip a part of all layers but the first:
    "exact skipping ffn", "megaflops skipping ffn" (a row), so too for "attention" and "blocks"; of the same rows
    "exact whole", "megaflops whole"."""
    asked = few(asked, MOST)
    asked.plan.method.eval()
    ways = {"whole": unchanged} | {f"skipping {way}": past(parts) for way, parts in WAYS.items()}
    scores: dict[str, float] = {}
    for what, edit in ways.items():
        scores |= tasks(asked, edit, what) | {f"megaflops {what}": megaflops(asked, edit)}
    return Scored(scores, {})


def megaflops(asked: Question, edit: Callable[[Prompt, str], Prompt]) -> float:
    """What reading all prompts of a row costs the decoder, in millions of counted operations."""
    each = [edit(prompt, to) for to in says(asked) for prompt, _ in prompts(asked, to)]
    return sum(pass_flops(prompt.decoder, prompt.tokens) for prompt in each) / len(asked.index) / 1e6


@torch.no_grad()
def subnetworks(asked: Question) -> Scored:
    """Scores with the most activated weights alone, found on train rows: those of each task ("exact own mask"), those
    that all tasks have in common ("exact shared mask") and as many drawn ones ("exact random mask", and "lost exact
    random mask", what that loses of the whole); "left own" and "left shared", shares of weights; "mask overlap".
    """
    asked = few(asked, MOST)
    asked.plan.method.eval()
    own = {to: task_mask(replace(asked, index=asked.plan.split.train), to) for to in says(asked)}
    shared = common([*own.values()])
    drawn = by_chance(shared, asked.plan.job.seed)
    scores = tasks(asked, pruned(own), "own mask")
    scores |= tasks(asked, pruned(dict.fromkeys(own, shared)), "shared mask")
    random = tasks(asked, pruned(dict.fromkeys(own, drawn)), "random mask")
    kept = tasks(asked, unchanged, "random mask")
    scores |= random | {f"lost {name}": kept[name] - value for name, value in random.items()}
    masks = [*own.values()]
    scores |= {"left own": left(masks[0]), "left shared": left(shared), "mask overlap": overlap(masks[0], masks[-1])}
    return Scored(scores, {})


def task_mask(asked: Question, to: str) -> Masks:
    """The weights that the rows of a question activate most when `to` is said."""
    read = sequences(few(asked, MOST), to)
    decoder = read[0][0]
    weights = {name: m.weight for name, m in matrices(decoder).items()}
    return activated(weights, input_norms(decoder, [t for _, t in read]), KEPT)


def pruned(masks: Mapping[str, Masks]) -> Callable[[Prompt, str], Prompt]:
    """Only the weights in the mask of what is said are left."""
    return lambda prompt, to: replace(prompt, decoder=masked(prompt.decoder, masks[to]))


@torch.no_grad()
def hallucination(asked: Question) -> Scored:
    """Of a generated world: "chair", objects that captions mention and the picture lacks over all that they mention,
    and "chair captions", captions with one over all; "pope", how often it is known whether something is there, and
    "pope yes", the share of yes among those answers."""
    asked = few(asked, MOST)
    asked.plan.method.eval()
    scores: dict[str, float] = {}
    if "text" in says(asked):
        found = invented(asked)
        scores |= {"chair": found.instance, "chair captions": found.sentence}
    if "text/answer" in says(asked):
        answers = asked.data.texts("text/answer")
        asked = replace(asked, index=np.array([i for i in asked.index if answers[i] in YES], np.int64))
        said = generated(asked, "text/answer", LONGEST_ANSWER, "image", "text/question")
        found_out = pope([says_yes(text) for text in said], [text == YES[0] for text in asked.texts("text/answer")])
        scores |= {"pope": found_out.accuracy, "pope yes": found_out.yes_rate}
    return Scored({name: value for name, value in scores.items() if np.isfinite(value)}, {})


def invented(asked: Question) -> Chair:
    """How much of what a method tells of the pictures of a world is not there."""
    said = generated(asked, "text", LONGEST_CAPTION, "image")
    return chair([objects(text) for text in said], seen(asked))


YES = ("yes", "no")


def objects(text: str) -> list[str]:
    """The objects that a text of the world mentions: "red circle"."""
    return [named(m.colour, m.shape) for m in read_text(text).mentions if m.colour >= 0 and m.shape >= 0]


def named(colour: int, shape: int) -> str:
    """By their numbers; what no scene has is no object."""
    known = colour < len(COLOURS) and shape < len(SHAPES)
    return f"{COLOURS[colour]} {SHAPES[shape]}" if known else "nothing"


def seen(asked: Question) -> list[list[str]]:
    """The objects of each picture, as the exact reader of the world finds them."""
    pixels = asked.plan.rows.columns["image"].rows(torch.from_numpy(asked.index))
    if not isinstance(pixels, Field):
        raise SensoriumError(f"{asked.plan.job.paper} reads stored features; expected pictures")
    facts = read_picture(pixels.data.numpy())
    there = (facts.colour >= 0) & (facts.shape >= 0)
    rows = zip(facts.colour, facts.shape, there, strict=True)
    return [
        [named(int(c), int(s)) for c, s in zip(colour[real], shape[real], strict=True)] for colour, shape, real in rows
    ]


# The correlation over checkpoints


@dataclass(frozen=True)
class Point:
    """A checkpoint: its implicit alignment score, how many answers are right, how much of what is told is not there."""

    alignment: float
    exact: float
    chair: float


def checkpoints(eye: str, trial: Trial) -> list[Point]:
    """CHECKPOINTS evenly spaced ones of one connector on world/questions, measured on validation rows."""
    folder = data_set(DATA)
    towers = {"image": "scratch", "text": "scratch"}
    job = Job(SLUG, str(folder), towers, RATE, trial.budget.samples, trial.seed, {"eye": eye}, batch=trial.batch)
    data, device = Dataset(folder), settle()
    p = plan(job, data)
    p.method.to(device)
    asked = Question(p, data, p.split.validation, device)
    fit = Fit(p.method, p.stages, job.trial, device)
    due = {round(fit.steps * (k + 1) / CHECKPOINTS) for k in range(CHECKPOINTS)}
    return [point(asked) for step in fit if step.n in due]


def point(asked: Question) -> Point:
    """The checkpoint that a method stands at."""
    asked.plan.method.eval()
    with torch.no_grad():
        told = invented(asked).instance
    exact = scored("answer", asked).scores["exact"]
    return Point(figures(asked).scores["alignment"], exact, told if np.isfinite(told) else 1.0)  # silence knows nothing


def correlations(runs: Sequence[Sequence[Point]]) -> dict[str, float]:
    """Over the checkpoints of all runs the rank correlation of alignment with "task" and with "hallucination";
    "agreement": how often, of two runs at one checkpoint, the better aligned one answers better. Nothing undefined."""
    every = [p for run in runs for p in run]
    aligned = [p.alignment for p in every]
    found = {
        "task": spearman(aligned, [p.exact for p in every]).mean,
        "hallucination": spearman(aligned, [p.chair for p in every]).mean,
    }
    pairs = [(a, b) for at in zip(*runs, strict=True) for k, a in enumerate(at) for b in at[k + 1 :]]
    same = [np.sign(a.alignment - b.alignment) == np.sign(a.exact - b.exact) for a, b in pairs if a.exact != b.exact]
    found["agreement"] = float(np.mean(same)) if same else np.nan
    return {name: value for name, value in found.items() if np.isfinite(value)}


def across(trial: Trial) -> Scores:
    """The correlations over the checkpoints of both connectors."""
    return correlations([checkpoints(eye, trial) for eye in EYES])


def unrelated(trial: Trial) -> Scores:
    """What checkpoints whose scores are drawn give, in the mean over many drawings."""
    values = torch.rand(DRAWS, len(EYES), CHECKPOINTS, 3, generator=trial.rng("unrelated"))
    each = [correlations([[Point(*p) for p in run] for run in runs]) for runs in values.tolist()]
    return {name: float(np.mean([found[name] for found in each])) for name in each[0]}


SLUG, DATA = "implicit-alignment", "world/questions"
MEASURES = tuple(f"{__name__}:{one.__name__}" for one in (figures, economy, subnetworks))
"""Of any run that says texts of pictures; `hallucination` needs a generated world."""
CLAIMS = {
    "alignment": Claim(
        arms={"ours": Arm(run=f"{SLUG}:across"), "unrelated": Arm(run=f"{SLUG}:unrelated")},
        says=(
            Above("task", 0.3, baseline="unrelated"),
            Above("hallucination", 0.3, baseline="unrelated", higher=False),
            Above("agreement", 0.2, baseline="unrelated"),
        ),
        beats="blind majority",
        rates=(1e-3, RATE, 1e-2),
        budget=Budget(12_800),
        data=DATA,
        towers="scratch",
        batch=64,
    ),
    "economy": Claim(
        arms={"ours": Arm(measures=(*MEASURES, f"{__name__}:hallucination"))},
        says=(
            Keeps("exact skipping ffn", 0.95, baseline="ours", of="exact whole"),
            Keeps("megaflops skipping ffn", 1.25, baseline="ours", of="megaflops whole", higher=False),
            Keeps("exact shared mask", 0.9, baseline="ours", of="exact own mask"),
            Keeps("cider shared mask", 0.9, baseline="ours", of="cider own mask"),
            Keeps("lost exact random mask", 0.5, baseline="ours", of="exact whole"),
        ),
        beats="blind majority",
        rates=(1e-3, RATE, 1e-2),
        budget=Budget(12_800),
        seeds=7,  # of equal counts fewer say nothing
        data=DATA,
        towers="scratch",
        batch=64,
    ),
}
