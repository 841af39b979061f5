"""Low-rank deltas on the weights of named layers (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sensorium.core import SensoriumError, nearest

KINDS = (nn.Linear, nn.Conv2d, nn.Embedding)


class LowRank(nn.Module):
    """Weight [O ...] -> weight + alpha / rank * B A, with B [O rank] zero at the start and A [rank ...] drawn."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.a = nn.Parameter(weight.new_empty(rank, weight[0].numel()))
        self.b = nn.Parameter(weight.new_zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a).view_as(weight)


def layers(module: nn.Module) -> list[str]:
    """The names of all linear layers, convolutions and embeddings."""
    return [name for name, part in module.named_modules() if isinstance(part, KINDS)]


def adapt(module: nn.Module, names: Sequence[str], rank: int, alpha: float) -> None:
    """Gives the named layers a delta each and freezes all else, in place; what the module computes stays the same.

    Raises:
        SensoriumError: a rank below 1, or a name that is no such layer, with the nearest.
    """
    if rank < 1:
        raise SensoriumError(f"rank {rank}; expected at least 1")
    known = layers(module)
    module.requires_grad_(False)
    for name in names:
        if name not in known:
            raise SensoriumError(f"layer {name!r}{nearest(name, known)}")
        layer = module.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", LowRank(_weight(layer).detach(), rank, alpha))


@torch.no_grad()
def folded(module: nn.Module) -> dict[str, Tensor]:
    """The state of the module with every delta added to its weight: copies, under the names of before `adapt`."""
    # Not by remove_parametrizations on a copy: copies share their class, and it takes the weight off the class.
    adapted = dict(_adapted(module))
    inside = tuple(f"{name}.parametrizations." for name in adapted)
    state = {k: v.clone() for k, v in module.state_dict().items() if not k.startswith(inside)}
    return state | {f"{name}.weight": _weight(part).clone() for name, part in adapted.items()}


@torch.no_grad()
def restart(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads such a state, in place; every delta is zero again."""
    adapted = dict(_adapted(module))
    for name, part in adapted.items():
        own = part.get_submodule("parametrizations.weight")
        own.get_parameter("original").copy_(state[f"{name}.weight"])
        own.get_parameter("0.b").zero_()
    rest = {k: v for k, v in state.items() if k not in {f"{name}.weight" for name in adapted}}
    if unknown := module.load_state_dict(rest, strict=False).unexpected_keys:
        raise SensoriumError(f"{unknown[0]!r} is no weight of this module{nearest(unknown[0], module.state_dict())}")


def _adapted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, part) for name, part in module.named_modules() if parametrize.is_parametrized(part, "weight")]


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
