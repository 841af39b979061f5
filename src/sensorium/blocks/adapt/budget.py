"""Memory-adjusted FLOPs: what a training step costs, weighed by the memory that it holds (arXiv 2408.14471)."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sensorium.core import Batch, Method, Rng

from ..flops import step_flops

MOMENTS = 2
"""What AdamW keeps of each trained weight."""


def step_bytes(method: Method, batch: Batch) -> int:
    """Bytes that a training step holds: weights and buffers, gradients and moments of what is trained, and what the
    backward pass needs. Counted, not measured, so that it is the same on every machine; the method is copied."""
    copy = deepcopy(method).train()
    own = [*copy.parameters(), *copy.buffers()]
    weights = {t.untyped_storage().data_ptr() for t in own}
    saved: dict[int, Tensor] = {}  # the tensors themselves: a storage that is freed could give its place to another

    def keep(t: Tensor) -> Tensor:
        if (at := t.untyped_storage().data_ptr()) not in weights:
            saved[at] = t
        return t

    with torch.random.fork_rng(devices=[]), saved_tensors_hooks(keep, lambda t: t):
        copy(batch, Rng(0))
    held = sum(t.numel() * t.element_size() for t in own)
    trained = sum(p.numel() * p.element_size() for p in copy.parameters() if p.requires_grad)
    return held + (1 + MOMENTS) * trained + sum(t.untyped_storage().nbytes() for t in saved.values())


def memory_adjusted(method: Method, batch: Batch, reference: Method) -> float:
    """Memory-adjusted FLOPs of a step: its FLOPs times its memory as a multiple of the reference's."""
    return step_flops(method, batch) * step_bytes(method, batch) / step_bytes(reference, batch)
