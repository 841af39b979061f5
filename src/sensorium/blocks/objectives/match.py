"""Losses over a set of guesses that has no order: each true object is matched to one query, then scored against it.

Shape legend: B rows, Q queries, K objects of a row (`mask` [B K] is True where there is one), T tokens of its text, D
width. Boxes are x0 y0 x1 y1 but where cx cy w h is said. Sums are divided by the objects of the batch, as in DETR
(arXiv 2005.12872) and MDETR (arXiv 2104.12763).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import SensoriumError

from ..precision import exact, wide

DISTANCE, OVERLAP = 5.0, 2.0
"""Weights of L1 and GIoU against naming, in the cost and in the loss alike (DETR, appendix A.4)."""


def corners(boxes: Tensor) -> Tensor:
    """[... 4] cx cy w h -> x0 y0 x1 y1."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def centres(boxes: Tensor) -> Tensor:
    """[... 4] x0 y0 x1 y1 -> cx cy w h."""
    first, last = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(first + last) / 2, last - first], -1)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """[... 4], [... 4] -> [...] in [-1, 1], with broadcasting (Rezatofighi et al. 2019). Boxes without area give 0 for
    their overlap."""
    both = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    tiny = torch.finfo(a.dtype).eps
    return both / either.clamp(min=tiny) - (hull - either) / hull.clamp(min=tiny)


def box_costs(found: Tensor, truth: Tensor) -> Tensor:
    """Guesses [B Q 4] cx cy w h, true boxes [B K 4] -> [B Q K]: weighted L1 distance and 1 - GIoU of each pair."""
    with exact(found):
        found, truth = wide(found), wide(truth)
        distance = (found[:, :, None] - centres(truth)[:, None]).abs().sum(-1)
        return DISTANCE * distance + OVERLAP * (1 - generalised_iou(corners(found)[:, :, None], truth[:, None]))


def assign(costs: Tensor, mask: Tensor) -> Tensor:
    """[B Q K], [B K] -> [B K] int64: the query of each object, so that the sum of costs is least; -1 for none.

    Hungarian matching; with more objects than queries some objects get none.
    """
    if costs.shape[::2] != mask.shape:
        raise SensoriumError(f"costs {list(costs.shape)} and mask {list(mask.shape)}; expected [B Q K] and [B K]")
    table, real = costs.detach().cpu().double().numpy(), mask.cpu().numpy()
    found = np.full(real.shape, -1, np.int64)
    for row, there in enumerate(real):
        objects = np.flatnonzero(there)
        queries, columns = linear_sum_assignment(table[row][:, objects])
        found[row, objects[columns]] = queries
    return torch.from_numpy(found).to(costs.device)


def in_order(costs: Tensor, mask: Tensor) -> Tensor:
    """[B Q K], [B K] -> [B K] int64: object k has query k whatever it costs; -1 for none."""
    at = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    return at.masked_fill(~mask | (at >= costs.shape[1]), -1)


def picked(values: Tensor, which: Tensor) -> Tensor:
    """[B Q ...], [B K] -> [B K ...]: the values of each object's query; those of query 0 where `which` is -1."""
    at = which.clamp(min=0).reshape(*which.shape, *[1] * (values.ndim - 2))
    return values.gather(1, at.expand(*which.shape, *values.shape[2:]))


def per_object(values: Tensor, real: Tensor) -> Tensor:
    """[B K], [B K] bool -> scalar: the mean over real objects; 0 where there is none."""
    return values.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)


def box_terms(found: Tensor, truth: Tensor, which: Tensor) -> dict[str, Tensor]:
    """Guesses [B Q 4] cx cy w h, true boxes [B K 4], queries [B K] -> weighted L1 ("distance") and 1 - GIoU ("overlap")
    per object."""
    with exact(found):
        ours, real = wide(picked(found, which)), which >= 0
        theirs = wide(truth).masked_fill(~real[..., None], 0)
        distance = (ours - centres(theirs)).abs().sum(-1)
        overlap = 1 - generalised_iou(corners(ours), theirs)
        return {
            "distance": DISTANCE * per_object(distance, real),
            "overlap": OVERLAP * per_object(overlap, real),
        }


def soft_tokens(logits: Tensor, named: Tensor, which: Tensor, nothing: float = 0.1) -> Tensor:
    """Logits [B Q T + 1] over the tokens of the text and, last, "no object"; tokens of each object [B K T] bool; its
    query [B K] -> scalar: soft token prediction (MDETR, section 2.2.2).

    Cross entropy with the uniform distribution over the object's tokens. Queries without an object, or whose object no
    token names, should say "no object", at weight `nothing`. Padded tokens have logit -inf.
    """
    with exact(logits):
        log = wide(logits).log_softmax(-1)
        real = (which >= 0) & named.any(-1)
        share = named.to(log.dtype) / named.sum(-1, keepdim=True).clamp(min=1)
        said = -(picked(log[..., :-1], which).masked_fill(~named, 0) * share).sum(-1)
        silent = -log[..., -1].masked_fill(taken(which.masked_fill(~real, -1), log.shape[1]), 0)
        return (said.masked_fill(~real, 0).sum() + nothing * silent.sum()) / (which >= 0).sum().clamp(min=1)


def taken(which: Tensor, queries: int) -> Tensor:
    """[B K] -> [B Q] bool: which queries have an object."""
    return (which[..., None] == torch.arange(queries, device=which.device)).any(1)


def class_loss(logits: Tensor, labels: Tensor, which: Tensor, nothing: float = 0.1) -> Tensor:
    """Logits [B Q C + 1] over classes and, last, "no object"; classes [B K]; queries [B K] -> scalar.

    DETR's: cross entropy, in which "no object" weighs `nothing`, as a weighted mean over all queries.
    """
    with exact(logits):
        none = logits.shape[-1] - 1
        target = torch.full(logits.shape[:2], none, device=logits.device)
        rows, objects = (which >= 0).nonzero(as_tuple=True)
        target[rows, which[rows, objects]] = labels[rows, objects]
        weight = torch.where(target == none, nothing, 1.0).to(torch.promote_types(logits.dtype, torch.float32))
        losses = F.cross_entropy(wide(logits).transpose(1, 2), target, reduction="none")
        return (losses * weight).sum() / weight.sum()


def align(scores: Tensor, named: Tensor, which: Tensor, mask: Tensor) -> Tensor:
    """Scores [B Q T] of queries and tokens, over the temperature; tokens of each object [B K T]; queries [B K]; real
    tokens [B T] -> scalar: contrastive alignment (MDETR, equations 1 and 2).

    Each object's query against all tokens of its text, and each naming token against all queries; a positive competes
    with the other positives too; a sum over queries and over tokens, each averaged over its positives.
    """
    with exact(scores):
        scores = wide(scores).masked_fill(~mask[:, None], torch.finfo(torch.float32).min)
        queries = torch.arange(scores.shape[1], device=scores.device)
        pairs = ((which[..., None] == queries)[..., None] & named[:, :, None]).any(1)  # [B Q T]
        both = [_against(scores, pairs, 2), _against(scores, pairs, 1)]
        return torch.stack(both).sum() / 2 / (which >= 0).sum().clamp(min=1)


def _against(scores: Tensor, positives: Tensor, axis: int) -> Tensor:
    """Sum over all lines with a positive of its mean negative log-probability."""
    count = positives.sum(axis)
    loss = scores.logsumexp(axis) - scores.masked_fill(~positives, 0).sum(axis) / count.clamp(min=1)
    return loss.masked_fill(count == 0, 0).sum()
