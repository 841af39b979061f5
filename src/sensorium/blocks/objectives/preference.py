"""Preferences between two answers to one prompt: direct preference optimisation, for ids and for vectors.

Rafailov et al., 2023, arXiv 2305.18290: a policy is trained on (chosen, rejected) pairs against what a frozen reference
thinks of both. For vectors, which have no probability, Qu et al., 2024, arXiv 2412.05818 put a kernel in its place.
Shape legend: B pairs, T positions, V ids, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from sensorium.core import SensoriumError

from ..precision import exact, wide

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Vectors [B T D], [B T D] -> how alike they are [B T], higher is closer."""


def log_likelihood(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """[B T V], [B T] int64, [B T] bool -> [B]: the sum over the real ids of log p(id), in nats.

    Logits at t are scores of the id at t. Ids under the mask are not looked at.
    """
    with exact(logits):
        shown = wide(logits).masked_fill(~mask[..., None], 0)
        each = shown.log_softmax(-1).gather(-1, ids.masked_fill(~mask, 0)[..., None])[..., 0]
        return each.masked_fill(~mask, 0).sum(-1)


def dpo(chosen: Tensor, rejected: Tensor, known_chosen: Tensor, known_rejected: Tensor, beta: float = 0.1) -> Tensor:
    """Log-likelihoods [B] of both answers by the policy, and by the frozen reference (`known`) -> scalar, eq. 7:
    the mean of -log sigmoid(beta * margin); log 2 where the policy is the reference.

    Raises:
        SensoriumError: a beta of 0 or less.
    """
    if not beta > 0:
        raise SensoriumError(f"beta {beta:g}; expected more than 0")
    with exact(chosen):
        gains = wide(chosen) - wide(known_chosen), wide(rejected) - wide(known_rejected)
        return -F.logsigmoid(beta * (gains[0] - gains[1])).mean()


def kernel_dpo(
    made: Tensor,
    known: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    mask: Tensor,
    kernel: Kernel,
    beta: float = 0.1,
) -> Tensor:
    """Vectors [B T D] of the policy, of the frozen reference and of both answers, [B T] bool -> scalar: `dpo` with the
    sum over real positions of kernel(vector, answer) in the place of the answer's log-likelihood."""
    with exact(made):
        mine, its, good, bad = (wide(x).masked_fill(~mask[..., None], 0) for x in (made, known, chosen, rejected))

        def near(x: Tensor, answer: Tensor) -> Tensor:
            return kernel(x, answer).masked_fill(~mask, 0).sum(-1)

        return dpo(near(mine, good), near(mine, bad), near(its, good), near(its, bad), beta)


def gaussian(width: float = 1.0) -> Kernel:
    """-|x - y|^2 / (2 width^2): the log-likelihood, but for a constant, of a normal distribution about the vector."""
    return lambda x, y: -(x - y).square().sum(-1) / (2 * width**2)


def radial(width: float = 1.0) -> Kernel:
    """exp(-|x - y|^2 / (2 width^2)): what lies far off counts alike, however far."""
    return lambda x, y: (-(x - y).square().sum(-1) / (2 * width**2)).exp()
