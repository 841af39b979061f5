"""MDETR: Modulated Detection for End-to-End Multi-Modal Understanding.

Kamath et al., 2021, arXiv 2104.12763. A DETR that reads: image and text are fused early, in one stream, and each learnt
query gives a box and a distribution over the tokens of the text that name it, or "no object". Differs from
baseline/detector in that classes are words of the text; from the paper in that a query and a token are scored by their
product: an output per position of the text, as there, stays at guessing at this size (recall 0.29).
Claim: phrase grounding recall above a fixed-class detector with name matching; long-tail classes found by text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.fusion.phrases import objects, spread
from sensorium.blocks.fusion.single_stream import SingleStream, placed
from sensorium.blocks.objectives.match import align, assign, box_costs, box_terms, corners, in_order, soft_tokens
from sensorium.blocks.precision import wide
from sensorium.blocks.similarity import unit
from sensorium.blocks.towers.head import Projector, linear
from sensorium.blocks.towers.query import BoxHead, QueryDecoder
from sensorium.blocks.towers.text import TextTower
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Method,
    Rng,
    SensoriumError,
    Terms,
    Tokens,
    Tower,
    nearest,
)

NEEDS = {"image": "image", "text": "ids", "boxes": "boxes", "spans": "spans", "label": "label optional"}
PARTS = {
    "early fusion of image and text": "early",
    "queries that read both": "QueryDecoder",
    "set matching on boxes and tokens": "assign",
    "soft token prediction": "soft_tokens",
    "query-token contrastive alignment": "align",
    "phrase grounding": "Mdetr.ground",
    "question answering: a query and a head for the answer, the label": "Mdetr.answers",
}
PARTIAL = "referring segmentation; an answering query for each type of question, not one for all"
T = TypeVar("T")
TEMPERATURE = 0.07
_RARE = ("sensorium.lab.grounding:rare",)
CLAIMS = {
    "grounding": Claim(
        arms={
            "ours": Arm(measures=_RARE),
            "baseline": Arm(paper="baseline/detector", measures=_RARE),
            "late fusion": Arm(config={"fusion": "late"}, measures=_RARE),
            "matched in order": Arm(config={"match": "order"}, measures=_RARE),
            "one token": Arm(config={"named": "last"}, measures=_RARE),
            "no alignment": Arm(config={"alignment": 0.0}, measures=_RARE),
        },
        says=[Above("recall@1", 0.02, ceiling=0.97), Above("recall@1 rare", 0.1, ceiling=0.97)],
        beats="mean box",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(51_200),
        data="world/grounding",
        towers="scratch",
        batch=64,
    )
}


@dataclass(frozen=True)
class Config:
    """`queries` per picture, width `dim`, layers of the fusion and of the query decoder.

    `fusion` is early or late, `match` least (Hungarian) or order, `named` all tokens of a phrase or the last,
    `alignment` the weight of the contrastive alignment.
    """

    queries: int = 8
    dim: int = 64
    fused: int = 2
    layers: int = 2
    heads: int = 4
    fusion: str = "early"
    match: str = "least"
    named: str = "all"
    alignment: float = 1.0


class Read(NamedTuple):
    """What the queries hold after each layer [L B Q D], the answering one last where there is one, and the words of the
    text [B T D] as they stand then."""

    held: Tensor
    words: Tokens


def early(model: Mdetr, image: Tokens, text: Tokens) -> Read:
    """One stream of both; queries read all of it."""
    memory = model.fusion([image, text])
    split = image.x.shape[1]
    return Read(model.decoder(memory), Tokens(memory.x[:, split:], memory.mask[:, split:]))


def late(model: Mdetr, image: Tokens, text: Tokens) -> Read:
    """Image and text apart: queries read the image alone and meet words only where these are scored."""
    return Read(model.decoder(model.fusion([image])), text)


def all_tokens(named: Tensor) -> Tensor:
    """[B K T] -> the same: every token of a phrase names its object."""
    return named


def last_token(named: Tensor) -> Tensor:
    """[B K T] -> [B K T]: the last token of each phrase alone, in English its noun."""
    return named & (named.long().cumsum(-1) == named.sum(-1, keepdim=True))


FUSIONS: Mapping[str, Callable[[Mdetr, Tokens, Tokens], Read]] = {"early": early, "late": late}
MATCHES = {"least": assign, "order": in_order}
NAMED = {"all": all_tokens, "last": last_token}


class Mdetr(Method):
    """An image tower, a text tower, their fusion, a query decoder and heads for boxes, tokens, alignment and, with
    `classes`, the answer to a question that is the text."""

    def __init__(self, image: Tower, text: TextTower, config: Config, classes: int = 0) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        self.image, self.text = image, text
        self.look, self.listen = Projector(image.dim, dim), Projector(text.dim, dim)
        self.fusion = SingleStream(2, dim, config.fused, config.heads)
        self.decoder = QueryDecoder(config.queries + bool(classes), dim, config.layers, config.heads)
        self.box, self.nothing = BoxHead(dim), linear(dim, 1)
        self.says, self.said = linear(dim, dim), linear(dim, dim)
        self.near = nn.ModuleDict({side: linear(dim, dim) for side in ("query", "word")} if config.alignment else {})
        self.answer = nn.ModuleList([linear(dim, classes)] if classes else [])
        self.read = _choice("fusion", config.fusion, FUSIONS)
        self.match = _choice("match", config.match, MATCHES)
        self.named = _choice("named", config.named, NAMED)
        self.predicts: Mapping[str, str] = {"boxes": "boxes"} | ({"label": "label"} if classes else {})

    def encode(self, batch: Batch) -> Read:
        """Image and text of a batch through everything but the heads."""
        return self.read(self, placed(self.look(self.image(batch["image"]))), self.listen(self.text(batch["text"])))

    def logits(self, held: Tensor, words: Tokens) -> Tensor:
        """Queries [B Q D] and words -> [B Q T + 1] over the words and "no object"; -inf for padding."""
        scores = self.says(held) @ self.said(words.x).transpose(1, 2) * held.shape[-1] ** -0.5
        return torch.cat([scores.masked_fill(~words.mask[:, None], -torch.inf), self.nothing(held)], -1)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        truth, spans, mask = objects(batch)
        read = self.encode(batch)
        named = self.named(spread(spans, mask, read.words.mask))
        found = read.held[:, :, : self.config.queries]
        layers = [self._layer(held, read.words, truth, mask, named) for held in found]
        terms = {name: torch.stack([of[name] for of in layers]).sum() for name in layers[0]}
        label = batch.get("label")
        return terms | ({"answer": _answered(self.answers(read), label)} if isinstance(label, Field) else {})

    def answers(self, read: Read) -> Tensor:
        """Scores of the answers after each layer: [L B C]."""
        scores: Tensor = self.answer[0](read.held[:, :, -1])
        return scores

    def _layer(self, held: Tensor, words: Tokens, truth: Tensor, mask: Tensor, named: Tensor) -> dict[str, Tensor]:
        """The losses after one layer, under a matching of its own."""
        boxes, logits = self.box(held), self.logits(held, words)
        which = self.match(box_costs(boxes, truth) - _naming(logits, named), mask)
        terms = box_terms(boxes, truth, which) | {"tokens": soft_tokens(logits, named, which)}
        if self.near:
            near = unit(self.near["query"](held)) @ unit(self.near["word"](words.x)).transpose(1, 2)
            terms["align"] = self.config.alignment * align(near / TEMPERATURE, named, which, words.mask)
        return terms

    def ground(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Phrases of a batch, its "spans" or else its whole texts -> boxes [B K Q 4], best first, and scores [B K Q]:
        the probability that the query's words are the phrase's."""
        read = self.encode(batch)
        held = read.held[-1][:, : self.config.queries]
        probabilities = self.logits(held, read.words).softmax(-1)[..., :-1]
        spans = batch.get("spans")
        if isinstance(spans, Field) and spans.mask is not None:
            named = self.named(spread(spans.data, spans.mask, read.words.mask))
        else:
            named = read.words.mask[:, None]
        scores, order = (named.to(held.dtype) @ probabilities.transpose(1, 2)).sort(
            dim=-1, descending=True, stable=True
        )
        boxes = corners(self.box(held)).clamp(0, 1)[:, None].expand(-1, named.shape[1], -1, -1)
        return boxes.gather(2, order[..., None].expand(-1, -1, -1, 4)), scores

    def predict(self, batch: Batch, of: str) -> Field:
        if of not in self.predicts:
            raise SensoriumError(f"this method predicts no {of!r}{nearest(of, self.predicts)}")
        if of == "label":
            return Field(self.answers(self.encode(batch))[-1])
        spans = batch.get("spans")
        boxes = self.ground(batch)[0][:, :, 0]
        return Field(boxes, spans.mask if isinstance(spans, Field) else None)


def _naming(logits: Tensor, named: Tensor) -> Tensor:
    """[B Q T + 1], [B K T] -> [B Q K]: the mean probability that a query gives to the tokens of each object."""
    share = named.to(logits.dtype) / named.sum(-1, keepdim=True).clamp(min=1)
    return logits.softmax(-1)[..., :-1] @ share.transpose(1, 2)


def _answered(scores: Tensor, label: Field) -> Tensor:
    """[L B C], labels [B] -> scalar: cross entropy over the rows that have a label, summed over layers."""
    real = torch.ones_like(label.data, dtype=torch.bool) if label.mask is None else label.mask
    each = F.cross_entropy(wide(scores).transpose(1, 2), label.data.expand(len(scores), -1), reduction="none")
    return each.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)


def _choice(what: str, name: str, among: Mapping[str, T]) -> T:
    if name not in among:
        raise SensoriumError(f"{what} {name!r}{nearest(name, among)}")
    return among[name]


def build(config: Config, fields: Fields, bases: Bases) -> Mdetr:
    """The image tower of the bases; a text tower from scratch, since spans count the tokens of the data set."""
    info = fields["text"]
    text = TextTower(info.vocab, config.dim, 1, config.heads, info.length)
    classes = len(fields["label"].classes) if "label" in fields else 0
    return Mdetr(bases.encoder("image", "tokens"), text, config, classes)
