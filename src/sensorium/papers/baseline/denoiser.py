"""Denoiser: pictures from captions by diffusion, the condition read by cross-attention.

Rombach et al., 2022, arXiv 2112.10752 is the shape: a text tower, a denoiser whose patches read its tokens, guidance by
captions that are left out. The baseline of every paper that drives or conditions a denoiser.
Differs from the paper in pixels instead of latents, in a small transformer between the halves of a U-Net, in all parts
being trained together, and in the diffusion target, the clean picture instead of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.blocks.denoiser import PictureDenoiser
from sensorium.blocks.towers.patches import UNetPatches
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Bases, Claim, Fields, SensoriumError

NEEDS = {"image": "image", "text": "ids"}
PARTS = {
    "diffusion loss": "PictureDenoiser.denoising",
    "U-Net blocks in and out": "UNetPatches",
    "captions read by cross-attention": "PictureDenoiser.estimate",
    "guidance by captions left out": "PictureDenoiser.lead",
}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`side` pixels to a patch, a power of two; `width` channels of the U-Net; `words` layers of the text tower.

    `late`, `untold` and `guidance` as the block has them.
    """

    dim: int = 128
    layers: int = 4
    heads: int = 4
    side: int = 8
    width: int = 32
    words: int = 1
    late: float = 5.0
    untold: float = 0.1
    guidance: float = 1.5


def build(config: Config, fields: Fields, bases: Bases) -> PictureDenoiser:
    """A denoiser and its text tower from scratch."""
    text, (_, height, width) = fields["text"], fields["image"].shape
    patches = UNetPatches(config.side.bit_length() - 1, config.dim, config.width)
    if patches.side != config.side:
        raise SensoriumError(f"side {config.side}; a U-Net halves the picture, so expected a power of two")
    tower = TextTower(text.vocab, config.dim, config.words, config.heads, text.length)
    return PictureDenoiser(
        tower,
        patches,
        (height, width),
        config.dim,
        config.layers,
        config.heads,
        late=config.late,
        untold=config.untold,
        guidance=config.guidance,
    )
