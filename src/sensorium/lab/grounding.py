"""Grounding by how common a phrase is, and by the pixels of what it names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensorium.blocks.fusion.phrases import counted, objects, phrases
from sensorium.core import Batch, Field, Predicts, SensoriumError
from sensorium.evals.metrics.boxes import grounding_recall, mask_iou
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import AT_ONCE, Question

RARE = 0.01
"""A phrase is rare if fewer than this share of the train phrases are it."""


@torch.no_grad()
def rare(asked: Question) -> Scored:
    """ "recall@1 rare", "recall@1 common": grounding recall at IoU 0.5 of the rare phrases and of all others."""
    plan, method = asked.plan, _finder(asked)
    seen = counted(torch.cat([phrases(b).flatten(0, 1) for b in plan.rows.select(plan.split.train).batches(512)]))
    least = RARE * sum(seen.values())
    hits: dict[str, list[float]] = {"recall@1 rare": [], "recall@1 common": []}
    for batch, given in _pairs(asked):
        truth, _, there = objects(batch)
        found = method.predict(given, "boxes").data[:, : there.shape[1]].cpu()
        hit = grounding_recall(found[there].numpy()[:, None], truth[there].numpy())
        for name, one in zip(phrases(batch)[:, : there.shape[1]][there].tolist(), hit.tolist(), strict=True):
            hits["recall@1 rare" if seen[tuple(name)] < least else "recall@1 common"].append(one)
    return Scored({name: float(np.mean(found)) for name, found in hits.items() if found}, {})


@torch.no_grad()
def segmented(asked: Question) -> Scored:
    """ "mean iou" of the masks of phrases with the true ones, and "box iou", that of the filled boxes: what a method
    that predicts no masks has for both. Per row, its own means. Rows without masks have no score."""
    method = _finder(asked)
    each: dict[str, list[float]] = {"mean iou": [], "box iou": []}
    for batch, given in _pairs(asked):
        truth = batch.get("mask")
        if not isinstance(truth, Field):
            return Scored({}, {})
        there = _both(batch, truth)
        boxes = method.predict(given, "boxes").data[:, : there.shape[1]].cpu()
        filled = inside(boxes, truth.data.shape[-1])
        drawn = (
            method.predict(given, "mask").data[:, : there.shape[1]].cpu() > 0.5 if "mask" in method.predicts else None
        )
        for name, found in (("mean iou", filled if drawn is None else drawn), ("box iou", filled)):
            iou = np.full(there.shape, np.nan)
            iou[there] = mask_iou(found[there].numpy(), truth.data[:, : there.shape[1]][there].numpy())
            each[name] += [float(np.nanmean(row)) if not np.isnan(row).all() else np.nan for row in iou]
    items: dict[str, NDArray[np.float64]] = {name: np.array(values) for name, values in each.items()}
    return Scored({name: float(np.nanmean(values)) for name, values in items.items()}, items)


def inside(boxes: Tensor, size: int) -> Tensor:
    """Boxes [B K 4] as shares -> bool [B K size size]: the pixels whose centre lies within."""
    at = (torch.arange(size) + 0.5) / size
    x0, y0, x1, y1 = boxes[..., None].unbind(-2)
    across, down = (at >= x0) & (at < x1), (at >= y0) & (at < y1)
    return down[..., :, None] & across[..., None, :]


def _finder(asked: Question) -> Predicts:
    method = asked.plan.method
    if not isinstance(method, Predicts) or "boxes" not in method.predicts:
        raise SensoriumError(f"{asked.plan.job.paper} predicts no boxes")
    return method


def _pairs(asked: Question) -> Iterator[tuple[Batch, Batch]]:
    """Batches with their answers, and as a method is asked."""
    return zip(asked.rows.batches(AT_ONCE), asked.batches("image", "text", "spans"), strict=True)


def _both(batch: Batch, truth: Field) -> NDArray[np.bool_]:
    """[B K]: which objects have a box, a phrase and a mask."""
    _, _, there = objects(batch)
    assert truth.mask is not None
    most = min(there.shape[1], truth.mask.shape[1])
    return np.asarray((there[:, :most] & truth.mask[:, :most]).numpy())
