from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from sensorium.blocks.alignment import (
    activated,
    alignment,
    by_chance,
    common,
    cone,
    left,
    length,
    overlap,
    steadiness,
    together,
)
from sensorium.core import SensoriumError, Tokens

TEXT, IMAGE = 0, 1


def tokens(seed: int = 0, b: int = 3, t: int = 6, d: int = 4) -> Tokens:
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(b, t, generator=g) < 0.7
    return Tokens(torch.randn(b, t, d, generator=g).masked_fill(~mask[..., None], math.nan), mask)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())


def test_length_is_the_mean_norm_of_real_tokens() -> None:
    t = Tokens(
        torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[6.0, 8.0], [9.0, 9.0]]]), torch.tensor([[1, 1], [1, 0]]).bool()
    )
    assert float(length(t)) == pytest.approx((5 + 1 + 10) / 3)


def test_cone_is_the_mean_cosine_of_different_tokens() -> None:
    t = tokens()
    x = t.x[t.mask]
    want = np.mean([cosine(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    assert float(cone(t)) == pytest.approx(float(want), abs=1e-6)
    assert float(cone(Tokens(torch.ones(2, 3, 4), torch.ones(2, 3).bool()))) == pytest.approx(1)
    opposed = Tokens(torch.tensor([[[1.0, 0], [-2.0, 0]]]), torch.ones(1, 2).bool())
    assert float(cone(opposed)) == pytest.approx(-1)
    assert math.isnan(float(cone(Tokens(torch.ones(1, 1, 2), torch.ones(1, 1).bool()))))


def test_together_is_the_mean_cosine_over_pairs_of_a_row() -> None:
    a, b = tokens(1), tokens(2, t=5)
    for row, found in enumerate(together(a, b).tolist()):
        pairs = [cosine(x, y) for x in a.x[row][a.mask[row]] for y in b.x[row][b.mask[row]]]
        assert pairs and found == pytest.approx(float(np.mean(pairs)), abs=1e-6)
    none = Tokens(a.x, torch.zeros_like(a.mask))
    assert together(none, b).tolist() == [0, 0, 0]


def test_scale_does_not_count() -> None:
    a, b = tokens(1), tokens(2)
    long = Tokens(a.x * 100, a.mask)
    torch.testing.assert_close(together(long, b), together(a, b))
    torch.testing.assert_close(cone(long), cone(a))


def test_steadiness_is_the_cosine_with_itself() -> None:
    a, b = tokens(1), tokens(1)
    assert float(steadiness(a, b)) == pytest.approx(1)
    assert float(steadiness(a, Tokens(-2 * a.x, a.mask))) == pytest.approx(-1)
    other = Tokens(torch.randn(a.x.shape, generator=torch.Generator().manual_seed(5)), a.mask)
    want = np.mean([cosine(x, y) for x, y in zip(a.x[a.mask], other.x[a.mask], strict=True)])
    assert float(steadiness(a, other)) == pytest.approx(float(want), abs=1e-6)


def test_alignment_is_the_mean_over_layers_without_the_input() -> None:
    kind = torch.tensor([[IMAGE, IMAGE, TEXT]])
    mask = torch.ones(1, 3).bool()
    at = {
        1.0: [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]],
        0.0: [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]],
        -1.0: [[0, 1], [0, 1], [0, -1]],
    }
    found = [Tokens(torch.tensor([x], dtype=torch.float), mask, kind=kind) for x in at.values()]
    assert alignment(found, IMAGE, TEXT).tolist() == pytest.approx([-0.5])
    assert alignment(found[::-1], IMAGE, TEXT).tolist() == pytest.approx([0.5])
    with pytest.raises(SensoriumError, match="1 streams"):
        alignment(found[:1], IMAGE, TEXT)


def test_activated_weights_are_the_largest_products_of_each_output() -> None:
    weights = {"q": torch.tensor([[1.0, -3.0, 0.1], [2.0, 1.0, -9.0]])}
    norms = {"q": torch.tensor([4.0, 1.0, 0.1])}  # products 4, 3, 0.01 and 8, 1, 0.9
    assert activated(weights, norms, 1 / 3)["q"].tolist() == [[True, False, False], [True, False, False]]
    assert activated(weights, norms, 2 / 3)["q"].tolist() == [[True, True, False], [True, True, False]]
    flat = {"q": torch.ones(3)}
    assert activated(weights, flat, 1 / 3)["q"].tolist() == [[False, True, False], [False, False, True]]
    assert activated(weights, norms, 1)["q"].all() and activated(weights, norms, 0.01)["q"].sum(1).tolist() == [1, 1]
    for share in (0, 1.5):
        with pytest.raises(SensoriumError, match="share"):
            activated(weights, norms, share)


def masks(seed: int, share: float = 0.5) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {name: torch.rand(8, 10, generator=g) < share for name in ("0.q", "1.mlp.up")}


def flat(of: dict[str, Tensor]) -> np.ndarray:
    return torch.cat([of[name].flatten() for name in sorted(of)]).numpy()


def test_overlap_is_the_jaccard_index() -> None:
    a, b = masks(0), masks(1, 0.3)
    assert overlap(a, b) == pytest.approx(jaccard_score(flat(a), flat(b))) and overlap(a, a) == 1
    assert overlap(a, {name: ~m for name, m in a.items()}) == 0


def test_common_weights_are_those_of_every_mask() -> None:
    a, b, c = masks(0), masks(1), masks(2)
    assert flat(common([a, b, c])).tolist() == (flat(a) & flat(b) & flat(c)).tolist()
    assert left(common([a])) == left(a) == pytest.approx(float(flat(a).mean()))


def test_drawn_masks_leave_each_output_as_many() -> None:
    a = masks(0)
    drawn, again, other = by_chance(a, 1), by_chance(a, 1), by_chance(a, 2)
    for name, m in drawn.items():
        assert m.sum(1).tolist() == a[name].sum(1).tolist() and torch.equal(m, again[name])
    assert not np.array_equal(flat(drawn), flat(a)) and not np.array_equal(flat(drawn), flat(other))
    assert abs(overlap(drawn, other) - 1 / 3) < 0.12  # of two halves by chance: a quarter of three quarters
