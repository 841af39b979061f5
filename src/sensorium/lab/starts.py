"""Shared starts: small models of the library's own papers, trained once on generated sets and shipped.

A start is an arm, so anybody can train it again; its weights are bf16, and every arm that begins from it reads these.
Each says which property its users need and what was measured of it: a claim whose start lacks it is not tested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.blocks.towers.frozen import Encode, Frozen
from sensorium.blocks.two_tower import TwoTower
from sensorium.core import Arm, FieldInfo, Ids, Method, SensoriumError, Tokens, Tower, Value, nearest
from sensorium.data.cache import write_atomic
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.data.split import split
from sensorium.data.tokenise import encode
from sensorium.run.checkpoint import newest, to_json
from sensorium.run.features import Progress
from sensorium.run.keys import source_key, source_path
from sensorium.run.ledger import machine, now
from sensorium.run.load import attribute, config, paper
from sensorium.run.plan import Job, Plan, columns, keys_for
from sensorium.run.runs import execute, field_of
from sensorium.run.save import record_of as record_of_run
from sensorium.run.tasks import Question

from .sets import data_set

SHIPPED = Path(__file__).parent / "weights"
WEIGHTS, WORDS = "model.safetensors", "tokenizer.json"
FILES = (WEIGHTS, WORDS)
TOWER = 64
"""Width of what the towers of a start give before their heads."""


@dataclass(frozen=True)
class Property:
    """What users of a start need: "module:function" measures it on `data`; one score must be `times` another."""

    measure: str
    data: str
    score: str
    above: str
    times: float
    about: str


@dataclass(frozen=True)
class Start:
    """An arm, the set and trial that trained it, its properties, the roles it can stand in for as a tower, and the
    towers and task that it is trained with itself."""

    arm: Arm
    samples: int
    rate: float
    about: str
    properties: Mapping[str, Property]
    roles: Sequence[str] = ()
    towers: Mapping[str, str] = field(default_factory=dict)
    task: str = "retrieval"
    batch: int = 64
    seed: int = 0

    def job(self, data: Path, samples: int = 0) -> Job:
        """The run that makes it, on the folder of its set; of other `samples` where given."""
        return Job(
            self.arm.paper,
            str(data),
            self.towers,
            self.rate,
            samples or self.samples,
            self.seed,
            dict(self.arm.config),
            batch=self.batch,
            task=self.task,
        )


_PAINTS = {
    f"paints {what}": Property(
        "sensorium.lab.generation:painting",
        "world/single-long",
        f"painted {what}",
        f"{rival} {what}",
        times,
        f"the exact reader finds in its pictures the {what} that their captions tell",
    )
    for what, rival, times in (("objects", "true", 0.8), ("colours", "unrelated", 4.0), ("shapes", "unrelated", 3.0))
}
"""True: the reader's own score on true pictures; unrelated: that of pictures painted from other captions."""

STARTS: Mapping[str, Start] = {
    "pair-encoder": Start(
        Arm(paper="baseline/clip", config={"dim": 64, "dropout": 0.0}, data="world/scenes"),
        samples=256_000,
        rate=3e-3,
        about="small CLIP on scenes of two and three objects; one space for pictures and captions",
        properties={
            f"binding in {what}": Property(
                "sensorium.lab.probes:binding",
                "world/crowded",
                f"probe {role}",
                "probe guess",
                1.5,
                f"a linear probe reads from the vector of a {one} which colour a shape has",
            )
            for role, what, one in (("image", "pictures", "picture"), ("text", "texts", "caption"))
        },
        roles=("image", "text"),
    ),
    "vq": Start(
        Arm(paper="baseline/vq", config={"codes": 128}, data="world/scenes"),
        samples=51_200,
        rate=3e-3,
        about="picture tokeniser: 32 x 32 pixels as 8 x 8 ids of 128 codes, and back",
        properties={
            "pictures survive their codes": Property(
                "sensorium.lab.generation:rebuilding",
                "world/scenes",
                "rebuilt objects",
                "true objects",
                0.99,
                "the exact reader finds in pictures after their codes the objects that it finds in them before",
            )
        },
    ),
    "denoiser": Start(
        Arm(paper="baseline/denoiser", config={"dim": 96, "width": 24}, data="world/single-long"),
        samples=57_600,
        rate=2e-3,
        about="paints one object of a long caption by diffusion; what it reads are tokens of width 96",
        properties=_PAINTS,
        task="generate",
        batch=32,
    ),
    "any-to-any": Start(
        Arm(
            paper="baseline/image-tokens",
            config={"start": "vq", "dim": 96, "layers": 3, "words_first": 0.6, "temperature": 0.3},
            data="world/single-long",
        ),
        samples=51_200,
        rate=3e-3,
        about="one decoder over words and picture ids: tells a picture of one object and paints it from a long caption",
        properties=_PAINTS
        | {
            f"tells {what}": Property(
                "sensorium.lab.generation:telling",
                "world/single-long",
                f"said {what}",
                f"mistaken {what}",
                times,
                f"the exact reader finds in pictures the {what} that the captions said of them tell",
            )
            for what, times in (("colours", 4.0), ("shapes", 3.0))
        },
        task="generate",
        batch=32,
    ),
    "causal-lm": Start(
        Arm(paper="baseline/causal-lm", data="world/language"),
        samples=40_000,
        rate=1e-3,
        about="small causal LM on captions, questions, orders, stories and dialogues of scenes",
        properties={
            "texts foreseen": Property(
                "sensorium.lab.language_probes:language",
                "world/language",
                "unigram perplexity",
                "perplexity",
                3.0,
                "words of new texts are foreseen far better than by how frequent they are",
            ),
            "facts looked up": Property(
                "sensorium.lab.language_probes:language",
                "world/language",
                "looked up",
                "stated guess",
                1.5,
                "questions are answered with what the text says of that object, not with what it names",
            ),
        },
        task="",
        batch=32,
    ),
    "prefix-mllm": Start(
        Arm(paper="baseline/prefix-lm", config={"says": ("text", "text/answer")}, data="world/questions"),
        samples=64_000,
        rate=3e-3,
        about="small prefix LM on pictures: captions and answers; its eye begins as the pair encoder's",
        properties={
            "answers": Property(
                "sensorium.lab.language_probes:described",
                "world/questions",
                "answers",
                "blind majority",
                1.5,
                "questions on pictures are answered",
            )
        }
        | {
            f"{factor} in captions": Property(
                "sensorium.lab.language_probes:described",
                "world/questions",
                f"caption {factor}s",
                f"another's {factor}s",
                1.5,
                f"the {factor}s that a caption tells are those of its picture",
            )
            for factor in ("colour", "shape")
        },
        towers={"image": "pair-encoder/trained"},
        task="answer",
    ),
}


@dataclass(frozen=True)
class Record:
    """What stands beside a start's weights: their hashes, the recipe, what was measured, where and at what cost."""

    name: str
    files: Mapping[str, str]
    recipe: Mapping[str, Any]
    source: str
    data: str
    fields: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, float]
    bases: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    date: str = ""


@dataclass(frozen=True)
class Opened:
    """A start in use: the method in eval mode without gradient, its fields, its tokeniser, the hash of its weights."""

    method: Method
    fields: Mapping[str, FieldInfo]
    tokenizer: Tokenizer | None
    sha: str

    def words(self) -> Tokenizer:
        """A copy of its tokeniser, which cuts texts at the length that its fields say.

        Raises:
            SensoriumError: a start that reads no text.
        """
        if self.tokenizer is None:
            raise SensoriumError("this base reads no text, so it has no tokeniser")
        found = Tokenizer.from_str(self.tokenizer.to_str())
        found.enable_truncation(self.fields["text"].length - 1)
        return found


def start(name: str) -> Start:
    """The start of that name.

    Raises:
        SensoriumError: an unknown name, with the nearest.
    """
    if name not in STARTS:
        raise SensoriumError(f"unknown base {name!r}{nearest(name, STARTS)}")
    return STARTS[name]


def is_there(name: str, root: Path = SHIPPED) -> bool:
    """Whether a start has weights here."""
    return (root / name / "base.json").is_file()


def record_of(name: str, root: Path = SHIPPED) -> Record:
    """What is said of a start's weights.

    Raises:
        SensoriumError: weights that are not there, or a record that does not parse.
    """
    start(name)
    path = root / name / "base.json"
    if not is_there(name, root):
        raise SensoriumError(f"base {name!r} has no weights here; make them with: sensorium bases train {name}")
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as problem:
        raise SensoriumError(f"{path} is not the record of a base: {problem}") from None


def missing(record: Record, needs: Sequence[str] | None = None) -> list[str]:
    """The properties, all or those named, that a start was measured not to have, in words.

    Raises:
        SensoriumError: a property that the start does not speak of, with the nearest.
    """
    properties, found = start(record.name).properties, record.properties
    lines = []
    for name in properties if needs is None else needs:
        if name not in properties:
            raise SensoriumError(f"base {record.name!r} does not speak of {name!r}{nearest(name, properties)}")
        p = properties[name]
        has, rival = found.get(p.score, 0.0), found.get(p.above, float("inf"))
        if has < p.times * rival:
            lines.append(f"{name}: {p.score} {has:.2f}, expected {p.times:g} times {p.above}, which is {rival:.2f}")
    return lines


@cache
def opened(name: str, root: Path = SHIPPED) -> Opened:
    """The start's method with its weights, its files checked against their hashes.

    Raises:
        SensoriumError: weights that are not there, or that are not those of the record.
    """
    record = record_of(name, root)
    content = {}
    for file, expected in record.files.items():
        data = (root / name / file).read_bytes() if (root / name / file).is_file() else b""
        if (sha := _sha(data)) != expected:
            raise SensoriumError(f"{root / name / file} has hash {sha}, expected {expected}: reinstall")
        content[file] = data
    fields = {k: field_of(v) for k, v in record.fields.items()}
    with torch.random.fork_rng(devices=[]):  # what is built next draws as if the start had been open before
        method = _built(name, fields, record.bases)
    method.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load(content[WEIGHTS]).items()})
    method.eval().requires_grad_(False)
    tokenizer = Tokenizer.from_str(content[WORDS].decode()) if WORDS in content else None
    return Opened(method, fields, tokenizer, record.files[WEIGHTS])


def _built(name: str, fields: Mapping[str, FieldInfo], bases: Mapping[str, str]) -> Method:
    from .bases import Towers  # which opens starts

    made = start(name)
    module = paper(made.arm.paper)
    return module.build(config(module, made.arm.config), fields, Towers(made.towers, fields, bases))


def trained_tower(name: str, role: str) -> Tower:
    """A copy of the tower of a role, to train on: what it gives before the head [B T D]."""
    method = opened(name).method
    if role not in start(name).roles or not isinstance(method, TwoTower):
        raise SensoriumError(f"base {name!r} has no tower of {role} to train on; pair-encoder has one")
    found = deepcopy(method.towers[role]).requires_grad_(True).train()
    assert isinstance(found, Tower)
    return found


def tower(name: str, role: str, read: str) -> Frozen:
    """A role of a start as a frozen tower: "pooled" gives its place in the shared space [B 1 D], "tokens" what the
    tower gives before the head [B T D]."""
    made, sha = start(name), record_of(name).files[WEIGHTS]
    if role not in made.roles:
        raise SensoriumError(f"base {name!r} does not embed {role}; it embeds {', '.join(made.roles) or 'nothing'}")
    size = int(record_of(name).fields[role].get("shape", (0,))[-1] or 0) if role == "image" else 0
    dim = int(made.arm.config["dim"]) if read == "pooled" else TOWER

    def ready() -> Encode:
        method = opened(name).method

        def encoded(value: Value) -> Tokens:
            method.to(_device(value))
            if read == "pooled":
                return method.embed({role: value}, role)  # type: ignore[operator, no-any-return]
            return method.latent({role: value}, role)  # type: ignore[operator, no-any-return]

        return encoded

    def tokenise(texts: Sequence[str]) -> Ids:
        of = opened(name)
        assert of.tokenizer is not None
        return encode(of.tokenizer, texts, of.fields["text"].length)

    words: Callable[[Sequence[str]], Ids] | None = tokenise if role == "text" else None
    return Frozen(role, f"{name}-{sha}-{role}-{read}-1", dim, ready, size=size, tokenise=words)


def _device(value: Value) -> torch.device:
    return (value.ids if isinstance(value, Ids) else value.x if isinstance(value, Tokens) else value.data).device


def train(name: str, out: Path, say: Progress | None = None, samples: int = 0) -> Record:
    """Train a start by its recipe, measure its properties on the weights as they are shipped, and write the folder
    `out`/NAME: bf16 safetensors, tokeniser, base.json."""
    made = start(name)
    folder = data_set(made.arm.data)
    job, data = made.job(folder, samples), Dataset(folder)
    with TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        outcome = execute(
            job, data, run, say=say, watch=lambda step, total: say("train", step.n, total) if say else None
        )
        record, words = record_of_run(run), run / WORDS
        content = {WEIGHTS: _narrowed(load((newest(run) / WEIGHTS).read_bytes()))}
        content |= {WORDS: words.read_bytes()} if words.is_file() else {}
    for file, value in content.items():
        write_atomic(out / name / file, value)
    made_of = Record(
        name=name,
        files={file: _sha(value) for file, value in content.items()},
        recipe=asdict(made.arm)
        | {"towers": dict(made.towers), "samples": job.samples, "rate": job.rate, "batch": job.batch, "seed": job.seed},
        source=source_key(source_path(made.arm.paper)),
        data=data.fingerprint,
        fields=record["fields"],
        bases=record["job"].get("bases", {}),
        scores=outcome.test,
        cost=outcome.cost,
        versions={n: version(n).partition("+")[0] for n in ("sensorium", "torch", "numpy", "tokenizers")},
        machine=machine(),
        date=now(),
    )
    write_atomic(out / name / "base.json", to_json(asdict(made_of)))
    opened.cache_clear()
    made_of = replace(made_of, properties=measured(name, out))
    write_atomic(out / name / "base.json", to_json(asdict(made_of)))
    return made_of


def measured(name: str, root: Path = SHIPPED) -> dict[str, float]:
    """Every score that the properties of a start are read from, on test rows of their sets."""
    scores: dict[str, float] = {}
    for measure, where in dict.fromkeys((p.measure, p.data) for p in start(name).properties.values()):
        scores |= attribute(measure)(_asked(name, where, root)).scores
    return scores


def _asked(name: str, where: str, root: Path) -> Question:
    """The test rows of a set, in the columns of the start."""
    made, of, folder = start(name), opened(name, root), data_set(where)
    data = Dataset(folder)
    parts, keys = split(data, 0, "given"), keys_for(paper(made.arm.paper).NEEDS, data.kinds)
    found = columns(data, keys, of.method, of.tokenizer, parts.train, of.fields)
    rows = Rows(found, np.arange(len(data)), of.fields, data.groups)
    p = Plan(made.job(folder), of.method, [], rows, parts, of.fields, of.tokenizer)
    return Question(p, data, parts.test, torch.device("cpu"))


def _narrowed(weights: Mapping[str, Tensor]) -> bytes:
    """Weights as bf16 safetensors."""
    return save({k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in sorted(weights.items())})


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
