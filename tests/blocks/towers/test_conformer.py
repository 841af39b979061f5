"""The conformer against that of transformers, and blind to padding and to other rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoderLayer

from sensorium.blocks.towers.conformer import Conformer, ConformerBlock, Subsampled, counted
from sensorium.core import SensoriumError, Tokens

DIM = 16


def tokens(counts: list[int], longest: int, dim: int = DIM, seed: int = 0) -> Tokens:
    x = torch.randn(len(counts), longest, dim, generator=torch.Generator().manual_seed(seed))
    return Tokens(x, torch.arange(longest) < torch.tensor(counts)[:, None])


class Swapped(nn.Module):
    """A layer norm over the channels of [B D T], where the other side has its batch norm."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


def twin(block: ConformerBlock) -> Any:
    """The layer of transformers with the same weights."""
    config = Wav2Vec2ConformerConfig(
        hidden_size=DIM, num_attention_heads=4, intermediate_size=4 * DIM, hidden_act="silu",
        conv_depthwise_kernel_size=5, position_embeddings_type=None, attn_implementation="eager",
    )  # fmt: skip
    layer: Any = Wav2Vec2ConformerEncoderLayer(config).eval()
    for mine, norm, mlp in ((block.first, "ffn1_layer_norm", "ffn1"), (block.last, "ffn2_layer_norm", "ffn2")):
        getattr(layer, norm).load_state_dict(mine[0].state_dict())
        getattr(layer, mlp).intermediate_dense.load_state_dict(mine[1].state_dict())
        getattr(layer, mlp).output_dense.load_state_dict(mine[3].state_dict())
    layer.self_attn_layer_norm.load_state_dict(block.before.state_dict())
    parts = zip(block.qkv.weight.chunk(3), block.qkv.bias.chunk(3), strict=True)
    for name, (weight, bias) in zip(("linear_q", "linear_k", "linear_v"), parts, strict=True):
        getattr(layer.self_attn, name).load_state_dict({"weight": weight, "bias": bias})
    layer.self_attn.linear_out.load_state_dict(block.out.state_dict())
    near, conv = block.near, layer.conv_module
    conv.layer_norm.load_state_dict(near.before.state_dict())
    conv.pointwise_conv1.weight.data = near.gate.weight.data[..., None]
    conv.depthwise_conv.weight.data = near.near.weight.data
    conv.batch_norm = Swapped(near.between)
    conv.pointwise_conv2.weight.data = near.out.weight.data[..., None]
    layer.final_layer_norm.load_state_dict(block.norm.state_dict())
    return layer


@torch.no_grad()
def test_equals_the_layer_of_transformers() -> None:
    torch.manual_seed(0)
    block = ConformerBlock(DIM, 4)
    for name, p in block.named_parameters():
        if name.startswith("near.") and name.endswith(("gate.bias", "near.bias", "out.bias")):
            p.zero_()  # its convolutions have no biases
        else:
            p.add_(0.1 * torch.randn_like(p))
    t = tokens([9, 9], 9)
    torch.testing.assert_close(block(t).x, twin(block)(t.x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_and_other_rows_change_nothing() -> None:
    torch.manual_seed(1)
    model = Conformer(DIM, 2, 4)
    t = tokens([7, 4], 7)
    wide = nn.functional.pad(t.x.masked_fill(~t.mask[..., None], 0), (0, 0, 0, 5), value=float("nan"))
    out = model(Tokens(wide, nn.functional.pad(t.mask, (0, 5))))
    torch.testing.assert_close(out.x[:, :7], model(t).x)
    assert not out.x[~out.mask].any()
    torch.testing.assert_close(model(t.rows(torch.tensor([1]))).x[0, :4], out.x[1, :4])


@torch.no_grad()
def test_without_attention_a_token_sees_two_on_either_side() -> None:
    torch.manual_seed(2)
    block = ConformerBlock(DIM, 4, kernel=5)
    block.out.weight.zero_()
    t = tokens([11], 11)
    moved = t.x.clone()
    moved[0, 5, 0] += 1
    changed = (block(Tokens(moved, t.mask)).x - block(t).x).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7]


def test_four_frames_become_one_and_padding_changes_nothing() -> None:
    torch.manual_seed(3)
    layer = Subsampled(6, DIM)
    t = tokens([1, 4, 5, 17, 0], 17, 6)
    out = layer(Tokens(t.x, t.mask, torch.arange(17.0).expand(5, -1)[..., None]))
    assert out.mask.sum(1).tolist() == [1, 1, 2, 5, 0]
    assert out.pos is not None and out.pos[0, :, 0].tolist() == [0, 4, 8, 12, 16]
    alone = layer(Tokens(t.x[2:3, :5], t.mask[2:3, :5]))
    torch.testing.assert_close(alone.x[0], out.x[2, :2])
    assert not out.x[~out.mask].any() and alone.pos is None


def test_places_count_real_tokens() -> None:
    t = tokens([3], 5)
    late = Tokens(t.x.roll(2, 1), t.mask.roll(2, 1))
    torch.testing.assert_close(counted(late).x[:, 2:], counted(t).x[:, :3])
    assert not torch.equal(counted(t).x[:, 1], t.x[:, 1])


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(SensoriumError, match="does not split into 3 heads"):
        ConformerBlock(DIM, 3)
    with pytest.raises(SensoriumError, match="expected an odd number"):
        ConformerBlock(DIM, 4, kernel=4)
