"""Prefix LM: a decoder that reads an image's tokens as the beginning of its text.

Liu et al., 2023, arXiv 2304.08485 (LLaVA) is the shape: image tower, linear projector, causal decoder; the loss is on
what is to be said alone. The baseline of every paper that connects a tower to a language model.
Differs from the paper in that all parts are small and trained together, from scratch where no tower is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.blocks.decode import Decoder
from sensorium.blocks.prefix_lm import LONGEST, PrefixLM, sayable
from sensorium.core import Bases, Claim, Fields

NEEDS = {
    "image": "image",
    "image.*": "image optional",
    "text": "ids",
    "text/question": "ids optional",
    "text/answer": "ids optional",
}
PARTS = {
    "image tokens as a prefix": "PrefixLM",
    "projector to the decoder's width": "PrefixLM",
    "causal decoder": "Decoder",
    "loss on the text alone": "PrefixLM",
}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """Width, layers and heads of the decoder; which of the texts that the data has it learns to say."""

    dim: int = 128
    layers: int = 3
    heads: int = 4
    says: tuple[str, ...] = ("text/answer",)


def build(config: Config, fields: Fields, bases: Bases) -> PrefixLM:
    """The image tower's tokens before the text."""
    decoder = Decoder(fields["text"].vocab, config.dim, config.layers, config.heads, LONGEST)
    return PrefixLM(bases.encoder("image", "tokens"), decoder, sayable(fields, config.says))
