from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.towers.query import BoxHead, QueryDecoder, QueryLayer
from sensorium.core import SensoriumError, Tokens

DIM, HEADS, QUERIES = 16, 4, 5


def memory(length: int = 7, real: int = 4, rows: int = 3) -> Tokens:
    x = torch.randn(rows, length, DIM, generator=torch.Generator().manual_seed(1))
    return Tokens(x, torch.arange(length).expand(rows, -1) < real)


def decoder() -> QueryDecoder:
    torch.manual_seed(0)
    return QueryDecoder(QUERIES, DIM, 2, HEADS)


def test_a_layer_is_self_attention_cross_attention_and_an_mlp() -> None:
    torch.manual_seed(0)
    layer, place, t = QueryLayer(DIM, HEADS), torch.randn(QUERIES, DIM), memory()
    x = torch.randn(3, QUERIES, DIM)

    def theirs(q: nn.Linear, k: nn.Linear, v: nn.Linear, out: nn.Linear) -> nn.MultiheadAttention:
        attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([q.weight, k.weight, v.weight]))
            attention.in_proj_bias.zero_()
            attention.out_proj.load_state_dict(out.state_dict())
        return attention

    def half(both: nn.Linear, at: int) -> nn.Linear:
        part = nn.Linear(DIM, DIM)
        part.weight.data = both.weight.data[at * DIM : (at + 1) * DIM]
        return part

    among = theirs(half(layer.qk, 0), half(layer.qk, 1), layer.v, layer.out)
    across = theirs(layer.cross.q, half(layer.cross.kv, 0), half(layer.cross.kv, 1), layer.cross.out)
    h = layer.norms[0](x)
    want = x + among(h + place, h + place, h)[0]
    want = want + across(layer.norms[1](want) + place, t.x, t.x, key_padding_mask=~t.mask)[0]
    want = want + layer.mlp(layer.norms[2](want))
    torch.testing.assert_close(layer(x, t, place), want, atol=1e-5, rtol=0)


def test_every_layer_is_given_and_the_last_differs() -> None:
    held = decoder()(memory())
    assert held.shape == (2, 3, QUERIES, DIM) and (held[0] - held[1]).abs().max() > 0.1


@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_padding_of_the_memory_changes_nothing(junk: float) -> None:
    model, t = decoder(), memory()
    dirty = Tokens(t.x.masked_fill(~t.mask[..., None], junk), t.mask)
    short = Tokens(t.x[:, :4], t.mask[:, :4])
    torch.testing.assert_close(model(dirty), model(short), atol=1e-5, rtol=0)


def test_queries_are_a_set_and_rows_are_apart() -> None:
    model, t = decoder(), memory()
    held: Tensor = model(t)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        model.queries.copy_(model.queries[order])
    torch.testing.assert_close(model(t), held[:, :, order], atol=1e-5, rtol=0)
    rows = torch.tensor([2, 0, 1])
    torch.testing.assert_close(model(t.rows(rows)), held[:, rows][:, :, order], atol=1e-5, rtol=0)


def test_boxes_lie_in_the_unit_square() -> None:
    torch.manual_seed(0)
    found = BoxHead(DIM)(torch.randn(4, 3, DIM) * 10)
    assert found.shape == (4, 3, 4) and ((found > 0) & (found < 1)).all() and found.std() > 0.05


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SensoriumError, match="width 16 does not split into 5 heads"):
        QueryLayer(DIM, 5)
