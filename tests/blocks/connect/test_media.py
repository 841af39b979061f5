from __future__ import annotations

import torch

from sensorium.blocks.connect.media import MediaTokens


def test_rows_with_a_picture_have_the_same_tokens_and_others_none() -> None:
    torch.manual_seed(0)
    media = MediaTokens(3, 8)
    found = media(torch.tensor([True, False, True]))
    assert found.mask.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert torch.equal(found.x[0], media.vectors) and torch.equal(found.x[2], media.vectors)
    assert not found.x[1].any()


def test_only_rows_with_a_picture_teach_them() -> None:
    media = MediaTokens(2, 4)
    media(torch.tensor([True, False, True])).x.sum().backward()
    assert media.vectors.grad is not None and torch.equal(media.vectors.grad, torch.full((2, 4), 2.0))


def test_they_start_at_the_size_of_words() -> None:
    torch.manual_seed(0)
    assert abs(MediaTokens(64, 256).vectors.square().sum(1).mean().item() - 1) < 0.05
