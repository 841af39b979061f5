from __future__ import annotations

import pytest
import torch
from torch import nn

from sensorium.blocks.fusion.cross import CrossAttention, CrossBlock
from sensorium.core import SensoriumError, Tokens

DIM, HEADS = 16, 4


def tokens(length: int, real: int, seed: int, rows: int = 3) -> Tokens:
    x = torch.randn(rows, length, DIM, generator=torch.Generator().manual_seed(seed))
    return Tokens(x, torch.arange(length).expand(rows, -1) < real)


def test_it_is_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = CrossAttention(DIM, HEADS), nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    with torch.no_grad():
        for bias in (ours.q.bias, ours.kv.bias, ours.out.bias):
            bias.normal_()
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.kv.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.kv.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, memory = tokens(5, 5, 1).x, tokens(6, 4, 2)
    want = theirs(x, memory.x, memory.x, key_padding_mask=~memory.mask)[0]
    torch.testing.assert_close(ours(x, memory), want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_padding_on_both_sides_changes_nothing(junk: float) -> None:
    torch.manual_seed(0)
    block = CrossBlock(DIM, HEADS)
    t, memory = tokens(5, 3, 1), tokens(6, 4, 2)
    dirty = [Tokens(s.x.masked_fill(~s.mask[..., None], junk), s.mask) for s in (t, memory)]
    short = [Tokens(s.x[:, :n], s.mask[:, :n]) for s, n in ((t, 3), (memory, 4))]
    got, want = block(*dirty), block(*short)
    torch.testing.assert_close(got.x[:, :3], want.x, atol=1e-5, rtol=0)
    assert not got.x[:, 3:].any()


def test_an_empty_memory_says_nothing() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(DIM, HEADS)
    x = tokens(5, 5, 1).x
    assert not layer(x, tokens(6, 0, 2)).any()
    assert layer(x, tokens(6, 1, 2)).abs().min() > 0


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SensoriumError, match="width 16 does not split into 3 heads"):
        CrossAttention(DIM, 3)
