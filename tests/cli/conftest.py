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


MINE = '''"""Mine: CLIP with a temperature that starts at one."""

from dataclasses import dataclass

import torch

from sensorium.blocks.two_tower import TwoTower, contrast, image_text
from sensorium.core import Bases, Fields

NEEDS = {"image": "image", "text": "text"}
PARTS = {"a temperature that starts at one": "build"}
CLAIMS = {}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector; `start` is the log of the first inverse temperature."""

    dim: int = 32
    start: float = 0.0


def build(config: Config, fields: Fields, bases: Bases) -> TwoTower:
    """Pooled towers, another temperature."""
    method = TwoTower(image_text(bases), config.dim, terms=contrast, dropout=0.0)
    method.log_scale.data = torch.tensor(config.start)
    return method
'''
BLIND = '''"""Blind: embeds pictures alone."""

from dataclasses import dataclass

from torch import nn

from sensorium.blocks.similarity import pool, unit
from sensorium.blocks.two_tower import by_cosine
from sensorium.core import Method, Space, pooled

NEEDS = {"image": "image"}
PARTS, CLAIMS = {}, {}


@dataclass(frozen=True)
class Config:
    """`dim` numbers per vector."""

    dim: int = 16


class Blind(Method):
    """Spreads pictures over the sphere."""

    def __init__(self, tower, dim):
        super().__init__()
        self.tower, self.head, self.spaces = tower, nn.Linear(tower.dim, dim), {"image": Space(dim)}

    def losses(self, batch, rng):
        return {"spread": -self.embed(batch, "image").x.std(0).mean()}

    def embed(self, batch, of):
        return pooled(unit(self.head(pool(self.tower(batch[of])))))

    def rank(self, queries, items):
        return by_cosine(self, queries, items)


def build(config, fields, bases):
    return Blind(bases.encoder("image"), config.dim)
'''


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in this process: words -> exit code, standard output, standard error."""

    def run(*words: Any) -> Said:
        capfd.readouterr()
        code = call(monkeypatch, *words)
        return Said(code, *capfd.readouterr())

    return run


def call(patch: pytest.MonkeyPatch, *words: Any) -> int:
    """`main` with these words; a SystemExit becomes its code, anything else is raised."""
    from sensorium.cli import main

    patch.setattr(sys, "argv", ["sensorium", *map(str, words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="session")
def papers(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of people's own papers: mine.py, blind.py (no text), lacks.py, broken.py."""
    path = tmp_path_factory.mktemp("papers")
    (path / "mine.py").write_text(MINE)
    (path / "blind.py").write_text(BLIND)
    (path / "lacks.py").write_text(MINE.replace("CLAIMS = {}\n", "").replace("NEEDS =", "NEED ="))
    (path / "broken.py").write_text("def build(\n")
    return path


@pytest.fixture(scope="session")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of clip by the command line."""
    out = tmp_path_factory.mktemp("runs") / "clip"
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "train", "clip", folder, *TINY, "--samples", "64", "--out", out) == 0
    return out
