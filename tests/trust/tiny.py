"""A small method with everything that a resumed run must bring back: moments, dropout, noise, a queue, a slow copy, a
stage that freezes a part, and a stage whose batches the model of its beginning chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.blocks.memory.momentum import Momentum
from sensorium.blocks.memory.queue import Queue
from sensorium.blocks.objectives.contrastive import info_nce, same_group
from sensorium.blocks.similarity import unit
from sensorium.blocks.two_tower import by_cosine, groups
from sensorium.core import Batch, Budget, Field, Fields, Ids, Method, Rng, Space, Terms, Tokens, Trial, pooled
from sensorium.data.rows import Rows
from sensorium.data.stream import Epochs
from sensorium.run.fit import Stage

NEEDS = {"image": "image", "text": "text"}
PARTS = {"two encoders": "Pair", "negatives of earlier batches": "Queue", "a slow copy": "Momentum"}
CLAIMS: dict[str, object] = {}
BATCH = 8


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector; pictures are read at a side of `side` pixels."""

    dim: int = 16
    side: int = 8


class Pair(nn.Module):
    """Pictures as a few large pixels, texts as bags of words."""

    def __init__(self, dim: int, side: int, vocab: int) -> None:
        super().__init__()
        self.pixels, self.words = nn.Linear(3 * side * side, dim), nn.Embedding(vocab, dim)
        self.side, self.drop = side, nn.Dropout(0.2)

    def forward(self, value: Field | Ids | Tokens) -> Tensor:
        """A value of B rows -> [B dim], of length one."""
        if isinstance(value, Field):
            small = nn.functional.adaptive_avg_pool2d(value.data.float() / 255 - 0.5, self.side)
            return unit(self.drop(self.pixels(small.flatten(1))))
        assert isinstance(value, Ids)
        mask = value.mask[:, :, None].float()
        return unit(self.drop((self.words(value.ids) * mask).sum(1) / mask.sum(1).clamp(min=1)))


class Tiny(Method):
    """Contrast of both roles against the batch and a queue of slow keys, with noise on the scores."""

    def __init__(self, config: Config, vocab: int) -> None:
        super().__init__()
        self.pair = Pair(config.dim, config.side, vocab)
        self.slow, self.queue = Momentum(self.pair, 0.9), Queue(config.dim, 24)
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.spaces = {"image": Space(config.dim), "text": Space(config.dim)}
        self._keys = torch.empty(0)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        image, text, group = self.pair(batch["image"]), self.pair(batch["text"]), groups(batch)
        with torch.no_grad():
            self._keys = self.slow(batch["text"])
        noise = torch.randn(len(image), len(text), generator=rng("noise"))
        old, ids, filled = self.queue.read()
        scores, further = (image @ text.T + 0.01 * noise) * self.scale, image @ old.T * self.scale
        loss = info_nce(scores, same_group(group, group), further, filled & ~same_group(group, ids))
        return {"contrast": loss, "size": 1e-3 * self.scale.square()}

    def after_step(self, batch: Batch) -> None:
        self.queue.push(self._keys, groups(batch))
        self.slow.update(self.pair)

    def embed(self, batch: Batch, of: str) -> Tokens:
        return pooled(self.pair(batch[of]))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items)


class Hardest:
    """The half of the rows that a model finds hardest, in a fixed order: what it was asked with decides."""

    def __init__(self, method: Method, rows: Rows) -> None:
        assert isinstance(method, Tiny)
        batch = rows.batch(np.arange(len(rows)))
        with torch.no_grad():
            fit = (method.pair(batch["image"]) * method.pair(batch["text"])).sum(1) + 1e-3 * torch.rand(len(rows))
        self._rows, self._order = rows, fit.argsort()[: len(rows) // 2].numpy()

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        return self._rows.batch(np.roll(self._order, step * BATCH)[:BATCH])


def build(config: Config, fields: Fields, bases: object) -> Tiny:
    """Encoders of its own."""
    return Tiny(config, fields["text"].vocab)


def stages(config: Config, method: Method, rows: Rows, trial: Trial) -> Sequence[Stage]:
    """Half of the steps on everything, half on what is hardest then, with the words frozen."""
    half = Budget(trial.budget.samples // 2)
    rates = {"": 1.0, "pair.words": None}
    return [
        Stage(Epochs(rows, BATCH, 3), half, BATCH),
        Stage(lambda now: Hardest(now, rows), half, BATCH, rates=rates),
    ]
