from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.blocks.towers.vit import VisionTransformer
from sensorium.core import Field, SensoriumError


def tower(patch: int = 4, layers: int = 2, size: int = 16, registers: int = 0, dim: int = 8) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(patch, dim, layers, 2, size, registers)


def pixels(b: int, height: int, width: int, seed: int = 0) -> Field:
    draw = torch.Generator().manual_seed(seed)
    return Field(torch.randint(0, 256, (b, 3, height, width), generator=draw, dtype=torch.uint8))


def test_every_layer_shows_summary_registers_and_patches() -> None:
    held = tower(registers=3).layers(pixels(2, 16, 24))
    assert len(held) == 2
    for seen in held:
        assert seen.summary.shape == (2, 8) and seen.registers.shape == (2, 3, 8) and seen.patches.x.shape == (2, 24, 8)
        assert seen.patches.mask.all() and seen.patches.pos is not None
        assert seen.patches.pos[1].tolist() == [[r, c] for r in range(4) for c in range(6)]
    t = tower(registers=3)
    assert torch.equal(t(pixels(2, 16, 24)).x, t.seen(pixels(2, 16, 24)).patches.x)


def test_layers_are_those_of_torchs_encoder() -> None:
    """The vision transformer from torch's own parts, with our weights: convolution, places, pre-norm layers, norm."""
    ours, image = tower(layers=3, registers=1), pixels(2, 16, 16)
    for p in ours.parameters():
        torch.nn.init.normal_(p, std=0.3)
    with torch.no_grad():
        x = F.conv2d((image.data.float() - 127) / 128, ours.patches.weight, ours.patches.bias, stride=4)
        x = torch.cat([ours.before.expand(2, -1, -1), x.flatten(2).transpose(1, 2) + ours.places], 1)
        held = ours.layers(image)
        for n, (mine, seen) in enumerate(zip(ours.blocks, held, strict=True)):
            theirs = torch.nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
            theirs.load_state_dict(
                {
                    "self_attn.in_proj_weight": mine.qkv.weight, "self_attn.in_proj_bias": mine.qkv.bias,
                    "self_attn.out_proj.weight": mine.out.weight, "self_attn.out_proj.bias": mine.out.bias,
                    "linear1.weight": mine.mlp[0].weight, "linear1.bias": mine.mlp[0].bias,
                    "linear2.weight": mine.mlp[2].weight, "linear2.bias": mine.mlp[2].bias,
                    "norm1.weight": mine.before.weight, "norm1.bias": mine.before.bias,
                    "norm2.weight": mine.between.weight, "norm2.bias": mine.between.bias,
                }
            )  # fmt: skip
            x = theirs(x)
            want = F.layer_norm(x, (8,), ours.norm.weight, ours.norm.bias) if n == 2 else x
            found = torch.cat([seen.summary[:, None], seen.registers, seen.patches.x], 1)
            torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-4)


def test_places_are_kept_at_their_size_and_stretched_at_others() -> None:
    t = tower()
    assert t.place(4, 4) is t.places
    table = t.places.T.unflatten(1, (4, 4))[None]
    want = F.interpolate(table, (2, 3), mode="bicubic", antialias=True, align_corners=False)[0].flatten(1).T
    torch.testing.assert_close(t.place(2, 3), want)
    with torch.no_grad():
        t.places.fill_(0.7)
    torch.testing.assert_close(t.place(7, 5), torch.full((35, 8), 0.7))


def test_a_masked_patch_cannot_be_seen() -> None:
    t, masked = tower(), torch.zeros(1, 16, dtype=torch.bool)
    masked[0, 5] = True
    image = pixels(1, 16, 16)
    other = Field(image.data.clone())
    other.data[:, :, 4:8, 4:8] = 0  # row 1, column 1 of the patches
    assert not torch.allclose(t.seen(image).summary, t.seen(other).summary)
    for before, after in zip(t.layers(image, masked), t.layers(other, masked), strict=True):
        torch.testing.assert_close(before.summary, after.summary)
        torch.testing.assert_close(before.patches.x, after.patches.x)


def test_masked_patches_keep_their_places() -> None:
    x = tower().seen(pixels(1, 16, 16), torch.ones(1, 16, dtype=torch.bool)).patches.x[0]
    assert torch.cdist(x, x).fill_diagonal_(9).min() > 1e-3


def test_the_mask_is_learnt_where_it_stands() -> None:
    t, masked = tower(), torch.zeros(2, 16, dtype=torch.bool)
    t.seen(pixels(2, 16, 16), masked).summary.square().sum().backward()
    assert t.mask.grad is not None and not t.mask.grad.any()
    masked[0, 3] = True
    t.seen(pixels(2, 16, 16), masked).summary.square().sum().backward()
    assert t.mask.grad.any() and all(p.grad is not None and p.grad.isfinite().all() for p in t.parameters())


def test_a_missing_picture_gives_zeros() -> None:
    image = Field(pixels(2, 16, 16).data, torch.tensor([True, False]))
    seen = tower().seen(image)
    assert seen.summary[0].any() and not seen.summary[1].any() and not seen.patches.x[1].any()
    assert seen.patches.mask.tolist() == [[True] * 16, [False] * 16]


def first_rows(x: Tensor) -> list[float]:
    return [round(v, 4) for v in x.flatten()[:4].tolist()]


def test_u8_and_float_pictures_are_read_alike() -> None:
    t, image = tower(), pixels(2, 16, 16)
    assert first_rows(t(image).x) == first_rows(t(Field(image.data.float())).x)


def test_sizes_that_do_not_split_are_one_clear_line() -> None:
    with pytest.raises(SensoriumError, match="patches of 4"):
        tower()(pixels(1, 18, 16))
    with pytest.raises(SensoriumError, match="expected a multiple"):
        tower(size=18)
    with pytest.raises(SensoriumError, match=r"\(1, 16, 16, 3\)"):
        tower()(Field(torch.zeros(1, 16, 16, 3, dtype=torch.uint8)))
