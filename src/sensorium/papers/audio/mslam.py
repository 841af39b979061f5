"""mSLAM: Massively multilingual joint pre-training for speech and text.

Bapna et al., 2022, arXiv 2202.01374. One encoder reads frames of speech and characters of text: speech is learnt as in
w2v-BERT (a contrastive loss against a quantiser that is trained along, then prediction of the quantiser's ids), text as
in SpanBERT (hidden spans), and CTC on pairs brings both together. Differs from w2v-BERT in the text and the pairs; from
the paper in that pairs are heard whole under CTC while only unpaired speech has frames hidden, in that spans of text
have no boundary objective, and in that CTC and hidden characters share one layer of logits.
Claim: with CTC a head that was trained on speech alone reads text too; recognition stays level with speech alone.
Seen in one run each of 12,800 samples of toy speech (51 CPU-s): the head names six shapes from text at 0.40 with CTC
and at 0.00 without (chance 0.17), from speech at 1.00; characters are wrong at 0.004 in voices never heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.mixed import packed
from sensorium.blocks.objectives.ctc import collapsed, ctc
from sensorium.blocks.objectives.masked import Spans, distracted, drawn, speech_spans, text_spans
from sensorium.blocks.objectives.nll import nll
from sensorium.blocks.objectives.quantise import ProductQuantiser, diversity
from sensorium.blocks.precision import wide
from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.audio import Frames
from sensorium.blocks.towers.conformer import Conformer, counted
from sensorium.blocks.towers.frozen import role_of
from sensorium.blocks.towers.head import linear
from sensorium.blocks.two_tower import by_cosine
from sensorium.core import (
    Above,
    Arm,
    Bases,
    Batch,
    Budget,
    Claim,
    Field,
    Fields,
    Ids,
    Method,
    NotBelow,
    Rng,
    SensoriumError,
    Space,
    Terms,
    Tokens,
    Trial,
    derive,
    nearest,
    pooled,
)
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import Stage

NEEDS = {"audio": "audio", "text": "ids", "label": "label optional"}
UNITS = "characters"
"""What the ids of the text stand for."""
PARTS = {
    "contrastive module on hidden frames of speech": "distracted",
    "quantiser trained along, with diversity": "ProductQuantiser",
    "prediction of the ids of hidden frames": "Mslam.units",
    "SpanBERT on characters": "text_spans",
    "one encoder for speech and characters": "Conformer",
    "CTC on pairs": "ctc",
    "paired and unpaired rows in one batch": "Unpaired",
}
PARTIAL = "translation of speech and its BLEU; language identification; several languages; the claim, measured"
_TRANSFER = ("sensorium.lab.recognition:transfer",)
CLAIMS = {
    "alignment": Claim(
        arms={
            "ours": Arm(measures=_TRANSFER),
            "baseline": Arm(config={"ctc": 0.0}, measures=_TRANSFER),
            "speech alone": Arm(config={"text": 0.0}, measures=_TRANSFER),
        },
        says=[
            Above("accuracy", 0.1, ceiling=0.97),
            Above("accuracy", 0.1, baseline="speech alone", ceiling=0.97),
            NotBelow("cer", 0.02, baseline="speech alone", higher=False),
        ],
        chosen={"speech alone": "cer"},
        beats="blind majority",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(12_800),
        data="world/speech",
        towers="scratch",
        batch=64,
    )
}
BLANK, END = 0, 2
"""Ids of the tokeniser: padding serves as the blank, and the end of a text is not spoken."""


@dataclass(frozen=True)
class Config:
    """`own` conformer layers for speech before `layers` shared ones, of width `dim`; `codes` of the quantiser.

    `paired`: the share of rows that keep both sides, of the others half keep the speech and half the text. `spans`: the
    share of characters that are hidden. `contrast`, `units`, `text`, `ctc` weigh the losses, and 0 leaves one out.
    """

    dim: int = 64
    own: int = 1
    layers: int = 2
    heads: int = 4
    codes: int = 64
    paired: float = 0.5
    spans: float = 0.4
    contrast: float = 0.1
    units: float = 0.1
    text: float = 1.0
    ctc: float = 1.0


class Heard(NamedTuple):
    """Speech before and after the shared layers, and the frames that were hidden."""

    context: Tokens
    states: Tokens
    hidden: Tensor


class Head(nn.Module):
    """Tokens [B T D] -> scores [B C]: a learnt query says which tokens count, a linear layer names what they mean."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.query, self.names = nn.Parameter(torch.zeros(dim)), linear(dim, classes)

    def forward(self, t: Tokens) -> Tensor:
        odds = (wide(t.x) @ self.query).masked_fill(~t.mask, torch.finfo(torch.float32).min).softmax(1)
        return self.names((odds[..., None] * t.x).sum(1))  # type: ignore[no-any-return]


class Mslam(Method):
    """Frames and the layers of speech, a table of characters, the shared layers, and a head for each loss."""

    def __init__(self, config: Config, fields: Fields) -> None:
        super().__init__()
        sound, text, dim = fields["audio"], fields["text"], config.dim
        if not 0 < config.paired <= 1:
            raise SensoriumError(f"paired {config.paired:g}; expected a share of the rows above 0 and up to 1")
        self.config = config
        self.frames, self.own = Frames(sound.rate, dim), Conformer(dim, config.own, config.heads)
        self.words = nn.Embedding(text.vocab, dim)
        nn.init.normal_(self.words.weight)
        self.shared = Conformer(dim, config.layers, config.heads)
        self.unheard, self.unread = nn.Parameter(torch.randn(dim)), nn.Parameter(torch.randn(dim))
        self.says = linear(dim, text.vocab)
        if config.contrast or config.units:
            self.quantiser = ProductQuantiser(dim, dim, config.codes)
        self.near = nn.ModuleList([linear(dim, dim)] if config.contrast else [])
        self.guess = nn.ModuleList([linear(dim, config.codes)] if config.units else [])
        classes = len(fields["label"].classes) if "label" in fields else 0
        self.label = nn.ModuleList([Head(dim, classes)] if classes else [])
        self.spaces: Mapping[str, Space] = {"audio": Space(dim), "text": Space(dim)}
        self.predicts: Mapping[str, str] = {"text": "ids"} | ({"label": "label"} if classes else {})

    def hear(self, frames: Tokens, hidden: Tensor) -> Heard:
        """Frames [B T D] of which the hidden ones [B T] are taken away -> what the layers make of them."""
        x = torch.where(hidden[..., None], self.unheard.to(frames.x.dtype), frames.x)
        context = self.own(counted(replace(frames, x=x)))
        return Heard(context, self.shared(context), hidden)

    def read(self, text: Ids, hidden: Spans | None = None, generator: torch.Generator | None = None) -> Tokens:
        """Characters [B T] through the shared layers; of hidden spans eight in ten are taken away whole, one is
        replaced by characters of its row, one stays."""
        x = self.words(text.ids.masked_fill(~text.mask, 0))
        if hidden is not None:
            assert generator is not None
            fate, other = drawn((*text.mask.shape, 2), generator).unbind(-1)
            fate = fate.gather(1, hidden.begin)[..., None]
            place = (other * text.mask.sum(1, keepdim=True)).long()
            x = torch.where(hidden.hidden[..., None] & (fate < 0.8), self.unread.to(x.dtype), x)
            swapped = self.words(text.ids.gather(1, place))
            x = torch.where(hidden.hidden[..., None] & (fate >= 0.9), swapped, x)
        return self.shared(counted(Tokens(x.masked_fill(~text.mask[..., None], 0), text.mask)))  # type: ignore[no-any-return]

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        text, there, config = characters(batch), heard_at(batch), self.config
        frames, said = self.frames(batch["audio"].rows(there)), text.rows(there)
        pair, device = said.mask.any(1), frames.x.device
        hidden = speech_spans(frames.mask & ~pair[:, None], rng("hidden frames", device)).hidden
        heard = self.hear(frames, hidden)
        terms: dict[str, Tensor] = {}
        if config.contrast or config.units:
            terms |= self._speech(frames, heard, rng)
        if config.text:
            text = text.rows(text.mask.any(1))
            spans = text_spans(text.mask, rng("hidden characters", device), config.spans)
            states = self.read(text, spans, rng("characters", device))
            terms["text"] = config.text * nll(self.says(states.x), text.ids, spans.hidden)
        if config.ctc:
            logits = Tokens(self.says(heard.states.x), heard.states.mask)
            terms["ctc"] = config.ctc * ctc(logits, said, BLANK)
        label = batch.get("label")
        if self.label and isinstance(label, Field):
            terms["label"] = self._labelled(heard.states, label.rows(there), pair)
        return terms

    def _speech(self, frames: Tokens, heard: Heard, rng: Rng) -> Terms:
        """w2v-BERT: the quantiser hears the frames whole; contexts find its vectors, states guess its ids."""
        config, device = self.config, frames.x.device
        noise = drawn((*frames.mask.shape, *self.quantiser.codes.shape[:2]), rng("codes", device))
        target = self.quantiser(frames.x, noise if self.training else None)
        terms: dict[str, Tensor] = {}
        if config.contrast:
            near = self.near[0](heard.context.x)
            others = rng("distractors", device)
            found = distracted(near, target.vectors, target.ids, heard.hidden, others)
            terms["contrast"] = config.contrast * found
            terms["diversity"] = config.contrast * 0.1 * diversity(target.odds, heard.hidden)
        if config.units:
            terms["units"] = config.units * self.units(heard, target.ids)
        return terms

    def units(self, heard: Heard, ids: Tensor) -> Tensor:
        """Hidden frames and the ids of all [B T 1] -> scalar: -log p of the ids of the hidden ones."""
        return nll(self.guess[0](heard.states.x), ids[..., 0], heard.hidden)

    def _labelled(self, states: Tokens, label: Field, whole: Tensor) -> Tensor:
        """The head alone is trained, on speech alone: sounds that were heard whole and have a label."""
        real = whole if label.mask is None else whole & label.mask
        scores = self.label[0](replace(states, x=states.x.detach()))
        each = F.cross_entropy(wide(scores), label.data, reduction="none")
        return each.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)

    def states(self, batch: Batch, of: str) -> Tokens:
        """The role's tokens after the shared layers, nothing hidden."""
        if role_of(of) == "text":
            return self.read(characters(batch, of))
        frames = self.frames(batch[of])
        return self.hear(frames, torch.zeros_like(frames.mask)).states

    def embed(self, batch: Batch, of: str) -> Tokens:
        return pooled(unit(pool(self.states(batch, of))))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items)

    def predict(self, batch: Batch, of: str) -> Field:
        """To "text": the characters that are heard, ids [B T]. To "label": scores from speech or, without any, from
        text."""
        if of not in self.predicts:
            raise SensoriumError(f"this method predicts no {of!r}{nearest(of, self.predicts)}")
        if of == "label":
            return Field(self.label[0](self.states(batch, "audio" if "audio" in batch else "text")))
        states = self.states(batch, "audio")
        said = collapsed(Tokens(self.says(states.x), states.mask), BLANK)
        return Field(said.ids, said.mask)


def characters(batch: Batch, key: str = "text") -> Ids:
    """The text in front, without its end."""
    text = batch[key]
    assert isinstance(text, Ids)
    return packed(Ids(text.ids, text.mask & (text.ids != END)))


def heard_at(batch: Batch) -> Tensor:
    """[B] bool: rows that have a sound."""
    sound = batch["audio"]
    assert isinstance(sound, Field)
    return torch.ones_like(sound.data[:, 0], dtype=torch.bool) if sound.mask is None else sound.mask.any(1)


@dataclass
class Unpaired:
    """Batches of which some rows lose one side: `paired` is the share that keeps both, of the rest every second row
    keeps its sound and every other its text. Which row loses what is fixed by its number and the seed."""

    epochs: Epochs
    paired: float

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        batch = self.epochs.batch(step)
        row, sound, text = batch["row"], batch["audio"], batch["text"]
        assert isinstance(row, Field) and isinstance(sound, Field) and isinstance(text, Ids)
        luck = torch.tensor([derive(self.epochs.seed, "paired", n) % 10_000 / 10_000 for n in row.data.tolist()])
        heard, read = (luck < cut for cut in (self.paired + (1 - self.paired) / 2, self.paired))
        read |= ~heard
        assert sound.mask is not None
        return {
            **batch,
            "audio": replace(sound, mask=sound.mask & heard[:, None]),
            "text": replace(text, mask=text.mask & read[:, None]),
        }


def build(config: Config, fields: Fields, bases: Bases) -> Mslam:
    """From scratch: neither frames nor characters come from a tower."""
    return Mslam(config, fields)


def stages(config: Config, method: Method, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """All losses at once, over rows of which some have lost a side; the head follows what moves below it."""
    stream = Unpaired(Epochs(rows, trial.batch, trial.seed), config.paired)
    rates: dict[str, float | None] = {"": 1.0, "label": 3.0} if "label" in rows.fields else {"": 1.0}
    return [Stage(stream, trial.budget, trial.batch, rates)]
