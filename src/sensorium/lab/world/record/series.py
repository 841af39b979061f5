"""Series with a trend, a season and an event, in one or several channels, with captions and a reader.

Shape legend: N series, T steps, C channels. Series i of a part depends on (seed, part, i) and the config alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, derive, nearest

from ..facts import numbered, uniform
from ..reader import Rate

TRENDS = ("falling", "flat", "rising")
SEASONS = ("no", "slow", "fast")
PERIODS = (16, 8)
"""Steps of a slow and of a fast season."""
EVENTS = ("no", "spike", "step")
RISE, SWING, JUMP = 2.0, 1.0, 3.0
"""Change of a trend over the whole series, amplitude of a season, size of an event."""


@dataclass(frozen=True)
class Config:
    """Difficulty dials."""

    steps: int = 64
    channels: int = 1
    """Channel c is the first one with its season a quarter of a turn later, and noise of its own."""
    noise: float = 0.2
    """Standard deviation of each value."""
    trends: tuple[str, ...] = TRENDS
    seasons: tuple[str, ...] = SEASONS
    events: tuple[str, ...] = EVENTS

    def __post_init__(self) -> None:
        for what, given, valid in (
            ("trends", self.trends, TRENDS),
            ("seasons", self.seasons, SEASONS),
            ("events", self.events, EVENTS),
        ):
            if not given or len(set(given)) < len(given):
                raise SensoriumError(f"{what} {given}; expected one or more of {', '.join(valid)}, each once")
            for name in given:
                if name not in valid:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")
        for what, number, low, high in (
            ("steps", self.steps, 32, 4096),
            ("channels", self.channels, 1, 64),
            ("noise", self.noise, 0, 100),
        ):
            if not low <= number <= high:
                raise SensoriumError(f"{what} {number} of series; expected {low} to {high}")


@dataclass(frozen=True, eq=False)
class Series:
    """N series, [N] each: indices into TRENDS, SEASONS and EVENTS (int8)."""

    trend: np.ndarray
    season: np.ndarray
    event: np.ndarray
    at: np.ndarray
    """int64 [N]: the step of the event, or from which on the series is higher; -1 for none."""
    phase: np.ndarray
    """float64 [N]: turns by which the season is ahead, 0 to 1."""
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.trend)

    @property
    def label(self) -> np.ndarray:
        """int64 [N]: the class, trend x 9 + season x 3 + event."""
        return np.asarray(self.trend.astype(np.int64) * 9 + self.season * 3 + self.event)


SERIES = Config()


def series(seed: int, n: int, config: Config = SERIES, start: int = 0, part: str = "train") -> Series:
    """Series `start` to `start + n` of a part, each class as likely; events lie in the middle half.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    index = numbered(n, start, part, "series")
    luck = uniform(index, 5, seed, part, "series")
    trend, season, event = (
        np.array([valid.index(name) for name in given], np.int8)[(luck[:, at] * len(given)).astype(np.int64)]
        for at, (given, valid) in enumerate(
            ((config.trends, TRENDS), (config.seasons, SEASONS), (config.events, EVENTS))
        )
    )
    first, count = config.steps // 4, config.steps // 2
    at = np.where(event > 0, first + (luck[:, 3] * count).astype(np.int64), -1)
    return Series(trend, season, event, at, luck[:, 4], config, seed, index, part)


def signal(rows: Series, start: int = 0, stop: int | None = None) -> np.ndarray:
    """float64 [N C steps]: the series without noise, exactly, at any steps: past the end it is the true forecast."""
    t = np.arange(start, rows.config.steps if stop is None else stop)
    slope = RISE / rows.config.steps * (rows.trend.astype(np.float64) - 1)
    channel = np.arange(rows.config.channels)[:, None]
    period = np.array((1.0, *PERIODS))[rows.season][:, None, None]
    turns = t / period + rows.phase[:, None, None] - channel / 4
    swing = np.where(rows.season[:, None, None] > 0, SWING * np.sin(2 * np.pi * turns), 0.0)
    happened = rows.at[:, None]
    jump = np.where(rows.event[:, None] == 1, t == happened, (rows.event[:, None] == 2) & (t >= happened)) * JUMP
    return np.asarray(swing + (slope[:, None] * t + jump)[:, None])


def values(rows: Series, seed: int = 0) -> np.ndarray:
    """float32 [N C T] with noise; the seed redraws the noise and nothing else."""
    clean = signal(rows)
    if not rows.config.noise:
        return clean.astype(np.float32)
    luck = uniform(rows.index, clean[0].size if len(clean) else 0, rows.seed, rows.part, seed, "series noise")
    noise = ndtri(luck.clip(1e-12, 1 - 1e-12)).reshape(clean.shape)
    return np.asarray(clean + rows.config.noise * noise, np.float32)


def caption(rows: Series) -> list[str]:
    """ "a rising series with a slow season and a spike at step 20"."""
    out = []
    for trend, season, event, at in zip(
        *(a.tolist() for a in (rows.trend, rows.season, rows.event, rows.at)), strict=True
    ):
        what = f"a {EVENTS[event]} at step {at}" if event else "no event"
        cycle = f"a {SEASONS[season]} season" if season else "no season"
        out.append(f"a {TRENDS[trend]} series with {cycle} and {what}")
    return out


_CAPTION = re.compile(
    rf"an? ({'|'.join(TRENDS)}) series with (?:a ({'|'.join(SEASONS[1:])})|no) season "
    rf"and (?:a ({'|'.join(EVENTS[1:])}) at step (\d+)|no event)"
)


def parse(text: str) -> tuple[int, int, int, int] | None:
    """What a caption says: trend, season, event and its step (-1 for none); None for anything else."""
    match = _CAPTION.fullmatch(text.casefold().strip().rstrip("."))
    if match is None:
        return None
    trend, season, event, at = match.groups()
    return TRENDS.index(trend), SEASONS.index(season or "no"), EVENTS.index(event or "no"), int(at or -1)


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of each series, int64 [N], as in `Series`."""

    trend: np.ndarray
    season: np.ndarray
    event: np.ndarray
    at: np.ndarray


def read(found: np.ndarray, config: Config = SERIES) -> Read:
    """[N C T] -> the trend, season and event that leave the least over, among all that the config can make.

    Exact without noise; the first channel decides.

    Raises:
        SensoriumError: another number of channels or steps.
    """
    if found.ndim != 3 or found.shape[1:] != (config.channels, config.steps):
        raise SensoriumError(f"series {list(found.shape)}; expected [N {config.channels} {config.steps}]")
    kinds, offset, bases = _models(config)
    y = found[:, 0].astype(np.float64)
    left = np.stack([_residual(y - base, season) for base, season in zip(offset, bases, strict=True)], 1)
    best = kinds[left.argmin(1)] if len(y) else np.zeros((0, 4), np.int64)
    return Read(*best.T)


def _residual(y: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """[N T], orthonormal [T B] -> [N]: what is left of the sum of squares, and the price of a season's two numbers."""
    part = y @ basis
    gone = (part**2).sum(1)
    amplitude = np.sqrt(gone * 2 / y.shape[1])
    off = np.where(basis.shape[1] > 0, y.shape[1] / 2 * (amplitude - SWING) ** 2, 0.0)
    return np.asarray((y**2).sum(1) - gone + off)


@cache
def _models(config: Config) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Every (trend, season, event, step), [M 4]; its part without the season, [M T]; the season's sine and cosine."""
    t = np.arange(config.steps)
    places = range(config.steps // 4, config.steps // 4 + config.steps // 2)
    kinds, offsets, bases = [], [], []
    for trend, season, event in product(config.trends, config.seasons, config.events):
        for at in places if event != "no" else (-1,):
            kinds.append((TRENDS.index(trend), SEASONS.index(season), EVENTS.index(event), at))
            jump = {"no": t < 0, "spike": t == at, "step": t >= at}[event] * JUMP
            offsets.append(RISE / config.steps * (TRENDS.index(trend) - 1) * t + jump)
            bases.append(_season(season, config.steps))
    return np.array(kinds), np.stack(offsets), tuple(bases)


def _season(name: str, steps: int) -> np.ndarray:
    if name == "no":
        return np.zeros((steps, 0))
    turns = 2 * np.pi * np.arange(steps) / PERIODS[SEASONS.index(name) - 1]
    basis, _ = np.linalg.qr(np.stack([np.sin(turns), np.cos(turns)], 1))
    return np.asarray(basis)


def reader_error(config: Config = SERIES, n: int = 300, seed: int = 0) -> dict[str, Rate]:
    """The reader's own error on true series, by factor."""
    rows = series(derive("series reader", seed), n, config)
    found = read(values(rows), config)
    return {
        name: Rate(float((getattr(found, name) != getattr(rows, name)).mean()), 0.0)
        for name in ("trend", "season", "event", "at")
    }
