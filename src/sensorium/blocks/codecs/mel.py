"""Sounds as log-mel frames: what speech models hear instead of samples.

Shape legend: B batch, N samples, F frames, M bands.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from sensorium.core import Field, SensoriumError, Tokens

from ..precision import exact, wide

FLOOR = 1e-10
"""Power of a band that counts as silence."""


def mel(hertz: Tensor) -> Tensor:
    """Hz -> mel, 2595 log10(1 + f / 700) (O'Shaughnessy 1987, as in HTK)."""
    return 2595 * (1 + hertz / 700).log10()


def triangles(rate: int, size: int, bands: int) -> Tensor:
    """-> [size // 2 + 1, M] float32: triangles over the frequencies of a `size`-point transform, each 1 at its centre;
    centres are evenly spaced in mel from 0 to half the rate."""
    edges = torch.linspace(0, float(mel(torch.tensor(rate / 2, dtype=torch.float64))), bands + 2, dtype=torch.float64)
    edge = 700 * (10 ** (edges / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    rise, fall = (hertz - edge[:-2]) / (edge[1:-1] - edge[:-2]), (edge[2:] - hertz) / (edge[2:] - edge[1:-1])
    return torch.minimum(rise, fall).clamp(min=0).float()


class LogMel(nn.Module):
    """Field of waves [B N] -> Tokens [B F M]: the log power of `bands` mel bands in frames of `window` seconds, a Hann
    window, one every `hop` seconds; `pos` is the middle of each in seconds.

    A frame is real if all its samples are; a sound shorter than one frame has one, filled up with silence.
    """

    def __init__(self, rate: int, bands: int = 40, window: float = 0.025, hop: float = 0.01) -> None:
        super().__init__()
        self.rate, self.size, self.hop = rate, round(window * rate), round(hop * rate)
        if self.hop < 1 or self.size < self.hop:
            raise SensoriumError(f"frames of {window} s every {hop} s at {rate} Hz; expected each sample heard")
        self.points = 1 << math.ceil(math.log2(self.size))
        filters = triangles(rate, self.points, bands)
        if not filters.any(0).all():
            raise SensoriumError(f"{bands} bands are too fine for frames of {window} s at {rate} Hz; expected fewer")
        self.hann: Tensor
        self.filters: Tensor
        self.register_buffer("hann", torch.hann_window(self.size), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, sound: Field) -> Tokens:
        if sound.data.ndim != 2:
            raise SensoriumError(f"a sound of shape {tuple(sound.data.shape)}; expected waves [B N]")
        wave, mask = sound.data, sound.mask
        mask = torch.ones_like(wave, dtype=torch.bool) if mask is None else mask
        mask = mask[:, None].expand(-1, wave.shape[1]) if mask.ndim == 1 else mask
        with exact(wave):
            wave = nn.functional.pad(wide(wave).masked_fill(~mask, 0), (0, max(0, self.size - wave.shape[1])))
            frames = wave.unfold(1, self.size, self.hop)  # [B F size]
            if not len(frames):  # which some FFT libraries refuse
                return Tokens(wave.new_zeros(0, frames.shape[1], self.filters.shape[1]), mask[:, : frames.shape[1]])
            power = torch.fft.rfft(frames * self.hann, self.points).abs().square()
            x = (power @ self.filters).clamp(min=FLOOR).log()
        count = mask.sum(1)
        real = torch.where(count > 0, ((count - self.size) // self.hop + 1).clamp(min=1), 0)
        at = torch.arange(x.shape[1], device=x.device)
        there = at < real[:, None]
        pos = ((at * self.hop + self.size / 2) / self.rate).expand(len(x), -1)[..., None]
        return Tokens(x.masked_fill(~there[..., None], 0), there, pos)


def levelled(t: Tokens) -> Tokens:
    """[B F M] -> the same with each band of each sound at mean 0 and deviation 1 over its real frames, so that loudness
    and the line count for nothing; a band that never changes is 0."""
    real, n = t.mask[..., None], t.mask.sum(1).clamp(min=1)[:, None, None]
    mean = t.x.masked_fill(~real, 0).sum(1, keepdim=True) / n
    away = (t.x - mean).masked_fill(~real, 0)
    spread = (away.square().sum(1, keepdim=True) / n).sqrt()
    return replace(t, x=away / spread.clamp(min=1e-3))
