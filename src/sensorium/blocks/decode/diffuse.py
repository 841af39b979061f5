"""Diffusion: paths from pictures to noise, losses along them, and the ways back.

Shape legend: B batch, "..." any further axes. A denoiser estimates the *clean* value, whatever it was trained on: in a
small width the estimate of noise or velocity is a copy of the input's noise, and little else is learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from sensorium.core import Field, Rng

from ..precision import wide

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Noisy values [B ...] at times [B] -> the clean values that they are estimated to come from [B ...]."""
Curve = Callable[[Tensor], Tensor]
Target = Literal["clean", "noise", "velocity"]
LEAST = 1e-4
"""Signal or noise that is divided by is at least this: the clean value is not to be had from noise alone."""


@dataclass(frozen=True)
class Path:
    """x_t = alpha(t) clean + sigma(t) noise, t from 0 (clean) to 1 (noise).

    `velocity` gives the weights of clean and noise in what a velocity model estimates.
    """

    alpha: Curve
    sigma: Curve
    velocity: Callable[[Tensor], tuple[Tensor, Tensor]]

    def at(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """[B ...], [B ...], [B] -> x_t [B ...]."""
        t = over(t, clean)
        return self.alpha(t) * clean + self.sigma(t) * noise

    def clean(self, x: Tensor, t: Tensor, given: Tensor, target: Target) -> Tensor:
        """The clean value that follows from x_t and one of the three targets, all [B ...]; t [B]."""
        t = over(t, x)
        alpha, sigma = self.alpha(t), self.sigma(t)
        if target == "clean":
            return given
        if target == "noise":
            return (x - sigma * given) / alpha.clamp_min(LEAST)
        of_clean, of_noise = self.velocity(t)
        return (of_noise * x - sigma * given) / (alpha * of_noise - sigma * of_clean)

    def noise(self, x: Tensor, t: Tensor, clean: Tensor) -> Tensor:
        """The noise in x_t, given its clean value: [B ...], [B], [B ...] -> [B ...]."""
        t = over(t, x)
        return (x - self.alpha(t) * clean) / self.sigma(t).clamp_min(LEAST)

    def target(self, clean: Tensor, noise: Tensor, t: Tensor, target: Target) -> Tensor:
        """What a model of that target is to estimate: [B ...], [B ...], [B] -> [B ...]."""
        if target == "clean":
            return clean
        if target == "noise":
            return noise
        of_clean, of_noise = self.velocity(over(t, clean))
        return of_clean * clean + of_noise * noise


FLOW = Path(lambda t: 1 - t, lambda t: t, lambda t: (-torch.ones_like(t), torch.ones_like(t)))
"""Flow matching on straight lines (Lipman et al. 2022, arXiv 2210.02747); velocity = noise - clean."""
COSINE = Path(
    lambda t: (torch.pi / 2 * t).cos(),
    lambda t: (torch.pi / 2 * t).sin(),
    lambda t: (-(torch.pi / 2 * t).sin(), (torch.pi / 2 * t).cos()),
)
"""The cosine schedule (Nichol and Dhariwal 2021, arXiv 2102.09672, without offset); velocity as in arXiv 2202.00512."""


def noisier(path: Path, factor: float) -> Path:
    """The same path with its times moved towards noise: t becomes f t / (1 + (f - 1) t) (arXiv 2403.03206, eq. 23).

    Even times then dwell where little but the condition tells what the picture will be: the colour of a large object
    shows through noise that hides all else.
    """

    def late(t: Tensor) -> Tensor:
        return factor * t / (1 + (factor - 1) * t)

    return Path(lambda t: path.alpha(late(t)), lambda t: path.sigma(late(t)), lambda t: path.velocity(late(t)))


def over(t: Tensor, x: Tensor) -> Tensor:
    """[B] -> [B 1 ...], with as many axes as x."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def as_clean(model: Denoiser, path: Path, target: Target) -> Denoiser:
    """A model of noise or velocity as an estimate of the clean value."""
    return lambda x, t: path.clean(x, t, model(x, t), target)


Weight = Callable[[Path, Tensor], Tensor]
"""A path and times [B] -> the weight of the squared error of the clean estimate [B]."""


def plain(path: Path, t: Tensor) -> Tensor:
    """The error of the clean value itself."""
    return torch.ones_like(t)


def of_noise(path: Path, t: Tensor) -> Tensor:
    """The clean error as an error of the noise: the signal-to-noise ratio (Ho et al. 2020, arXiv 2006.11239)."""
    return (path.alpha(t) / path.sigma(t).clamp_min(LEAST)).square()


def of_velocity(path: Path, t: Tensor) -> Tensor:
    """The clean error as an error of the velocity."""
    clean, noise = path.velocity(t)
    return ((path.alpha(t) * noise - path.sigma(t) * clean) / path.sigma(t).clamp_min(LEAST)).square()


def at_most(weight: Weight, most: float) -> Weight:
    """A weight cut off above; with `of_noise`, min-SNR (Hang et al. 2023, arXiv 2303.09556)."""
    return lambda path, t: weight(path, t).clamp(max=most)


def diffuse(
    estimate: Tensor, clean: Tensor, t: Tensor, path: Path, weight: Weight = plain, mask: Tensor | None = None
) -> Tensor:
    """Estimates, clean values [B ...], times [B] -> scalar: the weighted mean squared error of the rows of `mask`."""
    error = (wide(estimate) - wide(clean)).square().flatten(1).mean(1) * weight(path, t)
    return error.mean() if mask is None else (error * mask).sum() / mask.sum().clamp_min(1)


def guided(model: Denoiser, unlike: Denoiser, weight: float) -> Denoiser:
    """`weight` times the way from the estimate of `unlike` to that of the model; above 1 it goes beyond.

    Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), the same of noise, velocity and clean value.
    """

    def field(x: Tensor, t: Tensor) -> Tensor:
        other = unlike(x, t)
        return other + weight * (model(x, t) - other)

    return field if weight != 1 else model


def within(model: Denoiser, bound: float = 1.0) -> Denoiser:
    """Estimates cut to [-bound, bound], which guidance leaves."""
    return lambda x, t: model(x, t).clamp(-bound, bound)


def step(
    path: Path, x: Tensor, clean: Tensor, t: Tensor, s: Tensor, eta: float = 0.0, luck: Tensor | None = None
) -> Tensor:
    """x_t and its clean estimate [B ...] -> x_s, for s < t, both [B].

    Without `luck` deterministic: DDIM (Song et al. 2020, arXiv 2010.02502, eq. 12), on the flow path Euler's step. With
    normal `luck` [B ...] and `eta` 1 a draw from the posterior (DDPM); eta 0 is deterministic again.
    """
    noise, s_, t_ = path.noise(x, t, clean), over(s, x), over(t, x)
    alpha, sigma = path.alpha(s_), path.sigma(s_)
    if luck is None:
        return alpha * clean + sigma * noise
    ratio = path.alpha(t_) / alpha
    spread = eta * sigma / path.sigma(t_) * (path.sigma(t_).square() - (ratio * sigma).square()).clamp_min(0).sqrt()
    return alpha * clean + (sigma.square() - spread.square()).clamp_min(0).sqrt() * noise + spread * luck


@torch.no_grad()
def denoise(
    field: Denoiser,
    shape: tuple[int, ...],
    path: Path,
    steps: int,
    rng: Rng,
    *,
    eta: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Noise of `shape` [B ...] -> samples, in `steps` even steps of time; `eta` as in `step`."""
    generator = rng("denoise", device)
    x = torch.randn(shape, generator=generator, device=device)
    for t, s in pairwise(torch.linspace(1, 0, steps + 1, device=device)):
        at, to = t.expand(shape[0]), s.expand(shape[0])
        luck = torch.randn(shape, generator=generator, device=device) if eta else None
        x = step(path, x, field(x, at), at, to, eta, luck)
    return x


@dataclass(frozen=True)
class Canvas:
    """What a method's `prompt` gives where a picture comes out by diffusion; `finish` makes samples u8 [B 3 H W]."""

    field: Denoiser
    shape: tuple[int, ...]
    path: Path
    finish: Callable[[Tensor], Field]
    device: torch.device | str = "cpu"


def paint(canvas: Canvas, steps: int, rng: Rng) -> Field:
    """The picture of each row, u8 [B 3 H W]."""
    return canvas.finish(denoise(canvas.field, canvas.shape, canvas.path, steps, rng, device=canvas.device))
