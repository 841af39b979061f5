"""What the embeddings of a method hold about a generated world, read by linear probes from each role."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sensorium.core import Batch, Embeds, SensoriumError
from sensorium.evals.probes.linear import linear_probe
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import Question

from .world.facts import SHAPES
from .world.lang import read

ROLES = ("image", "text")


def colour_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """Captions -> [N S] the colour that each says of each shape; -1 where it names none, or several."""
    found = np.full((len(texts), len(SHAPES)), -1, np.int64)
    for row, text in enumerate(texts):
        said = [m for m in read(text).mentions if m.shape in range(len(SHAPES)) and m.colour >= 0]
        for shape in {m.shape for m in said}:
            colours = {m.colour for m in said if m.shape == shape}
            found[row, shape] = colours.pop() if len(colours) == 1 else -1
    return found


def binding(asked: Question) -> Scored:
    """Scores "probe image" and "probe text": how often a linear probe names the colour of a given shape from one
    embedding alone, mean over shapes; "probe guess": how often a colour drawn from those of the same caption is it.

    Probes are fitted on the first half of the rows. A bag of words and colours scores the guess.
    """
    method = asked.plan.method
    if not isinstance(method, Embeds):
        raise SensoriumError(f"{asked.plan.job.paper} embeds nothing, so no probe can read it")
    truth = colour_of(asked.texts("text"))
    half = len(truth) // 2
    scores: dict[str, float] = {}
    for role in ROLES:
        x = torch.cat([_pooled(method, batch, role) for batch in asked.batches(role)]).double().numpy()
        scores[f"probe {role}"] = float(
            np.mean([r for s in range(len(SHAPES)) if (r := _probed(x, truth, s, half)) >= 0])
        )
    said = [set(row[row >= 0].tolist()) for row in truth[half:]]
    scores["probe guess"] = float(np.mean([1 / len(colours) for colours in said if colours]))
    return Scored(scores, {})


@torch.no_grad()
def _pooled(method: Embeds, batch: Batch, role: str) -> torch.Tensor:
    t = method.embed(batch, role)
    return ((t.x * t.mask[..., None]).sum(1) / t.mask.sum(1, keepdim=True).clamp_min(1)).cpu()


def _probed(x: NDArray[np.float64], truth: NDArray[np.int64], shape: int, half: int) -> float:
    there = np.flatnonzero(truth[:, shape] >= 0)
    train, test = there[there < half], there[there >= half]
    if len(train) < 20 or not len(test):
        return -1.0
    said = linear_probe(x[train], truth[train, shape], x[test])
    return float((said == truth[test, shape]).mean())
