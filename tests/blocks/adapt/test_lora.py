from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from sensorium.blocks.adapt.lora import adapt, folded, layers, restart
from sensorium.core import SensoriumError


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5))


def moved(module: nn.Module) -> nn.Module:
    """The module with deltas that are not zero."""
    g = torch.Generator().manual_seed(1)
    for name, p in module.named_parameters():
        if p.requires_grad:
            p.data = torch.randn(p.shape, generator=g)
        assert p.requires_grad == name.endswith((".a", ".b"))
    return module


def pictures() -> Tensor:
    return torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(2))


def test_by_hand() -> None:
    layer = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        layer[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    adapt(layer, ["0"], rank=1, alpha=2.0)
    named = dict(layer.named_parameters())
    named["0.parametrizations.weight.0.a"].data = torch.tensor([[1.0, 3.0]])
    named["0.parametrizations.weight.0.b"].data = torch.tensor([[1.0], [-1.0]])
    assert folded(layer)["0.weight"].tolist() == [[3.0, 6.0], [-2.0, -5.0]]  # 1 + 2 * b a


def test_the_start_is_kept_and_only_deltas_are_trained() -> None:
    plain, low = net(), net()
    adapt(low, layers(low), 2, 4.0)
    assert torch.equal(plain(pictures()), low(pictures()))
    trained = sum(p.numel() for p in low.parameters() if p.requires_grad)
    assert trained == 2 * (4 + 27) + 2 * (5 + 16)
    low(pictures()).square().sum().backward()
    for name, p in low.named_parameters():
        assert (p.grad is not None and p.grad.any()) == name.endswith(".b"), name  # A moves once B has


def test_it_computes_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    low, theirs = net(), net()
    adapt(low, layers(low), 2, 3.0)
    moved(low)
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0", "3"], lora_dropout=0.0)
    theirs = peft.get_peft_model(theirs, config)
    own = dict(low.named_parameters())
    for at in ("0", "3"):
        a, b = (own[f"{at}.parametrizations.weight.0.{side}"].data for side in "ab")
        layer = theirs.base_model.model[int(at)]
        layer.lora_A["default"].weight.data = a.reshape(layer.lora_A["default"].weight.shape)
        layer.lora_B["default"].weight.data = b.reshape(layer.lora_B["default"].weight.shape)
    torch.testing.assert_close(low(pictures()), theirs(pictures()))


def test_folding_changes_the_names_and_nothing_else() -> None:
    low = net()
    adapt(low, ["3"], 2, 2.0)
    moved(low)
    said, state = low(pictures()), folded(low)
    assert state.keys() == net().state_dict().keys() and "3.parametrizations.weight.original" in low.state_dict()
    plain = net()
    plain.load_state_dict(state)
    torch.testing.assert_close(plain(pictures()), said)
    state["3.weight"].zero_()
    torch.testing.assert_close(low(pictures()), said)  # a copy: the module is as it was


def test_a_restart_stands_at_the_state_with_deltas_of_zero() -> None:
    low = net()
    adapt(low, layers(low), 2, 2.0)
    moved(low)
    said, state = low(pictures()), folded(low)
    other = deepcopy(low)
    restart(other, state)
    torch.testing.assert_close(other(pictures()), said)
    assert not any(p.any() for n, p in other.named_parameters() if n.endswith(".b"))
    restart(plain := net(), state)  # without deltas: an ordinary load
    torch.testing.assert_close(plain(pictures()), said)


def test_bad_input_is_named() -> None:
    with pytest.raises(SensoriumError, match=r"rank 0; expected at least 1"):
        adapt(net(), ["0"], 0, 1.0)
    with pytest.raises(SensoriumError, match=r"layer '33'.*'3'"):
        adapt(net(), ["33"], 1, 1.0)
    with pytest.raises(SensoriumError, match=r"'bias'.* is no weight|'bias' is no weight"):
        restart(net(), {**net().state_dict(), "bias": torch.zeros(1)})
