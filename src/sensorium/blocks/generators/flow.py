"""Normalising flows of pictures: affine couplings between invertible mixings, over several scales.

RealNVP (Dinh et al. 2016, arXiv 1605.08803) and Glow (Kingma and Dhariwal 2018, arXiv 1807.03039).
Shape legend: B batch, C channels, H W pixels. Every part maps [B C H W] to (the same shape, log|det| [B]) and back.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError


def squeezed(x: Tensor) -> Tensor:
    """[B C H W] -> [B 4C H/2 W/2]: each 2 x 2 pixels become channels."""
    return F.pixel_unshuffle(x, 2)


def unsqueezed(x: Tensor) -> Tensor:
    """[B 4C H W] -> [B C 2H 2W]."""
    return F.pixel_shuffle(x, 2)


class Scaling(nn.Module):
    """Each channel times a number plus another (Glow's actnorm, which begins as the identity)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pixels = x.shape[2] * x.shape[3]
        return (x + self.shift) * self.log_scale.exp(), (self.log_scale.sum() * pixels).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z * (-self.log_scale).exp() - self.shift


class Mixing(nn.Module):
    """Channels mixed by a matrix P L (U + diag(s)), which begins as a random rotation (Glow, eq. 10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        p, lower, upper = torch.linalg.lu(rotation)
        s = upper.diagonal()
        self.p: Tensor
        self.sign: Tensor
        self.register_buffer("p", p)
        self.register_buffer("sign", s.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(s.abs().log())

    def matrix(self) -> Tensor:
        """[C C]."""
        eye = torch.eye(len(self.log_s), device=self.log_s.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())
        return self.p @ (self.lower.tril(-1) + eye) @ upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pixels = x.shape[2] * x.shape[3]
        return torch.einsum("ij,bjhw->bihw", self.matrix(), x), (self.log_s.sum() * pixels).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self.matrix()), z)


class Unmixed(nn.Module):
    """Channels stay where they are: couplings then change the second half of them alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z


class Coupling(nn.Module):
    """The second half of the channels scaled and shifted by what convolutions make of the first (RealNVP, eq. 7); the
    scale is a sigmoid, and the last convolution begins at zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        if channels % 2:
            raise SensoriumError(f"{channels} channels do not halve; expected an even number")
        last = nn.Conv2d(width, channels, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), last
        )

    def _affine(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(kept).chunk(2, 1)
        return F.logsigmoid(raw + 2), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x.chunk(2, 1)
        log_scale, shift = self._affine(kept)
        return torch.cat([kept, (moved + shift) * log_scale.exp()], 1), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        kept, moved = z.chunk(2, 1)
        log_scale, shift = self._affine(kept)
        return torch.cat([kept, moved * (-log_scale).exp() - shift], 1)


class Flow(nn.Module):
    """[B C H W] <-> as many independent standard normal numbers, as one tensor of the same shape.

    At each of `levels` scales the picture is squeezed, goes through `steps` of scaling, mixing and coupling, and half
    of its channels are done; `mixing` makes what stands between couplings.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        steps: int,
        width: int,
        mixing: Callable[[int], nn.Module] = Mixing,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for _ in range(levels):
            channels *= 4
            parts = [p for _ in range(steps) for p in (Scaling(channels), mixing(channels), Coupling(channels, width))]
            self.scales.append(nn.ModuleList(parts))
            channels //= 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape, total, done = x.shape, x.new_zeros(len(x)), list[Tensor]()
        if shape[2] % (1 << len(self.scales)) or shape[3] % (1 << len(self.scales)):
            raise SensoriumError(f"pictures of {shape[2]} x {shape[3]} do not halve {len(self.scales)} times")
        for n, scale in enumerate(self.scales):
            x = squeezed(x)
            assert isinstance(scale, nn.ModuleList)
            for part in scale:
                x, log_det = part(x)
                total = total + log_det
            if n < len(self.scales) - 1:
                x, out = x.chunk(2, 1)
                done.append(out)
        z = torch.cat([d.flatten(1) for d in (*done, x)], 1)
        return z.view(shape), total

    def inverse(self, z: Tensor) -> Tensor:
        """Standard normal [B C H W] -> pictures."""
        flat, (_, c, h, w) = z.flatten(1), z.shape
        shapes, ends = [], list[int]()
        for n in range(len(self.scales)):
            c, h, w = 4 * c, h // 2, w // 2
            if n < len(self.scales) - 1:
                c //= 2
            shapes.append((c, h, w))
            ends.append(c * h * w)
        starts = [sum(ends[:n]) for n in range(len(ends))]
        *done, x = (flat[:, a : a + n].view(-1, *s) for a, n, s in zip(starts, ends, shapes, strict=True))
        for n, scale in reversed(list(enumerate(self.scales))):
            if n < len(self.scales) - 1:
                x = torch.cat([x, done[n]], 1)
            assert isinstance(scale, nn.ModuleList)
            for part in reversed(scale):
                x = part.inverse(x)  # type: ignore[operator]
            x = unsqueezed(x)
        return x
