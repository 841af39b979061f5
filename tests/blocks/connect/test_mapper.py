"""Output mappers: by hand, what reaches the queries, what counts as a token of the other model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.blocks.connect.mapper import LinearMapper, QueryMapper, Readout, existing, regression
from sensorium.core import SensoriumError, Tokens

B, R, D, Q, OUT = 3, 4, 8, 6, 5


def states(mask: Tensor | None = None) -> Tokens:
    x = torch.randn(B, R, D, generator=torch.Generator().manual_seed(0))
    return Tokens(x, torch.ones(B, R, dtype=torch.bool) if mask is None else mask)


def queries() -> QueryMapper:
    torch.manual_seed(1)
    return QueryMapper(D, OUT, Q, 16, 2, 4)


# By hand


def test_the_error_is_the_mean_over_real_tokens_that_both_have() -> None:
    """Two numbers a token: row 0 has two real tokens, the second off by 2 in one number; row 1 has one, off by 4 in
    both. Squares of numbers: (0 + 4/2 + (16 + 16)/2) / 3."""
    found = torch.zeros(2, 3, 3)
    wanted = Tokens(torch.zeros(2, 2, 2), torch.tensor([[True, True], [True, False]]))
    wanted.x[0, 1, 0], wanted.x[1, 0], wanted.x[1, 1] = 2, 4, 99
    error, existence = regression(found, wanted)
    torch.testing.assert_close(error, torch.tensor((0 + 2 + 16) / 3))
    torch.testing.assert_close(existence, torch.tensor(2.0).log())  # 0: as likely there as not


def test_existence_is_the_cross_entropy_of_which_tokens_are_real() -> None:
    found = torch.zeros(1, 3, 2)
    found[0, :, -1] = torch.tensor([3.0, -1.0, 2.0])
    wanted = Tokens(torch.zeros(1, 3, 1), torch.tensor([[True, False, False]]))
    p = torch.tensor([3.0, -1.0, 2.0]).sigmoid()
    want = -(p[0].log() + (1 - p[1]).log() + (1 - p[2]).log()) / 3
    torch.testing.assert_close(regression(found, wanted)[1], want)


@pytest.mark.parametrize("longer", [-2, 0, 3])
def test_tokens_beyond_those_that_both_have_teach_nothing(longer: int) -> None:
    torch.manual_seed(0)
    found, x = torch.randn(B, Q, OUT + 1), torch.randn(B, Q + 3, OUT)
    mask = torch.ones(B, Q + longer, dtype=torch.bool)
    error, _ = regression(found, Tokens(x[:, : Q + longer], mask))
    both = min(Q, Q + longer)
    torch.testing.assert_close(error, (found[:, :both, :-1] - x[:, :both]).square().mean())


def test_a_linear_mapper_gives_each_state_its_neighbours() -> None:
    """One number in, one out: state r gives tokens 2r (itself) and 2r + 1 (ten times itself)."""
    mapper = LinearMapper(1, 1, 6, 3)
    with torch.no_grad():
        mapper.out.weight.copy_(torch.tensor([[1.0], [0.0], [10.0], [0.0]]))
    found = mapper(Tokens(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.ones(1, 3, dtype=torch.bool)))
    assert found.shape == (1, 6, 2)
    assert found[0, :, 0].tolist() == [1, 10, 2, 20, 3, 30]


def test_a_readout_maps_the_mean_of_the_real_states() -> None:
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    readout, of = Readout(D, OUT), states(mask)
    mean = torch.stack([of.x[0].mean(0), of.x[1, :2].mean(0), of.x[2, 0]])
    torch.testing.assert_close(readout(of), readout.out(mean))


def test_tokens_exist_where_they_are_likelier_there_the_first_always() -> None:
    found = torch.ones(2, 3, 3)
    found[..., -1] = torch.tensor([[-5.0, 1.0, -1.0], [2.0, -1.0, 3.0]])
    there = existing(found)
    assert there.mask.tolist() == [[True, True, False], [True, False, True]]
    assert there.x.shape == (2, 3, 2) and torch.equal(there.x.any(2), there.mask)


# Properties


def test_states_are_a_set_and_padded_ones_are_not_read() -> None:
    mapper, of = queries(), states(torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]]))
    found = mapper(of)
    assert found.shape == (B, Q, OUT + 1)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(mapper(Tokens(of.x[:, order], of.mask[:, order])), found, atol=1e-5, rtol=0)
    filled = Tokens(of.x.masked_fill(~of.mask[..., None], 7.0), of.mask)
    torch.testing.assert_close(mapper(filled), found)
    assert not torch.allclose(found[:, 0], found[:, 1])  # each query asks for something else


def test_every_state_and_every_weight_learns() -> None:
    mapper, of = queries(), states()
    x = of.x.clone().requires_grad_()
    wanted = Tokens(torch.randn(B, Q, OUT), torch.rand(B, Q) < 0.7)
    torch.stack(regression(mapper(Tokens(x, of.mask)), wanted)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.abs().amin(-1).gt(0).all()
    assert [n for n, p in mapper.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_targets_that_the_states_tell_are_learnt() -> None:
    mapper, of = queries(), states()
    wanted = Tokens(torch.randn(B, Q, OUT), torch.arange(Q) < torch.tensor([[6], [4], [2]]))
    optim = torch.optim.Adam(mapper.parameters(), 1e-2)
    for _ in range(150):
        optim.zero_grad()
        error, existence = regression(mapper(of), wanted)
        (error + existence).backward()  # type: ignore[no-untyped-call]
        optim.step()
    assert error < 0.01 and torch.equal(existing(mapper(of)).mask, wanted.mask)


def test_tokens_that_states_do_not_share_out_evenly_are_refused() -> None:
    with pytest.raises(SensoriumError, match="7 tokens from 3 states; expected a multiple of 3"):
        LinearMapper(D, OUT, 7, 3)
