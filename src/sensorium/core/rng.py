"""Named, counter-based randomness.

One generator per purpose, derived from (seed, name, step): an arm that draws negatives sees the batches its baseline
sees, and resuming needs no generator state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import torch


def derive(*parts: object) -> int:
    """Integers and strings -> a seed in [0, 2^63), equal on every machine (never `hash()`)."""
    text = "\x1f".join(str(p) for p in parts).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Rng:
    """A source of generators: `rng("mixup")` is the generator of that purpose at this seed, step and rank."""

    seed: int
    step: int = 0
    rank: int = 0

    def at(self, step: int) -> Rng:
        """The same source at another step."""
        return replace(self, step=step)

    def number(self, purpose: str) -> int:
        """The seed of a purpose, for libraries with generators of their own."""
        return derive(self.seed, purpose, self.step, self.rank)

    def __call__(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        return torch.Generator(device).manual_seed(self.number(purpose))
