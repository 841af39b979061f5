from __future__ import annotations

from collections import deque

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.blocks.memory.queue import Queue


@given(st.integers(1, 7), st.lists(st.integers(0, 10), max_size=8))
@settings(max_examples=60, deadline=None)
def test_holds_what_a_deque_holds(size: int, pushes: list[int]) -> None:
    queue, oracle, n = Queue(2, size), deque[tuple[float, int]](maxlen=size), 0
    for count in pushes:
        new = torch.arange(n, n + count)
        queue.push(torch.stack([new * 1.5, -new * 1.0], 1), new)
        oracle.extend((k * 1.5, k) for k in range(n, n + count))
        n += count
        x, ids, mask = queue.read()
        assert mask.sum() == len(oracle)
        assert sorted(zip(x[mask, 0].tolist(), ids[mask].tolist(), strict=True)) == sorted(oracle)
        assert torch.equal(x[mask, 1], -ids[mask].float())
        assert (ids[~mask] == -1).all() and not x[~mask].any()


def test_push_keeps_no_gradient_and_spoils_none() -> None:
    queue, weight = Queue(2, 3), torch.ones(2, requires_grad=True)
    queue.push(weight.expand(2, 2), torch.tensor([4, 5]))
    x, _, _ = queue.read()
    assert not x.requires_grad
    loss = (x * weight).square().sum()
    queue.push(torch.zeros(3, 2), torch.arange(3))
    loss.backward()
    assert weight.grad is not None and weight.grad.tolist() == [4.0, 4.0]


def test_resumes_from_its_state() -> None:
    first, second = Queue(1, 3), Queue(1, 3)
    first.push(torch.ones(2, 1), torch.tensor([1, 2]))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.push(torch.full((2, 1), 2.0), torch.tensor([3, 4]))
    for a, b in zip(first.read(), second.read(), strict=True):
        assert torch.equal(a, b)
