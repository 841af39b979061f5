"""MLLMs-Augmented Visual-Language Representation Learning.

Liu et al., 2023, arXiv 2311.18765. Several captioners say more of each picture; text shearing cuts what each says to
the length of the original caption, and every caption is a positive of its picture.
Differs from CLIP in the further captions and from KELIP in that all count in each step, none is drawn.
Claim: R@1 above raw captions, and above the same without shearing.
The first fails for its cost, not for what it says: at equal samples more captions help, but they cost 1.7 times as much
a sample, and CLIP gains more from as much longer training at this size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sensorium.blocks.objectives.contrastive import same_group
from sensorium.blocks.two_tower import TermsOf, TwoTower, groups, image_text, match
from sensorium.core import Above, Arm, Bases, Batch, Budget, Claim, Fields, Rng, Terms

NEEDS = {"image": "image", "text": "text", "text.*": "text", "text.*/sheared": "text derivable"}
PARTS = {
    "several captioners extend the captions": "NEEDS",
    "text shearing to the original's length": "captions",
    "all captions are positives": "every_caption",
}
PARTIAL = "the claim on fine-tuned retrieval"
_SMALL = {"dim": 64, "dropout": 0.0}
CLAIMS = {
    "retrieval": Claim(
        arms={
            "ours": Arm(config=_SMALL),
            "baseline": Arm(paper="baseline/clip", config=_SMALL),
            "without shearing": Arm(config={**_SMALL, "shear": False}),
        },
        says=[Above("r@1", 0.02), Above("r@1", 0.01, baseline="without shearing")],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        data="world/captioners",
        towers="scratch",
        batch=64,
    )
}


@dataclass(frozen=True)
class Config:
    """`shear`: further captions are cut to the original's length; `dim` numbers per vector; `dropout` on the towers."""

    shear: bool = True
    dim: int = 256
    dropout: float = 0.3


def captions(batch: Batch, shear: bool) -> list[str]:
    """The keys of every caption: the original first, then each captioner's, sheared or as it is."""
    return ["text", *sorted(k for k in batch if k.startswith("text.") and k.endswith("/sheared") is shear)]


def every_caption(shear: bool) -> TermsOf:
    """The contrast of the pictures with the originals and with each captioner's texts, mean over these."""

    def terms(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
        image, same = model.encode(batch, "image"), same_group(groups(batch), groups(batch))
        each = [match(model, image, model.encode(batch, key), same) for key in captions(batch, shear)]
        return {"contrast": torch.stack(each).mean()}

    return terms


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers; one text tower for all captioners."""
    return TwoTower(image_text(bases), config.dim, terms=every_caption(config.shear), dropout=config.dropout)
