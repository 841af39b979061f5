"""CLIP: Learning Transferable Visual Models From Natural Language Supervision.

Radford et al., 2021, arXiv 2103.00020. Two towers, pooled and projected into one space, trained with symmetric InfoNCE
over the batch and a learnt temperature. The baseline of the family: every other entrant differs from it in one thing.
Differs from the paper in one point that all entrants share: rows of one group (equal text or picture) are positives.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.blocks.two_tower import TwoTower, contrast, image_text
from sensorium.core import Bases, Claim, Fields

NEEDS = {"image": "image", "text": "text"}
PARTS = {"two towers and a learnt temperature": "TwoTower", "symmetric InfoNCE over the batch": "contrast"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector; `dropout` on the towers' outputs."""

    dim: int = 256
    dropout: float = 0.3


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers under the plain contrast."""
    return TwoTower(image_text(bases), config.dim, terms=contrast, dropout=config.dropout)
