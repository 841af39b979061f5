"""What is drawn on a picture: the part that is asked about, the mask of an answer. Pixels count from the upper left."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from sensorium.core import SensoriumError, nearest

from .pages import whole

SHARE = 0.25
"""Side of the square around a point, as a share of the picture's shorter side."""
POINTS = 400
"""Points of a stroke."""
TINT, VEIL = (217, 115, 13), 130
"""Colour of a mask, and how much of the picture it hides, of 255."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels within a picture."""

    left: int
    top: int
    width: int
    height: int

    def of(self, picture: Image.Image) -> Image.Image:
        """What lies within."""
        return picture.crop((self.left, self.top, self.left + self.width, self.top + self.height))

    def __str__(self) -> str:
        return f"{self.width} × {self.height} pixels at {self.left}, {self.top}"


def region_of(given: Mapping[str, str], size: Size) -> Region:
    """The rectangle that the fields of a form draw on a picture of this size.

    Raises:
        SensoriumError: an unknown way to draw, a number that is missing, or something beyond the picture.
    """
    mark = given.get("mark", "") or "whole"
    if mark not in MARKS:
        raise SensoriumError(f"mark {mark!r}{nearest(mark, MARKS)}")
    return MARKS[mark](given, size)


def tinted(mask: str, region: Region) -> str:
    """A mask of the square that a region is fitted into, as a data URL of a PNG -> that of the region's own part of it,
    clear but for the mask."""
    square = Image.open(io.BytesIO(base64.b64decode(mask.partition(",")[2]))).convert("L")
    scale = square.width / max(region.width, region.height)
    width, height = (max(1, round(side * scale)) for side in (region.width, region.height))
    left, top = (square.width - width) // 2, (square.height - height) // 2
    inside = square.crop((left, top, left + width, top + height))
    out, veil = io.BytesIO(), inside.point(lambda value: VEIL if value > 127 else 0)
    colours = [inside.point(lambda _, level=level: level) for level in TINT]
    Image.merge("RGBA", (*colours, veil)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def side_of_point(size: Size) -> int:
    """Pixels of a side of the square around a point."""
    return max(1, round(SHARE * min(size)))


def _whole(given: Mapping[str, str], size: Size) -> Region:
    return Region(0, 0, *size)


def _point(given: Mapping[str, str], size: Size) -> Region:
    """A square around a point, moved as far as it must be to lie within the picture."""
    _must(given, "a point", "x", "y")
    at = [whole(given, name, 0, 0, most - 1) for name, most in zip("xy", size, strict=True)]
    side = side_of_point(size)
    left, top = (min(max(0, a - side // 2), most - side) for a, most in zip(at, size, strict=True))
    return Region(left, top, side, side)


def _box(given: Mapping[str, str], size: Size) -> Region:
    _must(given, "a box", "left", "top", "width", "height")
    left, top = (whole(given, name, 0, 0, most - 1) for name, most in zip(("left", "top"), size, strict=True))
    return Region(left, top, whole(given, "width", 0, 1, size[0] - left), whole(given, "height", 0, 1, size[1] - top))


def _stroke(given: Mapping[str, str], size: Size) -> Region:
    """The box around a stroke's points."""
    x, y = zip(*stroke_of(given.get("stroke", ""), size), strict=True)
    return Region(min(x), min(y), max(x) - min(x) + 1, max(y) - min(y) + 1)


def stroke_of(text: str, size: Size) -> list[tuple[int, int]]:
    """ "3,4 5,6" -> its points, each within a picture of this size."""
    pairs = text.split()
    if not pairs or len(pairs) > POINTS or not all(re.fullmatch(r"[0-9]{1,5},[0-9]{1,5}", p) for p in pairs):
        raise SensoriumError(f"stroke {text[:40]!r}; expected 1 to {POINTS} points such as 12,30 14,33")
    points = [(int(x), int(y)) for x, y in (p.split(",") for p in pairs)]
    if beyond := next((p for p in points if p[0] >= size[0] or p[1] >= size[1]), None):
        raise SensoriumError(f"stroke: {beyond[0]},{beyond[1]} lies beyond the picture of {size[0]} × {size[1]} pixels")
    return points


def _must(given: Mapping[str, str], what: str, *names: str) -> None:
    if missing := [name for name in names if not given.get(name, "").strip()]:
        raise SensoriumError(f"{what} is not drawn yet: {', '.join(missing)} missing")


MARKS: Mapping[str, Callable[[Mapping[str, str], Size], Region]] = {
    "whole": _whole,
    "point": _point,
    "box": _box,
    "stroke": _stroke,
}
"""Ways to say which part of a picture is meant."""
