"""A fixed-class DETR that grounds phrases by the names of its classes.

Carion et al., 2020, arXiv 2005.12872. Queries read the image alone and give a box and one of a fixed list of classes,
under set matching. Classes are the phrases that are common in train; a phrase is looked for as the class of that name,
or as those whose names share the most words with it. The baseline of mdetr: equal towers, layers and box losses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.blocks.fusion.phrases import WIDEST, counted, likeness, objects, phrases, same_phrase
from sensorium.blocks.fusion.single_stream import SingleStream, placed
from sensorium.blocks.objectives.match import assign, box_costs, box_terms, class_loss, corners, picked
from sensorium.blocks.towers.head import Projector, linear
from sensorium.blocks.towers.query import BoxHead, QueryDecoder
from sensorium.core import (
    Bases,
    Batch,
    Claim,
    Field,
    Fields,
    Method,
    Rng,
    SensoriumError,
    Terms,
    Tower,
    nearest,
)

NEEDS = {"image": "image", "text": "ids", "boxes": "boxes", "spans": "spans"}
PARTS = {
    "queries that read the image": "QueryDecoder",
    "set matching on boxes and classes": "assign",
    "a fixed list of classes": "Detector.solve",
    "name matching": "Detector.names_of",
}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`queries` per picture, width `dim`, layers of the encoder and of the query decoder.

    A phrase is a class if at least the share `least` of the train phrases is it.
    """

    queries: int = 8
    dim: int = 64
    encoded: int = 2
    layers: int = 2
    heads: int = 4
    least: float = 0.01


class Detector(Method):
    """An image tower, an encoder, a query decoder, boxes and classes. `names` [C W] are the phrases of its classes."""

    def __init__(self, image: Tower, config: Config) -> None:
        super().__init__()
        if not 0 < config.least <= 1:
            raise SensoriumError(f"least {config.least:g}; expected a share of the phrases above 0 and up to 1")
        dim = config.dim
        self.image, self.look, self.least = image, Projector(image.dim, dim), config.least
        self.encoder = SingleStream(1, dim, config.encoded, config.heads)
        self.decoder = QueryDecoder(config.queries, dim, config.layers, config.heads)
        self.box = BoxHead(dim)
        self.classes = linear(dim, int(1 / config.least) + 1)  # more phrases cannot each be so common; last: no object
        self.register_buffer("names", torch.empty(0, dtype=torch.int64))
        self.names: Tensor
        self.predicts: Mapping[str, str] = {"boxes": "boxes"}

    def solve(self, train: Iterable[Batch]) -> None:
        """The classes: common phrases of train, the commonest first."""
        seen = counted(torch.cat([phrases(batch).cpu().reshape(-1, WIDEST) for batch in train]))
        least = self.least * sum(seen.values())
        common = sorted((-n, phrase) for phrase, n in seen.items() if n >= least)
        if not common:
            raise SensoriumError(f"no phrase is {self.least:.2%} of the train phrases; set a lower `least`")
        self.names = torch.tensor([phrase for _, phrase in common])

    def encode(self, batch: Batch) -> Tensor:
        """What the queries hold after each layer: [L B Q D]."""
        held: Tensor = self.decoder(self.encoder([placed(self.look(self.image(batch["image"])))]))
        return held

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """Objects of no class are as if they were not annotated."""
        truth, _, mask = objects(batch)
        known = same_phrase(phrases(batch)[:, : mask.shape[1]], self.names)
        mask, labels = mask & known.any(-1), known.long().argmax(-1)
        layers = [self._layer(held, truth, mask, labels) for held in self.encode(batch)]
        return {name: torch.stack([terms[name] for terms in layers]).sum() for name in layers[0]}

    def _layer(self, held: Tensor, truth: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        boxes, logits = self.box(held), self.classes(held)
        naming = logits.softmax(-1).gather(2, labels[:, None].expand(-1, logits.shape[1], -1))  # [B Q K]
        which = assign(box_costs(boxes, truth) - naming, mask)
        return box_terms(boxes, truth, which) | {"classes": class_loss(logits, labels, which)}

    def names_of(self, batch: Batch) -> Tensor:
        """[B K C] bool: the classes by which each phrase is looked for."""
        near = likeness(phrases(batch), self.names)
        return (near == near.amax(-1, keepdim=True)) & (near > 0)

    def predict(self, batch: Batch, of: str) -> Field:
        if of not in self.predicts:
            raise SensoriumError(f"this method predicts no {of!r}{nearest(of, self.predicts)}")
        held, wanted, spans = self.encode(batch)[-1], self.names_of(batch), batch["spans"]
        probabilities = self.classes(held).softmax(-1)[..., : len(self.names)]
        best = (wanted.to(held.dtype) @ probabilities.transpose(1, 2)).argmax(-1)
        assert isinstance(spans, Field)
        return Field(picked(corners(self.box(held)).clamp(0, 1), best), spans.mask)


def build(config: Config, fields: Fields, bases: Bases) -> Detector:
    """The image tower of the bases; the text is only looked up."""
    return Detector(bases.encoder("image", "tokens"), config)
