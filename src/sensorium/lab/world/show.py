"""A contact sheet: pictures large enough to look at, with the truth beside each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sensorium.core import SensoriumError

from .facts import COLOURS, GROUNDS, SHAPES, SIZES, TEXTURES, Facts, shown
from .scene import MAGENTA, STYLE, Style, boxes

LINE, MARGIN, TEXT = 15, 10, 300
"""Pixels: height of a line, space around a scene, width of its text."""


def describe(world: Facts) -> list[list[str]]:
    """The facts of each scene as lines: its number and ground, then `0: large red circle, plain, row 0 column 1`, …"""
    lines = []
    for i in range(len(world)):
        scene = [f"scene {world.index[i]}, {GROUNDS[world.ground[i]]} ground"]
        for k in range(world.n[i]):
            kind = f"{SIZES[world.size[i, k]]} {COLOURS[world.colour[i, k]]} {SHAPES[world.shape[i, k]]}"
            place = f"row {world.row[i, k]} column {world.col[i, k]}"
            scene.append(f"{k}: {kind}, {TEXTURES[world.texture[i, k]]}, {place}")
        lines.append(scene)
    return lines


def sheet(
    world: Facts,
    images: np.ndarray,
    lines: Sequence[Sequence[str]] | None = None,
    style: Style = STYLE,
    across: int = 2,
    side: int = 128,
) -> Image.Image:
    """Pictures uint8 [N 3 H W] with their boxes, the facts beside each, and below these any further lines of text.

    The shorter side is drawn at about `side` pixels. In a null world the facts are those told, the boxes those shown.
    """
    lines = [[] for _ in range(len(world))] if lines is None else lines
    if not len(world) == len(images) == len(lines):
        raise SensoriumError(
            f"{len(world)} scenes, {len(images)} pictures, {len(lines)} texts; expected as many of each"
        )
    if across < 1 or not len(world):
        raise SensoriumError(f"{len(world)} scenes, {across} across; expected one or more of each")
    told = describe(world)
    if world.config.null:
        told = [[*scene, f"null world: {world.config.null}"] for scene in told]
    text = [[*scene, *more] for scene, more in zip(told, lines, strict=True)]
    height, width = images.shape[2:]
    zoom = max(1, round(side / min(height, width)))
    font = ImageFont.load_default(11)
    wide = max([TEXT, *(int(font.getlength(line)) + 1 for scene in text for line in scene)])
    tall = max(height * zoom, max(map(len, text)) * LINE)
    step = width * zoom + wide + 3 * MARGIN, tall + 2 * MARGIN
    page = Image.new("RGB", (step[0] * min(across, len(world)), step[1] * -(-len(world) // across)), "white")
    draw = ImageDraw.Draw(page)
    corners = boxes(world, min(height, width), style) * np.array([width, height, width, height]) * zoom
    real = shown(world).real()
    for i, image in enumerate(images):
        x, y = (i % across) * step[0] + MARGIN, (i // across) * step[1] + MARGIN
        large = Image.fromarray(image.transpose(1, 2, 0)).resize(
            (width * zoom, height * zoom), Image.Resampling.NEAREST
        )
        page.paste(large, (x, y))
        draw.rectangle((x - 1, y - 1, x + width * zoom, y + height * zoom), outline="grey")
        for k in np.flatnonzero(real[i]):
            x0, y0, x1, y1 = corners[i, k].tolist()
            draw.rectangle((x + x0, y + y0, x + x1 - 1, y + y1 - 1), outline=tuple(MAGENTA.tolist()))
            draw.text((x + x0 + 2, y + y0), str(k), fill=tuple(MAGENTA.tolist()), font=font)
        for at, line in enumerate(text[i]):
            draw.text((x + width * zoom + MARGIN, y + at * LINE), line, fill="black", font=font)
    return page
