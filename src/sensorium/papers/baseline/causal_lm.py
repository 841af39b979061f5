"""Causal LM: a decoder that learns each token of a text from those before.

Radford et al., 2019, Language Models are Unsupervised Multitask Learners, is the objective; the layers are Llama's.
Of a row with a question the decoder reads text, question and answer in turn, so that it learns to look things up.
Differs from the papers in size, and in that answers are a term of their own: they are few among the words.
The start of every paper that puts pictures, sound or records before a language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium.blocks.decode import Decoder, Prompt
from sensorium.blocks.decode.interleave import Interleaved, Part, alone, interleave, next_token
from sensorium.blocks.prefix_lm import LONGEST
from sensorium.core import Bases, Batch, Claim, Fields, Ids, Method, Rng, SensoriumError, Terms, nearest

NEEDS = {"text": "ids", "text/question": "ids optional", "text/answer": "ids optional"}
PARTS = {
    "causal decoder": "Decoder",
    "next-token loss": "next_token",
    "answers after text and question": "CausalLM.sequence",
}
CLAIMS: dict[str, Claim] = {}
REST, ANSWERED = "text/rest", "text/answer"
TEXT, ANSWER = 0, 1
"""Kinds of the parts of a sequence."""


@dataclass(frozen=True)
class Config:
    """Width, layers and heads of the decoder."""

    dim: int = 128
    layers: int = 3
    heads: int = 4


class CausalLM(Method):
    """Goes on with a text ("text/rest"), from nothing where a batch has none; answers questions about it where it was
    taught to ("text/answer")."""

    def __init__(self, decoder: Decoder, answers: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.generates: Mapping[str, str] = dict.fromkeys([REST, ANSWERED][: 1 + answers], "text")

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """The next-token loss on text and questions, and that on answers."""
        seq = self.sequence(batch)
        h, kind = self.decoder(seq.tokens), seq.tokens.kind
        assert kind is not None
        terms = {"text": TEXT, "answer": ANSWER} if ANSWERED in self.generates else {"text": TEXT}
        return {name: self.loss(h, seq, kind == of) for name, of in terms.items()}

    def loss(self, h: Tensor, seq: Interleaved, where: Tensor) -> Tensor:
        """The loss on what is to be learnt at some places [B T] bool."""
        return next_token(self.decoder, h, replace(seq, learn=seq.learn & where))

    def sequence(self, batch: Batch) -> Interleaved:
        """Each row as `begin`, text, question, `begin`, answer, `end`, as far as it has them."""
        text = _ids(batch, "text")
        end = Part(alone(self.decoder.end, text.mask.any(1)), learn=True)
        parts = [self.begin(text), Part(text, learn=True)]
        if ANSWERED not in self.generates:
            return interleave(self.decoder.embed, [*parts, end])
        asked, said = _ids(batch, "text/question"), _ids(batch, ANSWERED)
        parts += [Part(asked, learn=True), self.begin(said), Part(said, ANSWER, learn=True)]
        return interleave(self.decoder.embed, [*parts, end])

    def prompt(self, batch: Batch, to: str) -> Prompt:
        """To "text/rest": what a text begins with, without its end mark; to "text/answer": text and question."""
        if to not in self.generates:
            raise SensoriumError(f"cannot say {to!r}{nearest(to, self.generates)}")
        every = torch.ones(len(next(iter(batch.values()))), dtype=torch.bool, device=self.decoder.words.weight.device)
        begin = Part(alone(self.decoder.begin, every))
        text = _ids(batch, "text") if "text" in batch else None
        if to == REST:
            parts = [begin] if text is None else [begin, Part(_open(text))]
        else:
            before = [] if text is None else [self.begin(text), Part(text)]
            parts = [*before, Part(_ids(batch, "text/question")), begin]
        return Prompt(self.decoder, interleave(self.decoder.embed, parts).tokens)

    def begin(self, before: Ids) -> Part:
        """What opens a text, in the rows that have one."""
        return Part(alone(self.decoder.begin, before.mask.any(1)))


def _ids(batch: Batch, key: str) -> Ids:
    value = batch[key]
    assert isinstance(value, Ids)
    return value


def _open(text: Ids) -> Ids:
    """A text without its last token, which ends it."""
    count = text.mask.long().cumsum(1)
    return Ids(text.ids, text.mask & (count < count[:, -1:]))


def build(config: Config, fields: Fields, bases: Bases) -> CausalLM:
    """A decoder from scratch over the data's own ids."""
    decoder = Decoder(fields["text"].vocab, config.dim, config.layers, config.heads, LONGEST)
    return CausalLM(decoder, {"text/question", "text/answer"} <= set(fields))
