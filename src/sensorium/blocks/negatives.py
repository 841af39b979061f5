"""Contrast with texts that are wrong for their picture."""

from __future__ import annotations

from sensorium.blocks.objectives.contrastive import info_nce, same_group
from sensorium.blocks.two_tower import TwoTower, groups
from sensorium.core import Batch, Rng, Terms


def contrast_with_negatives(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
    """InfoNCE in which every "text/negative" of the batch is a further wrong text for every image: extra columns of the
    image-to-text logits (Rösch et al. 2024, arXiv 2403.02875)."""
    image, text, wrong = (model.encode(batch, k) for k in ("image", "text", "text/negative"))
    ab, ba = model.similarity(image, text)
    extra = model.similarity(image, wrong)[0] * model.scale
    real = wrong.mask.any(1).expand(len(ab), -1)
    same = same_group(groups(batch), groups(batch))
    to_text = info_nce(ab * model.scale, same, extra=extra, extra_mask=real)
    return {"contrast": (to_text + info_nce(ba * model.scale, same.T)) / 2}
