"""What a training step costs, counted and not timed."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.utils.flop_counter import FlopCounterMode

from sensorium.core import Batch, Method, Rng


def step_flops(method: Method, batch: Batch) -> int:
    """Floating-point operations of one training step, forward and backward: matrix products and convolutions.

    A product of [A B] and [B C] counts 2ABC. The method is copied, so that nothing of it moves.
    """
    copy = deepcopy(method).train()
    counter = FlopCounterMode(display=False)
    with torch.random.fork_rng(devices=[]), counter:
        terms = copy(batch, Rng(0))
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
