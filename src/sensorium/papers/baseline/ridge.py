"""Ridge regression from image features to text features: a closed form, no training steps.

Hoerl and Kennard, 1970; as a cross-modal baseline in Frome et al. 2013 (DeViSE) the map is trained, here it is solved.
The image feature is mapped linearly onto its text's feature and compared there by cosine.
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
PARTS = {"closed-form map": "Ridge.solve"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`penalty` on the squared weights, as a multiple of the mean feature variance times the number of rows."""

    penalty: float = 0.1


class Ridge(Method):
    """W = (X'X + c I)^-1 X'Y on centred features X [N D] of images and Y [N E] of texts."""

    def __init__(self, towers: dict[str, Tower], penalty: float) -> None:
        super().__init__()
        self.towers, self.penalty = nn.ModuleDict(towers), penalty
        for name in ("map", "image_mean", "text_mean"):
            self.register_buffer(name, torch.empty(0))
        self.map: Tensor
        self.image_mean: Tensor
        self.text_mean: Tensor
        dim = towers["text"].dim
        self.spaces = {"image": Space(dim), "text": Space(dim)}

    def _feature(self, batch: Batch, key: str) -> Tensor:
        return pool(self.towers[role_of(key)](batch[key])).float()

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        error = self.embed(batch, "image").x - self.embed(batch, "text").x
        return {"regression": error.square().sum(-1).mean()}

    def solve(self, train: Iterable[Batch]) -> None:
        pairs = [(self._feature(b, "image"), self._feature(b, "text")) for b in train]
        x, y = (torch.cat(side).double() for side in zip(*pairs, strict=True))
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        gram = x.T @ x
        gram.diagonal().add_(self.penalty * gram.diagonal().mean())
        self.map = torch.linalg.solve(gram, x.T @ y).float()
        self.image_mean, self.text_mean = x_mean.float(), y_mean.float()

    def embed(self, batch: Batch, of: str) -> Tokens:
        x = self._feature(batch, of)
        return pooled(unit((x - self.image_mean) @ self.map if role_of(of) == "image" else x - self.text_mean))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items)


def build(config: Config, fields: Fields, bases: Bases) -> Ridge:
    """On pooled towers; with towers from scratch the features are those of the untrained towers."""
    return Ridge(image_text(bases), config.penalty)


def stages(config: Config, method: Method, rows: object, trial: object) -> Sequence[Stage]:
    """None: the closed form is the whole training."""
    return []
