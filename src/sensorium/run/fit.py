"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from sensorium.core import Batch, Budget, Field, Method, SensoriumError, Terms, Trial, Value, derive
from sensorium.data.stream import Stream

Schedule = Callable[[float], float]
"""Share of the stage done, in [0, 1] -> multiple of the rate."""


def cosine(warmup: float = 0.1) -> Schedule:
    """Linear rise over the share `warmup`, in [0, 1), then half a cosine to zero."""
    if not 0 <= warmup < 1:
        raise SensoriumError(f"warmup {warmup:g}; expected a share of the stage, at least 0 and below 1")

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
    freezes, and a pattern that matches nothing is an error. A callable `data` is asked when the stage begins, with the
    method in eval mode and generators seeded from (seed, stage); what it returns may depend on the weights it saw.

    `players` maps names to patterns, such as "d": "critic". In each step every player has a turn of its own on the same
    batch, in the order given, and last all the rest: who is not in turn is frozen, and terms named "d/..." train player
    d alone. A method may leave out the terms of what is frozen."""

    data: Stream | Callable[[Method], Stream]
    budget: Budget
    batch: int = 256
    rates: Mapping[str, float | None] = field(default_factory=lambda: {"": 1.0})
    optim: AdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=cosine)
    clip: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    players: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What one step did: `terms` are the named losses, `seconds` CPU time so far in this fit, `rows` a digest of the
    ids of all samples so far in their order: equal digests, equal order."""

    n: int
    stage: int
    samples: int
    terms: Mapping[str, float]
    rate: float
    seconds: float
    rows: str


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


def turns_of(method: nn.Module, players: Mapping[str, str]) -> dict[str, list[nn.Parameter]]:
    """What is trained in the turn of each player, and last, as "", in that of the rest; of all that is not frozen."""
    found: dict[str, list[nn.Parameter]] = {player: [] for player in (*players, "")}
    for name, parameter in method.named_parameters():
        whose = [player for player, pattern in players.items() if _matches(name, pattern)]
        if len(whose) > 1:
            raise SensoriumError(f"players {whose[0]!r} and {whose[1]!r} both have {name!r}; expected one player each")
        if parameter.requires_grad:
            found["".join(whose)].append(parameter)
    if idle := [player for player, theirs in found.items() if not theirs]:
        what = f"player {idle[0]!r}: pattern {players[idle[0]]!r} matches" if idle[0] else "the players leave"
        raise SensoriumError(f"{what} no parameter that is trained")
    return found


class Fit:
    """Iterates over `Step`s of a method through its stages; `state_dict` and `load_state_dict` resume between steps."""

    def __init__(
        self, method: Method, stages: Sequence[Stage], trial: Trial, device: torch.device | None = None
    ) -> None:
        self.method, self.stages, self.trial = method, stages, trial
        self.device = device or torch.device("cpu")
        self.stage = self.step = self.total = self.samples = 0
        self.seconds, self.rows = 0.0, ""
        self.trained = 0  # numbers that the stage trains
        # What the method itself froze stays frozen; a stage freezes for itself alone.
        self._trainable = {name for name, p in method.named_parameters() if p.requires_grad}
        self._still: list[nn.Module] = []
        self._turns: dict[str, list[nn.Parameter]] = {}
        self._begun = -1  # the stage that the optimiser and the stream belong to
        self._optimiser: torch.optim.Optimizer | None = None
        self._stream: Stream | None = None
        self._asked_with: dict[str, Tensor] = {}

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
        self._turns = turns_of(self.method, stage.players) if stage.players else {}
        self._optimiser = torch.optim.AdamW(groups, lr=self.trial.rate, betas=stage.optim.betas, eps=stage.optim.eps)
        self._stream = self._ask(stage.data)
        self._begun, self.trained = self.stage, sum(p.numel() for group in groups for p in group["params"])

    def _ask(self, data: Stream | Callable[[Method], Stream]) -> Stream:
        """The stream of a stage. The weights that a callable sees are kept: a run that is resumed later in the stage
        has to ask with them again."""
        if hasattr(data, "batch") and not isinstance(data, type):  # a class of streams is a callable that gives one
            self._asked_with = {}
            return data
        self._asked_with = {k: v.detach().clone() for k, v in self.method.state_dict().items()}
        torch.manual_seed(derive(self.trial.seed, "stage", self.stage))
        self.method.eval()
        return data(self.method)

    def __iter__(self) -> Iterator[Step]:
        start = time.process_time() - self.seconds
        while self.stage < len(self.stages):
            if self._begun != self.stage:
                self._begin()
            done = self._one(start)
            # Before the yield: whoever stops here must find a state that goes on with the next step.
            if self.step == self.stages[self.stage].budget.steps(self.stages[self.stage].batch):
                self.stage, self.step = self.stage + 1, 0
            yield done

    def _one(self, start: float) -> Step:
        assert self._optimiser is not None and self._stream is not None
        stage, method = self.stages[self.stage], self.method
        rate = self.trial.rate * stage.schedule((self.step + 1) / stage.budget.steps(stage.batch))
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["multiple"]
        # Global generators (dropout) are re-seeded every step, so a resumed run needs no generator state.
        torch.manual_seed(derive(self.trial.seed, "step", self.total))
        drawn = self._stream.batch(self.step)
        batch: Batch = {k: v.to(self.device) for k, v in drawn.items()}
        method.train()
        for module in self._still:
            module.eval()
        terms: dict[str, Tensor] = {}
        for player in self._turns or [""]:
            terms |= self._turn(player, batch, rate)
        for theirs in self._turns.values():
            _let_train(theirs, True)
        method.after_step(batch)
        self.step, self.total = self.step + 1, self.total + 1
        self.samples += len(batch["row"])
        self.rows = _chained(self.rows, drawn["row"])
        self.seconds = time.process_time() - start
        return Step(
            self.total,
            self.stage,
            self.samples,
            {k: float(v.detach()) for k, v in terms.items()},
            rate,
            self.seconds,
            self.rows,
        )

    def _turn(self, player: str, batch: Batch, rate: float) -> Terms:
        """One update by the terms of a player alone; of everything where there are none."""
        assert self._optimiser is not None
        stage = self.stages[self.stage]
        for other, theirs in self._turns.items():
            _let_train(theirs, other == player)
        terms: Terms = self.method(batch, self.trial.rng.at(self.total))
        if self._turns:
            terms = {k: v for k, v in terms.items() if _player(k, stage.players) == player}
            if not terms:
                raise SensoriumError(f"no term is named {player + '/…' if player else 'without a player'!r}")
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
        return terms

    def state_dict(self) -> dict[str, Any]:
        """Position, moments by parameter name and, for a stream that was asked for, the weights it was asked with. The
        weights of now are the method's own."""
        moments = {} if self._optimiser is None else self._optimiser.state
        return {
            "stage": self.stage,
            "step": self.step,
            "total": self.total,
            "samples": self.samples,
            "seconds": self.seconds,
            "rows": self.rows,
            "trained": self.trained,
            "optimiser": {n: dict(moments[p]) for n, p in self.method.named_parameters() if p in moments},
            "asked_with": self._asked_with if self.step else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the method already has the weights of then."""
        self.stage, self.step = state["stage"], state["step"]
        self.total, self.samples = state["total"], state["samples"]
        self.seconds, self.rows, self.trained = state["seconds"], state["rows"], state["trained"]
        if not self.step:  # between two stages: the next one begins with a new optimiser
            return
        now = {k: v.detach().clone() for k, v in self.method.state_dict().items()}
        self.method.load_state_dict(state["asked_with"], strict=False)
        self._begin()
        self.method.load_state_dict(now)
        assert self._optimiser is not None
        named = dict(self.method.named_parameters())
        if missed := sorted(set(state["optimiser"]) - set(named)):
            raise SensoriumError(f"the optimiser state names {missed[0]!r}, which the method does not have")
        for name, moments in state["optimiser"].items():
            p = named[name]
            # AdamW counts steps on the CPU, wherever the weights are.
            self._optimiser.state[p] = {k: v.clone() if k == "step" else v.to(p, copy=True) for k, v in moments.items()}


def _let_train(parameters: Sequence[nn.Parameter], yes: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(yes)


def _player(term: str, players: Mapping[str, str]) -> str:
    """Whose a term is; "" is the rest."""
    player, slash, _ = term.partition("/")
    return player if slash and player in players else ""


def _chained(digest: str, rows: Value) -> str:
    """The digest of all ids before, and of these after them."""
    assert isinstance(rows, Field)
    return xxhash.xxh3_128_hexdigest(digest.encode() + rows.data.cpu().numpy().tobytes())
