"""What a paper is: a module with these names. Data, not code, wherever it can be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

from .errors import SensoriumError, nearest
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
    """What a key of the data is, fitted on train rows only and saved with the run.

    `length`: the most tokens of a text or samples of a sound, which are cut there; `rate`: samples per second.
    """

    kind: str
    shape: tuple[int, ...] = ()
    vocab: int = 0
    length: int = 0
    classes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    rate: int = 0


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


def _need(statement: object, field: str, sound: bool, expected: str) -> None:
    if not sound:
        given = getattr(statement, field)
        raise SensoriumError(f"{type(statement).__name__}: {field} is {given!r}; expected {expected}")


@dataclass(frozen=True)
class Above:
    """`ours` beats `baseline` on `metric` by at least `by`, in the metric's units.

    In every statement `higher` False means that less of the metric is better, and a baseline that touches `ceiling`
    leaves no headroom.
    """

    metric: str
    by: float
    ours: str = "ours"
    baseline: str = "baseline"
    higher: bool = True
    ceiling: float | None = None

    def __post_init__(self) -> None:
        _need(self, "by", 0 <= self.by < math.inf, "0 or more")


@dataclass(frozen=True)
class NotBelow:
    """`ours` is at most `margin` worse than `baseline` on `metric`, in the metric's units."""

    metric: str
    margin: float
    ours: str = "ours"
    baseline: str = "baseline"
    higher: bool = True
    ceiling: float | None = None

    def __post_init__(self) -> None:
        _need(self, "margin", 0 < self.margin < math.inf, "more than 0: no interval excludes a margin of nothing")


@dataclass(frozen=True)
class Keeps:
    """`ours` keeps at least `share` of what `baseline` scores: a ratio, so state a level (Above, NotBelow) beside it.

    `of` is the baseline's metric where it is another one (with baseline "ours": a share of its own full score). `floor`
    is an arm whose score is taken off both, so that a share of an effect is kept.
    """

    metric: str
    share: float
    ours: str = "ours"
    baseline: str = "baseline"
    of: str = ""
    floor: str = ""
    higher: bool = True
    ceiling: float | None = None

    def __post_init__(self) -> None:
        _need(self, "share", 0 < self.share < math.inf, "more than 0")
        same = self.ours == self.baseline and self.of in ("", self.metric)
        _need(self, "baseline", not same, "an arm other than ours, or the metric that is kept as `of`")


@dataclass(frozen=True)
class Sooner:
    """`ours` reaches `level`, or what `baseline` ends at, in at most share `by` of what the baseline takes to reach it.

    `over` is the column of the learning curves that is counted: samples, cpu_s or flops.
    """

    metric: str
    by: float
    ours: str = "ours"
    baseline: str = "baseline"
    level: float | None = None
    over: str = "samples"
    higher: bool = True

    def __post_init__(self) -> None:
        _need(self, "by", 0 < self.by <= 1, "a share above 0 and up to 1")


@dataclass(frozen=True)
class Trend:
    """Along the ordered `arms`, `metric` rises (`higher` False: falls) by at least `by` from the first to the last.

    `at` places the arms (default 0, 1, 2 …). With `baselines`, one per arm, the gain over them is what rises or falls.
    """

    metric: str
    by: float
    arms: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    higher: bool = True
    ceiling: float | None = None

    def __post_init__(self) -> None:
        _need(self, "by", 0 <= self.by < math.inf, "0 or more")
        _need(self, "arms", len(self.arms) >= 2, "at least two arms, in order")
        _need(self, "baselines", len(self.baselines) in (0, len(self.arms)), f"none or {len(self.arms)}, one per arm")
        rising = all(a < b for a, b in pairwise(self.at))
        _need(self, "at", rising and len(self.at) in (0, len(self.arms)), f"none or {len(self.arms)} rising numbers")


@dataclass(frozen=True)
class Cheaper:
    """`ours` takes at most `by` times what `baseline` takes of `cost`: cpu_s, flops, parameters, peak_mb or samples."""

    cost: str
    by: float
    ours: str = "ours"
    baseline: str = "baseline"

    def __post_init__(self) -> None:
        _need(self, "by", 0 < self.by < math.inf, "more than 0")


Statement = Above | NotBelow | Keeps | Sooner | Trend | Cheaper


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What `reproduce` measures: named arms, statements about them, the trivial predictor each arm must beat first.

    `data` names the set of arms that name none ("starter", "world/binding" …), `towers` what they start from ("auto",
    "scratch" or names), `needs` the properties that a shared start must have, else nothing is tested; `batch` the rows
    per step of every arm. `chosen`: arm -> the metric of a statement that its rate is chosen on, where that is not the
    first that a statement about the arm names.
    """

    arms: Mapping[str, Arm]
    says: Sequence[Statement]
    beats: str
    rates: Sequence[float]
    budget: Budget
    seeds: int = 5
    data: str = "starter"
    towers: str = "auto"
    needs: Sequence[str] = ()
    batch: int = 256
    chosen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if odd := set(self.chosen) - set(self.arms):
            raise SensoriumError(f"Claim: chosen names {min(odd)!r}{nearest(min(odd), self.arms)}")
        known = {m for s in self.says if (m := getattr(s, "metric", ""))}
        if lost := set(self.chosen.values()) - known:
            raise SensoriumError(f"Claim: no statement is about {min(lost)!r}, which a rate is chosen on")


class Bases(Protocol):
    """Shared starts: the laboratory's own small parts or the real checkpoints that the user named."""

    def encoder(self, key: str, read: str = "pooled") -> Tower:
        """A tower for a key of the data: `read` "pooled" gives [B 1 D], "tokens" [B T D]."""
        ...

    def get(self, name: str) -> Method:
        """A shared start that the paper's `BASES` names: frozen, always in eval mode, never saved with the run."""
        ...

    def copy(self, name: str) -> Method:
        """A copy of such a start to train on, saved with the run."""
        ...


@runtime_checkable
class Paper(Protocol):
    """Satisfied by a module.

    Optional beside these: `stream(config, rows, fields)`, `stages(config, method, rows, trial)`, a literal `BASES`: the
    shared starts that `build` takes, each with "ids" where its tokeniser makes the ids of the data's texts, "optional"
    where only some settings take it, or ""; `UNITS` "characters" where ids of texts stand for these; and `MEASURES`, as
    an arm's, of what `train` reports beside the tasks.
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
