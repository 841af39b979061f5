"""How right what is generated of each modality is, from another one alone, on sets that have them.

Shape legend: N rows, K boxes, H W pixels. Maps are grey pictures, u8; their ground is 0, that of depth 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sensorium.blocks.decode import Canvas, Generates, Prompt, decode, paint
from sensorium.core import Batch, Embeds, Field, Ids, Method, Rng, SensoriumError
from sensorium.evals.metrics.boxes import iou_matrix
from sensorium.run.evaluate import Scored
from sensorium.run.tasks import LONGEST_CAPTION, STROKES, Question, few

from .generation import agreement, mentions, seen

ROWS = 150
"""Rows that are generated of each modality for a score."""
Floats = NDArray[np.float64]
Grey = NDArray[np.int64]
OWN = (
    ("image", "image.depth"),
    ("image", "image.edges"),
    ("image", "image.mask"),
    ("image", "boxes"),
    ("image", "text"),
    ("text", "image"),
)
"""From which modality to which 4M's own are scored."""


def depth_right(made: Grey, true: Grey) -> Floats:
    """[N H W] u8 -> [N]: the share of pixels that are nearer than the ground, in either, whose depth is right within 13
    of 255: half of the least step between two places."""
    near = (made < 250) | (true < 250)
    return _share((abs(made - true) <= 13) & near, near)


def edge_f1(made: Grey, true: Grey) -> Floats:
    """[N H W] u8, an edge from 128 on -> [N]: F1 by pixel; 1 where neither has an edge."""
    a, b = made >= 128, true >= 128
    both, sizes = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)


def kinds_right(made: Grey, true: Grey) -> Floats:
    """[N H W] u8 -> [N]: of the pixels that are no ground in either, the share with the right value, within 10."""
    there = (made > 10) | (true > 10)
    return _share((abs(made - true) <= 10) & there, there)


def boxes_right(made: Field, true: Field) -> Floats:
    """Boxes [N K 4] -> [N]: overlaps of the best pairs, over the boxes of whichever has more; 1 where neither has."""
    found = []
    assert made.mask is not None and true.mask is not None
    for a, there, b, real in zip(made.data, made.mask, true.data, true.mask, strict=True):
        one, other = a[there].double().numpy(), b[real].double().numpy()
        overlap = iou_matrix(one, other) if len(one) and len(other) else np.zeros((len(one), len(other)))
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        most = max(len(one), len(other))
        found.append(overlap[rows, columns].sum() / most if most else 1.0)
    return np.array(found, np.float64)


def _share(right: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Floats:
    count = counted.sum((1, 2))
    return np.where(count > 0, right.sum((1, 2)) / np.maximum(count, 1), 1.0)


MAPS: Mapping[str, Callable[[Grey, Grey], Floats]] = {
    "image.depth": depth_right,
    "image.edges": edge_f1,
    "image.mask": kinds_right,
    "image.instances": kinds_right,
}


def made(asked: Question, source: str, to: str) -> Field:
    """What is generated of a modality from another one alone, of every row."""
    method, found = asked.plan.method, []
    assert isinstance(method, Generates)
    for n, batch in enumerate(asked.batches(source)):
        canvas = method.prompt(batch, to)
        if not isinstance(canvas, Canvas):
            raise SensoriumError(f"{asked.plan.job.paper} prompts for no {to}; expected a Canvas")
        found.append(paint(canvas, STROKES, Rng(asked.plan.job.seed).at(n)).to("cpu"))
    masks = [f.mask for f in found if f.mask is not None]
    return Field(torch.cat([f.data for f in found]), torch.cat(masks) if masks else None)


def said(asked: Question, source: str, to: str) -> list[str]:
    """What is said from a modality alone, of every row."""
    method, tokenizer, texts = asked.plan.method, asked.plan.tokenizer, []
    assert isinstance(method, Generates) and tokenizer is not None
    for batch in asked.batches(source):
        prompt = method.prompt(batch, to)
        assert isinstance(prompt, Prompt)
        found: Ids = decode(prompt, LONGEST_CAPTION).to("cpu")
        texts += tokenizer.decode_batch([i[m].tolist() for i, m in zip(found.ids, found.mask, strict=True)])
    return [text.strip() for text in texts]


def right(asked: Question, source: str, to: str) -> Floats:
    """How right the modality `to` comes out from `source`, [N] in [0, 1].

    Pictures and captions: the share of objects told or shown that are shown or told, by the exact reader.
    """
    if to == "text":
        found = agreement(mentions(asked, said(asked, source, to)), seen(asked, _true(asked, "image").numpy()))
        return np.asarray(np.minimum(np.nan_to_num(found.objects), np.nan_to_num(found.named)))
    if to == "image":
        shown = seen(asked, made(asked, source, to).data.numpy())
        return np.nan_to_num(agreement(mentions(asked, asked.texts("text")), shown).objects)
    if to == "boxes":
        truth = asked.plan.rows.columns[to].rows(torch.from_numpy(asked.index))
        assert isinstance(truth, Field)
        return boxes_right(made(asked, source, to), truth)
    if to in MAPS:
        return MAPS[to](_grey(made(asked, source, to).data), _grey(_true(asked, to)))
    raise SensoriumError(f"{to!r} has no score; expected text, boxes or one of {', '.join(('image', *MAPS))}")


def _true(asked: Question, key: str) -> torch.Tensor:
    value = asked.plan.rows.columns[key].rows(torch.from_numpy(asked.index))
    assert isinstance(value, Field)
    return value.data


def _grey(images: torch.Tensor) -> Grey:
    return np.asarray(images.double().mean(1).round().numpy(), np.int64)


@runtime_checkable
class Subsets(Protocol):
    """Reads any of some modalities, and writes any of some."""

    @property
    def reads(self) -> Sequence[str]: ...
    @property
    def writes(self) -> Sequence[str]: ...


def able(method: Method, source: str, to: str) -> bool:
    """Whether a method generates one modality and reads the other."""
    generates = isinstance(method, Generates) and to in method.generates
    return generates and isinstance(method, Subsets) and source in method.reads and to in method.writes


def masks(asked: Question) -> Scored:
    """Score "mask": how right the mask is of the picture alone."""
    return Scored({"mask": float(right(few(asked, ROWS), "image", "image.mask").mean())}, {})


def own(asked: Question) -> Scored:
    """Scores "depth", "edges", "mask", "boxes", "text" of the picture alone and "image" of the caption alone, of those
    that a method reads and writes, and "score", their mean."""
    asked = few(asked, ROWS)
    found = {
        to.rpartition(".")[2]: float(right(asked, source, to).mean())
        for source, to in OWN
        if able(asked.plan.method, source, to) and {source, to} <= set(asked.plan.rows.columns)
    }
    if not found:
        raise SensoriumError(f"{asked.plan.job.paper} generates none of {', '.join(to for _, to in OWN)} here")
    return Scored(found | {"score": float(np.mean(list(found.values())))}, {})


def retrieved(asked: Question) -> Scored:
    """Scores "KEY to image r@1" and "r@10" among up to ROWS pictures, for each key that a method embeds; "found" is the
    mean of the former, "guessed" what a random order has."""
    asked, method = few(asked, ROWS), asked.plan.method
    if not isinstance(method, Embeds) or "image" not in method.spaces:
        raise SensoriumError(f"{asked.plan.job.paper} embeds no pictures")
    keys = [k for k in method.spaces if k in asked.plan.rows.columns]
    batches = list(asked.batches(*keys))
    index = _embedded(method, batches, "image")
    scores: dict[str, float] = {}
    for key in keys:
        if key == "image":
            continue
        far = _embedded(method, batches, key) @ index.T
        rank = (far > far.diagonal()[:, None]).sum(1) + (far == far.diagonal()[:, None]).sum(1) / 2 - 0.5
        for k in (1, 10):
            scores[f"{key} to image r@{k}"] = float((rank < k).double().mean())
    firsts = [v for k, v in scores.items() if k.endswith("r@1")]
    return Scored(scores | {"found": float(np.mean(firsts)), "guessed": 1 / len(index)}, {})


def _embedded(method: Embeds, batches: list[Batch], key: str) -> torch.Tensor:
    return torch.cat([method.embed({key: b[key]}, key).x[:, 0].cpu() for b in batches])
