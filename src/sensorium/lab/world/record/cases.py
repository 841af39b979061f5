"""Rows of several modalities that each tell a label as reliably as is asked: picture, text, table and series.

Given the label, the modalities err independently, so that the best accuracy from any of them is known exactly.
Shape legend: N rows, M modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import Config as Scene
from ..facts import Facts, facts, uniform
from ..lang import caption
from . import series as series_
from . import table as table_
from .series import Series, series
from .table import Table, table

MODALITIES = ("picture", "text", "table", "series")
_SCENE = Scene(fewest=1, most=1)
_TABLE = table_.Config(rule="single")
_SERIES = series_.Config(trends=("falling", "rising"))


@dataclass(frozen=True)
class Config:
    """How often each of MODALITIES agrees with the label; 0.5 is not at all."""

    reliable: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.8)

    def __post_init__(self) -> None:
        if not all(0.5 <= share <= 1 for share in self.reliable):
            raise SensoriumError(f"reliable {self.reliable}; expected a share from 0.5 to 1 for each modality")


@dataclass(frozen=True, eq=False)
class Cases:
    """N rows. What is told by each modality is a bit; whatever else they show says nothing of the label."""

    label: np.ndarray
    """bool [N]."""
    bits: np.ndarray
    """bool [N M]: what each of MODALITIES says."""
    picture: Facts
    """Scenes of one object: its colour is of the upper half of the colours where the bit is set."""
    text: list[str]
    """Captions of scenes of one object: its shape is of the upper half of the shapes where the bit is set."""
    table: Table
    """The column that its rule uses is high where the bit is set."""
    series: Series
    """Rising where the bit is set, falling elsewhere."""
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.label)


CASE = Config()


def cases(seed: int, n: int, config: Config = CASE, start: int = 0, part: str = "train") -> Cases:
    """Rows `start` to `start + n` of a part; each label as likely.

    Raises:
        SensoriumError: an unknown part, a negative n or start.
    """
    picture = facts(derive(seed, "case picture"), n, _SCENE, start, part)
    index = picture.index
    luck = uniform(index, 1 + len(MODALITIES), seed, part, "case")
    label = luck[:, 0] < 0.5
    bits = label[:, None] == (luck[:, 1:] < np.array(config.reliable))
    told = facts(derive(seed, "case text"), n, _SCENE, start, part)
    rows = table(derive(seed, "case table"), n, _TABLE, start, part)
    lines = series(derive(seed, "case series"), n, _SERIES, start, part)
    return Cases(
        label=label,
        bits=bits,
        picture=replace(picture, colour=_half(picture.colour, _SCENE.colours, bits[:, :1])),
        text=caption(replace(told, shape=_half(told.shape, _SCENE.shapes, bits[:, 1:2])), "one"),
        table=_set(rows, bits[:, 2]),
        series=replace(lines, trend=np.where(bits[:, 3], 2, 0).astype(np.int8)),
        config=config,
        seed=seed,
        index=index,
        part=part,
    )


def _half(values: np.ndarray, count: int, upper: np.ndarray) -> np.ndarray:
    """Each value moved to the upper or the lower half of 0 to count - 1."""
    half = count // 2
    return np.asarray(values % half + half * upper, np.int8)


def _set(rows: Table, bit: np.ndarray) -> Table:
    """The rows with the column that their rule uses, and the target, set to a bit."""
    column = table_.used(rows.config)[0]
    numeric, level = rows.numeric.copy(), rows.level.copy()
    sign = np.where(bit, 1, -1)
    if column < numeric.shape[1]:
        numeric[:, column] = np.abs(numeric[:, column]) * sign
    else:
        half = table_.LEVELS // 2
        level[:, column - numeric.shape[1]] = level[:, column - numeric.shape[1]] % half + half * bit
    return replace(rows, numeric=numeric, level=level, target=bit)


def names(modalities: Sequence[str]) -> list[int]:
    """Modalities -> their places in MODALITIES.

    Raises:
        SensoriumError: an unknown one.
    """
    for name in modalities:
        if name not in MODALITIES:
            raise SensoriumError(f"modality {name!r}{nearest(name, MODALITIES)}")
    return [MODALITIES.index(name) for name in modalities]


def ceiling(config: Config, modalities: Sequence[str] = MODALITIES) -> float:
    """The best accuracy there can be from some modalities, exactly; 0.5 from none.

    The sum over all that they can say of the likelier label's share.
    """
    reliable = [config.reliable[at] for at in names(modalities)]
    total = 0.0
    for agree in product((True, False), repeat=len(reliable)):
        likely = [r if a else 1 - r for r, a in zip(reliable, agree, strict=True)]
        total += 0.5 * max(float(np.prod(likely)), float(np.prod([1 - p for p in likely])))
    return total


def best_guess(rows: Cases, mask: np.ndarray | None = None) -> np.ndarray:
    """bool [N]: the likelier label from the bits under a True of `mask`, bool [N M]; ties are False."""
    odds = np.log(
        np.maximum(np.array(rows.config.reliable), 1e-12) / np.maximum(1 - np.array(rows.config.reliable), 1e-12)
    )
    sign = np.where(rows.bits, 1.0, -1.0) * (1.0 if mask is None else mask)
    return np.asarray((sign * odds).sum(1) > 0)
