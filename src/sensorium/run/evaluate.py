"""Scores of a method on rows: reads capabilities, never classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensorium.blocks.similarity import cosine, truncate
from sensorium.core import Batch, Embeds, Method, Ranks, SensoriumError
from sensorium.data.rows import Rows
from sensorium.evals.retrieval import Retrieval, relevance, score_retrieval

CHOICES = {
    "choice": ("text", "text/negative", "image"),
    "choice image": ("image", "image/negative", "text"),
}
"""Metric -> the right key, its negative, and what chooses between them."""
SHORT = 16
"""Width to which embeddings are cut for the column of short vectors."""


@dataclass(frozen=True)
class Sought:
    """What counts as right among some rows: equal `text` or equal `image` [N]; `variants` are further texts by key,
    empty where a row has none; `fresh` [N] marks rows without a look-alike in train."""

    text: Sequence[str]
    image: Sequence[Hashable]
    variants: Mapping[str, Sequence[str]]
    fresh: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scored:
    """Scores by metric, and each row's own part of it [N] (mean of both directions, NaN where the metric skips it)."""

    scores: dict[str, float]
    items: dict[str, NDArray[np.float64]]

    def joined(self, other: Scored) -> Scored:
        """The scores of both."""
        return Scored(self.scores | other.scores, self.items | other.items)


def _hits(result: Retrieval, k: int) -> NDArray[np.float64]:
    def within(ranks: Tensor) -> NDArray[np.float64]:
        values = ranks.numpy()
        return np.where(values > 0, values <= k, np.nan).astype(np.float64)

    return (within(result.rank_text) + within(result.rank_image)) / 2


def _one(batch: Batch, key: str) -> Batch:
    return {key: batch[key]}


def _ranked(method: Ranks, batch: Batch, text: str, relevant: Tensor) -> Retrieval:
    to_image = method.rank(_one(batch, text), _one(batch, "image")).cpu()
    to_text = method.rank(_one(batch, "image"), _one(batch, text)).cpu()
    return score_retrieval(to_image, to_text, relevant)


@torch.no_grad()
def retrieval(method: Method, rows: Rows, sought: Sought, device: torch.device | None = None) -> Scored:
    """Retrieval among `rows` in both directions, with every further column the method and the data allow."""
    if not isinstance(method, Ranks):
        raise SensoriumError("this method cannot rank: it has no `rank`, so retrieval does not apply")
    method.eval()
    batch: Batch = {k: v.to(device) for k, v in rows.batch(np.arange(len(rows))).items()}
    relevant = relevance(sought.text, sought.image)
    main = _ranked(method, batch, "text", relevant)
    scores = dict(main.scores)
    items = {"r@1": _hits(main, 1), "r@10": _hits(main, 10)}
    if sought.fresh is not None and sought.fresh.any():
        items["fresh r@1"] = np.where(sought.fresh, items["r@1"], np.nan)
        scores["fresh r@1"] = float(np.nanmean(items["fresh r@1"]))
    if _short(method) and isinstance(method, Embeds):
        result = _cut(method, batch, relevant, SHORT)
        scores[f"r@10@{SHORT}"], items[f"r@10@{SHORT}"] = result.scores["r@10"], _hits(result, 10)
        quarter = _cut(method, batch, relevant, method.spaces["text"].dim // 4)
        scores["r@1@quarter"], items["r@1@quarter"] = quarter.scores["r@1"], _hits(quarter, 1)
    for key, texts in sought.variants.items():
        there = [i for i, t in enumerate(texts) if t]
        if key not in batch or len(there) < 2:
            continue
        part = rows.select(rows.index[there]).batch(np.arange(len(there)))
        same = relevance([texts[i] for i in there], [sought.image[i] for i in there])
        result = _ranked(method, {k: v.to(device) for k, v in part.items()}, key, same)
        scores[f"r@10 {key}"] = result.scores["r@10"]
        items[f"r@10 {key}"] = np.full(len(rows), np.nan)
        items[f"r@10 {key}"][there] = _hits(result, 10)
    for metric, (right, wrong, other) in CHOICES.items():
        if wrong in batch and wrong in rows.fields:  # negatives that were derived are for training: no field says them
            items[metric] = _choices(method, batch, right, wrong, other)
            if (items[metric] >= 0).any():
                scores[metric] = float(np.nanmean(items[metric]))
    return Scored(scores, items)


def _cut(method: Embeds, batch: Batch, relevant: Tensor, width: int) -> Retrieval:
    """Retrieval with every vector cut to its first `width` numbers."""
    image, text = (truncate(method.embed(batch, of), width) for of in ("image", "text"))
    scores = cosine(text, image).cpu()
    return score_retrieval(scores, scores.T, relevant)


def _choices(method: Ranks, batch: Batch, right: str, wrong: str, other: str, block: int = 64) -> NDArray[np.float64]:
    """Per row: 1 where `other` scores `right` above `wrong`, 0 where below, 0.5 where equal; NaN without a negative."""
    found = []
    for start in range(0, len(batch[wrong]), block):
        at = torch.arange(start, min(start + block, len(batch[wrong])))
        part = {key: batch[key].rows(at) for key in (right, wrong, other)}
        a, b = (method.rank(_one(part, key), _one(part, other)).diagonal().cpu() for key in (right, wrong))
        found.append((a > b).double() + 0.5 * (a == b).double())
    chosen = torch.cat(found)
    if (mask := batch[wrong].mask) is not None:
        chosen[~mask.flatten(1).any(1).cpu()] = float("nan")
    return chosen.numpy()


def _short(method: Method) -> bool:
    """Whether cutting its vectors means something: trained, one vector per row, wider than the cut."""
    trained = any(p.requires_grad for p in method.parameters())
    return trained and isinstance(method, Embeds) and all(not s.many and s.dim > SHORT for s in method.spaces.values())
