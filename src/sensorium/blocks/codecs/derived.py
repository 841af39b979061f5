"""What is computed from a picture without learning: edges, main colours, brightness and the like.

Shape legend: B batch, H W pixels, K colours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import Field

LUMA = (0.299, 0.587, 0.114)
STEEP = 48.0
"""Grey levels per pixel from which a slope is an edge; noise of a few levels is far below."""


def _like(image: Field, data: Tensor) -> Field:
    return Field(data, image.mask)


def _grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1)


def edges(image: Field) -> Field:
    """u8 [B 3 H W] -> u8 [B 3 H W], 255 where the slope of some channel (Sobel's filter) is `STEEP`, else 0."""
    x = F.pad(image.data.float(), (1, 1, 1, 1), mode="replicate")
    across = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([across, across.T])[:, None]
    slope = F.conv2d(x.flatten(0, 1)[:, None], kernels).square().sum(1).sqrt()
    found = slope.view(image.data.shape).amax(1, keepdim=True) >= STEEP
    return _like(image, (found * 255).to(torch.uint8).expand(-1, 3, -1, -1))


def palette(image: Field, colours: int, rounds: int = 6) -> Field:
    """u8 [B 3 H W] -> u8 [B K 3]: main colours, that of most pixels first; Lloyd's k-means from the colour nearest to
    the mean and those farthest from what was chosen."""
    x = image.data.float().flatten(2).transpose(1, 2)  # [B P 3]
    far = -(x - x.mean(1, keepdim=True)).square().sum(-1)
    chosen = []
    for _ in range(colours):
        chosen.append(x.gather(1, far.argmax(1)[:, None, None].expand(-1, -1, 3)))
        far = torch.cdist(x, torch.cat(chosen, 1)).amin(-1)
    centre = torch.cat(chosen, 1)
    for _ in range(rounds):
        near = F.one_hot(torch.cdist(x, centre).argmin(-1), colours).float()  # [B P K]
        count = near.sum(1)[..., None]
        centre = torch.where(count > 0, near.transpose(1, 2) @ x / count.clamp(min=1), centre)
    order = count[..., 0].argsort(dim=1, descending=True, stable=True)
    return _like(image, centre.gather(1, order[..., None].expand(-1, -1, 3)).round().to(torch.uint8))


def brightness(image: Field) -> Field:
    """u8 [B 3 H W] -> [B]: mean luma in [0, 1]."""
    return _like(image, _grey(image.data.float()).mean((1, 2)) / 255)


def contrast(image: Field) -> Field:
    """u8 [B 3 H W] -> [B]: standard deviation of luma in [0, 1]."""
    return _like(image, _grey(image.data.float()).std((1, 2), correction=0) / 255)


def colourfulness(image: Field) -> Field:
    """u8 [B 3 H W] -> [B], as Hasler and Suesstrunk 2003 measure it: 0 is grey."""
    red, green, blue = image.data.float().flatten(2).unbind(1)
    warm, cold = red - green, (red + green) / 2 - blue
    spread = torch.hypot(warm.std(1, correction=0), cold.std(1, correction=0))
    return _like(image, spread + 0.3 * torch.hypot(warm.mean(1), cold.mean(1)))
