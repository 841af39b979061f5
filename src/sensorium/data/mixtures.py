"""Streams of streams: which domains come when, and what else stands in a batch. A batch depends on its step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sensorium.core import Batch, Field, Ids, SensoriumError, Tokens, Value, derive

from .rows import Rows
from .stream import Stream


@dataclass(frozen=True)
class Mixture:
    """Batches of several streams side by side, in the keys that all of them have."""

    streams: Sequence[Stream]

    def __post_init__(self) -> None:
        if not self.streams:
            raise SensoriumError("a mixture of no streams; expected one or more")

    def batch(self, step: int) -> Batch:
        """The batch of every stream at this step, one after the other."""
        parts = [stream.batch(step) for stream in self.streams]
        return {key: together([p[key] for p in parts]) for key in parts[0] if all(key in p for p in parts)}


@dataclass(frozen=True)
class Foreign:
    """Rows of another data set: their "row" and "group" are counted downwards from -1, so that none is taken for one
    of the data."""

    stream: Stream

    def batch(self, step: int) -> Batch:
        """The batch of this step."""
        found = dict(self.stream.batch(step))
        for key in ("row", "group"):
            value = found[key]
            assert isinstance(value, Field)
            found[key] = replace(value, data=-1 - value.data)
        return found


def together(values: Sequence[Value]) -> Value:
    """Rows of one kind, one after the other; shorter texts are padded at the end.

    Raises:
        SensoriumError: values of several kinds, or of shapes that do not stand together.
    """
    first = values[0]
    if isinstance(first, Ids) and all(isinstance(v, Ids) for v in values):
        longest = max(v.mask.shape[1] for v in values if isinstance(v, Ids))
        pad = [(0, longest - v.mask.shape[1]) for v in values if isinstance(v, Ids)]
        texts = [v for v in values if isinstance(v, Ids)]
        return Ids(
            torch.cat([torch.nn.functional.pad(t.ids, p) for t, p in zip(texts, pad, strict=True)]),
            torch.cat([torch.nn.functional.pad(t.mask, p) for t, p in zip(texts, pad, strict=True)]),
        )
    if isinstance(first, Field) and all(isinstance(v, Field) for v in values):
        fields = [v for v in values if isinstance(v, Field)]
        shapes = sorted({tuple(f.data.shape[1:]) for f in fields})
        if len(shapes) > 1:
            raise SensoriumError(f"values of shapes {shapes[0]} and {shapes[1]} do not stand in one batch")
        mask = None if all(f.mask is None for f in fields) else torch.cat([_present(f) for f in fields])
        return Field(torch.cat([f.data for f in fields]), mask)
    if isinstance(first, Tokens):
        raise SensoriumError("stored features cannot be mixed with those of another data set; expected raw values")
    raise SensoriumError(f"values of kinds {' and '.join(sorted({type(v).__name__ for v in values}))} in one batch")


def _present(value: Field) -> torch.Tensor:
    if value.mask is not None:
        return value.mask
    return torch.ones(len(value.data), dtype=torch.bool, device=value.data.device)


def shares(size: int, weights: Sequence[float]) -> list[int]:
    """A batch of `size` split by weights, the largest remainders rounded up: whole numbers of that sum.

    Raises:
        SensoriumError: a weight below 0, or none above it.
    """
    w = np.asarray(weights, np.float64)
    if not len(w) or (w < 0).any() or w.sum() <= 0:
        raise SensoriumError(f"weights {list(weights)}; expected 0 or more, and one above 0")
    exact = size * w / w.sum()
    whole = np.floor(exact).astype(np.int64)
    for k in np.argsort(-(exact - whole), kind="stable")[: size - int(whole.sum())]:
        whole[k] += 1
    return [int(n) for n in whole]


def buffer(rows: Rows, most: int, seed: int) -> Rows:
    """At most `most` of the rows, drawn once: what is kept for replay. A buffer of fewer rows is part of one of more.

    Raises:
        SensoriumError: a buffer of no rows.
    """
    if most < 1:
        raise SensoriumError(f"a buffer of {most} rows; expected at least 1")
    order = np.random.Generator(np.random.Philox(derive(seed, "buffer"))).permutation(len(rows))
    return rows.select(np.sort(rows.index[order[:most]]))


@dataclass(frozen=True)
class Domains:
    """The parts of a stream: the name of each, how many rows it has, and what the start loses on it."""

    names: Sequence[str]
    sizes: Sequence[int]
    losses: Sequence[float]
    seed: int = field(default=0)


Ordering = Callable[[Domains], NDArray[np.int64]]
"""Domains -> the order in which they come, int64 [D]."""


def as_given(domains: Domains) -> NDArray[np.int64]:
    """As they are named."""
    return np.arange(len(domains.names))


def shuffled(domains: Domains) -> NDArray[np.int64]:
    """In an order drawn from the seed."""
    return np.random.Generator(np.random.Philox(derive(domains.seed, "domains"))).permutation(len(domains.names))


def easy_first(domains: Domains) -> NDArray[np.int64]:
    """What the start loses least on comes first."""
    return np.argsort(np.asarray(domains.losses), kind="stable")


def hard_first(domains: Domains) -> NDArray[np.int64]:
    """What the start loses most on comes first."""
    return easy_first(domains)[::-1].copy()


def common_first(domains: Domains) -> NDArray[np.int64]:
    """Domains of many rows come first."""
    return np.argsort(-np.asarray(domains.sizes), kind="stable")


def rare_first(domains: Domains) -> NDArray[np.int64]:
    """Domains of few rows come first."""
    return np.argsort(np.asarray(domains.sizes), kind="stable")
