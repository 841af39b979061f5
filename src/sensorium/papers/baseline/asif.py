"""ASIF: Coupled Data Turns Unimodal Models to Multimodal Without Training.

Norelli et al., 2022, arXiv 2210.01738. Every row is described by its cosines to the training rows of its own modality,
of which the k largest are kept, raised to a power and normalised; two rows match when their anchors do. No parameter is
trained: the training pairs are the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.frozen import role_of
from sensorium.blocks.two_tower import by_cosine, image_text
from sensorium.core import Bases, Batch, Claim, Fields, Method, Rng, Space, Terms, Tokens, Tower, pooled
from sensorium.run.fit import Stage

NEEDS = {"image": "image", "text": "text"}
PARTS = {"anchors from the training pairs": "Asif.solve", "sparse relative representation": "Asif.embed"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`keep` anchors per row, similarities raised to `power`."""

    keep: int = 50
    power: float = 4.0


class Asif(Method):
    """Relative representations over anchors: image and text features of the N training pairs."""

    def __init__(self, towers: dict[str, Tower], keep: int, power: float) -> None:
        super().__init__()
        self.towers, self.keep, self.power = nn.ModuleDict(towers), keep, power
        self.register_buffer("image", torch.empty(0))
        self.register_buffer("text", torch.empty(0))

    @property
    def spaces(self) -> dict[str, Space]:
        """As wide as there are anchors."""
        return {role: Space(len(self.get_buffer("image"))) for role in ("image", "text")}

    def _feature(self, batch: Batch, key: str) -> Tensor:
        return unit(pool(self.towers[role_of(key)](batch[key])))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        same = (self.embed(batch, "image").x * self.embed(batch, "text").x).sum(-1)
        return {"disagreement": 1 - same.mean()}

    def solve(self, train: Iterable[Batch]) -> None:
        pairs = [(self._feature(b, "image"), self._feature(b, "text")) for b in train]
        self.image, self.text = (torch.cat(side) for side in zip(*pairs, strict=True))

    def embed(self, batch: Batch, of: str) -> Tokens:
        near = self._feature(batch, of) @ self.get_buffer(role_of(of)).T
        best = near.topk(min(self.keep, near.shape[1]))
        kept = torch.zeros_like(near).scatter(1, best.indices, best.values.clamp_min(0) ** self.power)
        return pooled(unit(kept))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items)


def build(config: Config, fields: Fields, bases: Bases) -> Asif:
    """On pooled towers."""
    return Asif(image_text(bases), config.keep, config.power)


def stages(config: Config, method: Method, rows: object, trial: object) -> Sequence[Stage]:
    """None: the training pairs are the model."""
    return []
