"""Audio towers: waves to tokens. A row whose field is masked out has no real token."""

from __future__ import annotations

from sensorium.core import Field, Tokens, Tower

from ..codecs.mel import LogMel, levelled
from .conformer import Conformer, Subsampled, counted


class Frames(Tower):
    """Field [B N] -> Tokens [B T dim], one for every 40 ms: levelled log-mel frames, subsampled by four;
    `pos` in seconds."""

    def __init__(self, rate: int, dim: int, bands: int = 40) -> None:
        super().__init__()
        self.dim = dim
        self.mel, self.subsampled = LogMel(rate, bands), Subsampled(bands, dim)

    def forward(self, sound: Field) -> Tokens:
        return self.subsampled(levelled(self.mel(sound)))  # type: ignore[no-any-return]


class AudioTower(Tower):
    """Field [B N] at `rate` Hz -> Tokens [B T dim]: frames of 40 ms through `layers` conformer blocks."""

    def __init__(self, rate: int, dim: int = 64, layers: int = 2, heads: int = 4, bands: int = 40) -> None:
        super().__init__()
        self.dim = dim
        self.frames, self.layers = Frames(rate, dim, bands), Conformer(dim, layers, heads)

    def forward(self, sound: Field) -> Tokens:
        return self.layers(counted(self.frames(sound)))  # type: ignore[no-any-return]
