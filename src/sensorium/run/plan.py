"""From names to a method that is ready to train: the one way that `train`, `race` and claims all go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sensorium.blocks.towers.frozen import Frozen, frozen_towers, role_of
from sensorium.core import Budget, Field, FieldInfo, Fields, Ids, Method, Paper, SensoriumError, Tokens, Trial
from sensorium.data.cache import home, write_atomic
from sensorium.data.characters import fit_characters, length_of
from sensorium.data.columns import (
    LONGEST_SOUND,
    Column,
    box_column,
    label_column,
    mask_column,
    pixel_column,
    sound_rate,
    span_column,
    token_column,
    value_column,
    wave_column,
)
from sensorium.data.dataset import Dataset
from sensorium.data.derive import negatives, sheared
from sensorium.data.media.image import fit
from sensorium.data.rows import Rows
from sensorium.data.split import Split, split
from sensorium.data.stream import Epochs
from sensorium.data.tokenise import VERSION as TOKENISER
from sensorium.data.tokenise import fit_tokenizer

from .checkpoint import load_weights, newest
from .features import Progress, features
from .fit import Stage
from .load import attribute, config, label, paper

SCRATCH_SIZE, SCRATCH_LENGTH = 64, 64
LONGEST_TEXT = 256
"""Tokens after which a text is cut that is read as ids, if the data's are as long."""
LOOKED = 500
"""Texts per key whose length is looked at."""
MOST_TEXTS = 100_000
"""Texts per key that a tokeniser is fitted on; more change its merges hardly at all."""
EMPTY = np.uint64(xxhash.xxh3_64_intdigest(b""))
"""Content of a text that is missing."""
BASES = "sensorium.lab.bases:open_bases"
HASHES = "sensorium.lab.bases:hashes"
WORDS = "sensorium.lab.bases:tokeniser"


@dataclass(frozen=True)
class Job:
    """One run, wholly by name: workers receive this and nothing else."""

    paper: str
    data: str
    towers: Mapping[str, str]
    rate: float
    samples: int
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] | None = None
    split: str = "given"
    split_seed: int = 0
    batch: int = 256
    task: str = "retrieval"
    max_bad: float = 0.1
    start: str = ""
    measures: Sequence[str] = ()
    """Further scores of a finished run: "module:function", Question -> Scored."""
    bases: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the shared starts that a finished run began from, or of a job for which checkpoints are given; those of
    today where there are none."""

    @property
    def trial(self) -> Trial:
        """The dials that a paper may see."""
        return Trial(self.rate, Budget(self.samples), self.seed, self.batch)


@dataclass(frozen=True)
class Plan:
    """A method with its stages and rows; `rows` holds every row, `split` says which are whose."""

    job: Job
    method: Method
    stages: Sequence[Stage]
    rows: Rows
    split: Split
    fields: Fields
    tokenizer: Tokenizer | None


def unmet(needs: Mapping[str, str], kinds: Mapping[str, str]) -> str | None:
    """Why data with these keys and kinds does not meet `needs`, or None. "text.*" is any further variant; a text meets
    a need of ids."""
    for key, need in needs.items():
        kind, *how = need.replace("ids", "text").split()
        if "optional" in how or ("derivable" in how and kinds.get(role_of(key.partition(".*")[0])) == kind):
            continue
        if key.endswith(".*"):
            if not any(k.startswith(key[:-1]) and v == kind for k, v in kinds.items()):
                return f"needs {kind} in a further variant ({key[:-1]}fr, {key[:-1]}long, …)"
        elif kinds.get(key) != kind:
            there = ", ".join(f"{k} ({v})" for k, v in kinds.items())
            return f"needs {key} ({kind}); the data has {there}"
    return None


def keys_for(needs: Mapping[str, str], kinds: Mapping[str, str]) -> list[str]:
    """The keys of a batch: what the paper needs, "text.*" as every variant and "text.*/sheared" as what is derived of
    each."""
    found = []
    for key in needs:
        stem, star, purpose = key.partition(".*")
        if star:
            found += [k + purpose for k in kinds if k.startswith(stem + ".") and "/" not in k]
        elif key in kinds or "derivable" in needs[key].split():
            found.append(key)
    return list(dict.fromkeys(found))


def fit_fields(
    data: Dataset,
    train: NDArray[np.int64],
    towers: Mapping[str, str],
    needs: Mapping[str, str] | None = None,
    units: str = "",
    given: Tokenizer | None = None,
) -> tuple[dict[str, FieldInfo], Tokenizer | None]:
    """What each key is, fitted on train rows only, and a tokeniser where the text tower starts from scratch or `needs`
    ask for ids: of `units` "characters", or else of pieces of words. That of a shared start, or of a checkpoint in its
    place, is `given`; where it cuts no texts, it learns from these how long they are."""
    texts = [k for k in data.kinds if data.kinds[k] == "text"]
    tokenizer = given
    ids = any(need.startswith("ids") for need in (needs or {}).values())
    if texts and given is None and (ids or towers.get("text", "scratch") == "scratch"):
        tokenizer = train_tokenizer(data, texts, train, units)
    if texts and ids and tokenizer is not None:
        lengthen(tokenizer, data, texts, train)
    found: dict[str, FieldInfo] = {}
    for key, kind in data.kinds.items():
        if kind == "image":
            found[key] = FieldInfo("image", shape=(3, scratch_size(data, key), scratch_size(data, key)))
        elif kind == "text":
            vocab = tokenizer.get_vocab_size() if tokenizer else 0
            found[key] = FieldInfo("text", vocab=vocab, length=length_of(tokenizer, SCRATCH_LENGTH))
        elif kind == "label":
            found[key] = FieldInfo("label", classes=tuple(sorted(set(_at(data.texts(key), train)) - {""})))
        elif kind == "audio":
            rate = sound_rate(data, key, train)
            found[key] = FieldInfo("audio", length=round(LONGEST_SOUND * rate), rate=rate)
        elif kind == "mask":
            found[key] = FieldInfo("mask", shape=(scratch_size(data, "image"),) * 2)
        elif kind in ("value", "boxes", "spans"):
            found[key] = FieldInfo(kind)
    return found, tokenizer


def fitted(
    module: Paper, data: Dataset, train: NDArray[np.int64], towers: Mapping[str, str], bases: Mapping[str, str] = {}
) -> tuple[dict[str, FieldInfo], Tokenizer | None]:
    """The fields and the tokeniser of a paper's runs on these train rows, as its `NEEDS`, `UNITS` and `BASES` ask;
    `bases` are a job's."""
    given = attribute(WORDS)(wanted(module), towers, bases)
    return fit_fields(data, train, towers, module.NEEDS, getattr(module, "UNITS", ""), given)


def scratch_size(data: Dataset, key: str) -> int:
    """Side of the pictures that a tower from scratch sees: small ones as they are, in steps of 8, larger ones at 64."""
    return min(SCRATCH_SIZE, max(8, -(-data.largest(key) // 8) * 8)) if data.largest(key) else SCRATCH_SIZE


def train_tokenizer(data: Dataset, keys: Sequence[str], train: NDArray[np.int64], units: str = "") -> Tokenizer:
    """The data set's tokeniser, fitted on the train rows of its text keys once and kept."""
    digest = xxhash.xxh3_128(f"{TOKENISER}/{version('tokenizers')}{units}".encode())
    for key in keys:
        digest.update(key.encode() + b"\0" + data.content(key)[train].tobytes())
    path = home() / "decoded" / f"{digest.hexdigest()}.tokenizer.json"
    if path.is_file():
        with suppress(Exception):  # a damaged one is fitted anew; tokenizers raises nothing narrower
            return Tokenizer.from_file(str(path))
    there = {key: _spread(train[data.content(key)[train] != EMPTY], MOST_TEXTS) for key in keys}
    texts = (data.texts(key)[int(i)] for key in keys for i in there[key])
    count = sum(map(len, there.values()))
    tokenizer = fit_characters(texts) if units == "characters" else fit_tokenizer(texts, count)
    write_atomic(path, tokenizer.to_str().encode())
    return tokenizer


def lengthen(tokenizer: Tokenizer, data: Dataset, keys: Sequence[str], train: NDArray[np.int64]) -> None:
    """Let a tokeniser keep whole what some hundred texts of train show to be longer than `SCRATCH_LENGTH`."""
    texts = [data.texts(key)[int(i)] for key in keys for i in _spread(train, LOOKED)]
    longest = 1 + max(len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False))
    if tokenizer.truncation is None and longest > SCRATCH_LENGTH:
        tokenizer.enable_truncation(min(longest, LONGEST_TEXT) - 1)


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)] if len(rows) > most else rows


def _at(values: Sequence[str], index: NDArray[np.int64]) -> list[str]:
    return [values[i] for i in index]


def text_column(
    texts: Sequence[str], tower: Frozen | None, tokenizer: Tokenizer | None, say: Progress | None = None
) -> Column:
    """Texts of N rows -> stored features or ids; an empty text is a row without a real token."""
    if tower is None:
        if tokenizer is None:
            raise SensoriumError("this run has no tokeniser and no text tower, so it cannot read text")
        return token_column(tokenizer, texts, length_of(tokenizer, SCRATCH_LENGTH))
    assert tower.tokenise is not None
    tokenise = tower.tokenise
    keys = np.array([xxhash.xxh3_64_intdigest(t.encode()) for t in texts], dtype=np.uint64)

    def read(positions: Sequence[int]) -> Ids:
        return tokenise([texts[i] for i in positions])

    return features(tower, keys, read, say, np.array([bool(t) for t in texts]))


def image_column(data: Dataset, key: str, tower: Frozen | None, say: Progress | None = None) -> Column:
    """Pictures of every row -> stored features, or pixels u8 [N 3 S S] for a tower from scratch."""
    if tower is None:
        return pixel_column(data, key, scratch_size(data, key))

    def read(positions: Sequence[int]) -> Field:
        return Field(torch.from_numpy(np.stack([fit(data.image(key, i), tower.size) for i in positions])))

    return features(tower, data.content(key), read, say)


def columns(
    data: Dataset,
    keys: Sequence[str],
    method: Method,
    tokenizer: Tokenizer | None,
    train: NDArray[np.int64],
    fields: Fields,
    say: Progress | None = None,
) -> dict[str, Column]:
    """Every key for every row, through the method's frozen towers where it has them."""
    towers = frozen_towers(method)
    found: dict[str, Column] = {}
    for key in keys:
        role = role_of(key)
        if key == "text/negative" and key not in data.kinds:
            swapped = negatives(data.texts("text"), [int(i) for i in train])
            found[key] = text_column([t or "" for t in swapped], towers.get(role), tokenizer, say)
        elif key.endswith("/sheared") and key not in data.kinds:
            cut = sheared(data.texts(key.removesuffix("/sheared")), data.texts(role))
            found[key] = text_column(cut, towers.get(role), tokenizer, say)
        elif data.kinds[key] == "image":
            found[key] = image_column(data, key, towers.get(role), say)
        elif data.kinds[key] == "text":
            found[key] = text_column(data.texts(key), towers.get(role), tokenizer, say)
        elif data.kinds[key] == "audio":
            found[key] = wave_column(data, key, fields[key].rate, fields[key].length)
        elif data.kinds[key] == "label":
            found[key] = label_column(data.texts(key), fields[key].classes)
        elif data.kinds[key] == "value":
            found[key] = value_column(data.texts(key))
        elif data.kinds[key] == "boxes":
            found[key] = box_column(data, key)
        elif data.kinds[key] == "mask":
            found[key] = mask_column(data, key, fields[key].shape[0])
        elif data.kinds[key] == "spans":
            if tokenizer is None:
                raise SensoriumError(f"{key!r} counts tokens of the text; expected a text tower from scratch")
            found[key] = span_column(data, key, data.texts("text"), tokenizer, fields["text"].length)
    return found


def build(module: Paper, job: Job, fields: Fields) -> Method:
    """The paper's method, its initial weights drawn from the job's seed."""
    bases = attribute(BASES)(job.towers, fields, begun_from(module, job))
    torch.manual_seed(job.trial.rng.number("weights"))
    return module.build(config(module, job.config), fields, bases)


def wanted(module: Paper) -> Mapping[str, str]:
    """The paper's `BASES`."""
    return getattr(module, "BASES", {})


def begun_from(module: Paper, job: Job) -> Mapping[str, str]:
    """Hashes of the shared starts that a job begins from."""
    return job.bases or attribute(HASHES)(wanted(module), job.towers)


def given_bases(module: Paper, towers: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """The `bases` of a job of a paper for whose starts checkpoints are given, by name or path; none where none are.

    Raises:
        SensoriumError: a start that the paper does not take, or a checkpoint that cannot stand in for it.
    """
    return attribute(HASHES)(wanted(module), towers, given) if given else {}


def plan(job: Job, data: Dataset, say: Progress | None = None) -> Plan:
    """Split, fit the fields, build, gather the columns, solve closed forms, lay out the stages."""
    module = paper(job.paper)
    if why := unmet(module.NEEDS, data.kinds):
        raise SensoriumError(f"{job.paper} {data.lacks(why)}")
    parts = split(data, job.split_seed, job.split)
    fields, tokenizer = fitted(module, data, parts.train, job.towers, job.bases)
    try:
        method = build(module, job, fields)
    except SensoriumError as problem:
        raise SensoriumError(f"{label(job.paper)}: {problem}") from None
    if job.start:
        load_weights(method, newest(Path(job.start)) / "model.safetensors")
    rows = Rows(
        columns(data, keys_for(module.NEEDS, data.kinds), method, tokenizer, parts.train, fields, say),
        np.arange(len(data)),
        fields,
        data.groups,
    )
    train = rows.select(parts.train)
    method.eval()
    with torch.no_grad():
        method.solve(train.batches(512))
    rows = frozen_columns(method, rows)
    train = rows.select(parts.train)
    settings = config(module, job.config)
    if hasattr(module, "stages"):
        stages = module.stages(settings, method, train, job.trial)
    else:
        stream = (
            module.stream(settings, train, fields) if hasattr(module, "stream") else Epochs(train, job.batch, job.seed)
        )
        stages = [Stage(stream, job.trial.budget, job.batch)]
    return Plan(job, method, stages, rows, parts, fields, tokenizer)


@torch.no_grad()
def frozen_columns(method: Method, rows: Rows) -> Rows:
    """The rows after `method.frozen`, held in memory; as they are where it changes nothing."""
    parts: dict[str, list[Tokens]] = {}
    for batch in rows.batches(512):
        after = method.frozen(batch)
        for key in batch:
            if isinstance(value := after[key], Tokens) and value is not batch[key]:
                parts.setdefault(key, []).append(value)
        if not parts:
            return rows
    done = {k: _together(v) for k, v in parts.items()}
    return rows.with_columns(done)


def _together(parts: Sequence[Tokens]) -> Tokens:
    """The rows of all parts, with their places where each has them."""
    pos = [t.pos for t in parts if t.pos is not None]
    return Tokens(
        torch.cat([t.x for t in parts]),
        torch.cat([t.mask for t in parts]),
        torch.cat(pos) if len(pos) == len(parts) else None,
    )


def described(job: Job) -> dict[str, Any]:
    """A job as JSON-ready data; measures and bases only where there are some."""
    plain = {k: (dict(v) if isinstance(v, Mapping) else v) for k, v in vars(job).items()}
    plain |= {"measures": list(job.measures), "bases": dict(begun_from(paper(job.paper), job))}
    return {k: v for k, v in plain.items() if k not in ("measures", "bases") or v}
