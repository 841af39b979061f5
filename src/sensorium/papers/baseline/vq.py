"""VQ tokeniser: pictures as grids of ids of a learnt codebook, and back.

van den Oord et al., 2017, arXiv 1711.00937 (Neural Discrete Representation Learning). Convolutions take a picture to a
grid of vectors, each is replaced by the nearest code, and convolutions bring the picture back; the gradient passes
straight through the codes, which are moving averages of their vectors. The start of what writes pictures as tokens.
Differs from the paper in codes that are placed anew when nothing is near them, and in having no prior: who needs one
(image-tokens) learns it on the ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sensorium.blocks.codecs.vq import PictureTokeniser
from sensorium.core import Bases, Batch, Claim, Field, Fields, Method, Rng, SensoriumError, Terms, nearest

NEEDS = {"image": "image"}
PARTS = {
    "vectors to the nearest code and back": "PictureTokeniser",
    "gradient straight through, codes as moving averages": "PictureTokeniser",
    "commitment": "PictureTokeniser",
}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`codes` of width `dim`, and the `width` of the convolutions."""

    codes: int = 256
    dim: int = 16
    width: int = 32


class VQ(Method):
    """A picture tokeniser that is trained by itself; it predicts the picture as its codes give it back."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tokeniser = PictureTokeniser(config.codes, config.dim, config.width)
        self.predicts: Mapping[str, str] = {"image/rebuilt": "image"}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        image = batch["image"]
        assert isinstance(image, Field)
        return self.tokeniser.losses(image, rng("codebook", image.data.device))

    def predict(self, batch: Batch, of: str) -> Field:
        """u8 [B 3 H W]: the picture after its codes."""
        if of not in self.predicts:
            raise SensoriumError(f"this method predicts no {of!r}{nearest(of, self.predicts)}")
        image = batch["image"]
        assert isinstance(image, Field)
        return self.tokeniser.decode(self.tokeniser.encode(image))


def build(config: Config, fields: Fields, bases: Bases) -> VQ:
    """A tokeniser from scratch."""
    return VQ(config)
