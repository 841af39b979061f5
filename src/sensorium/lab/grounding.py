"""Grounding by how common a phrase is."""

from __future__ import annotations

import numpy as np
import torch

from sensorium.blocks.fusion.phrases import counted, objects, phrases
from sensorium.core import Predicts, SensoriumError
from sensorium.evals.metrics.boxes import grounding_recall
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import AT_ONCE, Question

RARE = 0.01
"""A phrase is rare if fewer than this share of the train phrases are it."""


@torch.no_grad()
def rare(asked: Question) -> Scored:
    """ "recall@1 rare", "recall@1 common": grounding recall at IoU 0.5 of the rare phrases and of all others."""
    plan, method = asked.plan, asked.plan.method
    if not isinstance(method, Predicts) or "boxes" not in method.predicts:
        raise SensoriumError(f"{plan.job.paper} predicts no boxes")
    seen = counted(torch.cat([phrases(b).flatten(0, 1) for b in plan.rows.select(plan.split.train).batches(512)]))
    least = RARE * sum(seen.values())
    hits: dict[str, list[float]] = {"recall@1 rare": [], "recall@1 common": []}
    for batch, given in zip(asked.rows.batches(AT_ONCE), asked.batches("image", "text", "spans"), strict=True):
        truth, _, there = objects(batch)
        found = method.predict(given, "boxes").data[:, : there.shape[1]].cpu()
        hit = grounding_recall(found[there].numpy()[:, None], truth[there].numpy())
        for name, one in zip(phrases(batch)[:, : there.shape[1]][there].tolist(), hit.tolist(), strict=True):
            hits["recall@1 rare" if seen[tuple(name)] < least else "recall@1 common"].append(one)
    return Scored({name: float(np.mean(found)) for name, found in hits.items() if found}, {})
