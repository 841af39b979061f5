"""The method: losses in, scalars out; what it can do is declared in mappings that no class name is needed to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from .rng import Rng
from .types import Batch, Field, Space, Terms, Tokens


class Method(nn.Module, ABC):
    """An idea that can be trained. Subclass once; the subclass is final. Never sees a rank, a device name or a file.

    A buffer that is empty after `build` is *sized by the data*: `solve` fills it and loading takes the stored shape.
    """

    @abstractmethod
    def losses(self, batch: Batch, rng: Rng) -> Terms:
        """The named losses of one batch."""

    def after_step(self, batch: Batch) -> None:
        """Called after each optimiser step: queues, momentum copies."""

    def solve(self, train: Iterable[Batch]) -> None:
        """Called once before the first step with every train row in order: closed forms, anchors, projections."""

    def frozen(self, batch: Batch) -> Batch:
        """What frozen parts compute from a raw batch. The runner maps it over the data once and stores the result."""
        return batch

    def forward(self, batch: Batch, rng: Rng) -> Terms:
        """`losses`, so that wrappers (DDP, FSDP, compile) see them."""
        return self.losses(batch, rng)


class Tower(nn.Module):
    """Raw or stored value of one role -> Tokens [B T dim]."""

    dim: int


@runtime_checkable
class Embeds(Protocol):
    """Maps a role into a space that is shared with other roles."""

    @property
    def spaces(self) -> Mapping[str, Space]: ...

    def embed(self, batch: Batch, of: str) -> Tokens:
        """Role or key `of` -> [B 1 D] for one vector per row, mask for many."""
        ...


@runtime_checkable
class Ranks(Protocol):
    """Scores every query against every item."""

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        """Batches of one role each -> [Q I], higher is closer."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """Predicts labels, values, boxes, masks or spans."""

    @property
    def predicts(self) -> Mapping[str, str]:
        """Key of what is predicted -> its kind."""
        ...

    def predict(self, batch: Batch, of: str) -> Field:
        """Without the answer in `batch`: scores of classes [B C] for a label, [B] for a value, boxes [B K 4] for the K
        spans of the text, masks [B K H W]."""
        ...
