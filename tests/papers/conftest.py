"""A home of its own per module, and a small data set of coloured squares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sensorium.data.dataset import Dataset

ROWS = 60
COLOURS = {
    "red": ("rouge", (220, 30, 30)), "green": ("vert", (30, 180, 40)), "blue": ("bleu", (30, 60, 220)),
    "black": ("noir", (10, 10, 10)), "yellow": ("jaune", (230, 220, 40)), "purple": ("violet", (140, 40, 160)),
    "orange": ("orange", (240, 140, 20)), "grey": ("gris", (128, 128, 128)),
}  # fmt: skip
PLACES = {
    "left": ("gauche", (2, 12)), "right": ("droite", (18, 12)), "top": ("haut", (10, 2)), "bottom": ("bas", (10, 20)),
    "middle": ("milieu", (10, 12)), "corner": ("coin", (0, 0)), "edge": ("bord", (20, 22)), 
    "centre": ("centre", (9, 9)), "side": ("flanc", (1, 18)), "end": ("bout", (20, 1)),
}  # fmt: skip
TWINS = 4
"""The last rows repeat the text of the first ones under other pictures, so that groups of two exist."""


def picture(seed: int, colour: tuple[int, int, int], place: tuple[int, int]) -> Image.Image:
    """A square of 10 pixels on a noisy ground that no other seed shares."""
    noise = np.random.default_rng(seed).integers(150, 256, (8, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((32, 32), Image.Resampling.NEAREST)
    image.paste(colour, (place[0], place[1], place[0] + 10, place[1] + 10))
    return image


def squares(path: Path, rows: int = ROWS, **changes: Callable[[int, dict[str, Any]], Any]) -> Path:
    """A metadata.jsonl folder. `changes` map a column to f(row number, row) -> value; "picture" gives an image."""
    path.mkdir(parents=True)
    pairs = [(c, p) for p in PLACES for c in COLOURS]
    order = np.random.default_rng(0).permutation(len(pairs))
    lines = []
    for k in range(rows):
        colour, place = pairs[order[k % (rows - TWINS)]]
        french, rgb = COLOURS[colour]
        row: dict[str, Any] = {
            "file_name": f"{k}.png", "text": f"a {colour} square {place}",
            "text_fr": "" if k % 5 == 0 else f"un carré {french} {PLACES[place][0]}", "label": colour,
        }  # fmt: skip
        image = picture(k, rgb, PLACES[place][1])
        if "picture" in changes:
            image = changes["picture"](k, row) or image
        row |= {column: f(k, row) for column, f in changes.items() if column != "picture"}
        image.save(path / row["file_name"])
        lines.append(json.dumps(row))
    (path / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stored results go to a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("SENSORIUM_HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def data(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty squares with an English text each, most with a French one."""
    return Dataset(squares(tmp_path_factory.mktemp("data") / "squares"))


SCRATCH: Mapping[str, str] = {"image": "scratch", "text": "scratch"}
