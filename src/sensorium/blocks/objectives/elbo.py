"""Likelihoods of pictures and bounds on them, in nats per picture, and bits per dimension.

Shape legend: B pictures, "..." their axes, D numbers of one picture. Pixel values are whole, 0 to 255.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..decode.diffuse import LEAST, Path
from ..precision import wide

LEVELS = 256


def bits_per_dimension(nats: Tensor, dimensions: int) -> Tensor:
    """[B] -> [B]."""
    return nats / (dimensions * math.log(2))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """[B ...] twice -> [B]: the divergence of a diagonal Gaussian from the standard one (Kingma and Welling 2013, arXiv
    1312.6114, appendix B)."""
    mean, log_variance = wide(mean), wide(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


def standard_normal(z: Tensor) -> Tensor:
    """[B ...] -> [B]: -log density of a standard Gaussian."""
    return 0.5 * (wide(z).square() + math.log(2 * math.pi)).flatten(1).sum(1)


def dequantised(values: Tensor, generator: torch.Generator) -> Tensor:
    """Pixel values [B ...] -> float in [0, 1): each anywhere in its bin, so that -log density + D log 256 bounds what
    the values themselves cost (Theis et al. 2015, arXiv 1511.01844, section 3.1)."""
    luck = torch.rand(values.shape, generator=generator, device=values.device)
    return (values.float() + luck) / LEVELS


def log_bins(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Pixel values, and means and log-scales of logistics over (value - 127) / 128, all [...] -> [...]: log probability
    of each bin; the outermost ones reach to infinity (Salimans et al. 2017, arXiv 1701.05517, eq. 2)."""
    middle, mean, log_scale = (wide(values) - 127) / 128, wide(mean), wide(log_scale)
    steep = (-log_scale).exp()
    above, below = (middle + 1 / LEVELS - mean) * steep, (middle - 1 / LEVELS - mean) * steep
    # log(sigmoid(above) - sigmoid(below)), in a form that keeps its gradient far out in the tails.
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + (-torch.expm1(-2 / LEVELS * steep)).log()
    lowest, highest = F.logsigmoid(above), F.logsigmoid(-below)
    return torch.where(values <= 0, lowest, torch.where(values >= LEVELS - 1, highest, inside))


def discretised_logistic(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """As `log_bins`, [B ...] -> [B]: -log probability of whole pictures."""
    return -log_bins(values, mean, log_scale).flatten(1).sum(1)


def ratio(path: Path, t: Tensor) -> Tensor:
    """Signal to noise of a path at times [B]."""
    return (path.alpha(t) / path.sigma(t).clamp_min(LEAST)).square()


def denoising_gap(path: Path, s: Tensor, t: Tensor, clean: Tensor, estimate: Tensor) -> Tensor:
    """What a step from time t back to s < t, both [B], adds to a bound on -log likelihood [B], where the clean value
    [B ...] is estimated from x_t: the divergence of the two ways back (Kingma et al. 2021, arXiv 2107.00630, eq. 14).
    """
    error = (wide(clean) - wide(estimate)).square().flatten(1).sum(1)
    return 0.5 * (ratio(path, s) - ratio(path, t)) * error
