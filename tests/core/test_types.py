"""Records move whole: a dtype is for their floats alone."""

from __future__ import annotations

import torch

from sensorium.core import Field, Ids, Tokens


def test_a_dtype_leaves_ids_and_masks_as_they_are() -> None:
    mask = torch.tensor([[True, False]])
    tokens = Tokens(torch.randn(1, 2, 3), mask, torch.tensor([[[0], [1]]])).to(torch.bfloat16)
    assert tokens.x.dtype == torch.bfloat16 and tokens.mask.dtype == torch.bool and torch.equal(tokens.mask, mask)
    assert tokens.pos is not None and tokens.pos.dtype == torch.int64
    ids = Ids(torch.tensor([[5, 0]]), mask).to("cpu", torch.float16)
    assert ids.ids.dtype == torch.int64 and ids.mask.dtype == torch.bool
    assert Field(torch.ones(2)).to(torch.float64).data.dtype == torch.float64
