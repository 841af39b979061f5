"""Shared starts: small models of the library's own papers, trained once on generated sets and shipped.

A start is an arm, so anybody can train it again; its weights are bf16, and every arm that begins from it reads these.
Each says which property its users need and what was measured of it: a claim whose start lacks it is not tested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
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
from sensorium.core import Arm, FieldInfo, Ids, Method, SensoriumError, Tokens, Value, nearest
from sensorium.data.cache import write_atomic
from sensorium.data.columns import pixel_column, token_column
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.data.tokenise import encode
from sensorium.run.checkpoint import newest, to_json
from sensorium.run.features import Progress
from sensorium.run.keys import source_key, source_path
from sensorium.run.ledger import machine, now
from sensorium.run.load import attribute, config, paper
from sensorium.run.plan import Job, plan
from sensorium.run.runs import execute, field_of
from sensorium.run.tasks import Question

from .sets import data_set

SHIPPED = Path(__file__).parent / "weights"
FILES = ("model.safetensors", "tokenizer.json")
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
    """An arm, the set and trial that trained it, the roles it can stand in for as a tower, and its properties."""

    arm: Arm
    samples: int
    rate: float
    about: str
    properties: Mapping[str, Property]
    roles: Sequence[str] = ()
    batch: int = 64
    seed: int = 0


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
    tokenizer: Tokenizer
    sha: str


def start(name: str) -> Start:
    """The start of that name.

    Raises:
        SensoriumError: an unknown name, with the nearest.
    """
    if name not in STARTS:
        raise SensoriumError(f"unknown base {name!r}{nearest(name, STARTS)}")
    return STARTS[name]


def record_of(name: str, root: Path = SHIPPED) -> Record:
    """What is said of a start's weights.

    Raises:
        SensoriumError: weights that are not there, or a record that does not parse.
    """
    start(name)
    path = root / name / "base.json"
    if not path.is_file():
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
    for file in FILES:
        data = (root / name / file).read_bytes() if (root / name / file).is_file() else b""
        if (sha := _sha(data)) != record.files.get(file):
            raise SensoriumError(f"{root / name / file} has hash {sha}, expected {record.files.get(file)}: reinstall")
        content[file] = data
    fields = {k: field_of(v) for k, v in record.fields.items()}
    method = _built(name, fields)
    method.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load(content[FILES[0]]).items()})
    method.eval().requires_grad_(False)
    return Opened(method, fields, Tokenizer.from_str(content[FILES[1]].decode()), record.files[FILES[0]])


def _built(name: str, fields: Mapping[str, FieldInfo]) -> Method:
    from .bases import Towers  # which opens starts

    made = start(name).arm
    module = paper(made.paper)
    return module.build(config(module, made.config), fields, Towers({}, fields))


def tower(name: str, role: str, read: str) -> Frozen:
    """A role of a start as a frozen tower: "pooled" gives its place in the shared space [B 1 D], "tokens" what the
    tower gives before the head [B T D]."""
    made, sha = start(name), record_of(name).files[FILES[0]]
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
    job = Job(
        made.arm.paper,
        str(folder),
        {},
        made.rate,
        samples or made.samples,
        made.seed,
        dict(made.arm.config),
        batch=made.batch,
    )
    data = Dataset(folder)
    with TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        outcome = execute(
            job, data, run, say=say, watch=lambda step, total: say("train", step.n, total) if say else None
        )
        weights = load((newest(run) / "model.safetensors").read_bytes())
        tokenizer = (run / "tokenizer.json").read_bytes()
    content = {FILES[0]: save({k: _narrow(v) for k, v in sorted(weights.items())}), FILES[1]: tokenizer}
    for file, value in content.items():
        write_atomic(out / name / file, value)
    record = Record(
        name=name,
        files={file: _sha(value) for file, value in content.items()},
        recipe=asdict(made.arm) | {"samples": job.samples, "rate": job.rate, "batch": job.batch, "seed": job.seed},
        source=source_key(source_path(made.arm.paper)),
        data=data.fingerprint,
        fields={k: asdict(v) for k, v in plan(job, data).fields.items()},
        scores=outcome.test,
        cost=outcome.cost,
        versions={n: version(n).partition("+")[0] for n in ("sensorium", "torch", "numpy", "tokenizers")},
        machine=machine(),
        date=now(),
    )
    write_atomic(out / name / "base.json", to_json(asdict(record)))
    opened.cache_clear()
    record = Record(**(asdict(record) | {"properties": measured(name, out)}))
    write_atomic(out / name / "base.json", to_json(asdict(record)))
    return record


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
    p = plan(Job(made.arm.paper, str(folder), {}, 1e-3, made.batch, 0, dict(made.arm.config), batch=made.batch), data)
    columns = {
        "image": pixel_column(data, "image", of.fields["image"].shape[-1]),
        "text": token_column(of.tokenizer, data.texts("text"), of.fields["text"].length),
    }
    rows = Rows(columns, np.arange(len(data)), of.fields, data.groups)
    return Question(
        replace(p, method=of.method, rows=rows, tokenizer=of.tokenizer), data, p.split.test, torch.device("cpu")
    )


def _narrow(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16) if value.is_floating_point() else value


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
