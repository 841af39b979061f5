"""Tiles: nothing is learnt. Paints four tiles of four colours, drawn after the words by a decoder as it was born."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from sensorium.blocks.decode import Decoder, Prompt
from sensorium.blocks.mixed import Mosaic
from sensorium.core import Bases, Batch, Field, Fields, Ids, Method, Rng, Terms

NEEDS = {"image": "image", "text": "ids"}
PARTS: dict[str, str] = {}
CLAIMS: dict[str, object] = {}
COLOURS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Tiles(Method):
    """The codes stand after the words."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.generates: Mapping[str, str] = {"image": "image"}
        self.words, self.side = fields["text"].vocab, fields["image"].shape[1]
        self.decoder = Decoder(self.words + len(COLOURS), 8, 1, 2, fields["text"].length + 8)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {"none": self.weight.square()}

    def prompt(self, batch: Batch, to: str) -> Mosaic:
        text = batch["text"]
        assert isinstance(text, Ids)
        tokens = self.decoder.embed(text)
        codes = range(self.words, self.words + len(COLOURS))
        return Mosaic(decoder=self.decoder, tokens=tokens, n=4, codes=codes, finish=self.finish,
                      unlike=Prompt(self.decoder, tokens))  # fmt: skip

    def finish(self, found: Ids) -> Field:
        tiles = COLOURS[found.ids.view(-1, 2, 2) - self.words].permute(0, 3, 1, 2)
        return Field(tiles.repeat_interleave(self.side // 2, 2).repeat_interleave(self.side // 2, 3))


def build(config: Config, fields: Fields, bases: Bases) -> Tiles:
    return Tiles(fields)
