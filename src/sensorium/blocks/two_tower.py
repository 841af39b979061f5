"""The two-tower shape: each role through its own tower and head into one space.

What differs between papers is passed, not flagged: `similarity` compares two sets of tokens, `terms` are the losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from sensorium.blocks.objectives.contrastive import info_nce, same_group
from sensorium.blocks.similarity import cosine, pool, unit
from sensorium.blocks.towers.frozen import Reduced, role_of
from sensorium.blocks.towers.head import Projector
from sensorium.core import Bases, Batch, Embeds, Field, Method, Rng, Space, Terms, Tokens, Tower

Similarity = Callable[[Tokens, Tokens], tuple[Tensor, Tensor]]
"""Tokens of A rows, tokens of B rows -> scores of each direction [A B], [B A]."""


def pooled_cosine(a: Tokens, b: Tokens) -> tuple[Tensor, Tensor]:
    """Cosine of masked means, the same in both directions."""
    scores = cosine(a, b)
    return scores, scores.T


def only(batch: Batch) -> str:
    """The one key of a batch beside "row" and "group"."""
    (key,) = (k for k in batch if k not in ("row", "group"))
    return key


def by_cosine(method: Embeds, queries: Batch, items: Batch) -> Tensor:
    """Scores [Q I] of a method that embeds every role as one unit vector."""
    return method.embed(queries, only(queries)).x[:, 0] @ method.embed(items, only(items)).x[:, 0].T


class TwoTower(Method):
    """Towers and heads by role, one learnt temperature (Radford et al. 2021: start 1/0.07, at most 100)."""

    def __init__(
        self,
        towers: Mapping[str, Tower],
        dim: int,
        *,
        terms: TermsOf,
        dropout: float = 0.3,
        similarity: Similarity = pooled_cosine,
        many: bool = False,
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.heads = nn.ModuleDict({k: Projector(t.dim, dim, dropout=dropout) for k, t in towers.items()})
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.similarity, self.terms = similarity, terms
        kind = "late" if many else "cosine"
        self.spaces: Mapping[str, Space] = {k: Space(dim, many=many, similarity=kind) for k in towers}

    @property
    def scale(self) -> Tensor:
        """The inverse temperature, a scalar of at most 100."""
        return self.log_scale.exp().clamp(max=100.0)

    def latent(self, batch: Batch, key: str) -> Tokens:
        """What the tower gives for `key`, before the head: [B T D]."""
        tokens: Tokens = self.towers[role_of(key)](batch[key])
        return tokens

    def project(self, latent: Tokens, key: str) -> Tokens:
        """The head of the key's role: [B T D] -> [B T dim]."""
        tokens: Tokens = self.heads[role_of(key)](latent)
        return tokens

    def encode(self, batch: Batch, key: str) -> Tokens:
        """Raw or stored value of `key` -> [B T dim]."""
        return self.project(self.latent(batch, key), key)

    def losses(self, batch: Batch, rng: Rng) -> Terms:
        return self.terms(self, batch, rng)

    def solve(self, train: Iterable[Batch]) -> None:
        reduced = {role: t for role, t in self.towers.items() if isinstance(t, Reduced)}
        if reduced:
            seen = list(train)
            for role, tower in reduced.items():
                tower.solve(tower.tower(batch[role]) for batch in seen)

    def frozen(self, batch: Batch) -> Batch:
        fixed = {r: t for r, t in self.towers.items() if not any(p.requires_grad for p in t.parameters())}
        return {k: fixed[role_of(k)](v) if role_of(k) in fixed else v for k, v in batch.items()}

    def embed(self, batch: Batch, of: str) -> Tokens:
        tokens = self.encode(batch, of)
        if self.spaces[role_of(of)].many:
            return Tokens(unit(tokens.x), tokens.mask)
        return Tokens(unit(pool(tokens))[:, None], tokens.mask.any(1, keepdim=True))

    def rank(self, queries: Batch, items: Batch) -> Tensor:
        return self.similarity(self.encode(queries, only(queries)), self.encode(items, only(items)))[0]


TermsOf = Callable[[TwoTower, Batch, Rng], Terms]


def groups(batch: Batch) -> Tensor:
    """The group of each row [B]: rows of one group are never each other's negatives."""
    group = batch["group"]
    assert isinstance(group, Field)
    return group.data


def match(model: TwoTower, image: Tokens, text: Tokens, positives: Tensor) -> Tensor:
    """Symmetric InfoNCE of two encoded roles: Tokens of B rows each, positives [B B] -> scalar."""
    ab, ba = model.similarity(image, text)
    return (info_nce(ab * model.scale, positives) + info_nce(ba * model.scale, positives.T)) / 2


def contrast(model: TwoTower, batch: Batch, rng: Rng) -> Terms:
    """In-batch contrast of image and text; rows of one group count as right."""
    same = same_group(groups(batch), groups(batch))
    return {"contrast": match(model, model.encode(batch, "image"), model.encode(batch, "text"), same)}


def image_text(bases: Bases, read: str = "pooled") -> dict[str, Tower]:
    """The two towers most papers start from."""
    return {"image": bases.encoder("image", read), "text": bases.encoder("text", read)}
