"""Anybody's causal LM as our decoder: one adapter for all whose attention is handed its queries, keys and values.

The model's own layers, norms, activations and positions run as they are; what its attention finds comes from our cache,
our visibility and our taps. The model arrives as modules: nothing here knows where they are from.

Legend: B rows, T tokens of this call, D width, H query heads, G key heads, d width of a head.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sensorium.core import SensoriumError, Tokens

from .cache import Cache, Tap
from .decoder import Decoder, _asked, _following, _keys, _said, attend, visible


@dataclass(frozen=True, eq=False)
class Reading:
    """One pass over tokens: who sees whom [B or 1 1 T T], which are real [B T], the index of the first."""

    seen: Tensor
    mask: Tensor
    at: int
    cache: Cache | None
    tap: Tap

    def found(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What each head finds: q [B H T d], k v [B G T d] -> [B H T d]."""
        k, v, real = (
            self.cache.extend(layer, q, k, v, self.mask) if self.cache is not None else (k, v, self.mask[:, None])
        )
        out = attend(q, k, v, _keys(self.seen, real))
        return self.tap.heads(layer, out, self.at) if _asked(self.tap, layer) else out

    def stream(self, layer: int, h: Tensor) -> Tensor:
        """The stream [B T D] before a layer, as the tap has it."""
        return self.tap.stream(layer, h, self.at) if _asked(self.tap, layer) else h


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **given: Any
) -> tuple[Tensor, None]:
    """q [B H T d], k v [B G T d] -> [B T H d]: the attention function of a hosted model, which passes `reading` and
    `scaling` on to it.

    Queries are rescaled so that caches and taps meet those that `attend` expects, whatever the model's own scaling.

    Raises:
        SensoriumError: scores that the model bends or shares out in a way that this attention does not.
    """
    reading, scaling = given["reading"], given.get("scaling") or query.shape[-1] ** -0.5
    if odd := [name for name in ("softcap", "s_aux") if given.get(name) is not None]:
        raise SensoriumError(f"attention with {odd[0]!r} has no adapter; expected plain softmax attention")
    found = reading.found(module.layer_idx, query * (scaling * query.shape[-1] ** 0.5), key, value)
    return found.to(query.dtype).transpose(1, 2).contiguous(), None


class Hosted(Decoder):
    """A causal LM in parts: `trunk` owns the list of layers by the name `stack` and ends with the last norm; `words`
    embed ids, `says` scores them.

    `trunk` is taken apart: it gives its layers away. `begin` and `end` are ids that the model itself knows. Padding,
    positions, masks, caches and taps are as in `Decoder`; there is no memory.
    """

    def __init__(
        self,
        trunk: nn.Module,
        stack: str,
        words: nn.Embedding,
        says: nn.Linear,
        *,
        begin: int,
        end: int,
        dim: int,
        heads: int,
        length: int,
    ) -> None:
        nn.Module.__init__(self)  # none of the parts that a decoder makes: all are given
        self.dim, self.length, self.reads, self.stack = dim, length, False, stack
        self.begin, self.end, self.each = begin, end, dim // heads
        self.words, self.says, self.layers = words, says, getattr(trunk, stack)
        delattr(trunk, stack)
        self.trunk = trunk

    def forward(
        self,
        t: Tokens,
        *,
        see: bool | Tensor = True,
        memory: Tokens | None = None,
        cache: Cache | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Tokens [B T D] -> [B T D] after the last norm, as `Decoder.forward`.

        Raises:
            SensoriumError: a memory, positions of several coordinates, or beyond the longest sequence.
        """
        if memory is not None:
            raise SensoriumError(f"a decoder without memory was given {_said(memory)}")
        pos, padded = self._positions(t, cache), ~t.mask[..., None]
        reading = Reading(visible(see, t.mask), t.mask, cache.length if cache is not None else 0, cache, tap or Tap())
        out = self._running(reading)(
            inputs_embeds=t.x.masked_fill(padded, 0),
            position_ids=pos.masked_fill(~t.mask, 0),
            use_cache=False,
            reading=reading,
        )
        if cache is not None:
            cache.advance(_following(pos, t.mask, cache), t.mask.shape[1])
        return out.last_hidden_state.masked_fill(padded, 0)  # type: ignore[no-any-return]

    def _running(self, reading: Reading) -> nn.Module:
        """The trunk with its layers, each asked about by the reading; it shares all weights."""
        last = len(self.layers) - 1
        layers = nn.ModuleList(_Watched(layer, reading, n, n == last) for n, layer in enumerate(self.layers))
        trunk = copy(self.trunk)
        trunk._modules = {**self.trunk._modules, self.stack: layers}
        return trunk


class _Watched(nn.Module):
    """A layer of a pass: its input, and what goes into the last norm after the last layer, are shown to the tap."""

    def __init__(self, layer: nn.Module, reading: Reading, n: int, last: bool) -> None:
        super().__init__()
        self.layer, self.reading, self.n, self.last = layer, reading, n, last

    def forward(self, h: Tensor, *given: Any, **named: Any) -> Tensor:
        h = self.reading.stream(self.n, h)
        if not self.reading.tap.skip(self.n):
            h = self.layer(h, *given, **named)
        return self.reading.stream(self.n + 1, h) if self.last else h
