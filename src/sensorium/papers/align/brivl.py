"""WenLan: Bridging Vision and Language by Large-Scale Multi-Modal Pre-Training (BriVL).

Huo et al., 2021, arXiv 2103.06561. MoCo for two modalities: momentum copies of both encoders write keys into one
first-in-first-out queue per modality, and each online query is contrasted with the other modality's keys, those of its
batch and those of the queue. Differs from CLIP in where negatives come from: the queue, not only the batch.
Claim: at a small batch, R@1 above in-batch InfoNCE at equal memory; the gain shrinks as the batch grows.
Measured (pictograms, batch 32, five seeds): +0.014 at equal samples, undecided; a step costs 1.7 times CLIP's, whose
heads on frozen towers do not need the negatives as much as more steps: -0.008 at equal cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.blocks.memory.momentum import Momentum
from sensorium.blocks.memory.queue import Queue
from sensorium.blocks.objectives.contrastive import info_nce, same_group
from sensorium.blocks.two_tower import TwoTower, contrast, groups, image_text
from sensorium.core import Above, Arm, Bases, Batch, Budget, Claim, Fields, Method, Rng, Terms, Tokens

NEEDS = {"image": "image", "text": "text"}
PARTS = {
    "momentum encoders": "Momentum",
    "queue of negatives per modality": "Queue",
    "InfoNCE against the other modality's keys": "Brivl.against",
}
CLAIMS = {
    "small batch": Claim(
        arms={"ours": Arm(), "baseline": Arm(paper="baseline/clip"), "no queue": Arm(config={"queue": 0})},
        says=[Above("r@1", 0.01)],
        beats="random order",
        rates=(1e-3, 3e-3, 1e-2),
        budget=Budget(25_600),
        batch=32,
    )
}


@dataclass(frozen=True)
class Config:
    """`queue` keys per modality, momentum `decay` of the slow encoders."""

    dim: int = 256
    dropout: float = 0.3
    queue: int = 1024
    decay: float = 0.99


class Brivl(Method):
    """A pair of towers, its momentum copy and a queue of keys per modality."""

    def __init__(self, pair: TwoTower, queue: int, decay: float, dim: int) -> None:
        super().__init__()
        self.pair, self.slow = pair, Momentum(pair, decay)
        self.queues = nn.ModuleDict({role: Queue(dim, queue) for role in ("image", "text")} if queue else {})
        self.spaces = pair.spaces
        self._keys: dict[str, Tensor] = {}

    @torch.no_grad()
    def keys(self, batch: Batch, role: str) -> Tensor:
        """Momentum embeddings of a role [B D]."""
        slow = self.slow.module
        assert isinstance(slow, TwoTower)
        return slow.embed(batch, role).x[:, 0]

    def against(self, batch: Batch, query: str, key: str) -> Tensor:
        """InfoNCE of the online queries of one role against momentum keys of the other: a scalar."""
        group, queries = groups(batch), self.pair.embed(batch, query).x[:, 0]
        same = same_group(group, group)
        scores = queries @ self._keys[key].T * self.pair.scale
        if key not in self.queues:
            return info_nce(scores, same)
        queue = self.queues[key]
        assert isinstance(queue, Queue)
        old, ids, filled = queue.read()
        # A key that the queue kept from a row of the same group is no negative.
        return info_nce(scores, same, queries @ old.T * self.pair.scale, filled & ~same_group(group, ids))

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        self._keys = {role: self.keys(batch, role) for role in ("image", "text")}
        image, text = self.against(batch, "image", "text"), self.against(batch, "text", "image")
        return {"contrast": (image + text) / 2}

    def after_step(self, batch: Batch) -> None:
        for role, queue in self.queues.items():
            assert isinstance(queue, Queue)
            queue.push(self._keys[role], groups(batch))
        self.slow.update(self.pair)

    def solve(self, train: Iterable[Batch]) -> None:
        self.pair.solve(train)
        self.slow.module.load_state_dict(self.pair.state_dict())

    def frozen(self, batch: Batch) -> Batch:
        return self.pair.frozen(batch)

    def embed(self, batch: Batch, of: str) -> Tokens:
        return self.pair.embed(batch, of)

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return self.pair.rank(queries, items)


def build(config: Config, fields: Fields, bases: Bases) -> Brivl:
    """Pooled towers; the online pair is what is used after training."""
    pair = TwoTower(image_text(bases), config.dim, terms=contrast, dropout=config.dropout)
    return Brivl(pair, config.queue, config.decay, config.dim)
