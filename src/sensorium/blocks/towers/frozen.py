"""Towers whose weights are somebody else's: opened at first use, never trained, never saved with a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from sensorium.core import Ids, Tokens, Tower, Value

Encode = Callable[[Value], Tokens]


class Frozen(Tower):
    """Raw value of `role` -> Tokens [B T dim], without gradient. `Tokens` pass: they were computed beforehand.

    `identity` names weights, transform and what is read, so that stored features are found again. `size` is the side in
    pixels that an image tower reads, `tokenise` turns texts into ids for a text tower.
    """

    def __init__(
        self,
        role: str,
        identity: str,
        dim: int,
        load: Callable[[], Encode],
        *,
        size: int = 0,
        tokenise: Callable[[Sequence[str]], Ids] | None = None,
    ) -> None:
        super().__init__()
        self.role, self.identity, self.dim, self.size, self.tokenise = role, identity, dim, size, tokenise
        self._load = load
        self._encode: Encode | None = None

    @torch.no_grad()
    def forward(self, value: Value) -> Tokens:
        if isinstance(value, Tokens):
            return value
        if self._encode is None:
            self._encode = self._load()
        return self._encode(value)


class Reduced(Tower):
    """The first `dim` principal components of a frozen tower's tokens, fitted on train rows: [B T d] -> [B T dim]."""

    def __init__(self, tower: Frozen, dim: int, sample: int = 4096) -> None:
        super().__init__()
        self.tower, self.dim, self.sample = tower, dim, sample
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("basis", torch.empty(0))
        self.mean: Tensor
        self.basis: Tensor

    def solve(self, train: Iterable[Tokens]) -> None:
        """Fit mean and components on at most `sample` real tokens, taken at an even stride over the train rows."""
        x = torch.cat([t.x[t.mask].float() for t in train])
        x = x[:: max(1, len(x) // self.sample)]
        self.mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - self.mean).T @ (x - self.mean) / len(x))
        keep = values.argsort(descending=True)[: self.dim]
        # One scale for all components keeps their proportions and gives the head inputs of unit size.
        self.basis = vectors[:, keep] / values[keep].mean().clamp_min(1e-12).sqrt()

    @torch.no_grad()
    def forward(self, value: Value) -> Tokens:
        if isinstance(value, Tokens) and value.x.shape[-1] == self.dim:
            return value
        t = self.tower(value)
        return Tokens((t.x.float() - self.mean) @ self.basis * t.mask[..., None], t.mask, t.pos)


def frozen_towers(module: nn.Module) -> dict[str, Frozen]:
    """The frozen tower of each role inside a method; the first wins where copies share one."""
    found: dict[str, Frozen] = {}
    for part in module.modules():
        if isinstance(part, Frozen):
            found.setdefault(part.role, part)
    return found


def role_of(key: str) -> str:
    """ "text.fr" and "text/negative" -> "text"."""
    return key.split("/")[0].split(".")[0]
