"""Stored features: what frozen towers compute is computed once per content and tower, and found again by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from sensorium.blocks.towers.frozen import Frozen
from sensorium.core import SensoriumError, Tokens, Value
from sensorium.data.cache import home, write_atomic

SHIPPED = Path(__file__).parent.parent / "starter" / "features"
Progress = Callable[[str, int, int], None]
Read = Callable[[Sequence[int]], Value]
"""Positions -> the raw value of those rows, as the tower reads it."""

BLOCK = 64
PART = 1 << 14
"""Rows per stored file."""


def _parts(identity: str) -> list[Path]:
    folder = home() / "features" / identity
    shipped = SHIPPED / f"{identity}.safetensors"
    return [p for p in (shipped, *sorted(folder.glob("*.safetensors"))) if p.is_file()]


def _sum(keys: Tensor, x: Tensor, lengths: Tensor) -> str:
    digest = xxhash.xxh3_128()
    for tensor in (keys, x.view(torch.int16), lengths.to(torch.int32)):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Part:
    """One stored file: keys [n] uint64, x bf16 [n T D] (mapped, not read), lengths [n] int32."""

    keys: NDArray[np.uint64]
    x: Tensor
    lengths: Tensor


def _part(path: Path) -> _Part | None:
    """A stored part; None where it is torn or tampered with, so that it is computed again."""
    try:
        with safe_open(path, "pt") as part:
            mark = (part.metadata() or {}).get("xxh3")
        stored = load_file(path)  # maps the file: pages come in as rows are asked for
        keys, x, lengths = (stored[name] for name in ("keys", "x", "length"))
        whole = mark == _sum(keys, x, lengths)
    except (OSError, SafetensorError, RuntimeError, KeyError):
        return None
    return _Part(keys.numpy().view(np.uint64), x, lengths) if whole else None


@dataclass(frozen=True, eq=False)
class Features:
    """Stored features of N rows: `part` and `row` [N] say where each lies. A batch reads its rows as float32 Tokens; a
    row where `there` [N] is False has no real token."""

    parts: Sequence[_Part]
    part: Tensor
    row: Tensor
    longest: int
    there: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def rows(self, index: Tensor) -> Tokens:
        """Tokens [I T D] float32."""
        width = self.parts[0].x.shape[2]
        x = torch.zeros(len(index), self.longest, width)
        lengths = torch.zeros(len(index), dtype=torch.int64)
        part, row = self.part[index], self.row[index]
        for k in torch.unique(part).tolist():
            mine = part == k
            stored = self.parts[k]
            wide = min(self.longest, stored.x.shape[1])
            x[mine, :wide] = stored.x[row[mine], :wide].float()
            lengths[mine] = stored.lengths[row[mine]].long()
        lengths = torch.where(self.there[index], lengths, 0)
        mask = torch.arange(self.longest) < lengths[:, None]
        return Tokens(x * mask[:, :, None], mask)

    def to(self, *args: Any, **kwargs: Any) -> Tokens:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


def _lookup(parts: Sequence[_Part], keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of `keys` is stored: part (-1 for nowhere) and row."""
    of, at = np.full(len(keys), -1, np.int64), np.zeros(len(keys), np.int64)
    for k, part in enumerate(parts):
        if not len(part.keys):
            continue
        order = np.argsort(part.keys)
        place = np.searchsorted(part.keys, keys, sorter=order).clip(max=len(order) - 1)
        hit = (part.keys[order[place]] == keys) & (of < 0)
        of[hit], at[hit] = k, order[place[hit]]
    return of, at


def compute(tower: Frozen, read: Read, positions: Sequence[int], say: Progress | None = None) -> tuple[Tensor, Tensor]:
    """Run a tower over rows in blocks -> x [n T D] bf16 padded to the longest, lengths [n]."""
    blocks: list[Tensor] = []
    lengths: list[Tensor] = []
    for start in range(0, len(positions), BLOCK):
        tokens = tower(read(positions[start : start + BLOCK]))
        blocks.append(tokens.x.to(torch.bfloat16).cpu())
        lengths.append(tokens.mask.sum(1).cpu())
        if say:
            say(
                f"features {tower.identity.split('-')[0]} ({tower.role})",
                min(start + BLOCK, len(positions)),
                len(positions),
            )
    widest = max(b.shape[1] for b in blocks)
    padded = [torch.nn.functional.pad(b, (0, 0, 0, widest - b.shape[1])) for b in blocks]
    return torch.cat(padded), torch.cat(lengths)


def pack(keys: NDArray[np.uint64], x: Tensor, lengths: Tensor) -> bytes:
    """The bytes of one stored part."""
    stored, lengths = torch.from_numpy(keys.view(np.int64).copy()), lengths.to(torch.int32)
    tensors = {"keys": stored, "x": x.contiguous(), "length": lengths}
    return save(tensors, {"xxh3": _sum(stored, x, lengths)})


def features(
    tower: Frozen,
    keys: NDArray[np.uint64],
    read: Read,
    say: Progress | None = None,
    there: NDArray[np.bool_] | None = None,
) -> Features:
    """Rows with content `keys` [N] through `tower`; only unseen content is computed, and stored every `PART` rows, so
    that what a killed run has computed is not computed again."""
    unique, first, back = np.unique(keys, return_index=True, return_inverse=True)
    parts = [found for path in _parts(tower.identity) if (found := _part(path)) is not None]
    of, at = _lookup(parts, unique)
    missing = np.flatnonzero(of < 0)
    missing = missing[np.argsort(first[missing])]  # in the order of the data: sources are read from front to back
    done = 0
    for start in range(0, len(missing), PART):
        some = missing[start : start + PART]
        x, lengths = compute(tower, read, [int(first[m]) for m in some], _shifted(say, done, len(missing)))
        name = f"{int(np.bitwise_xor.reduce(unique[some])):016x}-{len(some)}.safetensors"
        path = home() / "features" / tower.identity / name
        write_atomic(path, pack(unique[some], x, lengths))
        if (stored := _part(path)) is None:
            raise SensoriumError(f"{path} changed while it was written; try again")
        of[some], at[some] = len(parts), np.arange(len(some))
        parts.append(stored)
        done += len(some)
    counts = np.zeros(len(unique), np.int64)
    for k, part in enumerate(parts):
        counts[of == k] = part.lengths.numpy()[at[of == k]]
    back = back.reshape(-1)
    real = np.ones(len(keys), bool) if there is None else there
    longest = int(counts[back].max(initial=1, where=real))
    return Features(parts, torch.from_numpy(of[back]), torch.from_numpy(at[back]), longest, torch.from_numpy(real))


def _shifted(say: Progress | None, done: int, total: int) -> Progress | None:
    """Progress of one part as progress of the whole."""
    return None if say is None else lambda what, n, _: say(what, done + n, total)
