"""Clips as frames, and the truth of each pixel, through the scene renderer.

Shape legend: N clips, T frames, K object slots, H W pixels. In a null world all of it is true of what is `shown`.
"""

from __future__ import annotations

import numpy as np

from sensorium.core import SensoriumError

from .. import scene
from ..scene import Style
from .changes import frames, shown
from .timeline import Clips

FLAT = Style(jitter=0)
"""Objects stand in the middle of their cells: with jitter they tremble from frame to frame."""
SIZE = 48
RATE = 4.0
"""Frames per second, where times are in seconds."""


def film(world: Clips, size: int = SIZE, style: Style = FLAT, seed: int = 0) -> np.ndarray:
    """uint8 [N T 3 H W]; the seed redraws the noise, which differs between frames."""
    made, _ = frames(shown(world))
    images = scene.render(made, size, style, seed)
    return images.reshape(len(world), world.config.frames, *images.shape[1:])


def boxes(world: Clips, size: int = SIZE, style: Style = FLAT) -> np.ndarray:
    """float32 [N T K 4]: x y x y in [0, 1] of each object in each frame; zeros where it is not there."""
    made, slot = frames(shown(world))
    found = scene.boxes(made, size, style)
    out = np.zeros_like(found)
    n, k = np.nonzero(slot >= 0)
    out[n, slot[n, k]] = found[n, k]
    return out.reshape(len(world), world.config.frames, *found.shape[1:])


def masks(world: Clips, size: int = SIZE, style: Style = FLAT) -> np.ndarray:
    """uint8 [N T H W]: 0 is ground, k + 1 the pixels in which object k is seen, the same k in every frame."""
    made, slot = frames(shown(world))
    found = scene.masks(made, size, style)
    names = np.concatenate([np.zeros((len(slot), 1), np.uint8), (slot + 1).astype(np.uint8)], 1)
    out = np.take_along_axis(names, found.reshape(len(found), -1).astype(np.int64), 1)
    return out.reshape(len(world), world.config.frames, *found.shape[1:])


def seconds(frame: np.ndarray, rate: float = RATE) -> np.ndarray:
    """Frame numbers -> float64 seconds from the start of the clip at which the frame begins to be shown."""
    if not rate > 0:
        raise SensoriumError(f"{rate} frames per second; expected more than 0")
    return np.asarray(frame, np.float64) / rate
