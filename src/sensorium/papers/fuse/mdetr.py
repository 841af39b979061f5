"""MDETR: Modulated Detection for End-to-End Multi-Modal Understanding.

Kamath et al., 2021, arXiv 2104.12763. A DETR that reads: image and text are fused early, in one stream, and each learnt
query gives a box and a distribution over the tokens of the text that name it, or "no object". Differs from
baseline/detector in that classes are words of the text; from the paper in that a query and a token are scored by their
product: an output per position of the text, as there, stays at guessing at this size (recall 0.29); and in that masks
are products of queries and pixels, trained beside the boxes, where there attention maps are convolved afterwards.
Claim: phrase grounding recall above a fixed-class detector with name matching; long-tail classes found by text.
Piloted, not yet measured (one seed, rate 3e-3): masks 0.70 mean IoU where its own boxes, filled, have 0.60; kinds of
objects that it never saw are found at 0.79, with four of each at 0.81; a detector finds them at 0.25 from
these rows alone, at 0.77 from all rows by the names that share most words. Another draw of the first weights stayed at
guessing for 51,200 samples (0.22); so did 12,800 samples of the boxes of images/nlvr (0.01).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.fusion.phrases import objects, spread
from sensorium.blocks.fusion.single_stream import SingleStream, placed
from sensorium.blocks.objectives.match import (
    align,
    assign,
    box_costs,
    box_terms,
    corners,
    in_order,
    picked,
    soft_tokens,
)
from sensorium.blocks.precision import wide
from sensorium.blocks.similarity import unit
from sensorium.blocks.towers.frozen import frozen_towers
from sensorium.blocks.towers.head import Projector, linear
from sensorium.blocks.towers.masks import MaskHead, PixelFeatures, dice, enlarged, focal
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
    NotBelow,
    Rng,
    SensoriumError,
    Statement,
    Terms,
    Tokens,
    Tower,
    Trial,
    choice,
    derive,
    nearest,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import Stage

NEEDS = {
    "image": "image",
    "text": "ids",
    "boxes": "boxes",
    "spans": "spans",
    "mask": "mask optional",
    "label": "label optional",
    "label/kind": "label optional",
    "label/stage": "label optional",
}
PARTS = {
    "early fusion of image and text": "early",
    "queries that read both": "QueryDecoder",
    "set matching on boxes and tokens": "assign",
    "soft token prediction": "soft_tokens",
    "query-token contrastive alignment": "align",
    "phrase grounding": "Mdetr.ground",
    "referring segmentation: the mask of a phrase": "MaskHead",
    "question answering: a query and a head for each kind of question, the label": "Mdetr.answers",
    "a query that tells the kind, which chooses the answer": "Mdetr.kinds",
    "few-shot detection: tuned on few rows of each class": "stages",
}
TEMPERATURE = 0.07
SLOWER = 0.3
"""The rate of what is tuned on few rows, as a share of the rate before."""
MEASURES = ("sensorium.lab.grounding:segmented",)
_RARE = ("sensorium.lab.grounding:rare",)


def _claim(data: str, samples: int, arms: Mapping[str, Arm], *says: Statement) -> Claim:
    return Claim(
        arms=arms,
        says=says,
        beats="mean box",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(samples),
        data=data,
        towers="scratch",
        batch=64,
    )


CLAIMS = {
    "grounding": _claim(
        "world/grounding",
        51_200,
        {
            "ours": Arm(measures=_RARE),
            "baseline": Arm(paper="baseline/detector", measures=_RARE),
            "late fusion": Arm(config={"fusion": "late"}, measures=_RARE),
            "matched in order": Arm(config={"match": "order"}, measures=_RARE),
            "one token": Arm(config={"named": "last"}, measures=_RARE),
            "no alignment": Arm(config={"alignment": 0.0}, measures=_RARE),
        },
        Above("recall@1", 0.02, ceiling=0.97),
        Above("recall@1 rare", 0.1, ceiling=0.97),
    ),
    "segmentation": _claim(
        "world/segmentation",
        51_200,
        {
            "ours": Arm(measures=MEASURES),
            "baseline": Arm(config={"masks": 0.0}, measures=MEASURES),
            "late fusion": Arm(config={"fusion": "late"}, measures=MEASURES),
        },
        Above("mean iou", 0.05, ceiling=0.95),
        NotBelow("recall@1", 0.03),
    ),
    "few shot": _claim(
        "world/few-shot",
        51_200,
        {
            "ours": Arm(),
            "baseline": Arm(paper="baseline/detector", data="world/few-shot-alone"),
            "detector of all rows": Arm(paper="baseline/detector"),
            "few rows alone": Arm(data="world/few-shot-alone"),
            "not tuned": Arm(config={"tuned": 0.0}),
        },
        Above("recall@1", 0.1, ceiling=0.97),
        Above("recall@1", 0.02, baseline="detector of all rows", ceiling=0.97),
        Above("recall@1", 0.1, baseline="few rows alone", ceiling=0.97),
    ),
}
"""In "segmentation" the baseline draws no masks: its boxes are filled."""


@dataclass(frozen=True)
class Config:
    """`queries` per picture, width `dim`, layers of the fusion and of the query decoder.

    `fusion` is early or late, `match` least (Hungarian) or order, `named` all tokens of a phrase or the last, `asked` a
    query for each kind of question or one. `alignment` weighs the contrastive alignment, `masks` the losses of masks,
    of a pixel for every `stride` of the picture's. Of rows in stages the last get the share `tuned` of the samples.
    """

    queries: int = 8
    dim: int = 64
    fused: int = 2
    layers: int = 2
    heads: int = 4
    fusion: str = "early"
    match: str = "least"
    named: str = "all"
    asked: str = "each"
    alignment: float = 1.0
    masks: float = 1.0
    stride: int = 4
    tuned: float = 0.25


class Read(NamedTuple):
    """What the queries hold after each layer [L B Q D], those that answer after those that detect; the words of the
    text [B T D] and the picture [B S D] as they stand then."""

    held: Tensor
    words: Tokens
    seen: Tokens


def early(model: Mdetr, image: Tokens, text: Tokens) -> Read:
    """One stream of both; queries read all of it."""
    memory = model.fusion([image, text])
    split = image.x.shape[1]
    parts = [Tokens(memory.x[:, at], memory.mask[:, at]) for at in (slice(split, None), slice(split))]
    return Read(model.decoder(memory), parts[0], replace(parts[1], pos=image.pos))


def late(model: Mdetr, image: Tokens, text: Tokens) -> Read:
    """Image and text apart: queries read the image alone and meet words only where these are scored."""
    memory = model.fusion([image])
    return Read(model.decoder(memory), text, replace(memory, pos=image.pos))


def all_tokens(named: Tensor) -> Tensor:
    """[B K T] -> the same: every token of a phrase names its object."""
    return named


def last_token(named: Tensor) -> Tensor:
    """[B K T] -> [B K T]: the last token of each phrase alone, in English its noun."""
    return named & (named.long().cumsum(-1) == named.sum(-1, keepdim=True))


FUSIONS: Mapping[str, Callable[[Mdetr, Tokens, Tokens], Read]] = {"early": early, "late": late}
MATCHES = {"least": assign, "order": in_order}
NAMED = {"all": all_tokens, "last": last_token}


def kinds_of(fields: Fields) -> int:
    """Kinds of questions that the data tell apart; one where it tells none."""
    return max(1, len(fields["label/kind"].classes)) if "label/kind" in fields else 1


def one_kind(fields: Fields) -> int:
    """All questions are of one kind."""
    return 1


ASKED: Mapping[str, Callable[[Fields], int]] = {"each": kinds_of, "one": one_kind}


class Mdetr(Method):
    """An image tower, a text tower, their fusion, a query decoder and heads for boxes, tokens, alignment; with `masks`
    (a size) for these; with `classes` for the answer to a question of each of `kinds` that is the text."""

    def __init__(
        self,
        image: Tower,
        text: TextTower,
        config: Config,
        classes: int = 0,
        kinds: int = 1,
        masks: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.config, self.size, dim = config, masks, config.dim
        self.image, self.text = image, text
        self.look, self.listen = Projector(image.dim, dim), Projector(text.dim, dim)
        self.fusion = SingleStream(2, dim, config.fused, config.heads)
        asking = 0 if not classes else 1 if kinds == 1 else kinds + 1
        self.decoder = QueryDecoder(config.queries + asking, dim, config.layers, config.heads)
        self.box, self.nothing = BoxHead(dim), linear(dim, 1)
        self.says, self.said = linear(dim, dim), linear(dim, dim)
        self.near = nn.ModuleDict({side: linear(dim, dim) for side in ("query", "word")} if config.alignment else {})
        self.answer = nn.ModuleList(linear(dim, classes) for _ in range(kinds if classes else 0))
        self.kind = nn.ModuleList([linear(dim, kinds)] if asking > 1 else [])
        drawn = {"features": PixelFeatures(dim, config.stride), "head": MaskHead(dim)} if masks else {}
        self.draw = nn.ModuleDict(drawn)
        self.read = choice("fusion", config.fusion, FUSIONS)
        self.match = choice("match", config.match, MATCHES)
        self.named = choice("named", config.named, NAMED)
        able = {"boxes": True, "mask": bool(masks), "label": bool(classes), "label/kind": asking > 1}
        self.predicts: Mapping[str, str] = {of: of.partition("/")[0] for of, there in able.items() if there}

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
        terms = {name: torch.stack([of[name] for of, _ in layers]).sum() for name in layers[0][0]}
        return terms | self._drawn(batch, read, layers[-1][1]) | self._answered(batch, read)

    def answers(self, read: Read) -> Tensor:
        """Scores of the answers after each layer, as to a question of each kind: [L B A C]."""
        first = self.config.queries
        return torch.stack([head(read.held[:, :, first + k]) for k, head in enumerate(self.answer)], 2)

    def kinds(self, read: Read) -> Tensor:
        """Scores of the kinds of question after each layer, by a query of their own: [L B A]."""
        scores: Tensor = self.kind[0](read.held[:, :, -1])
        return scores

    def drawn(self, batch: Batch, read: Read, held: Tensor) -> Tensor:
        """Logits of the masks of queries [B K D] in the picture's square: [B K H W]."""
        image, seen = batch["image"], read.seen
        assert isinstance(image, Field) and seen.pos is not None
        rows, columns = (int(side) + 1 for side in seen.pos.amax((0, 1)))
        features = self.draw["features"](image, seen, (rows, columns))
        height, width = self.size
        return enlarged(self.draw["head"](held, features), (height, width))

    def _layer(
        self, held: Tensor, words: Tokens, truth: Tensor, mask: Tensor, named: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The losses after one layer, under a matching of its own, and this matching."""
        boxes, logits = self.box(held), self.logits(held, words)
        which = self.match(box_costs(boxes, truth) - _naming(logits, named), mask)
        terms = box_terms(boxes, truth, which) | {"tokens": soft_tokens(logits, named, which)}
        if self.near:
            near = unit(self.near["query"](held)) @ unit(self.near["word"](words.x)).transpose(1, 2)
            terms["align"] = self.config.alignment * align(near / TEMPERATURE, named, which, words.mask)
        return terms, which

    def _drawn(self, batch: Batch, read: Read, which: Tensor) -> dict[str, Tensor]:
        """The losses of the masks of what the last layer found."""
        truth = batch.get("mask")
        if not self.draw or not isinstance(truth, Field):
            return {}
        assert truth.mask is not None
        most = min(which.shape[1], truth.data.shape[1])
        real = (which[:, :most] >= 0) & truth.mask[:, :most]
        logits = self.drawn(batch, read, picked(read.held[-1], which[:, :most]))
        losses = {"focal": focal(logits, truth.data[:, :most], real), "dice": dice(logits, truth.data[:, :most], real)}
        return {name: self.config.masks * value for name, value in losses.items()}

    def _answered(self, batch: Batch, read: Read) -> dict[str, Tensor]:
        """Of each question the loss of the answer by the query of its kind, and of telling the kind."""
        label, kind = batch.get("label"), batch.get("label/kind")
        if not self.answer or not isinstance(label, Field):
            return {}
        scores = self.answers(read)
        if not self.kind or not isinstance(kind, Field):
            return {"answer": _named_right(scores[:, :, 0], label)}
        at = kind.data[None, :, None, None].expand(len(scores), -1, 1, scores.shape[-1])
        real = [x.mask for x in (label, kind) if x.mask is not None]
        asked = Field(label.data, torch.stack(real).all(0) if real else None)
        return {
            "answer": _named_right(scores.gather(2, at)[:, :, 0], asked),
            "kind": _named_right(self.kinds(read), kind),
        }

    def ranked(self, batch: Batch, read: Read) -> tuple[Tensor, Tensor]:
        """For each phrase of a batch, its "spans" or else its whole texts, all queries [B K Q], best first, and their
        scores: the probability that the query's words are the phrase's."""
        probabilities = self.logits(read.held[-1][:, : self.config.queries], read.words).softmax(-1)[..., :-1]
        spans = batch.get("spans")
        if isinstance(spans, Field) and spans.mask is not None:
            named = self.named(spread(spans.data, spans.mask, read.words.mask))
        else:
            named = read.words.mask[:, None]
        found = named.to(probabilities.dtype) @ probabilities.transpose(1, 2)
        scores, order = found.sort(dim=-1, descending=True, stable=True)
        return order, scores

    def ground(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Boxes [B K Q 4] of the phrases of a batch, best first, and scores [B K Q], as `ranked`."""
        read = self.encode(batch)
        order, scores = self.ranked(batch, read)
        boxes = corners(self.box(read.held[-1])).clamp(0, 1)
        return picked(boxes, order.flatten(1)).reshape(*order.shape, 4), scores

    def predict(self, batch: Batch, of: str) -> Field:
        if of not in self.predicts:
            raise SensoriumError(f"this method predicts no {of!r}{nearest(of, self.predicts)}")
        read, spans = self.encode(batch), batch.get("spans")
        there = spans.mask if isinstance(spans, Field) else None
        if of == "label/kind":
            return Field(self.kinds(read)[-1])
        if of == "label":
            return Field(self._chosen(read))
        held = picked(read.held[-1], self.ranked(batch, read)[0][:, :, 0])
        if of == "mask":
            return Field(self.drawn(batch, read, held).sigmoid(), there)
        return Field(corners(self.box(held)).clamp(0, 1), there)

    def _chosen(self, read: Read) -> Tensor:
        """[B C]: the scores of the answers by the query of the kind that the question seems to be."""
        scores = self.answers(read)[-1]
        kind = self.kinds(read)[-1].argmax(-1) if self.kind else torch.zeros_like(scores[:, 0, 0], dtype=torch.long)
        return picked(scores, kind[:, None])[:, 0]


def _naming(logits: Tensor, named: Tensor) -> Tensor:
    """[B Q T + 1], [B K T] -> [B Q K]: the mean probability that a query gives to the tokens of each object."""
    share = named.to(logits.dtype) / named.sum(-1, keepdim=True).clamp(min=1)
    return logits.softmax(-1)[..., :-1] @ share.transpose(1, 2)


def _named_right(scores: Tensor, label: Field) -> Tensor:
    """[L B C], labels [B] -> scalar: cross entropy over the rows that have a label, summed over layers."""
    real = torch.ones_like(label.data, dtype=torch.bool) if label.mask is None else label.mask
    each = F.cross_entropy(wide(scores).transpose(1, 2), label.data.expand(len(scores), -1), reduction="none")
    return each.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)


def build(config: Config, fields: Fields, bases: Bases) -> Mdetr:
    """The image tower of the bases; a text tower from scratch, since spans count the tokens of the data set.

    Raises:
        SensoriumError: masks beside a frozen tower, which leaves no pixels.
    """
    info = fields["text"]
    text = TextTower(info.vocab, config.dim, 1, config.heads, info.length)
    image = bases.encoder("image", "tokens")
    classes = len(fields["label"].classes) if "label" in fields else 0
    kinds = choice("asked", config.asked, ASKED)(fields)
    masks = fields["mask"].shape if "mask" in fields and config.masks else ()
    if masks and frozen_towers(image):
        raise SensoriumError("masks are drawn from pixels; expected an image tower from scratch, or masks=0")
    return Mdetr(image, text, config, classes, kinds, masks)


def stages(config: Config, method: Mdetr, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """Every row alike; or, where "label/stage" tells stages apart, one after the other by name: the share 1 - `tuned`
    of the samples on the first, the rest in equal parts and slower on those that follow."""
    if not 0 <= config.tuned < 1:
        raise SensoriumError(f"tuned {config.tuned:g}; expected a share of the samples from 0 to below 1")
    parts = _parts(rows)
    if len(parts) == 1:
        return [Stage(Epochs(rows, trial.batch, trial.seed), trial.budget, trial.batch)]
    later = config.tuned / (len(parts) - 1)
    found = []
    for k, part in enumerate(parts if config.tuned else parts[:1]):
        batch = min(trial.batch, len(part))
        budget = Budget(round(trial.budget.samples * (later if k else 1 - config.tuned)))
        stream = Epochs(part, batch, derive(trial.seed, "stage", k))
        found.append(Stage(stream, budget, batch, rates={"": SLOWER if k else 1.0}))
    return found


def _parts(rows: Rows) -> list[Rows]:
    """The rows of each stage; those without one belong to the first."""
    if "label/stage" not in rows.columns:
        return [rows]
    stage = rows.columns["label/stage"].rows(torch.from_numpy(rows.index))
    assert isinstance(stage, Field)
    return [rows.select(rows.index[(stage.data == k).numpy()]) for k in sorted(set(stage.data.tolist()))]
