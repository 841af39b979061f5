from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sensorium.blocks.generators.flow import Coupling, Flow, Mixing, Scaling, Unmixed, squeezed, unsqueezed
from sensorium.blocks.objectives.elbo import standard_normal
from sensorium.core import SensoriumError


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights away from where they begin, in float64."""
    draw = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=draw, dtype=p.dtype))
    return module


def pictures(n: int, channels: int = 4, side: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PARTS = pytest.mark.parametrize(
    "part",
    [lambda: Scaling(4), lambda: Mixing(4), lambda: Coupling(4, 8), lambda: Unmixed(4), lambda: Flow(4, 1, 2, 8)],
    ids=["scaling", "mixing", "coupling", "unmixed", "flow"],
)


@PARTS
def test_each_part_has_its_inverse(part) -> None:  # type: ignore[no-untyped-def]
    module, x = stirred(part()), pictures(3)
    z, _ = module(x)
    torch.testing.assert_close(module.inverse(z), x, atol=1e-10, rtol=0)
    back, _ = module(module.inverse(x))
    torch.testing.assert_close(back, x, atol=1e-10, rtol=0)


@PARTS
def test_the_log_determinant_is_that_of_the_jacobian(part) -> None:  # type: ignore[no-untyped-def]
    module, x = stirred(part()), pictures(3)
    _, found = module(x)
    for row, log_det in zip(x, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: module(r[None])[0][0], row).reshape(row.numel(), -1)
        assert log_det.item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-9)


@pytest.mark.parametrize("mixing", [Mixing, Unmixed])
def test_a_flow_of_several_scales_inverts_and_keeps_volume_in_book(mixing: type[nn.Module]) -> None:
    flow, x = stirred(Flow(3, 2, 2, 8, mixing)), pictures(2, 3, 8)
    z, log_det = flow(x)
    assert z.shape == x.shape
    torch.testing.assert_close(flow.inverse(z), x, atol=1e-8, rtol=0)  # type: ignore[operator]
    jacobian = torch.autograd.functional.jacobian(lambda r: flow(r[None])[0][0], x[0]).reshape(192, 192)
    assert log_det[0].item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-7)


def test_a_flow_begins_as_a_rotation_and_a_squeeze_of_couplings() -> None:
    """Scaling is the identity, mixing a rotation, and a coupling of zeros scales half of the numbers by sigmoid(2)."""
    x = pictures(2, 4, 4).float()
    assert torch.equal(Scaling(4)(x)[0], x)
    mixed, log_det = Mixing(4)(x)
    torch.testing.assert_close(mixed.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)))
    torch.testing.assert_close(log_det, torch.zeros(2), atol=1e-5, rtol=0)
    _, log_det = Coupling(4, 8)(x)
    torch.testing.assert_close(log_det, torch.full((2,), 32 * math.log(1 / (1 + math.exp(-2)))))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_squeezing_is_undone(rows: int, half: int, seed: int) -> None:
    x = pictures(rows, 3, 2 * half, seed)
    assert torch.equal(unsqueezed(squeezed(x)), x)
    assert sorted(squeezed(x).flatten().tolist()) == sorted(x.flatten().tolist())


def test_a_trained_flow_finds_the_density_of_a_gaussian() -> None:
    """Correlated numbers whose entropy is known: what is learnt costs no less and little more."""
    torch.manual_seed(0)
    root = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0.5, 0.5, 0], [0.2, 0, 0, 0.3]])
    entropy = 2 * math.log(2 * math.pi * math.e) + float(root.diagonal().log().sum())
    flow = Flow(1, 1, 4, 16)
    optimiser = torch.optim.Adam(flow.parameters(), 5e-3)

    def cost(n: int) -> Tensor:
        z, log_det = flow((torch.randn(n, 4) @ root.T).view(n, 1, 2, 2))
        return (standard_normal(z) - log_det).mean()

    before = cost(4000).item()
    for _ in range(300):
        optimiser.zero_grad()
        cost(256).backward()
        optimiser.step()
    after = cost(20000).item()
    assert before > entropy + 0.5 and entropy - 0.05 < after < entropy + 0.1


def test_pictures_that_do_not_halve_are_named() -> None:
    with pytest.raises(SensoriumError, match="6 x 6 do not halve 2 times"):
        Flow(3, 2, 1, 8)(torch.zeros(1, 3, 6, 6))
    with pytest.raises(SensoriumError, match="3 channels"):
        Coupling(3, 8)
