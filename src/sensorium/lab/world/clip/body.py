"""A body of 22 joints: postures by inverse kinematics, so that bones keep their lengths.

Joints, order and axes are those of the Bandai-Namco Research motion data set: metres, x to the body's left, y up, z
forward. Shape legend: ... any batch axes, 22 joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

JOINTS = (
    *("root", "hips", "spine", "chest", "neck", "head"),
    *("shoulder left", "upper arm left", "lower arm left", "hand left"),
    *("shoulder right", "upper arm right", "lower arm right", "hand right"),
    *("upper leg left", "lower leg left", "foot left", "toes left"),
    *("upper leg right", "lower leg right", "foot right", "toes right"),
)
PARENTS = (-1, 0, 1, 2, 3, 4, 3, 6, 7, 8, 3, 10, 11, 12, 1, 14, 15, 16, 1, 18, 19, 20)
HIPS, HEAD, HANDS, FEET = 1, 5, (9, 13), (16, 20)
HIP_HEIGHT = 0.81
UPPER_ARM, FORE_ARM, THIGH, SHIN, TOES = 0.243, 0.223, 0.39, 0.411, 0.118
_TORSO = {2: (0.0, 0.157), 3: (0.0, 0.247), 4: (0.0, 0.411), 5: (0.0, 0.476), 6: (0.06, 0.37), 7: (0.11, 0.386)}
_HALF_HIPS, _ANKLE = 0.065, 0.03
REST_HAND = np.array([0.06, -0.44, 0.05])
"""The left hand seen from its upper arm, hanging down."""


@dataclass(frozen=True, eq=False)
class Posture:
    """One posture, or arrays of them, [...] or [... 2 3] (left then right; x outwards from the body)."""

    hands: np.ndarray
    """Each hand seen from its upper arm, in the frame of the torso."""
    feet: np.ndarray
    """How far each foot is from where it stands at rest."""
    lean: np.ndarray
    """Radians by which the torso is bent forwards."""
    sink: np.ndarray
    """Metres by which the hips are lower than at rest."""
    yaw: np.ndarray
    """Radians by which the body is turned to its left."""
    forward: np.ndarray
    """Metres that the body has gone ahead."""


def rest(*shape: int) -> Posture:
    """Standing still."""
    hands = np.broadcast_to(REST_HAND, (*shape, 2, 3)).copy()
    zeros = (np.zeros(shape) for _ in range(4))
    return Posture(hands, np.zeros((*shape, 2, 3)), *zeros)


def joints(posture: Posture, scale: float | np.ndarray = 1.0, arms: float | np.ndarray = 1.0) -> np.ndarray:
    """Postures [...] -> float32 [... 22 3]; `scale` sizes the whole body, `arms` the arms beside it.

    A hand or foot out of reach comes as near as its bones allow.
    """
    shape = posture.lean.shape
    out = np.zeros((*shape, len(JOINTS), 3))
    hips = np.stack([np.zeros(shape), HIP_HEIGHT - posture.sink, posture.forward], -1)
    out[..., HIPS, :] = hips
    out[..., 0, 2] = posture.forward
    for joint, (x, y) in _TORSO.items():
        out[..., joint, :] = hips + _bent(np.array([x, y, 0.0]), posture.lean)
        if joint >= 6:
            out[..., joint + 4, :] = hips + _bent(np.array([-x, y, 0.0]), posture.lean)
    arms = np.asarray(arms)[..., None]
    for side, outwards in enumerate((1.0, -1.0)):
        mirror = np.array([outwards, 1.0, 1.0])
        arm, leg = 7 + 4 * side, 14 + 4 * side
        start = out[..., arm, :]
        target = start + _bent(posture.hands[..., side, :] * mirror * arms, posture.lean)
        elbow = np.array([0.4 * outwards, -1.0, -1.0])
        ends = _two_bones(start, target, UPPER_ARM * arms, FORE_ARM * arms, elbow)
        out[..., arm + 1, :], out[..., arm + 2, :] = ends
        hip = hips + np.array([_HALF_HIPS * outwards, -0.02, 0.0])
        foot = np.array([_HALF_HIPS * outwards, _ANKLE, 0.0]) + posture.feet[..., side, :] * mirror
        foot = foot + np.stack([np.zeros(shape), np.zeros(shape), posture.forward], -1)
        out[..., leg, :] = hip
        out[..., leg + 1, :], out[..., leg + 2, :] = _two_bones(hip, foot, THIGH, SHIN, np.array([0.0, 0.0, 1.0]))
        out[..., leg + 3, :] = out[..., leg + 2, :] + np.array([0.0, 0.0, TOES])
    out = _turned(out, posture.yaw) * np.asarray(scale)[..., None, None]
    return np.asarray(out, np.float32)


def mirrored(bodies: np.ndarray) -> np.ndarray:
    """[... 22 3] -> the same seen in a mirror: left for right."""
    order = np.arange(len(JOINTS))
    order[6:10], order[10:14], order[14:18], order[18:22] = (np.arange(a, a + 4) for a in (10, 6, 18, 14))
    return np.asarray(bodies[..., order, :] * np.array([-1, 1, 1], bodies.dtype))


def bones(bodies: np.ndarray) -> np.ndarray:
    """[... 22 3] -> [... 20]: the length of each bone, without those to the root."""
    child = np.arange(2, len(JOINTS))
    return np.asarray(np.linalg.norm(bodies[..., child, :] - bodies[..., np.array(PARENTS)[child], :], axis=-1))


def _bent(vector: np.ndarray, lean: np.ndarray) -> np.ndarray:
    """Turned about the x axis: what is up goes forwards."""
    c, s = np.cos(lean), np.sin(lean)
    x, y, z = (np.broadcast_to(v, lean.shape) for v in np.moveaxis(vector, -1, 0))
    return np.stack([x, y * c - z * s, y * s + z * c], -1)


def _turned(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    c, s = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([x * c + z * s, y, z * c - x * s], -1)


def _two_bones(
    start: np.ndarray, target: np.ndarray, first: float | np.ndarray, second: float | np.ndarray, bend: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The middle joint and the end of two bones from `start` towards `target`, bent towards `bend`."""
    gap = target - start
    far = np.linalg.norm(gap, axis=-1, keepdims=True)
    along = np.where(far > 1e-6, gap / np.maximum(far, 1e-6), np.array([0.0, -1.0, 0.0]))
    first, second = (np.broadcast_to(bone, far.shape) for bone in (first, second))
    far = np.clip(far, np.abs(first - second) + 1e-3, first + second - 1e-3)
    part = (far**2 + first**2 - second**2) / (2 * far)
    side = _across(bend, along)
    side = np.where(np.linalg.norm(side, axis=-1, keepdims=True) > 1e-6, side, _across(bend[::-1], along))
    side = side / np.linalg.norm(side, axis=-1, keepdims=True)
    return start + along * part + side * np.sqrt(np.maximum(first**2 - part**2, 0)), start + along * far


def _across(vector: np.ndarray, along: np.ndarray) -> np.ndarray:
    """What of a vector is at right angles to a unit vector."""
    return np.asarray(vector - (vector * along).sum(-1, keepdims=True) * along)
