"""The product quantiser against wav2vec 2.0's of transformers, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

from sensorium.blocks.objectives.quantise import ProductQuantiser, diversity
from sensorium.core import SensoriumError


def both(groups: int = 2, codes: int = 5) -> tuple[ProductQuantiser, Any]:
    torch.manual_seed(0)
    ours = ProductQuantiser(6, 8, codes, groups, heat=2.0)
    config = Wav2Vec2Config(
        num_codevector_groups=groups, num_codevectors_per_group=codes, codevector_dim=8,
        conv_dim=(6,), conv_stride=(2,), conv_kernel=(2,), num_feat_extract_layers=1,
    )  # fmt: skip
    theirs: Any = Wav2Vec2GumbelVectorQuantizer(config)
    with torch.no_grad():
        theirs.weight_proj.weight.copy_(ours.odds.weight)
        theirs.weight_proj.bias.copy_(ours.odds.bias)
        theirs.codevectors.copy_(ours.codes.flatten(0, 1)[None])
    return ours, theirs


def test_without_noise_equals_transformers() -> None:
    ours, theirs = both()
    x = torch.randn(3, 7, 6)
    torch.testing.assert_close(ours(x).vectors, theirs.eval()(x)[0])


def test_with_noise_equals_transformers_and_so_does_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = both()
    x = torch.randn(2, 4, 6)
    noise = torch.rand(2, 4, 2, 5).clamp(1e-6, 1 - 1e-6)
    gumbel = -(-noise.log()).log()

    def soft(logits: torch.Tensor, tau: float, hard: bool) -> torch.Tensor:
        odds = ((logits + gumbel.flatten(0, 2)) / tau).softmax(-1)
        chosen = torch.nn.functional.one_hot(odds.argmax(-1), odds.shape[-1])
        return chosen - odds.detach() + odds

    monkeypatch.setattr(torch.nn.functional, "gumbel_softmax", soft)
    a, b = ours(x, noise).vectors, theirs.train()(x)[0]
    torch.testing.assert_close(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(ours.odds.weight.grad, theirs.weight_proj.weight.grad)
    torch.testing.assert_close(ours.codes.grad.flatten(0, 1)[None], theirs.codevectors.grad)


def test_diversity_is_the_share_of_codes_that_perplexity_misses() -> None:
    ours, theirs = both()
    x, mask = torch.randn(2, 6, 6), torch.arange(6) < torch.tensor([4, 6])[:, None]
    theirs.train()
    perplexity = theirs(x, mask)[1]
    torch.testing.assert_close(diversity(ours(x).odds, mask), (10 - perplexity) / 10)


def test_diversity_by_hand() -> None:
    even = torch.full((1, 3, 2, 4), 0.25)
    one = torch.nn.functional.one_hot(torch.zeros(1, 3, 2, dtype=torch.long), 4).float()
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert diversity(even, mask).item() == pytest.approx(0)
    assert diversity(one, mask).item() == pytest.approx(0.75)  # one of four codes in each group
    assert diversity(one, ~mask).item() == 0
    half = torch.cat([one, torch.nn.functional.one_hot(torch.ones(1, 3, 2, dtype=torch.long), 4).float()], 1)
    assert diversity(half, torch.ones(1, 6, dtype=torch.bool)).item() == pytest.approx(0.5)


def test_noise_draws_codes_as_often_as_their_odds_say() -> None:
    torch.manual_seed(1)
    quantiser = ProductQuantiser(3, 4, 3)
    x = torch.randn(1, 1, 3).expand(1, 6000, 3)
    found = quantiser(x, torch.rand(1, 6000, 1, 3))
    share = torch.bincount(found.ids.flatten(), minlength=3) / 6000
    torch.testing.assert_close(share, found.odds[0, 0, 0].detach(), atol=0.03, rtol=0)


def test_vectors_are_those_of_the_ids() -> None:
    torch.manual_seed(2)
    quantiser = ProductQuantiser(3, 4, 5, groups=2)
    for noise in (None, torch.rand(2, 3, 2, 5)):
        found = quantiser(torch.randn(2, 3, 3), noise)
        picked = torch.stack([quantiser.codes[g][found.ids[..., g]] for g in range(2)], 2).flatten(2)
        torch.testing.assert_close(found.vectors, picked)


def test_groups_must_divide_the_width() -> None:
    with pytest.raises(SensoriumError, match="does not split into 3 groups"):
        ProductQuantiser(4, 8, 5, groups=3)
