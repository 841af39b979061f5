"""Data-Efficient Multimodal Fusion on a Single GPU (FuseMix).

Vouitsis et al., 2023, arXiv 2312.10144. Frozen unimodal encoders give latents that are computed once and stored; small
adapters are trained on them with a symmetric contrastive loss over mixed pairs, in which both modalities of two rows
are interpolated with one shared coefficient. Differs from CLIP on the same frozen towers in the mixing alone.
Claim: mixup beats none, most with little data.
Measured: no gain on 2,800 pairs (ten seeds, also in a prototype of other code), so the scale or the data, not the loop,
is suspected; fewer pairs, where the paper sees most, were not tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sensorium.blocks.objectives.contrastive import same_group
from sensorium.blocks.two_tower import TwoTower, groups, image_text, match
from sensorium.core import Above, Arm, Bases, Batch, Budget, Claim, Fields, Rng, Terms, Tokens

NEEDS = {"image": "image", "text": "text"}
PARTS = {"mixup of paired latents with one shared coefficient": "mixed"}
PARTIAL = "MLP adapters (a linear head as in the other entrants), audio, generator by swapped adapters"
CLAIMS = {
    "mixing": Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip")},
        says=[Above("r@1", 0.01)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(102_400),
    )
}


@dataclass(frozen=True)
class Config:
    """`alpha` of the Beta distribution that the mixing coefficient is drawn from, once per step."""

    dim: int = 256
    dropout: float = 0.3
    alpha: float = 1.0


def _mix(t: Tokens, other: torch.Tensor, share: float) -> Tokens:
    return Tokens(share * t.x.float() + (1 - share) * t.x[other].float(), t.mask | t.mask[other])


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers under the contrast of mixed latents."""

    def mixed(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
        group = groups(batch)
        share = float(np.random.default_rng(rng.number("mixup share")).beta(config.alpha, config.alpha))
        other = torch.randperm(len(group), generator=rng("mixup partner")).to(group.device)
        image, text = (model.project(_mix(model.latent(batch, k), other, share), k) for k in ("image", "text"))
        # A mixed pair is right for another only where both of their sources share a group.
        same = same_group(group, group) & same_group(group[other], group[other])
        return {"contrast": match(model, image, text, same)}

    return TwoTower(image_text(bases), config.dim, terms=mixed, dropout=config.dropout)
