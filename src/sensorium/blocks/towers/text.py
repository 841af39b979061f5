"""The text tower: token ids to tokens."""

from __future__ import annotations

from torch import nn

from sensorium.core import Ids, SensoriumError, Tokens, Tower

from .attention import Block


class TextTower(Tower):
    """Ids [B T] -> Tokens [B T dim]: embeddings and learned positions, `layers` pre-norm blocks, a last norm.

    Positions count the real tokens, so left and right padding agree. T may be at most `length`.
    """

    def __init__(self, vocab: int, dim: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.length, self.dim = length, dim
        self.words, self.places = nn.Embedding(vocab, dim), nn.Embedding(length, dim)
        for table in (self.words, self.places):  # equal scale: neither drowns the other
            nn.init.normal_(table.weight, std=dim**-0.5)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, text: Ids) -> Tokens:
        if text.ids.shape[1] > self.length:
            raise SensoriumError(f"a text of {text.ids.shape[1]} tokens; expected at most {self.length}")
        place = (text.mask.long().cumsum(1) - 1).clamp(min=0)
        x = self.words(text.ids.masked_fill(~text.mask, 0)) + self.places(place)
        t = self.blocks(Tokens(x, text.mask, place[..., None]))
        return Tokens(self.norm(t.x).masked_fill(~t.mask[..., None], 0), t.mask, t.pos)
