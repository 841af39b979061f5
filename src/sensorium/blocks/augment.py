"""Random views of pictures, as tensors and on any device; pure functions of their arguments and a generator.

Shape legend: B pictures, C channels, H W pixels. Values are floats in [0, 1]; boxes are (top, left, height, width) in
pixels. Numbers are drawn on the CPU, so that a seed gives equal views on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.core import SensoriumError

LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in brightness (ITU-R BT.601)."""
_TO_YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True)
class View:
    """How a random view is made: `size` pixels wide, of a `scale` share of the area at a `ratio` of width to height.

    `flip` is the chance to mirror it. Colours change with chance `coloured`: each of brightness, contrast and
    saturation by a factor of 1 ± its strength, the hue by a share of the circle. `grey`, `blurred` and `solarised` are
    chances too. The defaults are those of DINO's global views but for `solarised` (arXiv 2104.14294).
    """

    size: int
    scale: tuple[float, float] = (0.32, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    coloured: float = 0.8
    strength: tuple[float, float, float] = (0.4, 0.4, 0.2)
    hue: float = 0.1
    grey: float = 0.2
    blurred: float = 0.5
    solarised: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise SensoriumError(f"scale {self.scale}; expected two shares of the area, rising, above 0 and up to 1")


def unit_range(pixels: Tensor) -> Tensor:
    """u8 [...] -> float32 [...] in [0, 1]; floats pass."""
    return pixels if pixels.is_floating_point() else pixels.float() / 255


def between(low: float, high: float, n: int, draw: torch.Generator) -> Tensor:
    """-> [n] float32, even in [low, high)."""
    return low + (high - low) * torch.rand(n, generator=draw)


def chance(share: float, n: int, draw: torch.Generator) -> Tensor:
    """-> [n] bool, True with chance `share`."""
    return torch.rand(n, generator=draw) < share


def random_boxes(
    n: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], draw: torch.Generator
) -> Tensor:
    """-> boxes [n 4] inside a picture: area even in `scale`, ratio even on a log scale in `ratio` (arXiv 1409.4842).

    A box that would be longer than the picture is cut to it, where torchvision draws again.
    """
    area = between(*scale, n, draw) * height * width
    shape = between(math.log(ratio[0]), math.log(ratio[1]), n, draw).exp()
    tall, wide = (area / shape).sqrt().clamp(1, height), (area * shape).sqrt().clamp(1, width)
    top, left = (height - tall) * torch.rand(n, generator=draw), (width - wide) * torch.rand(n, generator=draw)
    return torch.stack([top, left, tall, wide], 1)


def _taps(start: Tensor, length: Tensor, size: int, pixels: int) -> Tensor:
    """Stretches [B] of a line of `pixels` -> weights [B size pixels]: a triangle as wide as an output pixel, no
    narrower than an input one, which is what keeps small copies free of aliasing."""
    step = (length / size)[:, None, None]
    at = torch.arange(size, device=start.device)[:, None] + 0.5
    centre = start[:, None, None] + at * step
    inside = torch.arange(pixels, device=start.device) + 0.5
    weight = (1 - (inside - centre).abs() / step.clamp(min=1)).clamp(min=0)
    return weight / weight.sum(2, keepdim=True)


def crop(x: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None = None) -> Tensor:
    """[B C H W], boxes [B 4], [B] bool -> [B C size size]: each box resized bilinearly, with antialiasing.

    Equal to `interpolate(mode="bilinear", antialias=True)` of a whole picture; a box sees what lies around it.
    """
    top, left, tall, wide = boxes.to(x).unbind(1)
    down, across = _taps(top, tall, size, x.shape[2]), _taps(left, wide, size, x.shape[3])
    if mirrored is not None:
        across = torch.where(mirrored.to(x.device)[:, None, None], across.flip(1), across)
    return down[:, None] @ x @ across[:, None].transpose(2, 3)


def luma(x: Tensor) -> Tensor:
    """[B 3 H W] -> brightness [B 1 H W]."""
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` [B] of x and the rest of `other`, kept in [0, 1]."""
    share = share.to(x)[:, None, None, None]
    return (share * x + (1 - share) * other).clamp(0, 1)


def brighten(x: Tensor, factor: Tensor) -> Tensor:
    """[B 3 H W], [B] -> times the factor."""
    return _blend(x, torch.zeros_like(x), factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """[B 3 H W], [B] -> distance from the picture's mean brightness times the factor."""
    return _blend(x, luma(x).mean((2, 3), keepdim=True), factor)


def saturate(x: Tensor, factor: Tensor) -> Tensor:
    """[B 3 H W], [B] -> distance from grey times the factor; 0 is grey."""
    return _blend(x, luma(x), factor)


def turn_hue(x: Tensor, share: Tensor) -> Tensor:
    """[B 3 H W], [B] shares of the circle -> colours turned in the YIQ plane, brightness kept; 1 turns to itself."""
    to = x.new_tensor(_TO_YIQ)
    angle = 2 * math.pi * share.to(x)
    turn = torch.zeros(len(x), 3, 3, device=x.device, dtype=x.dtype)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 2, 1], turn[:, 1, 2] = angle.sin(), -angle.sin()
    mixed: Tensor = torch.linalg.inv(to) @ turn @ to  # [B 3 3]
    return (mixed @ x.flatten(2)).reshape(x.shape).clamp(0, 1)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """[B C H W], [B] standard deviations in pixels, 0 for none -> Gaussian blur; beyond the edge nothing is seen."""

    def taps(pixels: int) -> Tensor:
        at = torch.arange(pixels, device=x.device, dtype=x.dtype)
        spread = sigma.to(x).clamp(min=1e-3)[:, None, None]
        weight = (-((at[:, None] - at) / spread).square() / 2).exp()
        return weight / weight.sum(2, keepdim=True)

    return taps(x.shape[2])[:, None] @ x @ taps(x.shape[3])[:, None].transpose(2, 3)


def solarise(x: Tensor, threshold: float = 0.5) -> Tensor:
    """[...] -> values from `threshold` on inverted."""
    return torch.where(x < threshold, x, 1 - x)


def _some(changed: Tensor, x: Tensor, which: Tensor) -> Tensor:
    return torch.where(which.to(x.device)[:, None, None, None], changed, x)


def recolour(x: Tensor, view: View, draw: torch.Generator) -> Tensor:
    """[B 3 H W] -> brightness, contrast, saturation and hue drawn for each picture, in this order."""
    n = len(x)
    which = chance(view.coloured, n, draw)
    changed = x
    for change, strength in zip((brighten, contrast, saturate), view.strength, strict=True):
        changed = change(changed, between(1 - strength, 1 + strength, n, draw))
    return _some(turn_hue(changed, between(-view.hue, view.hue, n, draw)), x, which)


def random_view(pixels: Tensor, view: View, draw: torch.Generator) -> Tensor:
    """u8 or float [B 3 H W] -> float [B 3 size size], one random view of each picture."""
    x, n = unit_range(pixels), len(pixels)
    boxes = random_boxes(n, x.shape[2], x.shape[3], view.scale, view.ratio, draw)
    x = crop(x, boxes, view.size, chance(view.flip, n, draw))
    x = recolour(x, view, draw) if view.coloured else x
    x = _some(luma(x).expand_as(x), x, chance(view.grey, n, draw)) if view.grey else x
    if view.blurred:  # 0.1 to 2 pixels of a view 224 wide, in proportion
        sigma = between(0.1, 2.0, n, draw) * view.size / 224
        x = _some(blur(x, sigma), x, chance(view.blurred, n, draw))
    return _some(solarise(x), x, chance(view.solarised, n, draw)) if view.solarised else x


def multi_crop(pixels: Tensor, view: View, count: int, draw: torch.Generator) -> Tensor:
    """[B 3 H W] -> [count*B 3 size size]: a view of every picture, then another of every picture (arXiv 2006.09882)."""
    if not count:
        return unit_range(pixels).new_zeros(0, pixels.shape[1], view.size, view.size)
    return torch.cat([random_view(pixels, view, draw) for _ in range(count)])
