"""Stored features: what frozen towers compute is computed once per content and tower, and found again by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sensorium.blocks.towers.frozen import Frozen
from sensorium.core import Tokens, Value
from sensorium.data.cache import home, write_atomic

SHIPPED = Path(__file__).parent.parent / "starter" / "features"
Progress = Callable[[str, int, int], None]
Read = Callable[[Sequence[int]], Value]
"""Positions -> the raw value of those rows, as the tower reads it."""

BLOCK = 64


def _parts(identity: str) -> list[Path]:
    folder = home() / "features" / identity
    shipped = SHIPPED / f"{identity}.safetensors"
    return [p for p in (shipped, *sorted(folder.glob("*.safetensors"))) if p.is_file()]


def _sum(keys: Tensor, x: Tensor, lengths: Tensor) -> str:
    digest = xxhash.xxh3_128()
    for tensor in (keys, x.view(torch.int16), lengths.to(torch.int32)):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _part(path: Path) -> tuple[Tensor, Tensor, Tensor] | None:
    """keys, x, lengths of a stored part; None where it is torn or tampered with, so that it is computed again."""
    try:
        with safe_open(path, "pt") as part:
            keys, x, lengths = (part.get_tensor(name) for name in ("keys", "x", "length"))
            whole = (part.metadata() or {}).get("xxh3") == _sum(keys, x, lengths)
    except (OSError, SafetensorError, RuntimeError):
        return None
    return (keys, x, lengths) if whole else None


def _lookup(identity: str, keys: NDArray[np.uint64]) -> tuple[Tensor | None, Tensor, NDArray[np.bool_]]:
    """Stored rows of `keys` -> x [N T D] bf16 or None, lengths [N], which were found."""
    found = np.zeros(len(keys), dtype=bool)
    pieces: list[tuple[NDArray[np.int64], Tensor, Tensor]] = []
    for path in _parts(identity):
        if (part := _part(path)) is None:
            continue
        stored = part[0].numpy().view(np.uint64)
        order = np.argsort(stored)
        at = np.searchsorted(stored, keys, sorter=order).clip(max=len(stored) - 1)
        hit = (stored[order[at]] == keys) & ~found
        if hit.any():
            rows = torch.from_numpy(order[at[hit]])
            pieces.append((np.flatnonzero(hit), part[1][rows], part[2][rows].long()))
            found |= hit
    if not pieces:
        return None, torch.zeros(len(keys), dtype=torch.int64), found
    widest = max(x.shape[1] for _, x, _ in pieces)
    out = torch.zeros(len(keys), widest, pieces[0][1].shape[2], dtype=torch.bfloat16)
    lengths = torch.zeros(len(keys), dtype=torch.int64)
    for where, x, n in pieces:
        out[torch.from_numpy(where), : x.shape[1]] = x
        lengths[torch.from_numpy(where)] = n
    return out, lengths, found


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


def features(tower: Frozen, keys: NDArray[np.uint64], read: Read, say: Progress | None = None) -> Tokens:
    """Rows with content `keys` [N] through `tower` -> float32 Tokens [N T D]; only unseen content is computed."""
    unique, first, back = np.unique(keys, return_index=True, return_inverse=True)
    x, lengths, found = _lookup(tower.identity, unique)
    missing = np.flatnonzero(~found)
    if len(missing):
        new, new_lengths = compute(tower, read, [int(first[m]) for m in missing], say)
        name = f"{int(np.bitwise_xor.reduce(unique[missing])):016x}-{len(missing)}.safetensors"
        write_atomic(home() / "features" / tower.identity / name, pack(unique[missing], new, new_lengths))
        x = _merge(x, new, torch.from_numpy(missing), len(unique))
        lengths[torch.from_numpy(missing)] = new_lengths
    assert x is not None
    longest = max(1, int(lengths.max()))
    rows = torch.from_numpy(back)
    mask = torch.arange(longest) < lengths[rows][:, None]
    return Tokens(x[rows, :longest].float(), mask)


def _merge(old: Tensor | None, new: Tensor, where: Tensor, n: int) -> Tensor:
    widest = max(new.shape[1], old.shape[1] if old is not None else 0)
    out = torch.zeros(n, widest, new.shape[2], dtype=torch.bfloat16)
    if old is not None:
        out[:, : old.shape[1]] = old
    out[where, : new.shape[1]] = new
    return out
