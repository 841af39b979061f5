"""Every task that a method and its data allow, scored: what is read are capabilities and keys, never classes.

No method is handed the answer: a batch holds the keys that are asked with, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sensorium.blocks.decode import Canvas, Generates, Prompt, decode, paint
from sensorium.blocks.mixed import Mosaic, laid
from sensorium.core import Batch, Field, Ids, Method, Predicts, Ranks, Rng, SensoriumError, nearest
from sensorium.data.columns import box_column, pixel_column
from sensorium.data.dataset import Dataset
from sensorium.data.rows import Rows
from sensorium.evals.metrics.boxes import grounding_recall
from sensorium.evals.metrics.distribution import frechet
from sensorium.evals.metrics.edit import cer, distances, nfc
from sensorium.evals.metrics.qa import squad_exact
from sensorium.evals.metrics.text import bleu, cider_d
from sensorium.evals.ranking import chance
from sensorium.evals.retrieval import relevance
from sensorium.evals.tasks import TASKS

from .evaluate import Scored, Sought, retrieval
from .plan import Plan, scratch_size

AT_ONCE = 128
"""Rows that are predicted or decoded together."""
LONGEST_ANSWER, LONGEST_CAPTION = 16, 48
"""Tokens after which decoding stops."""
MOST_PAINTED, STROKES = 100, 12
"""Pictures that are painted for a score, and the steps of each: painting costs as much as training."""
MOST_MEANT = 2_000
"""Train pictures of which the mean is taken."""
GLANCE = 4
"""Rows and columns of means to which pictures are reduced where they are compared."""
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """What a task is scored on: the rows of a plan, their data set, the device; for retrieval, what is right."""

    plan: Plan
    data: Dataset
    index: Index
    device: torch.device
    sought: Sought | None = None

    @property
    def rows(self) -> Rows:
        """The rows asked about."""
        return self.plan.rows.select(self.index)

    def texts(self, key: str) -> list[str]:
        """The texts of the rows."""
        stored = self.data.texts(key)
        return [stored[int(i)] for i in self.index]

    def batches(self, *keys: str) -> Iterator[Batch]:
        """The rows in order, with these keys only."""
        for batch in self.rows.batches(AT_ONCE):
            yield {k: batch[k].to(self.device) for k in keys if k in batch}


def tasks_of(method: Method, keys: Sequence[str]) -> list[str]:
    """The tasks that a method can be scored on with these keys, as they stand in the table."""
    found = []
    for name, task in TASKS.items():
        if set(task.needs) <= set(keys) and _able(method, name):
            found.append(name)
    return found


def _able(method: Method, task: str) -> bool:
    predicts = method.predicts if isinstance(method, Predicts) else {}
    generates = method.generates if isinstance(method, Generates) else {}
    ranked = getattr(method, "spaces", {"image", "text"})
    return {
        "retrieval": isinstance(method, Ranks) and {"image", "text"} <= set(ranked),
        "ground": "boxes" in predicts,
        "classify": "label" in predicts,
        "label-sequence": predicts.get("text") == "ids",
        "answer": "text/answer" in generates,
        "caption": "text" in generates,
        "generate": "image" in generates,
    }[task]


@torch.no_grad()
def scored(task: str, asked: Question) -> Scored:
    """The scores of a method on one task."""
    asked.plan.method.eval()
    return _SCORERS[task](asked)


def _retrieval(asked: Question) -> Scored:
    assert asked.sought is not None
    return retrieval(asked.plan.method, asked.rows, asked.sought, asked.device)


def _ground(asked: Question) -> Scored:
    method = asked.plan.method
    assert isinstance(method, Predicts)
    truth = asked.plan.rows.columns["boxes"].rows(torch.from_numpy(asked.index))
    spans = asked.plan.rows.columns["spans"].rows(torch.from_numpy(asked.index))
    assert isinstance(truth, Field) and isinstance(spans, Field) and truth.mask is not None and spans.mask is not None
    found = torch.cat([method.predict(b, "boxes").data.cpu() for b in asked.batches("image", "text", "spans")])
    most = min(truth.data.shape[1], spans.data.shape[1])
    there = (truth.mask[:, :most] & spans.mask[:, :most]).numpy()
    hit = grounding_recall(found[:, :most].numpy()[there][:, None], truth.data[:, :most].numpy()[there])
    items = np.full(there.shape, np.nan)
    items[there] = hit
    return _by_row("recall@1", items)


def _classify(asked: Question) -> Scored:
    method = asked.plan.method
    assert isinstance(method, Predicts)
    truth = asked.plan.rows.columns["label"].rows(torch.from_numpy(asked.index))
    assert isinstance(truth, Field)
    found = torch.cat([method.predict(b, "label").data.cpu() for b in asked.batches("image", "text")])
    hit = (found.argmax(-1) == truth.data).double().numpy()
    if truth.mask is not None:  # a label that train never had cannot be said
        hit[~truth.mask.numpy()] = 0.0
    return Scored({"accuracy": float(hit.mean())}, {"accuracy": hit})


def _label_sequence(asked: Question) -> Scored:
    """Character error rate of what is heard; per row, its errors per character."""
    method, tokenizer, truth = asked.plan.method, asked.plan.tokenizer, asked.texts("text")
    assert isinstance(method, Predicts) and tokenizer is not None
    said: list[str] = []
    for batch in asked.batches("audio"):
        found = method.predict(batch, "text").to("cpu")
        assert found.mask is not None
        said += tokenizer.decode_batch([ids[mask].tolist() for ids, mask in zip(found.data, found.mask, strict=True)])
    each = distances(said, truth) / np.array([max(1, len(nfc(t))) for t in truth])
    return Scored({"cer": cer(said, truth)}, {"cer": each})


def _answer(asked: Question) -> Scored:
    said = generated(asked, "text/answer", LONGEST_ANSWER, "image", "text/question")
    there = np.array([bool(t) for t in asked.texts("text/answer")])
    hit = np.where(there, squad_exact(said, [[t] for t in asked.texts("text/answer")]), np.nan)
    return _by_row("exact", hit[:, None])


def _caption(asked: Question) -> Scored:
    said = generated(asked, "text", LONGEST_CAPTION, "image")
    references = _references(asked)
    each = cider_d(said, references)
    return Scored({"cider": float(each.mean()), "bleu": bleu(said, references)}, {"cider": each})


def _generate(asked: Question) -> Scored:
    part = few(asked, MOST_PAINTED)
    made, right = painted(part), relevance(part.texts("text"), part.data.content("image")[part.index])
    found = likeness(made, pictures(part, made.shape[-1]), right.numpy())
    hit = np.full(len(asked.index), np.nan)
    hit[np.isin(asked.index, part.index)] = found.items["r-precision"]
    return Scored(found.scores, {"r-precision": hit})


def likeness(made: NDArray[np.uint8], true: NDArray[np.uint8], relevant: NDArray[np.bool_]) -> Scored:
    """Pictures u8 [N 3 H W] and what they should be, [N N] bool which of these is right for each -> "r-precision", the
    share whose nearest is right; "frechet" between both sets and "distance" to the own one, lower better. N ≥ 2.

    Compared are means of colour in GLANCE x GLANCE fields, in units of the range of a pixel: no network is asked, so
    values of different data sets mean different things. R-precision as in AttnGAN (Xu et al. 2018, arXiv 1711.10485),
    with pictures in the place of texts.
    """
    a, b = glance(made), glance(true)
    far = np.linalg.norm(a[:, None] - b[None], axis=2)
    hit = relevant[np.arange(len(a)), far.argmin(1)].astype(np.float64)
    scores = {"r-precision": float(hit.mean()), "frechet": frechet(a, b), "distance": float(far.diagonal().mean())}
    return Scored(scores, {"r-precision": hit})


def glance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """u8 [N 3 H W] -> [N 3 GLANCE^2] in [0, 1]."""
    small = F.adaptive_avg_pool2d(torch.from_numpy(images).double() / 255, GLANCE)
    return np.asarray(small.flatten(1).numpy(), dtype=np.float64)


def few(asked: Question, most: int) -> Question:
    """The question of at most so many of its rows, evenly spaced."""
    return replace(asked, index=_evenly(asked.index, most)) if len(asked.index) > most else asked


def _evenly(index: Index, most: int) -> Index:
    return index[np.linspace(0, len(index) - 1, most).astype(np.int64)] if len(index) > most else index


def pictures(asked: Question, size: int = 0) -> NDArray[np.uint8]:
    """The pictures of the rows, u8 [N 3 S S], as a method from scratch sees them or of another `size`."""
    column = pixel_column(asked.data, "image", size or scratch_size(asked.data, "image"))
    return np.asarray(column.rows(torch.from_numpy(asked.index)).data.numpy(), dtype=np.uint8)


def painted(asked: Question) -> NDArray[np.uint8]:
    """What a method paints from the text of each row alone, u8 [N 3 H W]; the run's seed decides what is drawn."""
    method, rng, made = asked.plan.method, Rng(asked.plan.job.seed), []
    assert isinstance(method, Generates)
    for n, batch in enumerate(asked.batches("text")):
        where = method.prompt(batch, "image")
        if isinstance(where, Mosaic):
            made.append(laid(where, rng.at(n)).data.cpu())
        elif isinstance(where, Canvas):
            made.append(paint(where, STROKES, rng.at(n)).data.cpu())
        else:
            raise SensoriumError(f"{asked.plan.job.paper} prompts for no picture; expected a Canvas or a Mosaic")
    return np.asarray(torch.cat(made).numpy(), dtype=np.uint8)


def _references(asked: Question) -> list[list[str]]:
    """Every text of a row's picture among the rows asked about."""
    texts, content = asked.texts("text"), asked.data.content("image")[asked.index].tolist()
    of: dict[int, list[str]] = {}
    for text, picture in zip(texts, content, strict=True):
        of.setdefault(picture, []).append(text)
    return [of[picture] for picture in content]


def generated(asked: Question, to: str, longest: int, *keys: str) -> list[str]:
    """What a method says of each row, greedily."""
    method, tokenizer = asked.plan.method, asked.plan.tokenizer
    assert isinstance(method, Generates)
    if tokenizer is None:
        raise SensoriumError(f"{asked.plan.job.paper} generates text without ids of the data set's tokeniser")
    said: list[str] = []
    for batch in asked.batches(*keys):
        prompt = method.prompt(batch, to)
        assert isinstance(prompt, Prompt)
        found: Ids = decode(prompt, longest).to("cpu")
        said += tokenizer.decode_batch([ids[mask].tolist() for ids, mask in zip(found.ids, found.mask, strict=True)])
    return [text.strip() for text in said]


def _by_row(metric: str, items: NDArray[np.float64]) -> Scored:
    """[N K] hits, NaN where there is nothing -> their mean, and each row's own mean."""
    counts = (~np.isnan(items)).sum(1)
    each = np.where(counts > 0, np.nansum(items, 1) / np.maximum(counts, 1), np.nan)
    return Scored({metric: float(np.nanmean(items)) if counts.any() else 0.0}, {metric: each})


_SCORERS: Mapping[str, Callable[[Question], Scored]] = {
    "retrieval": _retrieval,
    "ground": _ground,
    "answer": _answer,
    "caption": _caption,
    "classify": _classify,
    "label-sequence": _label_sequence,
    "generate": _generate,
}


def _random_order(data: Dataset, train: Index, test: Index) -> dict[str, float]:
    return chance(relevance([data.texts("text")[int(i)] for i in test], data.content("image")[test]))


def _mean_box(data: Dataset, train: Index, test: Index) -> dict[str, float]:
    """Every phrase answered with the mean of the train boxes."""
    boxes = box_column(data, "boxes")
    assert boxes.mask is not None
    mean = boxes.data[train][boxes.mask[train]].mean(0).numpy()
    right = boxes.data[test][boxes.mask[test]].numpy()
    return {"recall@1": float(grounding_recall(np.broadcast_to(mean, (len(right), 1, 4)), right).mean())}


def _blind_majority(data: Dataset, train: Index, test: Index) -> dict[str, float]:
    """The commonest answer to each question, the commonest label and the commonest text of train, without looking."""
    found = {}

    def of(key: str, index: Index) -> list[str]:
        stored = data.texts(key)
        return [stored[int(i)] for i in index]

    if "text/answer" in data.kinds:
        found["exact"] = _majority_answers(*(of(f"text/{k}", i) for i in (train, test) for k in ("question", "answer")))
    if "text" in data.kinds and "image" in data.kinds:
        said = Counter(of("text", train)).most_common(1)[0][0]
        found["cider"] = float(cider_d([said] * len(test), [[t] for t in of("text", test)]).mean())
    if "text" in data.kinds and "audio" in data.kinds:
        said = Counter(of("text", train)).most_common(1)[0][0]
        found["cer"] = cer([said] * len(test), of("text", test))
    if "label" in data.kinds:
        said = Counter(of("label", train)).most_common(1)[0][0]
        found["accuracy"] = float(np.mean([label == said for label in of("label", test)]))
    return found


def _majority_answers(asked: list[str], given: list[str], questions: list[str], answers: list[str]) -> float:
    """Each question's commonest answer in train; one that train never asked gets the commonest of all."""
    by: dict[str, Counter[str]] = {}
    for question, answer in zip(asked, given, strict=True):
        by.setdefault(question, Counter())[answer] += 1
    overall = Counter(given).most_common(1)[0][0]
    said = [by[q].most_common(1)[0][0] if q in by else overall for q in questions]
    return float(squad_exact(said, [[a] for a in answers]).mean())


def _mean_image(data: Dataset, train: Index, test: Index) -> dict[str, float]:
    """Every text answered with the mean of the train pictures."""
    test, column = _evenly(test, MOST_PAINTED), pixel_column(data, "image", scratch_size(data, "image"))
    mean, true = (column.rows(torch.from_numpy(index)).data for index in (_evenly(train, MOST_MEANT), test))
    blur = mean.double().mean(0, keepdim=True).round().to(torch.uint8).expand(len(test), -1, -1, -1)
    right = relevance([data.texts("text")[int(i)] for i in test], data.content("image")[test])
    return likeness(blur.numpy(), true.numpy(), right.numpy()).scores


TRIVIAL: Mapping[str, Callable[[Dataset, Index, Index], dict[str, float]]] = {
    "random order": _random_order,
    "mean box": _mean_box,
    "blind majority": _blind_majority,
    "mean image": _mean_image,
}
"""Data, train rows, test rows -> what somebody scores who has learnt nothing of the pictures."""


def trivial(name: str, data: Dataset, train: Index, test: Index) -> dict[str, float]:
    """The scores of a trivial predictor on test rows.

    Raises:
        SensoriumError: an unknown one, with the nearest.
    """
    if name not in TRIVIAL:
        raise SensoriumError(f"trivial predictor {name!r}{nearest(name, TRIVIAL)}")
    return TRIVIAL[name](data, train, test)
