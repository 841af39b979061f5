"""What a paper is: a module with these names. Data, not code, wherever it can be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from .errors import SensoriumError
from .method import Method, Tower
from .rng import Rng

KINDS = (
    "image",
    "text",
    "audio",
    "video",
    "pose",
    "table",
    "series",
    "graph",
    "boxes",
    "mask",
    "label",
    "value",
    "spans",
    "ids",
)


@dataclass(frozen=True)
class FieldInfo:
    """What a key of the data is, fitted on train rows only and saved with the run."""

    kind: str
    shape: tuple[int, ...] = ()
    vocab: int = 0
    length: int = 0
    classes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


Fields = Mapping[str, FieldInfo]


@dataclass(frozen=True)
class Budget:
    """How much training: `samples` seen. Minutes become samples once, before a run starts."""

    samples: int

    def steps(self, batch: int) -> int:
        """Whole steps of `batch` samples, at least one."""
        return max(1, self.samples // batch)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def cpu_seconds(text: str) -> float:
    """'90s', '5m', '2h' -> CPU-seconds. Anything else is one clear line."""
    if not (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)) or float(match[1]) <= 0:
        raise SensoriumError(f"budget {text!r} does not parse; expected a number and a unit, such as 90s, 5m or 2h")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class Trial:
    """One run's dial settings. Never sees a split: the runner hands it rows."""

    rate: float
    budget: Budget
    seed: int
    batch: int = 256

    @property
    def rng(self) -> Rng:
        """The run's source of randomness."""
        return Rng(self.seed)


Scores = Mapping[str, float]


@dataclass(frozen=True)
class Arm:
    """A build and a stream, as data: pickles, hashes, is shared between papers. `paper` "" is this file."""

    paper: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    stream: str = ""
    measures: Sequence[str] = ()
    run: str = ""


@dataclass(frozen=True)
class Above:
    """`ours` beats `baseline` on `metric` by at least `by`."""

    metric: str
    by: float
    ours: str = "ours"
    baseline: str = "baseline"


@dataclass(frozen=True)
class NotBelow:
    """`ours` is no more than `margin` below `baseline` on `metric`."""

    metric: str
    margin: float
    ours: str = "ours"
    baseline: str = "baseline"


Statement = Above | NotBelow


@dataclass(frozen=True)
class Claim:
    """What `reproduce` measures: named arms, statements about them, the trivial predictor each arm must beat first."""

    arms: Mapping[str, Arm]
    says: Sequence[Statement]
    beats: str
    rates: Sequence[float]
    budget: Budget
    seeds: int = 5


class Bases(Protocol):
    """Shared starts: the laboratory's own small parts or the real checkpoints that the user named."""

    def encoder(self, key: str, read: str = "pooled") -> Tower:
        """A tower for a key of the data: `read` "pooled" gives [B 1 D], "tokens" [B T D]."""
        ...


@runtime_checkable
class Paper(Protocol):
    """Satisfied by a module.

    Optional beside these: `stream(config, rows, fields)` and `stages(config, method, rows, budget)`.
    """

    @property
    def Config(self) -> type: ...  # noqa: N802
    @property
    def NEEDS(self) -> Mapping[str, str]: ...  # noqa: N802
    @property
    def PARTS(self) -> Mapping[str, str]: ...  # noqa: N802
    @property
    def CLAIMS(self) -> Mapping[str, Claim]: ...  # noqa: N802

    def build(self, config: Any, fields: Fields, bases: Bases, /) -> Method:
        """A new method for this data."""
        ...
