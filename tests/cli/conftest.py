"""One home for the session, a tiny data set of coloured shapes, and the command line called in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

COLOURS = {
    "red": ("rouge", (220, 30, 30)), "green": ("vert", (30, 180, 40)), "blue": ("bleu", (30, 60, 220)),
    "black": ("noir", (10, 10, 10)), "yellow": ("jaune", (230, 220, 40)), "purple": ("violet", (140, 40, 160)),
}  # fmt: skip
SHAPES = {"square": "carré", "circle": "cercle", "triangle": "triangle", "cross": "croix", "bar": "barre"}
PLACES = {"left": ("gauche", 2, 12), "right": ("droite", 20, 12), "top": ("haut", 12, 2), "bottom": ("bas", 12, 20)}
HOSTILE = "<script>alert('x')</script>"
TINY = ("--towers", "scratch", "--batch", "16")


def picture(seed: int, colour: tuple[int, int, int], shape: str, x: int, y: int) -> Image.Image:
    """A shape of ten pixels on a noisy ground that no other seed shares."""
    noise = np.random.default_rng(seed).integers(150, 256, (8, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((32, 32), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    if shape == "square":
        draw.rectangle((x, y, x + 10, y + 10), fill=colour)
    elif shape == "circle":
        draw.ellipse((x, y, x + 10, y + 10), fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y + 10), (x + 5, y), (x + 10, y + 10)], fill=colour)
    elif shape == "bar":
        draw.rectangle((x, y + 4, x + 10, y + 7), fill=colour)
    else:
        draw.line((x, y, x + 10, y + 10), fill=colour, width=3)
        draw.line((x, y + 10, x + 10, y), fill=colour, width=3)
    return image


def shapes(path: Path, rows: int = 120) -> Path:
    """A folder with metadata.jsonl; the caption of row 7 carries a script."""
    path.mkdir(parents=True)
    every = [(c, s, p) for c in COLOURS for s in SHAPES for p in PLACES]
    lines = []
    for k in range(rows):
        colour, shape, place = every[int(np.random.default_rng(0).permutation(len(every))[k])]
        french, rgb = COLOURS[colour]
        picture(k, rgb, shape, *PLACES[place][1:]).save(path / f"{k}.png")
        row = {
            "file_name": f"{k}.png",
            "caption": f"a {colour} {shape} {place}" + (f" {HOSTILE}" if k == 7 else ""),
            "caption_fr": f"{SHAPES[shape]} {french} à {PLACES[place][0]}",
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    (path / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stored results go to a temporary folder, one thread."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield path


@pytest.fixture(scope="session")
def folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 coloured shapes with a caption in English and in French."""
    return shapes(tmp_path_factory.mktemp("data") / "shapes")
