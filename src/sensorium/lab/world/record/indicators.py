"""Numbers about a tile of the map that its picture shows: each is a known sum of its facts, and noise of a known share.

Shape legend: N tiles (scenes), I indicators.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError

from ..facts import COLOURS, SHAPES, Config, Facts, shown, uniform

TILE = Config(cells=4, fewest=2, most=12, distinct=False)
"""Scenes that look like tiles: up to twelve objects in a grid of four by four."""
INDICATORS = ("population", "green", "roads", "balance")
"""population: objects; green: green and cyan ones; roads: crosses and squares; balance: objects in the left half less
those in the right one."""
_COUNTED = {
    "green": np.array([name in ("green", "cyan") for name in COLOURS]),
    "roads": np.array([name in ("cross", "square") for name in SHAPES]),
}


def exact(world: Facts) -> np.ndarray:
    """float64 [N I]: the indicators without noise, counted in the picture's facts."""
    seen = shown(world)
    real = seen.real()
    green = _COUNTED["green"][np.maximum(seen.colour, 0)] & real
    roads = _COUNTED["roads"][np.maximum(seen.shape, 0)] & real
    side = np.sign(seen.config.cells - 1 - 2 * seen.col.astype(np.int64)) * real
    return np.stack([real.sum(1), green.sum(1), roads.sum(1), side.sum(1)], 1).astype(np.float64)


def indicators(world: Facts, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """float64 [N I]: the exact ones with normal noise of that standard deviation.

    Raises:
        SensoriumError: a noise below 0.
    """
    if not 0 <= noise < np.inf:
        raise SensoriumError(f"noise of indicators {noise}; expected 0 or more")
    luck = uniform(world.index, len(INDICATORS), world.seed, world.part, seed, "indicators")
    return np.asarray(exact(world) + noise * ndtri(luck.clip(1e-12, 1 - 1e-12)))


def ceiling(world: Facts, noise: float = 0.5) -> np.ndarray:
    """float64 [I]: the best R2 there can be, var / (var + noise^2) over these tiles; 0 where nothing varies."""
    spread = exact(world).var(0)
    return np.asarray(spread / np.maximum(spread + noise**2, 1e-12))


def report(world: Facts) -> list[str]:
    """A text per tile that tells the indicators, as a long caption would: "7 objects, 2 of them green, …"."""
    table = exact(world).astype(np.int64).tolist()
    sides = {-1: "more on the right", 0: "as many on each side", 1: "more on the left"}
    return [
        f"{objects} objects, {green} of them green or cyan, {roads} crosses or squares, {sides[int(np.sign(balance))]}"
        for objects, green, roads, balance in table
    ]
