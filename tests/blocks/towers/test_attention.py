from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.blocks.towers.attention import Block, attend
from sensorium.core import SensoriumError, Tokens


@pytest.fixture
def block() -> Block:
    torch.manual_seed(0)
    return Block(8, 2).double()


def tokens(b: int = 3, t: int = 4) -> Tokens:
    g = torch.Generator().manual_seed(0)
    mask = torch.rand(b, t, generator=g) < 0.7
    mask[0] = True
    return Tokens(torch.randn(b, t, 8, generator=g, dtype=torch.float64), mask)


def test_attend_by_hand() -> None:
    """Keys 0, log 3, masked: weights 1/4 and 3/4; the second row sees nothing."""
    q, v = torch.ones(2, 1, 1, 1), torch.tensor([4.0, 8.0, 1e6]).view(1, 1, 3, 1).expand(2, 1, 3, 1)
    k = torch.tensor([1.0, 3.0, 50.0]).log().view(1, 1, 3, 1).expand(2, 1, 3, 1)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert attend(q, k, v, mask).flatten().tolist() == [pytest.approx(7.0), 0.0]


def test_agrees_with_torch() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=g)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]]).bool()
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None, None])
    torch.testing.assert_close(attend(q, k, v, mask), want)


@pytest.mark.parametrize("fill", [1e4, float("nan")])
def test_padding_changes_nothing(block: Block, fill: float) -> None:
    t = tokens()
    x = torch.nn.functional.pad(t.x, (0, 0, 2, 1))
    mask = torch.nn.functional.pad(t.mask, (2, 1))
    out = block(Tokens(x.masked_fill(~mask[..., None], fill), mask)).x
    torch.testing.assert_close(out[:, 2:-1], block(t).x)
    assert not out[~mask].any()


def test_rows_and_tokens_permute(block: Block) -> None:
    t, rows, places = tokens(), torch.tensor([2, 0, 1]), torch.tensor([3, 1, 0, 2])
    moved = Tokens(t.x[rows][:, places], t.mask[rows][:, places])
    torch.testing.assert_close(block(moved).x, block(t).x[rows][:, places])
    assert not torch.allclose(block(t).x[0], block(Tokens(t.x.flip(2), t.mask)).x[0])


def test_a_row_without_tokens_is_not_nan(block: Block) -> None:
    t = tokens()
    t.mask[1] = False
    t.x.requires_grad_()
    out = block(t).x
    out.square().sum().backward()
    assert not out[1].any() and t.x.grad is not None and t.x.grad.isfinite().all() and not t.x.grad[1].any()


def test_gradients(block: Block) -> None:
    t = tokens(2, 3)
    assert torch.autograd.gradcheck(lambda x: block(Tokens(x, t.mask)).x, (t.x.requires_grad_(),))


def test_starts_at_unit_scale() -> None:
    torch.manual_seed(0)
    weights: list[Tensor] = [Block(w, 2).qkv.weight for w in (64, 256)]
    assert [w.std().item() for w in weights] == pytest.approx([64**-0.5, 256**-0.5], rel=0.02)


def test_heads_must_divide() -> None:
    with pytest.raises(SensoriumError, match="8 does not split into 3"):
        Block(8, 3)
