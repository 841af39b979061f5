from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks import similarity
from sensorium.blocks.similarity import argmax_tokens, cosine, late, pool, truncate, unit
from sensorium.core import SensoriumError, Tokens


def tokens(b: int, t: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tokens:
    g = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(b, t, d, generator=g, dtype=dtype), torch.rand(b, t, generator=g) < 0.7)


def padded(t: Tokens, fill: float) -> Tokens:
    """Two more tokens in front, one behind, and `fill` wherever nothing is real."""
    x, mask = torch.nn.functional.pad(t.x, (0, 0, 2, 1)), torch.nn.functional.pad(t.mask, (2, 1))
    return Tokens(x.masked_fill(~mask[..., None], fill), mask)


def slow_late(a: Tokens, b: Tokens) -> Tensor:
    out = torch.zeros(len(a.x), len(b.x), dtype=torch.float64)
    for i in range(len(a.x)):
        for j in range(len(b.x)):
            x, y = a.x[i][a.mask[i]], b.x[j][b.mask[j]]
            if len(x) and len(y):
                out[i, j] = sum(max(float(torch.cosine_similarity(p, q, 0)) for q in y) for p in x) / len(x)
    return out


def test_hand_computed() -> None:
    a = Tokens(torch.tensor([[[2.0, 0.0], [0.0, 3.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]]))
    b = Tokens(torch.tensor([[[5.0, 0.0], [-1.0, 0.0]]]), torch.ones(1, 2, dtype=torch.bool))
    assert pool(a).tolist() == [[1.0, 1.5]]
    assert cosine(a, b).item() == pytest.approx(2 / 13**0.5)
    for_a, for_b = late(a, b)
    assert for_a.item() == 0.5  # tokens of a: best 1 and 0
    assert for_b.item() == 0.5  # tokens of b: best 1 and max(-1, 0)
    assert argmax_tokens(a, b).tolist() == [[0, 0, -1]]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_late_is_what_it_says(n: int, m: int, t: int, s: int, seed: int) -> None:
    a, b = tokens(n, t, 3, seed), tokens(m, s, 3, seed + 1)
    for_a, for_b = late(a, b)
    torch.testing.assert_close(for_a, slow_late(a, b))
    torch.testing.assert_close(for_b, slow_late(b, a))


@pytest.mark.parametrize("fill", [0.0, 1e4, float("nan"), float("inf")])
def test_padding_changes_nothing(fill: float) -> None:
    a, b = tokens(4, 3, 5, 0), tokens(6, 4, 5, 1)
    more = padded(a, fill).x.requires_grad_()
    pa, pb = replace(padded(a, fill), x=more), padded(b, fill)
    torch.testing.assert_close(cosine(pa, pb), cosine(a, b))
    for got, want in zip(late(pa, pb), late(a, b), strict=True):
        torch.testing.assert_close(got, want)
    best, more_best = argmax_tokens(a, b.rows(torch.arange(4))), argmax_tokens(pa, pb.rows(torch.arange(4)))
    assert torch.equal(more_best[:, 2:-1], torch.where(best < 0, best, best + 2))
    (cosine(pa, pb).sum() + sum(x.sum() for x in late(pa, pb))).backward()
    assert more.grad is not None and more.grad.isfinite().all() and not more.grad[~pa.mask].any()


def test_rows_without_tokens_score_zero() -> None:
    a, b = tokens(3, 2, 4, 0, torch.float32), tokens(2, 3, 4, 1, torch.float32)
    a.mask[1], b.mask[0] = False, False
    a.x.requires_grad_()
    scores = [cosine(a, b), late(a, b)[0], late(a, b)[1].T]
    for table in scores:
        assert not table[1].any() and not table[:, 0].any() and table[[0, 2], 1].all()
    torch.stack(scores).square().sum().backward()
    assert a.x.grad is not None and a.x.grad.isfinite().all()
    assert argmax_tokens(a.rows(torch.tensor([0])), b.rows(torch.tensor([0]))).tolist() == [[-1, -1]]


def test_blocks_give_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tokens(7, 3, 4, 0), tokens(5, 2, 4, 1)
    whole = late(a, b)
    for chunk in (1, 6, 13, 40, 100):
        monkeypatch.setattr(similarity, "CHUNK", chunk)
        for got, want in zip(late(a, b), whole, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-14)


def test_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tokens(3, 3, 4, 0), tokens(2, 3, 4, 1)
    monkeypatch.setattr(similarity, "CHUNK", 20)

    def both(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        p, q = Tokens(x, a.mask), Tokens(y, b.mask)
        return cosine(p, q), *late(p, q)

    assert torch.autograd.gradcheck(both, (a.x.requires_grad_(), b.x.requires_grad_()))


def test_unit() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    assert unit(x).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    unit(x).sum().backward()
    assert x.grad is not None and x.grad[1].tolist() == [0.0, 0.0]
    assert unit(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_float32_under_autocast() -> None:
    a, b = tokens(4, 3, 64, 0, torch.float32), tokens(4, 3, 64, 1, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cosine(a, b), *late(a, b)
    for got, want in zip(inside, (cosine(a, b), *late(a, b)), strict=True):
        assert got.dtype == torch.float32 and torch.equal(got, want)


def test_truncate() -> None:
    t = tokens(2, 3, 4, 0)
    assert torch.equal(truncate(t, 2).x, t.x[..., :2]) and truncate(t, 2).mask is t.mask
    for dim in (0, 5):
        with pytest.raises(SensoriumError, match=f"width 4 to {dim}"):
            truncate(t, dim)


def test_unequal_pairs_are_an_error() -> None:
    with pytest.raises(SensoriumError, match="2 and 3"):
        argmax_tokens(tokens(2, 3, 4, 0), tokens(3, 3, 4, 0))
