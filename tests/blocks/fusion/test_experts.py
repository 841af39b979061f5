from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

from sensorium.blocks.fusion.experts import Dense, Experts, balance
from sensorium.core import SensoriumError

DIM, HIDDEN, EXPERTS, TOP = 16, 24, 4, 2


def tokens(seed: int = 0, rows: int = 3, length: int = 5) -> Tensor:
    return torch.randn(rows, length, DIM, generator=torch.Generator().manual_seed(seed))


def made(**changes: int) -> Experts:
    torch.manual_seed(0)
    return Experts(DIM, **{"experts": EXPERTS, "top": TOP, "hidden": HIDDEN} | changes)


def test_it_is_mixtrals_layer() -> None:
    ours = made()
    config = MixtralConfig(
        hidden_size=DIM, intermediate_size=HIDDEN, num_local_experts=EXPERTS, num_experts_per_tok=TOP
    )
    theirs = MixtralSparseMoeBlock(config)
    with torch.no_grad():
        theirs.gate.weight.copy_(ours.router.weight)
        for n, expert in enumerate(ours.experts):
            theirs.experts.gate_up_proj[n].copy_(torch.cat([expert.gate.weight, expert.up.weight]))
            theirs.experts.down_proj[n].copy_(expert.down.weight)
    x = tokens()
    found, uneven = ours(x, torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(found, theirs(x), atol=1e-5, rtol=0)
    want = load_balancing_loss_func((ours.router(x.flatten(0, 1)),), EXPERTS, TOP)
    torch.testing.assert_close(uneven, want / TOP)
    assert found.abs().min() > 0


def test_the_balance_by_hand() -> None:
    """Two tokens of even and odd taste: each expert has half of the places; then both go to the first."""
    scores = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).log_softmax(-1)
    assert balance(scores, torch.tensor([[0], [1]])).item() == pytest.approx(1)
    p = torch.tensor([[0.75, 0.25], [0.9, 0.1]])
    assert balance(p.log(), torch.tensor([[0], [0]])).item() == pytest.approx(2 * 0.825)
    sure = torch.tensor([[50.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    assert balance(sure, torch.tensor([[0], [0]])).item() == pytest.approx(3)


def test_of_no_tokens_nothing_is_uneven() -> None:
    found, uneven = made()(tokens(), torch.zeros(3, 5, dtype=torch.bool))
    assert not found.any() and uneven.item() == 0


@pytest.mark.parametrize("module", [made(), Dense(DIM)], ids=["experts", "dense"])
def test_padding_is_sent_nowhere(module: Experts | Dense) -> None:
    mask = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    junk = tokens().masked_fill(~mask[..., None], 1e4)
    found, uneven = module(junk, mask)
    other, same = module(tokens(), mask)
    assert torch.equal(found, other) and torch.equal(uneven, same)
    assert not found[~mask].any() and found[mask].abs().sum(-1).min() > 0
    alone, _ = module(tokens()[1:2, :3], torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found[1:2, :3], alone, atol=1e-6, rtol=0)


def test_router_and_experts_learn() -> None:
    module = made()
    found, uneven = module(tokens(rows=8), torch.ones(8, 5, dtype=torch.bool))
    (found.square().sum() + uneven).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_balance_alone_evens_out_what_is_used() -> None:
    module, x, mask = made(top=1), tokens(rows=40) + 0.5, torch.ones(40, 5, dtype=torch.bool)
    with torch.no_grad():
        module.router.weight[0] += 0.3  # what all tokens have in common speaks for the first
    before = module(x, mask)[1].item()
    optim = torch.optim.Adam(module.router.parameters(), 0.02)
    for _ in range(60):
        optim.zero_grad()
        module(x, mask)[1].backward()
        optim.step()
    assert before > 2 and module(x, mask)[1].item() < 1.1


def test_by_default_a_token_costs_what_one_mlp_costs() -> None:
    dense, routed = Dense(96), Experts(96, experts=4, top=2)
    assert sum(p.numel() for p in dense.parameters()) * 2 == sum(p.numel() for p in routed.experts.parameters())


@pytest.mark.parametrize("top", [0, 5])
def test_nobody_goes_to_more_experts_than_there_are(top: int) -> None:
    with pytest.raises(SensoriumError, match=f"goes to {top} of 4 experts"):
        made(top=top)
