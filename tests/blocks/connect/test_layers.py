from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.blocks.connect.layers import ConvLayers, TransformerLayers, layers_of
from sensorium.blocks.towers.image import ConvTower, ViT
from sensorium.blocks.towers.vit import VisionTransformer
from sensorium.core import Field, SensoriumError, Tokens

STRIDES = pytest.mark.parametrize("stride", [8, 4, 2])


def pictures(n: int = 2, high: int = 32, wide: int = 40) -> Field:
    g = torch.Generator().manual_seed(0)
    return Field(torch.randint(0, 256, (n, 3, high, wide), generator=g, dtype=torch.uint8))


def tower() -> ConvTower:
    torch.manual_seed(0)
    return ConvTower()


def maps(t: Tokens, rows: int) -> torch.Tensor:
    """Tokens of a grid -> [B C rows columns]."""
    return t.x.transpose(1, 2).unflatten(2, (rows, -1))


@STRIDES
@torch.no_grad()
def test_all_layers_lie_on_one_grid_of_that_stride(stride: int) -> None:
    eye = ConvLayers(tower(), stride)
    found = eye(pictures())
    n = (32 // stride) * (40 // stride)
    assert [tuple(t.x.shape) for t in found] == [(2, n, dim) for dim in eye.dims]
    assert all(t.mask.all() for t in found)
    assert found[-1].pos is not None and found[-1].pos[0, -1].tolist() == [32 // stride - 1, 40 // stride - 1]


@STRIDES
@torch.no_grad()
def test_every_so_many_places_of_a_finer_grid_are_what_the_tower_gives(stride: int) -> None:
    found, want = ConvLayers(tower(), stride)(pictures())[-1], tower()(pictures())
    every = 8 // stride
    coarse = maps(found, 32 // stride)[:, :, ::every, ::every]
    torch.testing.assert_close(coarse, maps(want, 4), atol=1e-5, rtol=0)


@torch.no_grad()
def test_places_between_are_what_the_tower_sees_of_a_moved_picture() -> None:
    """Away from the edges, and before the tower adds where a place is."""
    image, half = pictures(1, 48, 48), 4
    moved = Field(image.data.roll((-half, -half), (2, 3)))
    fine, coarse = maps(ConvLayers(tower(), half)(image)[2], 12), maps(ConvLayers(tower())(moved)[2], 6)
    torch.testing.assert_close(fine[:, :, 3:9:2, 3:9:2], coarse[:, :, 1:4, 1:4], atol=1e-5, rtol=0)
    assert (fine[:, :, 2:8:2, 2:8:2] - coarse[:, :, 1:4, 1:4]).abs().max() > 0.1


@torch.no_grad()
def test_lower_layers_are_folded_whole() -> None:
    t = tower()
    low = maps(ConvLayers(t)(pictures())[0], 4)
    want = F.relu(t.stem[0]((pictures().data.float() - 127) / 128))
    torch.testing.assert_close(F.pixel_shuffle(low, 4), want, atol=1e-5, rtol=0)


@STRIDES
def test_a_missing_picture_has_no_real_token_in_any_layer(stride: int) -> None:
    image = Field(pictures().data, torch.tensor([True, False]))
    for t in ConvLayers(tower(), stride)(image):
        assert t.mask[0].all() and not t.mask[1].any() and not t.x[1].any() and t.x[0].any()


def test_the_last_layer_reaches_every_weight_of_the_tower() -> None:
    eye = ConvLayers(tower(), 4)
    eye(pictures())[-1].x.square().sum().backward()
    assert [name for name, p in eye.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_a_vision_transformer_gives_each_block() -> None:
    torch.manual_seed(0)
    vit = VisionTransformer(8, 24, 3, 2, 32)
    eye, image = layers_of(vit), pictures()
    assert isinstance(eye, TransformerLayers) and eye.dims == (24, 24, 24)
    found = eye(image)
    assert torch.equal(found[-1].x, vit(image).x)
    assert len(found) == 3 and not torch.allclose(found[0].x, found[1].x)


def test_a_tower_that_shows_no_layers_is_refused() -> None:
    with pytest.raises(SensoriumError, match="ViT shows no layers"):
        layers_of(ViT(8, 24, 1, 2))


def test_a_stride_that_the_tower_does_not_have_is_refused() -> None:
    with pytest.raises(SensoriumError, match="stride of 3 pixels; expected 2, 4 or 8"):
        ConvLayers(tower(), 3)
    with pytest.raises(SensoriumError, match="stride of 4 pixels; the patches of this tower are 8"):
        layers_of(VisionTransformer(8, 24, 1, 2, 32), 4)


def test_a_picture_of_half_a_cell_more_is_refused() -> None:
    with pytest.raises(SensoriumError, match="an image of 36 x 32 does not split into cells of 8"):
        ConvLayers(tower())(pictures(1, 36, 32))
