from __future__ import annotations

import pytest
import torch

from sensorium.blocks.fusion.single_stream import SingleStream, concatenate, placed
from sensorium.blocks.towers.positions import grid, sines
from sensorium.core import SensoriumError, Tokens


def tokens(rows: int, length: int, real: int, seed: int = 0, dim: int = 16) -> Tokens:
    x = torch.randn(rows, length, dim, generator=torch.Generator().manual_seed(seed))
    return Tokens(x, torch.arange(length).expand(rows, -1) < real)


def test_concatenation_keeps_order_masks_and_says_the_kind() -> None:
    a, b = tokens(2, 3, 3), tokens(2, 4, 2, 1)
    t = concatenate([a, b])
    assert torch.equal(t.x, torch.cat([a.x, b.x], 1)) and t.kind is not None
    assert t.mask[0].tolist() == [True] * 5 + [False] * 2
    assert t.kind[1].tolist() == [0, 0, 0, 1, 1, 1, 1]
    with pytest.raises(SensoriumError, match="widths 16, 8"):
        concatenate([a, tokens(2, 1, 1, dim=8)])


@pytest.mark.parametrize("junk", [1e4, float("nan")])
def test_padding_changes_nothing(junk: float) -> None:
    torch.manual_seed(0)
    stream = SingleStream(2, 16, 2, 4).eval()
    image, text = tokens(3, 4, 4), tokens(3, 5, 3, 1)
    wider = Tokens(text.x.masked_fill(~text.mask[..., None], junk), text.mask)
    short = Tokens(text.x[:, :3], text.mask[:, :3])
    want, got = stream([image, short]), stream([image, wider])
    torch.testing.assert_close(got.x[:, :7], want.x, atol=1e-5, rtol=0)
    assert not got.x[:, 7:].any()


def test_each_part_sees_the_other_and_its_kind() -> None:
    torch.manual_seed(0)
    stream = SingleStream(2, 16, 1, 4).eval()
    image, text = tokens(1, 4, 4), tokens(1, 3, 3, 1)
    before, after = stream([image, text]), stream([image, tokens(1, 3, 3, 2)])
    assert (before.x[:, :4] - after.x[:, :4]).abs().max() > 1e-3
    swapped = stream([text, image])
    assert (swapped.x[:, 3:] - before.x[:, :4]).abs().max() > 1e-4
    with torch.no_grad():
        stream.kinds.weight.zero_()
    torch.testing.assert_close(stream([text, image]).x[:, 3:], stream([image, text]).x[:, :4], atol=1e-5, rtol=0)


def test_positions_are_added_where_there_are_any_and_counted_otherwise() -> None:
    t = tokens(2, 6, 4)
    plain = placed(t)
    torch.testing.assert_close(plain.x[:, :4], t.x[:, :4] + sines(torch.arange(4.0)[:, None], 16))
    assert not plain.x[:, 4:].any()
    square = placed(Tokens(t.x, t.mask, grid(2, 3).expand(2, -1, -1)))
    torch.testing.assert_close(square.x[:, 3], t.x[:, 3] + sines(torch.tensor([1.0, 0.0]), 16))
    left = Tokens(t.x.roll(2, 1), t.mask.roll(2, 1))
    torch.testing.assert_close(placed(left).x[:, 2:], plain.x[:, :4])
