"""Heads on top of a tower."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from sensorium.core import Tokens


def linear(d_in: int, d_out: int) -> nn.Linear:
    """A layer whose weights start at standard deviation 1/sqrt(d_in) and whose bias starts at 0."""
    layer = nn.Linear(d_in, d_out)
    nn.init.normal_(layer.weight, std=d_in**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Projector(nn.Module):
    """[B T d_in] -> [B T d_out], each token by itself: linear, or with `hidden` units one GELU layer between.

    Dropout stands before the last layer. Padded tokens come out as 0; mask, pos and kind pass through.
    """

    def __init__(self, d_in: int, d_out: int, dropout: float = 0.0, hidden: int = 0) -> None:
        super().__init__()
        first = [linear(d_in, hidden), nn.GELU()] if hidden else []
        self.layers = nn.Sequential(*first, nn.Dropout(dropout))
        self.last = linear(hidden or d_in, d_out)

    def forward(self, t: Tokens) -> Tokens:
        x = t.x.to(self.last.weight.dtype).masked_fill(~t.mask[..., None], 0)  # stored features are bf16
        return replace(t, x=self.last(self.layers(x)).masked_fill(~t.mask[..., None], 0))
