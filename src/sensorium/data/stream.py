"""Batches as a pure function of (seed, step, rank, world): resuming is exact and needs no state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sensorium.core import Batch, SensoriumError, derive

from .rows import Rows


class Stream(Protocol):
    """Where a stage takes its batches from."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        ...


@dataclass
class Epochs:
    """A new permutation of the rows per epoch. `size` is the batch over all ranks; a rank gets every world-th row.

    With at least `size` rows a batch always has `size` of them and the incomplete last batch of an epoch is dropped;
    with fewer, each batch is an epoch.
    """

    rows: Rows
    size: int
    seed: int
    rank: int = 0
    world: int = 1
    _epoch: tuple[int, np.ndarray] = field(default=(-1, np.empty(0, np.int64)), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise SensoriumError("no rows to train on")
        if self.size < self.world or not 0 <= self.rank < self.world:
            raise SensoriumError(f"batch {self.size} at rank {self.rank} of {self.world}; expected a row per rank")

    @property
    def per_epoch(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.rows) // self.size)

    def positions(self, step: int) -> np.ndarray:
        """Positions within `rows` of this rank's share of a step [B] int64."""
        epoch, k = divmod(step, self.per_epoch)
        return self._order(epoch)[k * self.size : (k + 1) * self.size][self.rank :: self.world]

    def batch(self, step: int) -> Batch:
        """This rank's share of the batch of a step."""
        return self.rows.batch(self.positions(step))

    def _order(self, epoch: int) -> np.ndarray:
        if self._epoch[0] != epoch:  # a memory of the last permutation: the result depends on the arguments alone
            draw = np.random.Generator(np.random.Philox(derive(self.seed, "epochs", epoch)))
            self._epoch = (epoch, draw.permutation(len(self.rows)))
        return self._epoch[1]
