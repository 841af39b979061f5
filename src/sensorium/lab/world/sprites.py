"""How one object looks: hard-edged pixel masks of shapes and textures, colour tables of looks, digits of tags."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import binary_erosion

from sensorium.core import SensoriumError

from .facts import COLOURS, GROUNDS, SHAPES, SIZES, TEXTURES

LOOKS = ("plain", "sketch", "inverted", "pastel", "night")
ACCENTS = ("", "top", "bottom", "left", "right")
"""Where an individual carries its second colour."""
BASE, DARK, ACCENT = 0, 1, 2
"""Tones of a sprite's pixels."""
SMALL = 0.6
"""Diameter of a small object over that of a large one."""

_RGB = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 50, 190),
    "orange": (245, 140, 30),
    "cyan": (40, 200, 210),
    "brown": (130, 80, 40),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
}


def ground_code(ground: np.ndarray) -> np.ndarray:
    """Index into GROUNDS -> row of `colours`."""
    return np.asarray(ground, np.uint8)


def colour_code(colour: np.ndarray, dark: bool = False) -> np.ndarray:
    """Index into COLOURS -> row of `colours`; `dark` is the shade of stripes and dots."""
    return np.asarray(len(GROUNDS) + 2 * np.asarray(colour) + dark, np.uint8)


@cache
def colours(look: str) -> np.ndarray:
    """uint8 [codes 3]: what `ground_code` and `colour_code` mean under a look."""
    bright = np.array([_RGB[name] for name in COLOURS], np.float64)
    grounds = np.array([_RGB[name] for name in GROUNDS], np.float64)
    table = np.concatenate([grounds, np.stack([bright, bright // 2], 1).reshape(-1, 3)])
    if look == "inverted":
        table = 255 - table
    elif look == "pastel":
        table = (table + 255) / 2
    elif look == "night":
        table = table * 0.4
    out = table.round().astype(np.uint8)
    out.flags.writeable = False
    return out


def diameters(room: int, scale: float = 1.0) -> tuple[int, ...]:
    """Odd diameters in pixels of SIZES in cells of `room` pixels; 15 and 9 in the default cell of 16."""
    large = (int(room * 15 / 16 * scale) - 1) | 1
    return tuple(int(large * part) | 1 for part in (SMALL, 1.0))[: len(SIZES)]


@cache
def mask(shape: int, diameter: int) -> np.ndarray:
    """bool [D D]: the filled silhouette, its pixel centres tested against the outline."""
    radius = (diameter - 1) / 2
    v, u = (np.indices((diameter, diameter)) - radius) / (radius + 0.5)
    r = np.hypot(u, v)
    name = SHAPES[shape]
    if name == "circle":
        return np.asarray(r <= 1)
    if name == "ring":
        return np.asarray((r <= 1) & (r >= 0.55))
    if name == "square":
        return np.asarray(np.maximum(np.abs(u), np.abs(v)) <= 0.87)
    if name == "triangle":
        return np.asarray(2 * np.abs(u) <= v + 1.05)
    if name == "cross":
        return np.asarray((np.minimum(np.abs(u), np.abs(v)) <= 0.3) & (np.maximum(np.abs(u), np.abs(v)) <= 0.95))
    return _star(u, v)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five points: each point is folded into the sector from a tip to the next notch, whose edge is one line."""
    sector = np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector) % (2 * sector) - sector)
    x, y = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    notch = 0.42 * np.cos(sector), 0.42 * np.sin(sector)
    return np.asarray((notch[0] - 1.08) * y - notch[1] * (x - 1.08) >= 0)


@cache
def sprite(shape: int, texture: int, diameter: int, look: str = "plain", accent: int = 0) -> np.ndarray:
    """int8 [D D]: the tone of each pixel (BASE, DARK, ACCENT), -1 where nothing is painted; a sketch is the outline."""
    inside = mask(shape, diameter)
    band = np.arange(diameter) // max(1, diameter // 7) % 2 == 1
    dark = {"plain": band & False, "striped": band[:, None], "dotted": band[:, None] & band}[TEXTURES[texture]]
    if look == "sketch":
        inside = inside & (dark | ~binary_erosion(inside))
    out = np.where(inside, np.where(dark, DARK, BASE), -1).astype(np.int8)
    if accent:
        third = -(-diameter // 3)
        y, x = np.indices(out.shape)
        side = {"top": y, "bottom": diameter - 1 - y, "left": x, "right": diameter - 1 - x}[ACCENTS[accent]]
        out[inside & (side < third)] = ACCENT
    out.flags.writeable = False
    return out


def distinct_sprites(shapes: int, textures: tuple[int, ...], diameter: int, look: str) -> None:
    """Refuse a diameter at which two of the objects to be drawn are the same pixels."""
    kinds = [(s, t) for s in range(shapes) for t in textures]
    if diameter < 3 or len({sprite(s, t, diameter, look).tobytes() for s, t in kinds}) < len(kinds):
        raise SensoriumError(
            f"objects of {max(diameter, 0)} pixels, {look} look: two kinds would be the same pixels; expected a larger "
            "picture, fewer cells, or fewer shapes and textures"
        )


DIGIT_ROWS = (
    ("111", "101", "101", "101", "111"),
    ("010", "110", "010", "010", "111"),
    ("111", "001", "111", "100", "111"),
    ("111", "001", "011", "001", "111"),
    ("101", "101", "111", "001", "001"),
    ("111", "100", "111", "001", "111"),
    ("111", "100", "111", "101", "111"),
    ("111", "001", "010", "010", "010"),
    ("111", "101", "111", "101", "111"),
    ("111", "101", "111", "001", "111"),
)


@cache
def number_plate(number: int) -> np.ndarray:
    """bool [7 4d+1]: the digits of a number, 3x5 pixels each, with a margin of one."""
    plate = np.zeros((7, 4 * len(str(number)) + 1), bool)
    for at, digit in enumerate(str(number)):
        plate[1:6, 4 * at + 1 : 4 * at + 4] = [[bit == "1" for bit in row] for row in DIGIT_ROWS[int(digit)]]
    return plate
