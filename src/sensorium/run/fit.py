"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from sensorium.core import Batch, Budget, Method, SensoriumError, Trial, derive
from sensorium.data.stream import Stream

Schedule = Callable[[float], float]
"""Share of the stage done, in [0, 1] -> multiple of the rate."""


def cosine(warmup: float = 0.1) -> Schedule:
    """Linear rise over the share `warmup`, then half a cosine to zero."""

    def at(done: float) -> float:
        if done < warmup:
            return done / warmup
        return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))

    return at


@dataclass(frozen=True)
class AdamW:
    """Settings of AdamW (Loshchilov and Hutter 2017); biases, norms and scalars are not decayed."""

    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.01
    eps: float = 1e-8


@dataclass(frozen=True)
class Stage:
    """A stretch of training. `rates` maps name patterns to multiples of the trial's rate: the longest match wins, None
    freezes, and a pattern that matches nothing is an error. A callable `data` is asked when the stage begins."""

    data: Stream | Callable[[Method], Stream]
    budget: Budget
    batch: int = 256
    rates: Mapping[str, float | None] = field(default_factory=lambda: {"": 1.0})
    optim: AdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=cosine)
    clip: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What one step did: `terms` are the named losses, `seconds` CPU time so far in this fit."""

    n: int
    stage: int
    samples: int
    terms: Mapping[str, float]
    rate: float
    seconds: float


def _matches(name: str, pattern: str) -> bool:
    return pattern == "" or name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def rate_groups(method: nn.Module, rates: Mapping[str, float | None], decay: float) -> list[dict[str, Any]]:
    """Optimiser groups of a stage's rates; freezes what has none."""
    used: set[str] = set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        fits = [p for p in rates if _matches(name, p)]
        used.update(fits)
        multiple = rates[max(fits, key=len)] if fits else None
        if multiple is None:
            parameter.requires_grad_(False)
        elif parameter.requires_grad:
            key = (multiple, 0.0 if parameter.ndim < 2 else decay)
            groups.setdefault(key, []).append(parameter)
    if missed := sorted(set(rates) - used - {""}):
        raise SensoriumError(f"rate pattern {missed[0]!r} matches no parameter of the method")
    return [{"params": p, "multiple": m, "weight_decay": d} for (m, d), p in groups.items()]


class Fit:
    """Iterates over `Step`s of a method through its stages; `state_dict` and `load_state_dict` resume between steps."""

    def __init__(
        self, method: Method, stages: Sequence[Stage], trial: Trial, device: torch.device | None = None
    ) -> None:
        self.method, self.stages, self.trial = method, stages, trial
        self.device = device or torch.device("cpu")
        self.stage = self.step = self.total = self.samples = 0
        # What the method itself froze stays frozen; a stage freezes for itself alone.
        self._trainable = {name for name, p in method.named_parameters() if p.requires_grad}
        self._still: list[nn.Module] = []
        self._optimiser: torch.optim.Optimizer | None = None
        self._stream: Stream | None = None

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(s.budget.steps(s.batch) for s in self.stages)

    def _stopped(self, module: nn.Module) -> bool:
        """Whether this stage froze every weight of a module: then its dropout and running statistics rest too."""
        ours = {id(p) for name, p in self.method.named_parameters() if name in self._trainable}
        weights = list(module.parameters())
        return bool(weights) and all(id(p) in ours and not p.requires_grad for p in weights)

    def _begin(self) -> None:
        stage = self.stages[self.stage]
        for name, parameter in self.method.named_parameters():
            parameter.requires_grad_(name in self._trainable)
        groups = rate_groups(self.method, stage.rates, stage.optim.decay)
        self._still = [m for m in self.method.modules() if self._stopped(m)]
        self._optimiser = torch.optim.AdamW(groups, lr=self.trial.rate, betas=stage.optim.betas, eps=stage.optim.eps)
        data = stage.data
        self._stream = data if hasattr(data, "batch") else data(self.method)

    def __iter__(self) -> Iterator[Step]:
        start = time.process_time()
        while self.stage < len(self.stages):
            if self._optimiser is None:
                self._begin()
            done = self._one(start)
            # Before the yield: whoever stops here must find a state that goes on with the next step.
            if self.step == self.stages[self.stage].budget.steps(self.stages[self.stage].batch):
                self.stage, self.step, self._optimiser = self.stage + 1, 0, None
            yield done

    def _one(self, start: float) -> Step:
        assert self._optimiser is not None and self._stream is not None
        stage, method = self.stages[self.stage], self.method
        rate = self.trial.rate * stage.schedule((self.step + 1) / stage.budget.steps(stage.batch))
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["multiple"]
        # Global generators (dropout) are re-seeded every step, so a resumed run needs no generator state.
        torch.manual_seed(derive(self.trial.seed, "step", self.total))
        batch: Batch = {k: v.to(self.device) for k, v in self._stream.batch(self.step).items()}
        method.train()
        for module in self._still:
            module.eval()
        terms = method(batch, self.trial.rng.at(self.total))
        loss = torch.stack([v * stage.weights.get(k, 1.0) for k, v in terms.items()]).sum()
        named = ", ".join(f"{k}={float(v.detach()):g}" for k, v in terms.items())
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is not finite at step {self.total} ({named}, rate {rate:g})")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_([p for g in self._optimiser.param_groups for p in g["params"]], stage.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"gradient is not finite at step {self.total} ({named}, rate {rate:g})")
        self._optimiser.step()
        method.after_step(batch)
        self.step, self.total = self.step + 1, self.total + 1
        self.samples += len(batch["row"])
        return Step(
            self.total,
            self.stage,
            self.samples,
            {k: float(v.detach()) for k, v in terms.items()},
            rate,
            time.process_time() - start,
        )

    def state_dict(self) -> dict[str, Any]:
        """Position and optimiser state; weights are the method's own."""
        return {
            "stage": self.stage,
            "step": self.step,
            "total": self.total,
            "samples": self.samples,
            "optimiser": None if self._optimiser is None else self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.stage, self.step = state["stage"], state["step"]
        self.total, self.samples = state["total"], state["samples"]
        if state["optimiser"] is not None:
            self._begin()
            assert self._optimiser is not None
            self._optimiser.load_state_dict(state["optimiser"])
