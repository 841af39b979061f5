"""How good and how various what a generator draws is, and what pictures cost it: no caption is told, none is compared.

Shape legend: N pictures, D features.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sensorium.blocks.decode import Canvas, Generates, paint
from sensorium.blocks.objectives.elbo import bits_per_dimension
from sensorium.core import Batch, Field, Rng, SensoriumError
from sensorium.evals.metrics.distribution import frechet, precision_recall
from sensorium.run.evaluate import Scored
from sensorium.run.ledger import Row
from sensorium.run.tasks import AT_ONCE, STROKES, Question, few, pictures

from . import sets, starts
from .world import reader

DRAWN = 500
"""Pictures that are drawn for a score: a Fréchet distance falls with their number."""
NEIGHBOURS = 3
Bytes = NDArray[np.uint8]


@runtime_checkable
class Likely(Protocol):
    """What knows how likely pictures are."""

    @property
    def likelihood(self) -> str:
        """How exact `nats` are: "exact", "dequantised", "bound", or "none"."""
        ...

    def nats(self, batch: Batch, rng: Rng) -> torch.Tensor:
        """[B]: -log probability, or a bound from above, of pictures in the method's own size."""
        ...


def drawn(asked: Question) -> Bytes:
    """As many pictures as rows, u8 [N 3 H W], of no caption; the run's seed decides what is drawn.

    Raises:
        SensoriumError: a method that paints nothing, or not on a canvas.
    """
    method, rng, made = asked.plan.method, Rng(asked.plan.job.seed), []
    if not isinstance(method, Generates) or "image" not in method.generates:
        raise SensoriumError(f"{asked.plan.job.paper} paints no picture")
    for n, batch in enumerate(asked.batches("row")):
        where = method.prompt(batch, "image")
        if not isinstance(where, Canvas):
            raise SensoriumError(f"{asked.plan.job.paper} prompts for no picture; expected a Canvas")
        made.append(paint(where, STROKES, rng.at(n)).data.cpu())
    return np.asarray(torch.cat(made).numpy(), dtype=np.uint8)


def features(images: Bytes) -> NDArray[np.float64]:
    """u8 [N 3 H W] -> [N D] of the pair encoder's picture tower, in the size that it learnt at."""
    start = starts.opened("pair-encoder")
    side, found = start.fields["image"].shape[-1], []
    for start_at in range(0, len(images), AT_ONCE):
        part = torch.from_numpy(images[start_at : start_at + AT_ONCE])
        sized = F.interpolate(part.float(), size=(side, side), mode="bilinear", align_corners=False)
        field = Field(sized.round().to(torch.uint8))
        found.append(start.method.embed({"image": field}, "image").x[:, 0])  # type: ignore[operator]
    return np.asarray(torch.cat(found).double().numpy(), dtype=np.float64)


@torch.no_grad()
def quality(asked: Question) -> Scored:
    """Scores of drawn pictures against the true ones of the rows: "fid", "precision", "recall"; "true fid" is that of
    as many train pictures; "cpu_s per picture". In a generated world "valid" and "true valid" as well: the share in
    which the exact reader finds the objects that the world allows, and nothing unclear. Of too few rows nothing."""
    asked = few(asked, DRAWN)
    if len(asked.index) <= NEIGHBOURS:
        return Scored({}, {})
    begun = time.process_time()
    made = drawn(asked)
    spent = (time.process_time() - begun) / len(made)
    size = made.shape[-1]
    true, x = pictures(asked, size), features(made)
    train = few(Question(asked.plan, asked.data, asked.plan.split.train, asked.device), len(made))
    against = features(true)
    near = precision_recall(against, x, NEIGHBOURS)
    scores = {
        "fid": frechet(x, against),
        "true fid": frechet(features(pictures(train, size)), against),
        "precision": near.precision,
        "recall": near.recall,
        "cpu_s per picture": spent,
    }
    if asked.data.name in sets.RECIPES:
        scores |= {"valid": valid(made, asked.data.name), "true valid": valid(true, asked.data.name)}
    return Scored(scores, {})


def valid(images: Bytes, name: str) -> float:
    """The share of pictures that the world of a set could show: as many objects as it has, each of a clear kind."""
    config = sets.recipe(name).config
    found = reader.read(images, config, sets.recipe(name).style)
    clear = np.stack([getattr(found, f) >= 0 for f in ("shape", "colour", "size", "texture")]).all(0)
    there = np.arange(found.shape.shape[1]) < found.n[:, None]
    right = (clear | ~there).all(1) & (found.n >= config.fewest) & (found.n <= config.most) & (found.ground >= 0)
    return float(right.mean())


@torch.no_grad()
def likelihood(asked: Question) -> Scored:
    """Scores "bits per dimension" of the true pictures and, by the method's own word, one of "likelihood exact",
    "likelihood dequantised", "likelihood bound" as 1; nothing where a method has no likelihood."""
    method, rng = asked.plan.method, Rng(asked.plan.job.seed)
    if not isinstance(method, Likely) or method.likelihood == "none":
        return Scored({}, {})
    costs, numbers = [], 0
    asked = few(asked, DRAWN)
    for n, batch in enumerate(asked.batches("image")):
        nats = method.nats(batch, rng.at(n))
        numbers = math.prod(method.prompt(batch, "image").shape[1:])  # type: ignore[operator]
        costs.append(bits_per_dimension(nats, numbers).double().cpu())
    each = torch.cat(costs).numpy()
    return Scored({"bits per dimension": float(each.mean()), f"likelihood {method.likelihood}": 1.0}, {})


COLUMNS = ("fid", "precision", "recall", "valid", "bits per dimension", "cpu_s per picture")
KINDS = ("exact", "dequantised", "bound")


def table(row: Row) -> str:
    """A stored measurement as a Markdown table, an arm a line: means over seeds with their standard deviation, and of
    which kind the bits are; "none" where an arm has no such score.

    Raises:
        SensoriumError: a row whose arms have no "fid".
    """
    if not any("fid" in scores for arm in row.arms.values() for scores in arm.scores):
        raise SensoriumError(f"the row of {row.paper} ({row.claim}) holds no fid; expected a measurement of samples")
    lines = ["| arm | " + " | ".join(COLUMNS) + " | likelihood |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, arm in row.arms.items():
        cells = [_cell(arm.scores, column) for column in COLUMNS]
        kind = next((k for k in KINDS if any(f"likelihood {k}" in s for s in arm.scores)), "none")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {kind} |")
    return "\n".join(lines) + "\n"


def _cell(scores: Sequence[Mapping[str, float]], column: str) -> str:
    found = [s[column] for s in scores if column in s]
    if not found:
        return "none"
    spread = f" ± {np.std(found, ddof=1):.2g}" if len(found) > 1 else ""
    return f"{np.mean(found):.3g}{spread}"
