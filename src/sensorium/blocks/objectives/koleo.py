"""The regulariser that spreads a batch over its space."""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import exact
from ..similarity import unit


def koleo(x: Tensor, eps: float = 1e-8) -> Tensor:
    """[B D] -> scalar: minus the mean log distance of each unit vector to its nearest other; 0 of a single row.

    The Kozachenko-Leonenko estimate of entropy (Sablayrolles et al., arXiv 1806.03198; DINOv2, arXiv 2304.07193). No
    gradient flows through the choice of the nearest. Equal rows cost -log `eps` and are given no gradient.
    """
    if len(x) < 2:
        return x.sum() * 0
    with exact(x):
        x = unit(x)
        with torch.no_grad():
            nearest = (x @ x.T).fill_diagonal_(-torch.inf).argmax(1)
        distance: Tensor = torch.linalg.vector_norm(x - x[nearest], dim=1)
        return -(distance + eps).log().mean()
