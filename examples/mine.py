"""Sigmoid loss in place of softmax: an idea of one's own, in thirty lines, that races with the rest."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn.functional import logsigmoid

from sensorium.blocks.objectives.contrastive import same_group
from sensorium.blocks.two_tower import TwoTower, groups, image_text
from sensorium.core import Bases, Batch, Claim, Fields, Rng, Terms

NEEDS = {"image": "image", "text": "text"}
PARTS = {"every pair judged by itself": "sigmoid"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`bias` is the logit that a pair starts from; most pairs are wrong."""

    dim: int = 256
    bias: float = -10.0


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers under a sigmoid loss over all pairs of the batch (SigLIP, arXiv 2303.15343)."""

    def sigmoid(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
        scores, _ = model.similarity(model.encode(batch, "image"), model.encode(batch, "text"))
        sign = same_group(groups(batch), groups(batch)) * 2.0 - 1.0
        return {"sigmoid": -logsigmoid(sign * (scores * model.scale + config.bias)).sum(1).mean()}

    return TwoTower(image_text(bases), config.dim, terms=sigmoid)
