"""What goes on inside a decoder: the residual stream before every layer, and what each of its matrices reads.

Legend: B rows, T tokens, D width, I width of what a matrix reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from sensorium.core import SensoriumError, Tokens

from ..precision import wide
from .cache import Tap
from .decoder import Decoder


class Capture(Tap):
    """Keeps the stream of a pass: `streams[n]` [B T D] is the input of layer n, the last one that of the last norm."""

    def __init__(self) -> None:
        self.streams: list[Tensor] = []

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        self.streams.append(h.detach())
        return h


@torch.no_grad()
def streams(decoder: Decoder, t: Tokens) -> list[Tokens]:
    """Tokens [B T D] -> the input of each layer and of the last norm [B T D], with their mask and kinds."""
    tap = Capture()
    decoder(t, tap=tap)
    return [replace(t, x=x) for x in tap.streams]


def of_kind(t: Tokens, kind: int) -> Tokens:
    """Only the tokens of one kind are real.

    Raises:
        SensoriumError: tokens of which no kind is known.
    """
    if t.kind is None:
        raise SensoriumError("these tokens have no kinds; expected those of an interleaved sequence")
    return replace(t, mask=t.mask & (t.kind == kind))


def matrices(decoder: Decoder) -> dict[str, nn.Linear]:
    """The matrices inside the layers by name ("0.q", "0.mlp.up" …); not those that read and say words."""
    return {name: part for name, part in decoder.layers.named_modules() if isinstance(part, nn.Linear)}


@torch.no_grad()
def input_norms(decoder: Decoder, sequences: Iterable[Tokens], kind: int | None = None) -> dict[str, Tensor]:
    """Per matrix the L2 norm [I] of each entry of what it reads, over the real tokens of all sequences, or of a kind.

    As Wanda measures activations (Sun et al. 2023, arXiv 2306.11695, eq. 1).

    Raises:
        SensoriumError: no sequence at all.
    """
    total: dict[str, Tensor] = {}
    for t in sequences:
        real = t.mask if kind is None else of_kind(t, kind).mask
        with _read(decoder, partial(_add, total, real)):
            decoder(t)
    if not total:
        raise SensoriumError("activations of no sequence; expected at least one")
    return {name: squares.sqrt() for name, squares in total.items()}


def _add(total: dict[str, Tensor], real: Tensor, name: str, x: Tensor) -> None:
    squares = wide(x)[real].square().sum(0)
    total[name] = total[name] + squares if name in total else squares


@contextmanager
def _read(decoder: Decoder, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Shows what every matrix reads [B T I] while it lasts."""

    def hook(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        see(name, given[0])

    hooks = [m.register_forward_pre_hook(partial(hook, name)) for name, m in matrices(decoder).items()]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()
