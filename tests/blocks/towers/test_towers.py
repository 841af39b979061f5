from __future__ import annotations

import pytest
import torch

from sensorium.blocks.towers.head import Projector
from sensorium.blocks.towers.image import ConvTower, ViT
from sensorium.blocks.towers.positions import grid, sines
from sensorium.blocks.towers.text import TextTower
from sensorium.core import Field, Ids, SensoriumError, Tokens


def pixels(b: int, height: int, width: int) -> Field:
    g = torch.Generator().manual_seed(0)
    return Field(torch.randint(0, 256, (b, 3, height, width), generator=g, dtype=torch.uint8))


def ids(*rows: list[int], length: int, left: bool = False) -> Ids:
    real = torch.zeros(len(rows), length, dtype=torch.bool)
    out = torch.full((len(rows), length), 999)  # what stands under the padding is not even in the vocabulary
    for n, row in enumerate(rows):
        at = slice(length - len(row), length) if left else slice(0, len(row))
        real[n, at], out[n, at] = True, torch.tensor(row, dtype=torch.int64)
    return Ids(out, real)


@pytest.mark.parametrize("tower", [ConvTower(4, 8), ViT(8, 8, 1, 2)], ids=["conv", "vit"])
def test_image_towers(tower: torch.nn.Module) -> None:
    out = tower(pixels(2, 16, 32))
    assert out.x.shape == (2, 8, 8) and out.mask.all() and tower.dim == 8
    assert out.pos is not None and out.pos[1].tolist() == [[r, c] for r in range(2) for c in range(4)]
    some = pixels(2, 16, 32)
    out = tower(Field(some.data, torch.tensor([True, False])))
    assert out.mask.tolist() == [[True] * 8, [False] * 8] and not out.x[1].any()
    out.x.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


@pytest.mark.parametrize("tower", [ConvTower(4, 8), ViT(8, 8, 1, 2)], ids=["conv", "vit"])
def test_a_place_is_seen_after_pooling(tower: torch.nn.Module) -> None:
    """One bright cell in two corners: without positions the inner means would be equal."""
    images = torch.full((2, 3, 48, 48), 127, dtype=torch.uint8)
    images[0, :, 16:24, 16:24], images[1, :, 24:32, 24:32] = 255, 255
    means = tower(Field(images)).x.mean(1)
    assert (means[0] - means[1]).abs().max() > 1e-3


def test_conv_tower_is_the_measured_size() -> None:
    tower = ConvTower()
    assert tower(pixels(1, 32, 32)).x.shape == (1, 16, 64)
    assert sum(p.numel() for p in tower.parameters()) == 448 + 4640 + 18496 + 36928 + 4160
    assert 0.3 < tower(pixels(8, 32, 32)).x.std() < 3


def test_image_errors() -> None:
    with pytest.raises(SensoriumError, match="patches of 8"):
        ViT(8, 8, 1, 2)(pixels(1, 12, 16))
    with pytest.raises(SensoriumError, match=r"\(1, 16, 16, 3\)"):
        ConvTower()(Field(torch.zeros(1, 16, 16, 3, dtype=torch.uint8)))


def test_left_and_right_padding_agree() -> None:
    torch.manual_seed(0)
    tower = TextTower(20, 8, 2, 2, 6).double()
    right, left = tower(ids([3, 5, 7], [4], length=6)), tower(ids([3, 5, 7], [4], length=6, left=True))
    torch.testing.assert_close(right.x[0, :3], left.x[0, 3:])
    torch.testing.assert_close(right.x[1, :1], left.x[1, 5:])
    torch.testing.assert_close(right.x[0, :3], tower(ids([3, 5, 7], length=3)).x[0])
    assert right.pos is not None and right.pos[0, :3, 0].tolist() == [0, 1, 2]
    assert not torch.allclose(right.x.sum(1)[0], tower(ids([7, 5, 3], length=3)).x.sum(1)[0])  # order is seen


def test_text_of_nothing_and_of_too_much() -> None:
    tower = TextTower(20, 8, 1, 2, 4)
    assert not tower(ids([], [1], length=3)).x[0].any()
    with pytest.raises(SensoriumError, match="5 tokens; expected at most 4"):
        tower(ids([1], length=5))


def test_projector_by_hand_and_mask() -> None:
    head = Projector(2, 1)
    with torch.no_grad():
        head.last.weight.copy_(torch.tensor([[2.0, -1.0]]))
        head.last.bias.fill_(0.5)
    x = torch.tensor([[[1.0, 3.0], [float("nan"), 0.0]]])
    out = head(Tokens(x, torch.tensor([[True, False]]), torch.zeros(1, 2, 1)))
    assert out.x.tolist() == [[[-0.5], [0.0]]] and out.pos is not None
    assert Projector(2, 3, 0.5, 7)(Tokens(torch.ones(1, 1, 2).bfloat16(), torch.ones(1, 1).bool())).x.shape == (1, 1, 3)


def test_projector_drops_only_in_training() -> None:
    head, t = Projector(50, 4, dropout=0.5), Tokens(torch.ones(1, 1, 50), torch.ones(1, 1).bool())
    assert not torch.equal(head(t).x, head(t).x)
    head.eval()
    assert torch.equal(head(t).x, head(t).x)


def test_sines() -> None:
    table = sines(grid(20, 20), 64)
    assert table.shape == (400, 64)
    assert table.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.cdist(table, table).fill_diagonal_(9).min() > 0.5  # every place its own
    assert sines(torch.zeros(1, 1), 4)[0].tolist() == pytest.approx([0, 0, 2**0.5, 2**0.5])
    with pytest.raises(SensoriumError, match="multiple of 4"):
        sines(grid(2, 2), 6)
