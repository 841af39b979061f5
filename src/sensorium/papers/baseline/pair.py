"""A pair of frozen towers as it is: cosine of what its towers give, no training.

Radford et al., 2021, arXiv 2103.00020, used without an example. For towers that share a space already (the laboratory's
pair encoder, a real CLIP): what it can do before anything is added to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from sensorium.blocks.towers.pair import frozen_pair
from sensorium.blocks.two_tower import TwoTower, contrast
from sensorium.core import Bases, Claim, Fields, Method
from sensorium.run.fit import Stage

NEEDS = {"image": "image", "text": "text"}
PARTS = {"the towers' own space": "build"}
CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """The towers without heads."""
    towers = frozen_pair(bases)
    model = TwoTower(towers, towers["text"].dim, terms=contrast, dropout=0.0)
    model.heads = nn.ModuleDict({role: nn.Identity() for role in towers})
    return model.requires_grad_(False)


def stages(config: Config, method: Method, rows: object, trial: object) -> Sequence[Stage]:
    """None: nothing is trained."""
    return []
