"""What a decoder remembers between two calls, and what may look into a pass."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor


class Cache:
    """Keys and values of earlier tokens, by layer; keeps everything. A subclass decides in `keep` what later calls see.

    Legend: B rows, H query heads, G key heads, T new tokens, S all tokens, d width of a head. Keys are stored turned to
    their positions (rotary), so leaving some out moves none. `next` [B] is the position of the next token, None before
    the first call; `length` counts the tokens that went through, padding included.
    """

    def __init__(self) -> None:
        self.next: Tensor | None = None
        self.length = 0
        self._held: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def extend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q [B H T d], k v [B G T d], mask [B T] -> k v [B G S d], mask [B 1 S] or [B G S]; new tokens come last."""
        real = mask[:, None]
        if layer in self._held:
            old_k, old_v, old = self._held[layer]
            k, v = torch.cat([old_k, k], 2), torch.cat([old_v, v], 2)
            real = torch.cat([old, real.expand(-1, old.shape[1], -1)], 2)
        self._held[layer] = self.keep(layer, q, k, v, real)
        return k, v, real

    def keep(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is stored of k v [B G S d], mask [B 1 S] or [B G S], after the queries q [B H T d] have seen them."""
        return k, v, mask

    def advance(self, following: Tensor, tokens: int) -> None:
        """The end of a call: the position after its last token [B], and how many tokens it had."""
        self.next, self.length = following, self.length + tokens

    def rows(self, index: Tensor) -> None:
        """Go on with the rows `index` [I] int64, which may repeat: beams."""
        self.next = None if self.next is None else self.next[index]
        self._held = {n: (k[index], v[index], mask[index]) for n, (k, v, mask) in self._held.items()}

    def numbers(self) -> int:
        """Numbers held: keys and values of every slot, masked ones included."""
        return sum(k.numel() + v.numel() for k, v, _ in self._held.values())


class Tap:
    """Sees and edits a pass of a decoder: injection, gates, deep prompts, patching, read-outs. This one does nothing.

    `layers` are those at which it is asked, None for all; layer n of `stream` is the input of layer n, and n = the
    number of layers is what goes into the last norm. `at` is the index of the first row of T among all tokens so far.
    """

    layers: Container[int] | None = None

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        """The residual stream [B T D] before a layer -> what goes in instead."""
        return h

    def heads(self, layer: int, o: Tensor, at: int) -> Tensor:
        """What each head of a layer found, [B H T d], before it is mixed -> what is mixed instead."""
        return o

    def skip(self, layer: int) -> bool:
        """Whether a layer is left out. It must be so in every call on one cache."""
        return False
