from __future__ import annotations

import numpy as np
import pytest
import torch

from sensorium.evals.retrieval import relevance, score_retrieval


def test_equal_keys_are_right() -> None:
    got = relevance(["kite", "dog", "kite", "cat"], [7, 8, 9, 8])
    assert got.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert torch.equal(got, got.T)


def test_close_hashes_stay_apart() -> None:
    hashes = np.array([2**64 - 1, 2**64 - 2, 1], dtype=np.uint64)
    assert torch.equal(relevance(["a", "b", "c"], hashes), torch.eye(3).bool())
    assert torch.equal(relevance(torch.tensor([2**62, 2**62 + 1]), [2**63, -1]), torch.eye(2).bool())
    with pytest.raises(ValueError, match="2 text keys and 1 image keys"):
        relevance(["a", "b"], [1])


def test_by_hand_with_two_directions() -> None:
    to_image = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])  # text 0, 1, 2 at rank 1, 2, 3
    to_text = torch.eye(3)  # each image first
    got = score_retrieval(to_image, to_text, torch.eye(3).bool())
    assert got.rank_text.tolist() == [1, 2, 3] and got.rank_image.tolist() == [1, 1, 1]
    assert got.scores["r@1"] == pytest.approx((1 / 3 + 1) / 2)
    assert got.scores["r@5"] == 1 and got.scores["median_rank"] == 1.5
    assert got.scores["mrr"] == pytest.approx((11 / 18 + 1) / 2)


def test_unequal_numbers_of_texts_and_images() -> None:
    """Two texts for each of three images: the image's better one counts."""
    relevant = torch.eye(3).bool().repeat_interleave(2, 0)
    scores = relevant.float()
    scores[1] = torch.tensor([0.0, 0.5, 1.0])
    got = score_retrieval(scores, scores.T, relevant)
    assert got.rank_text.tolist() == [1, 3, 1, 1, 1, 1]
    assert got.rank_image.tolist() == [1, 1, 2]  # image 2 is tied with a wrong text
