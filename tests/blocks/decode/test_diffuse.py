from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.blocks.decode.diffuse import (
    COSINE,
    FLOW,
    Canvas,
    Denoiser,
    Path,
    Target,
    as_clean,
    at_most,
    denoise,
    diffuse,
    guided,
    noisier,
    of_noise,
    of_velocity,
    paint,
    plain,
    step,
    within,
)
from sensorium.core import Field, Rng

PATHS = pytest.mark.parametrize("path", [FLOW, COSINE, noisier(FLOW, 3.0)], ids=["flow", "cosine", "noisier"])
TARGETS: tuple[Target, ...] = ("clean", "noise", "velocity")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_paths_by_hand() -> None:
    """Clean 4, noise 8 at t = 1/4: 3 + 2 on the line; at t = 1/3 of the cosine path 4 cos 30 + 8 sin 30."""
    clean, noise = times(4.0), times(8.0)
    assert FLOW.at(clean, noise, times(0.25)).item() == 5
    assert FLOW.target(clean, noise, times(0.25), "velocity").item() == 4
    assert COSINE.at(clean, noise, times(1 / 3)).item() == pytest.approx(2 * math.sqrt(3) + 4)
    assert COSINE.target(clean, noise, times(1 / 3), "velocity").item() == pytest.approx(4 * math.sqrt(3) - 2)


@PATHS
@settings(deadline=None)
@given(t=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_each_target_gives_back_the_clean_value_and_the_noise(path: Path, t: float, seed: int) -> None:
    clean, noise, at = drawn(2, 3, seed=seed), drawn(2, 3, seed=seed + 100), times(t, 1 - t)
    x = path.at(clean, noise, at)
    for target in TARGETS:
        found = path.clean(x, at, path.target(clean, noise, at, target), target)
        torch.testing.assert_close(found, clean)
    torch.testing.assert_close(path.noise(x, at, clean), noise)


@PATHS
def test_velocity_is_the_direction_of_the_path(path: Path) -> None:
    clean, noise, t, d = drawn(5, 3), drawn(5, 3, seed=1), torch.linspace(0.1, 0.9, 5).double(), 1e-6
    slope = (path.at(clean, noise, t + d) - path.at(clean, noise, t - d)) / (2 * d)
    velocity = path.target(clean, noise, t, "velocity")
    torch.testing.assert_close(slope / slope.norm(dim=1, keepdim=True), velocity / velocity.norm(dim=1, keepdim=True))


@PATHS
@pytest.mark.parametrize(("target", "weight"), [("noise", of_noise), ("velocity", of_velocity), ("clean", plain)])
def test_weights_turn_the_clean_error_into_the_error_of_a_target(path: Path, target: Target, weight: object) -> None:
    clean, noise, t = drawn(3, 4), drawn(3, 4, seed=1), times(0.2, 0.5, 0.9)
    x, estimate = path.at(clean, noise, t), drawn(3, 4, seed=2)
    other = path.target(estimate, path.noise(x, t, estimate), t, target)
    want = (other - path.target(clean, noise, t, target)).square().mean()
    torch.testing.assert_close(diffuse(estimate, clean, t, path, weight), want)  # type: ignore[arg-type]


def test_loss_by_hand() -> None:
    """Errors 1 and 3 a row: squares 1 and 9, weights (1/t)^2 = 4 and 1."""
    estimate, clean, t = torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.zeros(2, 2), torch.tensor([0.5, 1.0])
    assert diffuse(estimate, clean, t, FLOW).item() == 5
    assert diffuse(estimate, clean, t, FLOW, of_velocity).item() == pytest.approx((4 + 9) / 2)
    assert diffuse(estimate, clean, t, FLOW, at_most(of_velocity, 2.0)).item() == pytest.approx((2 + 9) / 2)


def test_rows_without_a_picture_cost_nothing() -> None:
    estimate, t = torch.tensor([[1.0], [9.0]], requires_grad=True), torch.tensor([0.5, 0.5])
    loss = diffuse(estimate, torch.zeros(2, 1), t, FLOW, mask=torch.tensor([True, False]))
    loss.backward()
    assert loss.item() == 1 and estimate.grad is not None and estimate.grad.flatten().tolist() == [2, 0]
    assert diffuse(estimate, torch.zeros(2, 1), t, FLOW, mask=torch.zeros(2).bool()).item() == 0


def test_loss_has_the_right_gradient() -> None:
    clean, t = drawn(2, 3, seed=1), times(0.3, 0.6)
    assert torch.autograd.gradcheck(lambda x: diffuse(x, clean, t, COSINE, of_noise), (drawn(2, 3).requires_grad_(),))


def test_a_noisier_path_by_hand() -> None:
    """By 4, the time 1/4 is 4/7 and 1/2 is 4/5; the ends stay."""
    late = noisier(FLOW, 4.0)
    torch.testing.assert_close(late.sigma(times(0, 0.25, 0.5, 1)), times(0, 4 / 7, 4 / 5, 1))
    torch.testing.assert_close(late.alpha(times(0.25)), times(3 / 7))


def gaussian(path: Path, mean: float, spread: float) -> Denoiser:
    """The best estimate of the clean value where these are normal: what a perfectly trained model gives."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = path.alpha(t)[:, None], path.sigma(t)[:, None]
        gain = alpha * spread**2 / ((alpha * spread) ** 2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    return field


@PATHS
def test_the_best_denoiser_moves_each_sample_to_its_quantile(path: Path) -> None:
    """The deterministic way back keeps order: noise z becomes mean + spread z, up to the size of the steps."""
    z = torch.randn(2000, 1, generator=Rng(0)("denoise"))
    found = denoise(gaussian(path, 3.0, 0.5), (2000, 1), path, 400, Rng(0))
    torch.testing.assert_close(found, 3 + 0.5 * z, atol=0.01, rtol=0.01)


@PATHS
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_of_the_best_denoiser_have_its_mean_and_variance(path: Path, eta: float) -> None:
    found = denoise(gaussian(path, 3.0, 0.5), (20_000, 1), path, 200, Rng(1), eta=eta)
    assert found.mean().item() == pytest.approx(3, abs=0.02)
    assert found.std().item() == pytest.approx(0.5, abs=0.015)


def test_one_step_is_the_estimate() -> None:
    assert torch.equal(denoise(lambda x, t: x.sign(), (4, 2), FLOW, 1, Rng(0)).abs(), torch.ones(4, 2))


def discrete(betas: Tensor) -> Path:
    """A path through the steps of a scheduler: t = k / steps."""
    kept = torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])

    def signal(t: Tensor) -> Tensor:
        return kept[(t * len(betas)).round().long()].sqrt()

    def noise(t: Tensor) -> Tensor:
        return (1 - signal(t).square()).sqrt()

    return Path(signal, noise, lambda t: (-noise(t), signal(t)))


@pytest.mark.parametrize(
    ("prediction", "target"), [("epsilon", "noise"), ("sample", "clean"), ("v_prediction", "velocity")]
)
def test_deterministic_steps_are_those_of_diffusers_ddim(prediction: str, target: Target) -> None:
    scheduler = DDIMScheduler(100, beta_schedule="linear", clip_sample=False, prediction_type=prediction)
    scheduler.set_timesteps(20)
    path = discrete(scheduler.betas)
    x = ours = drawn(3, 4).float()
    for k in scheduler.timesteps.tolist():
        out = torch.tanh(x)
        x = scheduler.step(out, k, x).prev_sample
        # Its step k is our k + 1: there index 0 is already noisy.
        t, s = (torch.full((3,), max(0, v) / 100) for v in (k + 1, k + 1 - 5))
        clean = as_clean(lambda y, _: torch.tanh(y), path, target)(ours, t)
        ours = step(path, ours, clean, t, s)
        torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


def test_ancestral_steps_are_those_of_diffusers_ddpm() -> None:
    scheduler = DDPMScheduler(50, beta_schedule="linear", clip_sample=False, prediction_type="sample")
    path = discrete(scheduler.betas)
    x = ours = drawn(3, 4).float()
    for k in range(49, -1, -1):
        torch.manual_seed(k)
        x = scheduler.step(torch.tanh(x), k, x, generator=torch.Generator().manual_seed(k)).prev_sample
        luck = torch.randn(3, 4, generator=torch.Generator().manual_seed(k))
        t, s = (torch.full((3,), v / 50) for v in (k + 1, k))
        ours = step(path, ours, torch.tanh(ours), t, s, 1.0, luck)
        torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


def test_steps_on_the_flow_path_are_those_of_diffusers_euler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(1000)
    scheduler.set_timesteps(10)
    x = ours = drawn(3, 4).float()
    for n, k in enumerate(scheduler.timesteps):
        x = scheduler.step(torch.tanh(x), k, x).prev_sample
        t, s = (scheduler.sigmas[i].expand(3) for i in (n, n + 1))
        clean = as_clean(lambda y, _: torch.tanh(y), FLOW, "velocity")(ours, t)
        ours = step(FLOW, ours, clean, t, s)
        torch.testing.assert_close(ours, x, atol=1e-5, rtol=1e-5)


def test_guidance_by_hand_and_its_ends() -> None:
    """Estimates 3 with and 1 without the condition: weight 2 gives 5, 1 the first, 0 the second."""
    with_it, without = lambda x, t: x * 0 + 3, lambda x, t: x * 0 + 1
    x, t = torch.zeros(1, 1), torch.zeros(1)
    assert [guided(with_it, without, w)(x, t).item() for w in (0.0, 1.0, 2.0)] == [1, 3, 5]
    assert within(guided(with_it, without, 2.0), 4.0)(x, t).item() == 4


@PATHS
@pytest.mark.parametrize("target", ["noise", "velocity"])
def test_guidance_of_any_target_is_guidance_of_the_clean_value(path: Path, target: Target) -> None:
    x, t = drawn(2, 3), times(0.4, 0.7)
    with_it, without = (lambda x, t: torch.tanh(x)), (lambda x, t: torch.sin(x))
    outside = as_clean(guided(with_it, without, 2.5), path, target)(x, t)
    inside = guided(as_clean(with_it, path, target), as_clean(without, path, target), 2.5)(x, t)
    torch.testing.assert_close(inside, outside)


def test_same_seed_same_samples() -> None:
    one, again, other = (denoise(gaussian(FLOW, 0, 1), (3, 1), FLOW, 5, Rng(k), eta=1.0) for k in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_canvas_is_painted() -> None:
    def finish(x: Tensor) -> Field:
        return Field((x * 100).round().to(torch.uint8))

    canvas = Canvas(lambda x, t: torch.full_like(x, 0.5), (2, 3, 4, 4), FLOW, finish)
    assert paint(canvas, 3, Rng(0)).data.flatten().tolist() == [50] * 96
