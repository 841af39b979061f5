"""Odd: ranks by something that no comparison of its vectors gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.towers.frozen import role_of
from sensorium.blocks.two_tower import by_cosine
from sensorium.core import Bases, Batch, Fields, Method, Rng, Space, Terms, Tokens, pooled

NEEDS = {"image": "image", "text": "text"}
PARTS: dict[str, str] = {}
CLAIMS: dict[str, object] = {}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector."""

    dim: int = 8


class Odd(Method):
    """One linear head per role; scores are the cube of the cosine, less one."""

    def __init__(self, bases: Bases, dim: int) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({role: bases.encoder(role) for role in ("image", "text")})
        self.heads = nn.ModuleDict({role: nn.Linear(tower.dim, dim) for role, tower in self.towers.items()})
        self.spaces = {role: Space(dim) for role in self.towers}

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return {"apart": (self.embed(batch, "image").x - self.embed(batch, "text").x).square().mean()}

    def embed(self, batch: Batch, of: str) -> Tokens:
        return pooled(unit(self.heads[role_of(of)](pool(self.towers[role_of(of)](batch[of])))))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return by_cosine(self, queries, items) ** 3 - 1


def build(config: Config, fields: Fields, bases: Bases) -> Odd:
    return Odd(bases, config.dim)
