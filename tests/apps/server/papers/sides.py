"""Sides: nothing is learnt. Tells the share of white, a box, masks and spans of a picture and its text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.core import Bases, Batch, Field, Fields, Ids, Method, Rng, Terms

NEEDS = {"image": "image", "text": "text", "spans": "spans optional", "value": "value optional"}
PARTS: dict[str, str] = {}
CLAIMS: dict[str, object] = {}


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Sides(Method):
    """Reads answers off its inputs, so that a test knows them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.predicts = {"value": "value", "boxes": "boxes", "mask": "mask", "spans": "spans"}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {"none": self.weight.square()}

    def predict(self, batch: Batch, of: str) -> Field:
        image, text = batch["image"], batch["text"]
        assert isinstance(image, Field) and isinstance(text, Ids)
        white = (image.data == 255).all(1)
        if of == "value":
            return Field(white.float().mean((1, 2)), text.mask.sum(1) < 60)
        if of == "mask":
            return Field(torch.stack([white, ~white], 1).float())
        if of == "spans":
            return Field(torch.stack([text.mask.sum(1) * 0, text.mask.sum(1)], 1)[:, None])
        return _box(~white)


def _box(inside: Tensor) -> Field:
    """The box around what is not white, as shares of the square, and one that is not there."""
    side = inside.shape[-1]
    found = torch.zeros(len(inside), 2, 4)
    for row, mask in zip(found, inside, strict=True):
        y, x = (mask.any(d).nonzero()[:, 0] for d in (1, 0))
        row[0] = torch.tensor([x[0], y[0], x[-1] + 1, y[-1] + 1]) / side
    return Field(found, torch.tensor([[True, False]]).expand(len(inside), 2))


def build(config: Config, fields: Fields, bases: Bases) -> Sides:
    return Sides()
