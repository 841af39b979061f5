"""Numbers through their bins and back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.blocks.codecs.bins import BoxBins, PaletteBins, ValueBins, even, middle
from sensorium.core import Field


@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.integers(1, 200))
def test_even_bins_are_exact_to_half_a_step(values: list[float], bins: int) -> None:
    x = torch.tensor(values)
    ids = even(x, bins)
    assert ids.min() >= 0 and ids.max() < bins
    assert ((middle(ids, bins) - x).abs() <= 0.5 / bins + 1e-6).all()
    assert torch.equal(even(middle(ids, bins), bins), ids)


def test_boxes_by_hand() -> None:
    codec = BoxBins(3, 10)
    boxes = Field(torch.tensor([[[0.05, 0.15, 0.55, 1.0], [0, 0, 0, 0]]]), torch.tensor([[True, False]]))
    found = codec.encode(boxes)
    assert found.ids.tolist() == [[0, 1, 5, 9, *[10] * 8]] and bool(found.mask.all())
    back = codec.decode(found.ids)
    assert back.mask is not None and back.mask.tolist() == [[True, False, False]]
    torch.testing.assert_close(back.data[0, 0], torch.tensor([0.05, 0.15, 0.55, 0.95]))
    assert not back.data[0, 1:].any()


def test_more_boxes_than_slots_are_cut_and_half_a_box_is_none() -> None:
    codec = BoxBins(1, 4)
    boxes = Field(torch.rand(2, 3, 4), torch.ones(2, 3).bool())
    assert codec.encode(boxes).ids.shape == (2, 4)
    back = codec.decode(torch.tensor([[0, 0, 4, 1], [3, 2, 0, 1]]))
    assert back.mask is not None and back.mask.tolist() == [[False], [True]]
    torch.testing.assert_close(back.data[1, 0], torch.tensor([0.125, 0.375, 0.875, 0.625]))


def test_values_fall_into_bins_of_equal_shares() -> None:
    x, codec = torch.rand(1_000, generator=torch.Generator().manual_seed(0)) ** 3, ValueBins(5)
    codec.solve([Field(x)])
    found = codec.encode(Field(x, x > 0.001))
    assert torch.bincount(found.ids[:, 0]).tolist() == [200] * 5
    assert torch.equal(found.mask[:, 0], x > 0.001)
    for k in range(5):
        here = x[found.ids[:, 0] == k]
        assert codec.decode(torch.tensor([[k]])).data == here.median()


def test_whole_numbers_come_back_exactly() -> None:
    x, codec = torch.tensor([1.0, 2, 2, 3, 7]).repeat(20), ValueBins(8)
    codec.solve([Field(x[:50]), Field(x[50:])])
    assert torch.equal(codec.decode(codec.encode(Field(x)).ids).data, x)


def test_no_values_at_all_fit_nothing() -> None:
    codec = ValueBins(4)
    codec.solve([Field(torch.ones(3), torch.zeros(3).bool())])
    assert not codec.edges.any() and not codec.encode(Field(torch.ones(3), torch.zeros(3).bool())).mask.any()


def test_palettes_are_exact_to_half_a_step() -> None:
    codec = PaletteBins(4, 16)
    tones = torch.randint(0, 256, (10, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = codec.encode(Field(tones))
    assert found.ids.shape == (10, 12) and codec.shape == (4, 3)
    assert (codec.decode(found.ids).data.int() - tones.int()).abs().max() <= 8
