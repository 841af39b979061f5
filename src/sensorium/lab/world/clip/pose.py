"""Bodies in motion: who does what, in which style, as skeletons with captions; and a reader that says what was done.

Shape legend: N clips, T frames, 22 joints. Clip i of a part depends on (seed, part, i) and the config alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, nearest

from ..facts import numbered, uniform
from ..reader import Rate
from ..sound.events import held_pairs
from .body import HIPS, Posture, joints, rest

MOTIONS = (
    *("raise left hand", "raise right hand", "raise both hands"),
    *("wave left hand", "wave right hand", "wave both hands"),
    *("turn left", "turn right", "squat", "bow", "kick left", "kick right", "walk", "jump"),
)
STYLES = ("normal", "active", "elderly", "exhausted", "proud")
_HABITS = {"normal": (1, 1, 0), "active": (1.1, 1.3, 0), "elderly": (0.8, 0.8, 0.3), "exhausted": (0.7, 0.7, 0.5)}
_HABITS["proud"] = (1.0, 0.9, -0.2)
"""By style: size of the motion, pace, radians of lean."""
_DOES = {
    "raise": ("raises", "lifts"),
    "wave": ("waves", "swings"),
    "turn": ("turns", "rotates"),
    "squat": ("squats", "crouches"),
    "bow": ("bows", "bends forward"),
    "kick": ("kicks with the", "strikes out with the"),
    "walk": ("walks", "strolls"),
    "jump": ("jumps", "hops"),
}
"""By the first word of a motion: what a person does, and its synonym."""
LEAST_LEAD = 1.15
"""The second best reading must be this many times as far off as the best, or the reader is unsure;"""
FARTHEST = 0.25
"""and the best must lie within this root mean square distance per joint, in metres of an average body."""


@dataclass(frozen=True)
class Config:
    """Difficulty dials."""

    motions: tuple[str, ...] = MOTIONS
    styles: tuple[str, ...] = STYLES
    frames: int = 24
    performers: int = 8
    """Bodies of train and validation; as many others perform in test and seen."""
    noise: float = 0.01
    """Standard deviation of each coordinate, in metres."""
    held: float = 0.0
    """Share of (motion, style) pairs that appear in `test` only, spread evenly over both; of one style none can be."""

    def __post_init__(self) -> None:
        for what, given, valid in (("motions", self.motions, MOTIONS), ("styles", self.styles, STYLES)):
            if not given or len(set(given)) < len(given):
                raise SensoriumError(f"{what} {given}; expected one or more of {', '.join(valid)}, each once")
            for name in given:
                if name not in valid:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")
        for what, number, low, high in (
            ("frames", self.frames, 8, 1024),
            ("performers", self.performers, 1, 10_000),
            ("noise", self.noise, 0, 1),
            ("held", self.held, 0, 1 - 1 / min(len(self.styles), len(self.motions))),
        ):
            if not low <= number <= high:
                raise SensoriumError(f"{what} {number}; expected {low} to {high:g}")


@dataclass(frozen=True, eq=False)
class Poses:
    """Who does what and how, [N] each: indices into MOTIONS and STYLES (int8), number of the performer (int64)."""

    motion: np.ndarray
    style: np.ndarray
    performer: np.ndarray
    config: Config
    seed: int
    index: np.ndarray
    part: str = "train"

    def __len__(self) -> int:
        return len(self.motion)


POSE = Config()


def poses(seed: int, n: int, config: Config = POSE, start: int = 0, part: str = "train") -> Poses:
    """Clips `start` to `start + n` of a part, every allowed (motion, style) as likely.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    index = numbered(n, start, part, "clips")
    luck = uniform(index, 2, seed, part, "pose")
    pairs = np.argwhere(allowed(config, part))
    motion, style = pairs[(luck[:, 0] * len(pairs)).astype(np.int64)].T
    known = np.array([MOTIONS.index(m) for m in config.motions]), np.array([STYLES.index(s) for s in config.styles])
    other = config.performers * (part in ("test", "seen"))
    who = other + (luck[:, 1] * config.performers).astype(np.int64)
    return Poses(known[0][motion].astype(np.int8), known[1][style].astype(np.int8), who, config, seed, index, part)


def allowed(config: Config, part: str) -> np.ndarray:
    """bool [motions styles] of the config's own: the part shows the pair."""
    held = held_pairs(len(config.motions), len(config.styles), config.held)
    return np.asarray(held == (part == "test" and bool(held.any())))


def bodies(performer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [N] each: size of the performer's body (0.85 to 1.15), and of the arms beside it (0.92 to 1.08)."""
    luck = uniform(np.asarray(performer, np.int64), 2, "performer")
    return 0.85 + 0.3 * luck[:, 0], 0.92 + 0.16 * luck[:, 1]


def skeletons(world: Poses, seed: int = 0) -> np.ndarray:
    """float32 [N T 22 3] in metres; the seed redraws the noise of `Config.noise` and nothing else."""
    size, arms = bodies(world.performer)
    out = np.zeros((len(world), world.config.frames, 22, 3), np.float32)
    for motion, style in sorted(set(zip(world.motion.tolist(), world.style.tolist(), strict=True))):
        rows = (world.motion == motion) & (world.style == style)
        posture = _posture(MOTIONS[motion], STYLES[style], world.config.frames)
        out[rows] = joints(_many(posture, int(rows.sum())), size[rows, None], arms[rows, None])
    if world.config.noise:
        luck = uniform(world.index, out[0].size if len(out) else 0, world.seed, world.part, seed, "pose noise")
        out += (ndtri(luck.clip(1e-9, 1 - 1e-9)) * world.config.noise).reshape(out.shape).astype(np.float32)
    return out


def _many(posture: Posture, n: int) -> Posture:
    every = {name: np.broadcast_to(a, (n, *a.shape)) for name, a in vars(posture).items()}
    return Posture(**every)


def _posture(motion: str, style: str, frames: int) -> Posture:
    """The postures [T] of a motion in a style."""
    size, pace, lean = _HABITS[style]
    u = np.minimum(1.0, np.linspace(0, 1, frames) * pace)
    first, *more = motion.split(" ", 1)
    found = _PERFORM[first](rest(frames), more[0] if more else "", u, size)
    return replace(found, lean=found.lean + lean)


def _smooth(u: np.ndarray) -> np.ndarray:
    """0 to 1 with level ends."""
    x = np.clip(u, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _sides(which: str) -> list[int]:
    return [side for side, name in enumerate(("left", "right")) if name in which or "both" in which]


def _raise(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    hands, up = still.hands.copy(), _smooth(u / 0.6)[:, None]
    for side in _sides(which):
        hands[:, side] += up * size * (np.array([0.1, 0.42, 0.1]) - hands[:, side])
    return replace(still, hands=hands)


def _wave(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    """Hands beside the head, three times in and out."""
    hands, up = still.hands.copy(), _smooth(u / 0.3)[:, None]
    for side in _sides(which):
        swing = np.stack([0.18 * size * np.sin(6 * np.pi * u), 0 * u, 0 * u], 1)
        hands[:, side] += up * (np.array([0.25, 0.25, 0.1]) + swing - hands[:, side])
    return replace(still, hands=hands)


def _turn(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    return replace(still, yaw=_smooth(u / 0.7) * size * np.pi / 2 * (1 if which == "left" else -1))


def _squat(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    return replace(still, sink=0.35 * size * np.sin(np.pi * u) ** 2)


def _bow(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    return replace(still, lean=1.1 * size * np.sin(np.pi * u) ** 2)


def _kick(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    feet, out = still.feet.copy(), np.sin(np.pi * u)[:, None] ** 2
    for side in _sides(which):
        feet[:, side] += out * size * np.array([0.0, 0.35, 0.55])
    return replace(still, feet=feet)


def _walk(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    feet, hands = still.feet.copy(), still.hands.copy()
    for side, sign in enumerate((1.0, -1.0)):
        swing = sign * np.sin(4 * np.pi * u)
        feet[:, side] += size * np.stack([0 * u, 0.12 * np.maximum(0, np.cos(4 * np.pi * u) * sign), 0.3 * swing], 1)
        hands[:, side, 2] -= 0.15 * size * swing
    return replace(still, feet=feet, hands=hands, forward=1.5 * size * u)


def _jump(still: Posture, which: str, u: np.ndarray, size: float) -> Posture:
    feet, up = still.feet.copy(), 0.3 * size * np.sin(2 * np.pi * u) ** 2
    feet[..., 1] += up[:, None]
    return replace(still, feet=feet, sink=-up)


_PERFORM: dict[str, Callable[[Posture, str, np.ndarray, float], Posture]] = {
    "raise": _raise,
    "wave": _wave,
    "turn": _turn,
    "squat": _squat,
    "bow": _bow,
    "kick": _kick,
    "walk": _walk,
    "jump": _jump,
}


def caption(world: Poses, synonym: bool = False) -> list[str]:
    """ "a person raises the left hand in an elderly way"; with a synonym another word for the motion, nothing else."""
    table = {(m, s): _told(MOTIONS[m], STYLES[s], synonym) for m, s in product(range(len(MOTIONS)), range(len(STYLES)))}
    return [table[key] for key in zip(world.motion.tolist(), world.style.tolist(), strict=True)]


def _told(motion: str, style: str, synonym: bool) -> str:
    first, *more = motion.split(" ", 1)
    what = more[0].replace("left hand", "the left hand").replace("right hand", "the right hand") if more else ""
    way = f"in a{'n' * (style[0] in 'aeiou')} {style} way"
    return " ".join(part for part in ("a person", _DOES[first][synonym], what, "foot" * (first == "kick"), way) if part)


def parse(text: str) -> tuple[int, int]:
    """What a caption says: motion and style; -1 for what is not said."""
    for (m, motion), (s, style) in product(enumerate(MOTIONS), enumerate(STYLES)):
        if text in (_told(motion, style, False), _told(motion, style, True)):
            return m, s
    return -1, -1


@dataclass(frozen=True, eq=False)
class Read:
    """int8 [N] each: what was done and how, -1 for unsure."""

    motion: np.ndarray
    style: np.ndarray


def read(bodies: np.ndarray, config: Config = POSE) -> Read:
    """[N T 22 3] -> the nearest motion and style among the config's, after sizing each body to the average.

    Raises:
        SensoriumError: another number of frames or joints.
    """
    if bodies.ndim != 4 or bodies.shape[1:] != (config.frames, 22, 3):
        raise SensoriumError(f"skeletons {list(bodies.shape)}; expected [N {config.frames} 22 3]")
    kinds, known = _templates(config)
    away = np.stack([_distance(one, known) for one in _sized(bodies)]) if len(bodies) else np.zeros((0, len(known)))
    rows, best = np.arange(len(bodies)), away.argmin(1)
    out: list[Any] = []
    for at in (0, 1):
        other = np.where(kinds[:, at] == kinds[best, at][:, None], np.inf, away).min(1)
        sure = (away[rows, best] <= FARTHEST) & (other >= LEAST_LEAD * away[rows, best])
        out.append(np.where(sure, kinds[best, at], -1).astype(np.int8))
    return Read(*out)


def _sized(bodies: np.ndarray) -> np.ndarray:
    """Legs and trunk of an average body in the first frame, and the first frame's root in the origin."""
    trunk = np.linalg.norm(bodies[:, :, 3] - bodies[:, :, HIPS], axis=-1).mean(1)
    legs = np.linalg.norm(bodies[:, :, 14:16] - bodies[:, :, 15:17], axis=-1).sum(-1).mean(1)
    size = (0.247 + 0.801) / np.maximum(trunk + legs, 1e-6)
    start = bodies[:, :1, :1] * np.array([1.0, 0.0, 1.0])
    return np.asarray((bodies - start) * size[:, None, None, None])


def _distance(one: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[T 22 3], [M T 22 3] -> [M]."""
    return np.asarray(np.sqrt(((known - one) ** 2).sum(-1).mean((1, 2))))


@cache
def _templates(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Motion and style of each template, [M 2], and [M T 22 3]."""
    kinds = [(MOTIONS.index(m), STYLES.index(s)) for m, s in product(config.motions, config.styles)]
    known = [joints(_posture(MOTIONS[m], STYLES[s], config.frames)) for m, s in kinds]
    return np.array(kinds), np.stack(known)


def reader_error(config: Config = POSE, n: int = 500, seed: int = 0) -> dict[str, Rate]:
    """The reader's own error on true renders, for `motion` and for `style`."""
    world = poses(seed, n, config)
    found = read(skeletons(world), config)
    rates = {}
    for name in ("motion", "style"):
        got, true = getattr(found, name), getattr(world, name)
        rates[name] = Rate(float(((got >= 0) & (got != true)).mean()), float((got < 0).mean()))
    return rates
