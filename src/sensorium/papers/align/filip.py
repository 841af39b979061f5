"""FILIP: Fine-grained Interactive Language-Image Pre-Training.

Yao et al., 2021, arXiv 2111.07783. Late interaction: the similarity of image to text is the mean over patches of the
largest cosine over the caption's real tokens, and of text to image the mean over tokens of the largest cosine over
patches; InfoNCE runs over both. Token features are the embedding, so they can be stored and searched as many vectors.
Differs from CLIP in the similarity alone.
Claim: R@1 above CLIP with the same towers and budget, largest on captions that differ in one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.blocks.similarity import late
from sensorium.blocks.two_tower import TwoTower, contrast, image_text
from sensorium.core import Above, Arm, Bases, Budget, Claim, Fields

NEEDS = {"image": "image", "text": "text"}
PARTS = {
    "late interaction, each direction with its own mean": "late",
    "InfoNCE over both directions": "contrast",
    "token features stored and searched": "TwoTower.embed",
}
CLAIMS = {
    "retrieval": Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip")},
        says=[Above("r@1", 0.02)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(102_400),
    ),
    "one attribute": Claim(
        arms={
            "ours": Arm(config={"dropout": 0.0}),
            "baseline": Arm(paper="baseline/clip", config={"dim": 64, "dropout": 0.0}),
        },
        says=[Above("choice", 0.05, ceiling=0.97), Above("r@1", 0.02)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        data="world/crowded",
        towers="scratch",
        batch=64,
    ),
}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per token (a quarter of a pooled vector's: there are many); `dropout` on the towers' outputs."""

    dim: int = 64
    dropout: float = 0.3


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Towers that give every patch and word, compared late."""
    towers = image_text(bases, "tokens")
    return TwoTower(towers, config.dim, terms=contrast, dropout=config.dropout, similarity=late, many=True)
