"""Large-scale Bilingual Language-Image Contrastive Learning (KELIP).

Ko and Gu, 2022, arXiv 2203.14463. One text tower reads every language and no parallel text is used: each step contrasts
the images with captions whose language is drawn per row, so languages meet only through images.
Differs from CLIP in the language of the captions alone.
Claim: text retrieval across languages emerges through images alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sensorium.blocks.objectives.contrastive import same_group
from sensorium.blocks.two_tower import TwoTower, groups, image_text, match
from sensorium.core import Above, Arm, Bases, Batch, Budget, Claim, Fields, Rng, Terms, Tokens

NEEDS = {"image": "image", "text": "text", "text.*": "text"}
PARTS = {"one text tower, a language drawn per row": "drawn_language"}
PARTIAL = "masked-autoencoder start of the image tower, multi-crop augmentation"
CLAIMS = {
    "other languages": Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip")},
        says=[Above("r@10 text.fi", 0.05)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(102_400),
    )
}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector; `dropout` on the towers' outputs."""

    dim: int = 256
    dropout: float = 0.3


def drawn_language(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
    """The contrast with each row's caption in a language drawn from those the row has."""
    keys = sorted(k for k in batch if k == "text" or k.startswith("text."))
    each = [model.encode(batch, k) for k in keys]
    length = max(t.x.shape[1] for t in each)

    def padded(t: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        more = length - t.x.shape[1]
        return torch.nn.functional.pad(t.x, (0, 0, 0, more)), torch.nn.functional.pad(t.mask, (0, more))

    x, mask = (torch.stack(side, 1) for side in zip(*(padded(t) for t in each), strict=True))
    present = mask.any(-1).float()
    choice = torch.multinomial(present.cpu(), 1, generator=rng("language"))[:, 0].to(x.device)
    rows = torch.arange(len(x), device=x.device)
    same = same_group(groups(batch), groups(batch))
    text = Tokens(x[rows, choice], mask[rows, choice])
    return {"contrast": match(model, model.encode(batch, "image"), text, same)}


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers; one head for all languages."""
    return TwoTower(image_text(bases), config.dim, terms=drawn_language, dropout=config.dropout)
