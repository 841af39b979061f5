"""Enhancing Conceptual Understanding in Multimodal Contrastive Learning through Hard Negative Samples.

Rösch et al., 2024, arXiv 2403.02875. Synthetic hard negative captions, in which one concept word is swapped for
another, stand as extra columns in the image-to-text logits of InfoNCE. Differs from CLIP in these columns alone.
Claim: accuracy on one-concept edits above plain CLIP with retrieval R@1 kept.
Measured: above CLIP at equal samples (+0.10 on edited pictures), not at equal cost: with 1.4 times the samples CLIP
learns the binding by itself here. No world was found in which it never does, so the scale is suspected.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.blocks.negatives import contrast_with_negatives
from sensorium.blocks.two_tower import TwoTower, image_text
from sensorium.core import Above, Arm, Bases, Budget, Claim, Fields, NotBelow

NEEDS = {"image": "image", "text": "text", "text/negative": "text derivable"}
PARTS = {
    "captions with one concept word swapped": "NEEDS",
    "extra columns of the image-to-text logits": "contrast_with_negatives",
    "test pairs whose image is edited in one concept": "CLAIMS",
}
PARTIAL = "colour, object, size and place told apart where the data brings no negatives of its own"
_SMALL = {"dim": 64, "dropout": 0.0}
CLAIMS = {
    "edits": Claim(
        arms={"ours": Arm(config=_SMALL), "baseline": Arm(paper="baseline/clip", config=_SMALL)},
        says=[
            Above("choice image", 0.05, ceiling=0.97),
            Above("choice", 0.05, ceiling=0.97),
            NotBelow("r@1", 0.02),
        ],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        data="world/crowded",
        towers="scratch",
        batch=64,
    ),
    "retrieval kept": Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip")},
        says=[NotBelow("r@1", 0.02)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(102_400),
    ),
}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector; `dropout` on the towers' outputs."""

    dim: int = 256
    dropout: float = 0.3


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers under the contrast with extra columns."""
    return TwoTower(image_text(bases), config.dim, terms=contrast_with_negatives, dropout=config.dropout)
