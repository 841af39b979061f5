"""Codebooks by k-means, and what they make ids of: patches of pictures and groups of a vector's numbers.

Nothing is trained by gradient: a codebook is fitted once, on what a data set's train rows hold.
Shape legend: B batch, N vectors, D their width, K codes, G groups, H W pixels, h w cells of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, Ids, Rng, SensoriumError

MOST = 16_384
"""Vectors that a codebook is fitted on; more move it hardly at all."""
ROUNDS = 12


def seeds(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """[N D] -> `size` of the vectors, each drawn by its squared distance to those before: k-means++ (Arthur and
    Vassilvitskii 2007). Where fewer differ the rest repeat the first."""
    luck = torch.rand(size, generator=generator)
    at = [int(luck[0] * len(x))]
    far = (x - x[at[0]]).square().sum(1)
    for u in luck[1:].tolist():
        total = far.cumsum(0)
        if total[-1] <= 0:
            return torch.cat([x[at], x[at[:1]].expand(size - len(at), -1)])
        at.append(min(int(torch.searchsorted(total, u * total[-1])), len(x) - 1))
        far = torch.minimum(far, (x - x[at[-1]]).square().sum(1))
    return x[at]


class Codes(nn.Module):
    """`size` codes of width `dim`, zeros until `fit`."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.codes: Tensor
        self.register_buffer("codes", torch.zeros(size, dim))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Lloyd's k-means on vectors [N D], N ≥ 1; a code that is nearest to none stays where it is."""
        generator = Rng(0)("kmeans")
        x = x[torch.randperm(len(x), generator=generator)[:MOST]]
        codes = seeds(x, len(self.codes), generator)
        for _ in range(ROUNDS):
            near = nearest_code(x, codes)
            count = torch.bincount(near, minlength=len(codes))[:, None]
            mean = torch.zeros_like(codes).index_add_(0, near, x) / count.clamp(min=1)
            codes = torch.where(count > 0, mean, codes)
        self.codes.copy_(codes)

    def ids(self, x: Tensor) -> Tensor:
        """[... D] -> [...] int64: the nearest code, the first of equally near ones."""
        return nearest_code(x, self.codes)


@torch.no_grad()
def nearest_code(x: Tensor, codes: Tensor) -> Tensor:
    """[... D], [K D] -> [...] int64."""
    far = codes.square().sum(1) - 2 * x.float() @ codes.T
    return far.argmin(-1)


def whole(ids: Tensor, value: Field) -> Ids:
    """Ids [B N] of a value: all of a row are there, or none."""
    there = torch.ones_like(ids, dtype=torch.bool)
    return Ids(ids, there if value.mask is None else there & value.mask[:, None])


def cut(x: Tensor, side: int) -> Tensor:
    """[B C H W] -> [B h*w C*side*side], row by row."""
    if x.shape[2] % side or x.shape[3] % side:
        raise SensoriumError(f"pictures of {x.shape[2]} x {x.shape[3]}; expected multiples of {side}")
    return F.unfold(x, side, stride=side).transpose(1, 2)


def glued(patches: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """[B h*w C*side*side] -> [B C H W], the inverse of `cut`."""
    return F.fold(patches.transpose(1, 2), size, side, stride=side)


class PatchCodes(nn.Module):
    """Pictures u8 [B 3 H W] of one `size` <-> ids [B h*w]: each patch of `side` pixels is the nearest of `codes`."""

    def __init__(self, size: tuple[int, int], codes: int, side: int = 4) -> None:
        super().__init__()
        self.size, self.side, self.vocab = size, side, codes
        self.shape = (size[0] // side, size[1] // side)
        self.book = Codes(codes, 3 * side * side)

    def solve(self, values: Sequence[Field]) -> None:
        """Fit the codes on pictures."""
        few = [v.data if v.mask is None else v.data[v.mask] for v in values]
        patches = cut(torch.cat(few).float(), self.side).flatten(0, 1)
        if len(patches):
            self.book.fit(patches)

    def encode(self, value: Field) -> Ids:
        """u8 [B 3 H W] -> [B h*w]; a row without a picture is masked."""
        ids = self.book.ids(cut(value.data.float(), self.side))
        return whole(ids, value)

    def decode(self, ids: Tensor) -> Field:
        """[B h*w] -> u8 [B 3 H W]."""
        x = glued(self.book.codes[ids], self.size, self.side)
        return Field(x.round().clamp(0, 255).to(torch.uint8))


class VectorCodes(nn.Module):
    """Vectors [B D] <-> ids [B G]: product quantisation (Jégou et al. 2011), each group of numbers by a codebook of its
    own."""

    def __init__(self, dim: int, groups: int, codes: int) -> None:
        super().__init__()
        if dim % groups:
            raise SensoriumError(f"width {dim} does not split into {groups} groups; expected a divisor of {dim}")
        self.shape, self.vocab, self.groups = (groups, 1), codes, groups
        self.books = nn.ModuleList(Codes(codes, dim // groups) for _ in range(groups))

    def _parts(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.groups, -1)

    def solve(self, values: Sequence[Field]) -> None:
        """Fit every codebook on vectors [B D]."""
        parts = self._parts(torch.cat([v.data for v in values]).float())
        for k, book in enumerate(self.books):
            assert isinstance(book, Codes)
            book.fit(parts[:, k])

    def encode(self, value: Field) -> Ids:
        """[B D] -> [B G]."""
        parts = self._parts(value.data)
        ids = torch.stack([book.ids(parts[:, k]) for k, book in enumerate(self.books)], 1)  # type: ignore[operator]
        return whole(ids, value)

    def decode(self, ids: Tensor) -> Field:
        """[B G] -> [B D]."""
        return Field(self.expected(F.one_hot(ids, self.vocab).float()))

    def expected(self, odds: Tensor) -> Tensor:
        """How likely each code is [B G K] -> the mean vector [B D]."""
        return torch.cat([odds[:, k] @ book.codes for k, book in enumerate(self.books)], 1)  # type: ignore[operator]


class FeatureCodes(nn.Module):
    """Feature maps [B T D] of a grid of `shape` <-> ids [B T]: each vector is the nearest of `codes`."""

    def __init__(self, shape: tuple[int, int], dim: int, codes: int) -> None:
        super().__init__()
        self.shape, self.vocab, self.book = shape, codes, Codes(codes, dim)

    def solve(self, values: Sequence[Field]) -> None:
        """Fit the codes on feature maps."""
        self.book.fit(torch.cat([v.data.float().flatten(0, 1) for v in values]))

    def encode(self, value: Field) -> Ids:
        """[B T D] -> [B T]."""
        ids = self.book.ids(value.data)
        return whole(ids, value)

    def decode(self, ids: Tensor) -> Field:
        """[B T] -> [B T D]."""
        return Field(self.book.codes[ids])
