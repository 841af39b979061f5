"""Decoders that leave something out: copies that share the weights of the whole one, which stays as it is.

Legend: B rows, T tokens of the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sensorium.core import SensoriumError, Tokens, nearest

from .capture import matrices
from .decoder import Decoder, Layer

FFN, ATTENTION = "ffn", "attention"
SKIPS = (FFN, ATTENTION)
"""Parts of a layer that tokens may go past."""
M = TypeVar("M", bound=nn.Module)


class Where(nn.Module):
    """[B T ...] -> [B T ...]: a module applied to the tokens `rows` [B T] alone, 0 elsewhere.

    What has another number of tokens comes after the prompt, and is computed whole.
    """

    def __init__(self, module: nn.Module, rows: Tensor) -> None:
        super().__init__()
        self.module, self.rows = module, rows

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[:2] != self.rows.shape:
            return self.module(x)  # type: ignore[no-any-return]
        some: Tensor = self.module(x[self.rows])
        out = some.new_zeros(*x.shape[:2], *some.shape[1:])
        out[self.rows] = some
        return out


def skipping(decoder: Decoder, skip: Tensor, layers: Collection[int], parts: Collection[str]) -> Decoder:
    """A decoder in which the tokens `skip` [B T] bool of the prompt go past `parts` of some layers: "ffn", "attention".

    They leave the stream as it is there. Their keys and values are still computed, and seen by all others.

    Raises:
        SensoriumError: a layer or a part that is not there, or a decoder that hosts somebody else's layers.
    """
    if far := sorted(set(layers) - set(range(len(decoder.layers)))):
        raise SensoriumError(f"layer {far[0]} is skipped; this decoder has layers 0 to {len(decoder.layers) - 1}")
    if odd := sorted(set(parts) - set(SKIPS)):
        raise SensoriumError(f"part {odd[0]!r} of a layer{nearest(odd[0], SKIPS)}")

    def changed(n: int, layer: nn.Module) -> nn.Module:
        if not isinstance(layer, Layer):
            raise SensoriumError("parts of layers are skipped in a decoder of our own; this one hosts somebody else's")
        own: dict[str, nn.Module] = {"mlp": layer.mlp} if FFN in parts else {}
        own |= {"q": layer.q, "out": layer.out} if ATTENTION in parts else {}
        return _with(layer, {name: Where(part, ~skip) for name, part in own.items()}) if n in layers else layer

    made = nn.ModuleList(changed(n, layer) for n, layer in enumerate(decoder.layers))
    return _with(decoder, {"layers": made})


def masked(decoder: Decoder, masks: Mapping[str, Tensor]) -> Decoder:
    """A decoder of which only the weights in `masks` are left: by a matrix's name bool, as its weights.

    Raises:
        SensoriumError: a matrix that is not there, or a mask of another shape.
    """
    known = matrices(decoder)
    for name, mask in masks.items():
        if name not in known:
            raise SensoriumError(f"mask of {name!r}{nearest(name, known)}")
        if mask.shape != known[name].weight.shape:
            shape = tuple(known[name].weight.shape)
            raise SensoriumError(f"mask of {name!r} has shape {tuple(mask.shape)}; expected {shape}")

    def pruned(name: str, part: nn.Module) -> nn.Module:
        return _Pruned(known[name], masks[name]) if name in masks else part

    return _with(decoder, {"layers": _replaced(decoder.layers, pruned)})


class _Pruned(nn.Module):
    """A linear layer with a part of its weights at 0."""

    def __init__(self, whole: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.whole, self.mask = whole, mask

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.whole.weight * self.mask, self.whole.bias)


def _replaced(module: nn.Module, change: Callable[[str, nn.Module], nn.Module], path: str = "") -> nn.Module:
    """A copy of a module whose leaves are changed, each told by its name."""
    parts = dict(module.named_children())
    if not parts:
        return change(path.removeprefix("."), module)
    return _with(module, {name: _replaced(part, change, f"{path}.{name}") for name, part in parts.items()})


def _with(module: M, parts: Mapping[str, nn.Module]) -> M:
    """A copy of a module that shares everything but some parts."""
    other = copy(module)
    other._modules = {**module._modules, **parts}
    vars(other).pop("train", None)  # that of a shared start speaks of the whole one
    return other


@torch.no_grad()
def pass_flops(decoder: Decoder, t: Tokens) -> int:
    """Floating-point operations of a pass over tokens [B T D]: matrix products, of which [A B] by [B C] counts 2ABC."""
    counter = FlopCounterMode(display=False)
    with counter:
        decoder(t)
    return int(counter.get_total_flops())
