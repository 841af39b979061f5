from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from sensorium.blocks.decode.diffuse import COSINE, FLOW, Path, noisier, step
from sensorium.blocks.objectives.elbo import (
    bits_per_dimension,
    denoising_gap,
    dequantised,
    discretised_logistic,
    gaussian_kl,
    log_bins,
    ratio,
    standard_normal,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=seeded(seed))


def test_a_fair_byte_costs_eight_bits() -> None:
    nats = torch.tensor([12 * math.log(256), 6 * math.log(256)])
    assert bits_per_dimension(nats, 12).tolist() == pytest.approx([8.0, 4.0])


def test_divergence_is_torchs() -> None:
    mean, log_variance = normal(3, 2, 4), normal(3, 2, 4, seed=1)
    one = Independent(Normal(mean, (log_variance / 2).exp()), 2)
    standard = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 2)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl_divergence(one, standard))


def test_divergence_pulls_to_the_prior_where_it_is_nothing() -> None:
    mean, log_variance = torch.zeros(2, 3).double().requires_grad_(), torch.zeros(2, 3).double().requires_grad_()
    found = gaussian_kl(mean, log_variance)
    assert found.tolist() == [0.0, 0.0]
    found.sum().backward()
    assert not mean.grad.any() and not log_variance.grad.any()  # type: ignore[union-attr]
    assert torch.autograd.gradcheck(gaussian_kl, (normal(2, 3).requires_grad_(), normal(2, 3, seed=1).requires_grad_()))


def test_a_gaussian_bound_is_tight_at_the_true_posterior_and_slack_elsewhere() -> None:
    """x = W z + noise in closed form: -log p(x) of the bound with the exact posterior, and above it with another."""
    w, spread = normal(3, 2), 0.7
    x = normal(5, 3, seed=1)
    truth = -MultivariateNormal(torch.zeros(3).double(), w @ w.T + spread**2 * torch.eye(3).double()).log_prob(x)
    precision = torch.eye(2).double() + w.T @ w / spread**2
    # In the basis where the posterior is diagonal, so that a diagonal Gaussian is exact.
    values, basis = torch.linalg.eigh(precision)
    w = w @ basis
    mean, log_variance = (x @ w / spread**2) / values, -values.log().expand(5, 2)

    def bound(mean: Tensor, log_variance: Tensor) -> Tensor:
        variance = log_variance.exp()
        expected = ((x - mean @ w.T).square().sum(1) + (w.square() * variance[:, None]).sum((1, 2))) / (2 * spread**2)
        return expected + 3 * math.log(spread * math.sqrt(2 * math.pi)) + gaussian_kl(mean, log_variance)

    torch.testing.assert_close(bound(mean, log_variance), truth)
    assert (bound(mean + 0.1, log_variance) > truth + 1e-3).all() and (bound(mean, log_variance + 0.5) > truth).all()


def test_standard_normal_is_torchs() -> None:
    z = normal(4, 2, 3)
    want = -Normal(torch.zeros_like(z), torch.ones_like(z)).log_prob(z).sum((1, 2))
    torch.testing.assert_close(standard_normal(z), want)


def test_dequantised_values_lie_in_their_bins_and_fill_them() -> None:
    values = torch.randint(0, 256, (50, 3, 8, 8), generator=seeded(), dtype=torch.uint8)
    x = dequantised(values, seeded(1))
    assert ((x * 256).floor() == values).all() and float(x.min()) >= 0 and float(x.max()) < 1
    inside = x * 256 - values
    assert inside.mean() == pytest.approx(0.5, abs=0.01) and inside.var() == pytest.approx(1 / 12, rel=0.05)


@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 2.0])
@pytest.mark.parametrize("mean", [-1.3, -0.99, 0.1, 1.0])
def test_the_bins_of_a_logistic_are_all_there_is(mean: float, log_scale: float) -> None:
    values = torch.arange(256)
    logs = log_bins(values, torch.full((256,), mean).double(), torch.full((256,), log_scale).double())
    assert float(logs.exp().sum()) == pytest.approx(1.0, abs=1e-9) and torch.isfinite(logs).all()


def test_a_bin_is_a_difference_of_distribution_functions() -> None:
    """Under a logistic about 0 of scale 1/128 the bin of 127 reaches from -1/2 to 1/2, that of 255 from 127.5 on."""
    logit = torch.tensor([0.5, -0.5, -127.5, -126.5]).double().sigmoid()
    scale = torch.full((3, 1), -math.log(128)).double()
    found = discretised_logistic(torch.tensor([[127], [255], [0]]), torch.zeros(3, 1).double(), scale)
    torch.testing.assert_close(found, -torch.stack([logit[0] - logit[1], logit[2], logit[3]]).log())


def test_a_logistic_far_from_its_value_still_has_a_gradient() -> None:
    mean = torch.tensor([[0.9]], requires_grad=True)
    loss = discretised_logistic(torch.tensor([[3]], dtype=torch.uint8), mean, torch.tensor([[-6.0]]))
    loss.backward()
    assert torch.isfinite(loss) and mean.grad is not None and float(mean.grad) > 100


PATHS = pytest.mark.parametrize("path", [FLOW, COSINE, noisier(FLOW, 5.0)], ids=["flow", "cosine", "late"])


@PATHS
def test_the_gap_is_the_divergence_of_two_posteriors(path: Path) -> None:
    """Both ways from x_t to x_s are Gaussians of one spread: the true clean value's mean against the estimate's."""
    clean, estimate, noise = normal(4, 6), normal(4, 6, seed=1), normal(4, 6, seed=2)
    t, s = torch.tensor([0.9, 0.5, 0.3, 0.12]).double(), torch.tensor([0.8, 0.2, 0.29, 0.1]).double()
    x, still = path.at(clean, noise, t), torch.zeros_like(clean)
    means = [step(path, x, c, t, s, 1.0, still) for c in (clean, estimate)]
    spread = step(path, x, clean, t, s, 1.0, torch.ones_like(clean)) - means[0]
    sides = [Independent(Normal(mean, spread), 1) for mean in means]
    torch.testing.assert_close(denoising_gap(path, s, t, clean, estimate), kl_divergence(*sides), rtol=1e-4, atol=1e-6)


@PATHS
def test_an_exact_estimate_costs_nothing_and_noise_says_nothing(path: Path) -> None:
    clean = normal(2, 5)
    assert not denoising_gap(path, torch.full((2,), 0.2), torch.full((2,), 0.6), clean, clean).any()
    assert ratio(path, torch.ones(1)).item() == pytest.approx(0.0, abs=1e-12)
