"""Echo: nothing is learnt. Answers a question with the question, one token at a time, so that a test knows every
answer; as slowly as a test likes, and broken off where it likes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.blocks.decode import Cache, Prompt
from sensorium.core import Bases, Batch, Fields, Ids, Method, Rng, Terms, Tokens

NEEDS = {"text/question": "ids", "text/answer": "ids"}
PARTS: dict[str, str] = {}
CLAIMS: dict[str, object] = {}


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Said(Cache):
    """How many tokens were said."""

    said = -1


class Repeats(nn.Module):
    """Scores of a decoder that says what its memory holds, then ends. A vector is the id that it stands for."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.begin, self.end = vocab, vocab + 1
        self.seconds, self.breaks, self.passes = 0.0, -1, 0

    def embed(self, text: Ids) -> Tokens:
        return Tokens(text.ids[..., None].float(), text.mask)

    def forward(self, t: Tokens, *, memory: Tokens, cache: Said, tap: Any) -> Tensor:
        cache.said, self.passes = cache.said + 1, self.passes + 1
        time.sleep(self.seconds)
        if cache.said == self.breaks:
            raise RuntimeError("/secret/path")
        ids = F.pad(memory.x[..., 0].masked_fill(~memory.mask, self.end), (0, 1), value=self.end)
        return ids[:, cache.said].reshape(-1, 1, 1).expand(-1, t.x.shape[1], 1)

    def logits(self, h: Tensor) -> Tensor:
        return F.one_hot(h[..., 0].long(), self.end + 1).float() * 50


class Echo(Method):
    """Says the question again."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.generates: Mapping[str, str] = {"text/answer": "text"}
        self.decoder = Repeats(vocab)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {"none": self.weight.square()}

    def prompt(self, batch: Batch, to: str) -> Prompt:
        question = batch["text/question"]
        assert isinstance(question, Ids)
        last = question.mask.sum(1, keepdim=True) - 1  # the end mark, which the tokeniser adds
        asked = Ids(question.ids, question.mask & (torch.arange(question.ids.shape[1]) < last))
        tokens = self.decoder.embed(asked)
        return Prompt(self.decoder, tokens, memory=tokens, cache=Said)  # type: ignore[arg-type]


def build(config: Config, fields: Fields, bases: Bases) -> Echo:
    return Echo(fields["text/question"].vocab)
