from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Normal

from sensorium.blocks.objectives.preference import Kernel, dpo, gaussian, kernel_dpo, log_likelihood, radial
from sensorium.core import SensoriumError

KERNELS = pytest.mark.parametrize("kernel", [gaussian(0.8), radial(0.8)], ids=["gaussian", "radial"])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_by_hand() -> None:
    """Gains log 4 and log 2 at beta 2: the margin is log 2, sigmoid(2 log 2) = 4/5."""
    found = dpo(*(torch.tensor([math.log(x)]) for x in (0.8, 0.2, 0.2, 0.1)), beta=2.0)
    assert found.item() == pytest.approx(math.log(5 / 4))


def test_the_reference_itself_loses_log_2() -> None:
    chosen, rejected = -torch.rand(2, 5, generator=seeded(0))
    assert dpo(chosen, rejected, chosen, rejected).item() == pytest.approx(math.log(2))


@given(st.lists(st.floats(-30, 0), min_size=4, max_size=4), st.floats(0.01, 2), st.floats(-5, 5))
def test_only_the_margin_counts_and_a_swap_of_answers_mirrors_it(x: list[float], beta: float, shift: float) -> None:
    a, b, c, d = (torch.tensor([v], dtype=torch.float64) for v in x)
    loss, margin = dpo(a, b, c, d, beta), beta * float(a - c - b + d)
    assert dpo(a + shift, b + shift, c, d, beta).item() == pytest.approx(loss.item(), abs=1e-9)
    assert dpo(b, a, d, c, beta).item() - loss.item() == pytest.approx(margin, abs=1e-9)


def test_gradients_raise_the_chosen_and_lower_the_rejected() -> None:
    """At the reference both move by beta / 2 per pair."""
    chosen, rejected = (-torch.rand(3, dtype=torch.float64, generator=seeded(k)) for k in (1, 2))
    a, b = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
    dpo(a, b, chosen, rejected, beta=0.3).backward()
    assert a.grad is not None and b.grad is not None
    torch.testing.assert_close(a.grad, torch.full((3,), -0.05, dtype=torch.float64))
    torch.testing.assert_close(b.grad, torch.full((3,), 0.05, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x, y: dpo(x, y, chosen - 1, rejected + 0.5, 0.3), (a, b))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_beta_that_is_not_positive_is_named(beta: float) -> None:
    with pytest.raises(SensoriumError, match="beta"):
        dpo(*torch.zeros(4, 1), beta=beta)


def test_log_likelihood_is_that_of_independent_draws() -> None:
    logits, ids = torch.randn(3, 4, 6, generator=seeded(3)), torch.randint(0, 6, (3, 4), generator=seeded(4))
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    want = (Categorical(logits=logits).log_prob(ids) * mask).sum(1)
    torch.testing.assert_close(log_likelihood(logits, ids, mask), want)
    assert log_likelihood(logits, ids, mask)[2] == 0


@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_padding_changes_no_likelihood_and_gets_no_gradient(fill: float) -> None:
    logits, ids = torch.randn(2, 3, 5, generator=seeded(5)), torch.tensor([[0, 1, 2], [3, 4, 0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    want = log_likelihood(logits, ids, mask)
    padded = logits.masked_fill(~mask[..., None], fill).requires_grad_()
    found = log_likelihood(padded, ids.masked_fill(~mask, -7), mask)
    found.sum().backward()
    assert torch.equal(found, want)
    assert padded.grad is not None and not padded.grad[~mask].any() and padded.grad[mask].any()


def test_bfloat16_is_summed_in_float32() -> None:
    logits = torch.randn(1, 64, 300, generator=seeded(6)).bfloat16()
    ids, mask = torch.randint(0, 300, (1, 64), generator=seeded(7)), torch.ones(1, 64, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = log_likelihood(logits, ids, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, log_likelihood(logits.double(), ids, mask).float())


def vectors(n: int = 4, b: int = 3, t: int = 5, d: int = 2) -> list[torch.Tensor]:
    return list(torch.randn(n, b, t, d, dtype=torch.float64, generator=seeded(8)))


def test_a_gaussian_kernel_is_dpo_on_normal_likelihoods() -> None:
    made, known, chosen, rejected = vectors()
    mask = torch.rand(3, 5, generator=seeded(9)) < 0.7
    means = [(m, answer) for m in (made, known) for answer in (chosen, rejected)]
    want = dpo(*((Normal(m, 0.8).log_prob(x).sum(-1) * mask).sum(1) for m, x in means), beta=0.4)
    torch.testing.assert_close(kernel_dpo(made, known, chosen, rejected, mask, gaussian(0.8), 0.4), want)


def test_a_radial_kernel_by_hand() -> None:
    """The policy is on the chosen vector, the reference on the rejected one, a distance of sqrt(2 log 2) apart: each
    kernel is 1 or 1/2, the margin 1."""
    away = torch.tensor([[[math.sqrt(2 * math.log(2)), 0.0]]])
    here, mask = torch.zeros_like(away), torch.ones(1, 1, dtype=torch.bool)
    found = kernel_dpo(here, away, here, away, mask, radial(), beta=1.0)
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)))


@KERNELS
def test_the_policy_moves_towards_the_chosen_vector(kernel: Kernel) -> None:
    chosen, rejected = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    made, mask = torch.zeros_like(chosen).requires_grad_(), torch.ones(1, 1, dtype=torch.bool)
    kernel_dpo(made, made.detach(), chosen, rejected, mask, kernel).backward()
    assert made.grad is not None and made.grad[0, 0, 0] < 0 < made.grad[0, 0, 1]


@KERNELS
def test_masked_vectors_change_nothing_and_get_no_gradient(kernel: Kernel) -> None:
    given_, mask = vectors(), torch.tensor([[True] * 5, [True, False] * 2 + [True], [False] * 5])
    want = kernel_dpo(*given_, mask, kernel)
    filled = [v.masked_fill(~mask[..., None], float("nan")) for v in given_]
    filled[0].requires_grad_()
    found = kernel_dpo(*filled, mask, kernel)
    found.backward()
    assert torch.equal(found, want)
    assert filled[0].grad is not None and not filled[0].grad[~mask].any() and filled[0].grad[mask].any()


@KERNELS
def test_kernel_gradients(kernel: Kernel) -> None:
    made, *rest = vectors()
    mask = torch.ones(3, 5, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: kernel_dpo(x, *rest, mask, kernel), (made.requires_grad_(),))
