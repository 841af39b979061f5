"""Embeddings compared without the method: only for runs whose `rank` gives the same scores."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from PIL import Image
from torch import Tensor

from sensorium.blocks.similarity import CHUNK
from sensorium.core import Ranks, SensoriumError, Space, Tokens, nearest
from sensorium.run.runs import Model

from .state import Served, paints, predicts_of, spaces_of, writes

PROBES = {
    "text": ("a", "a red circle", "something to eat"),
    "image": tuple(Image.new("RGB", (32, 32), colour) for colour in ("red", "white", "navy")),
}
CLOSE = 1e-4
"""Scores that differ by no more are the same."""


def compare(space: Space, queries: Tokens, items: Tokens) -> Tensor:
    """Embeddings [Q T D], [I S D] of unit length -> scores [Q I] by the similarity that the space names."""
    if space.similarity == "late":
        return late_from(queries, items)
    return queries.x[:, 0].float() @ items.x[:, 0].float().T


def late_from(queries: Tokens, items: Tokens) -> Tensor:
    """Unit tokens [Q T D], [I S D] -> [Q I]: what `late` gives from the queries' side, without the other one, without
    their padding and without scaling the items again: a tenth of the time. 0 where either has no real token."""
    there = items.mask.any(0)
    x, mask, words = items.x[:, there].float(), items.mask[:, there], queries.x[queries.mask].float()
    counts = queries.mask.sum(1)
    whose = torch.repeat_interleave(torch.arange(len(counts)), counts)
    out = torch.zeros(len(counts), len(x))
    if not len(words) or not there.any():
        return out
    block = max(1, CHUNK // (len(words) * x.shape[1]))
    for start in range(0, len(x), block):
        some, real = x[start : start + block], mask[start : start + block]
        pairs = (words @ some.flatten(0, 1).T).view(len(words), len(some), -1)
        best = pairs.masked_fill_(~real, -torch.inf).amax(2).masked_fill(~real.any(1), 0)
        out[:, start : start + block].index_add_(0, whose, best)
    return out / counts.clamp(min=1)[:, None]


def agrees(model: Model) -> bool:
    """Whether `compare` gives what the run's own `rank` does, tried on a few texts and pictures in every direction. The
    towers are loaded by it, so the first request does not wait for them."""
    if not isinstance(model.method, Ranks):
        return False
    spaces = spaces_of(model)
    read = {role: model.read(role, PROBES[role]) for role in PROBES if role in spaces}
    vectors = {role: model.embed(column) for role, column in read.items()}
    same = True
    for q, i in product(read, repeat=2):
        mine = compare(spaces[q], vectors[q], vectors[i]) if spaces[q] == spaces[i] else torch.full((3, 3), torch.nan)
        same &= torch.allclose(mine, model.rank(read[q], read[i]).float(), atol=CLOSE)
    return same


def can(name: str, model: Model) -> str:
    """What a run can do, in words: the end of every refusal."""
    does = [f"embeds {' and '.join(spaces)}"] if (spaces := spaces_of(model)) else []
    does += ["ranks"] if isinstance(model.method, Ranks) else []
    does += [f"predicts {' and '.join(predicts)}"] if (predicts := predicts_of(model)) else []
    does += [f"writes {'s and '.join(texts.values())}s"] if (texts := writes(model)) else []
    does += ["paints pictures"] if paints(model) else []
    return f"{name} {', '.join(does) or 'does nothing that can be served'}"


def must_embed(name: str, model: Model, role: str) -> None:
    """One clear line where a run has no such role."""
    if role not in spaces_of(model):
        raise SensoriumError(f"{name} does not embed {role}; {can(name, model)}")


def must_rank(name: str, model: Model) -> None:
    """One clear line where a run cannot rank."""
    if not isinstance(model.method, Ranks):
        raise SensoriumError(f"{name} does not rank; {can(name, model)}")


def must_write(served: Served, name: str) -> Model:
    """The run of this name; one clear line where it writes no text."""
    return _must(served, name, "write text", lambda model: bool(writes(model)))


def must_paint(served: Served, name: str) -> Model:
    """The run of this name; one clear line where it paints no pictures."""
    return _must(served, name, "paint pictures", paints)


def _must(served: Served, name: str, what: str, able: Callable[[Model], bool]) -> Model:
    if name not in served.models:
        raise SensoriumError(f"unknown model {name!r}{nearest(name, served.models)}")
    model = served.models[name]
    if not able(model):
        others = [k for k, other in served.models.items() if able(other)]
        there = f"{' and '.join(others)} can" if others else "no served run can"
        raise SensoriumError(f"{name} does not {what}; {can(name, model)}; {there}")
    return model
