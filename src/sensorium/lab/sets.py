"""Data sets of claims by name: the starter set, and sets of the generated world.

A generated set is written once to an ordinary folder, so that `plan`, `train` and `race` treat it as a person's own.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sensorium.core import SensoriumError, nearest
from sensorium.data.cache import home, replacing, write_atomic
from sensorium.run.checkpoint import to_json
from sensorium.run.keys import source_key

from .world.facts import Config, facts
from .world.lang import caption, negative
from .world.operators import edit, twin
from .world.scene import STYLE, Style, render

STARTER = Path(__file__).parent.parent / "starter"
Rows = Mapping[str, list[Any]]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Recipe:
    """A data set of scenes: how many rows per part, their dials and look, and what is written beside each picture.

    `form` and `language` are the caption's; `wrong` is the factor in which "negative" is false, `edited` the one in
    which the picture "edit" differs ("" for none).
    """

    rows: tuple[int, int, int] = (10_000, 500, 1_000)
    config: Config = field(default_factory=Config)
    style: Style = STYLE
    size: int = 32
    form: str = "list"
    language: str = "en"
    wrong: str = ""
    edited: str = ""
    seed: int = 0


TWO = Config(fewest=2, most=2)
CROWDED = Config(fewest=3, most=4)
"""Two objects are bound within 13,000 samples by plain CLIP; among three or four it is half way at 26,000."""
NULL = replace(CROWDED, null="binding")
RECIPES: Mapping[str, Recipe] = {
    "world/scenes": Recipe(),
    "world/scenes-long": Recipe(form="long"),
    "world/binding": Recipe(config=TWO, wrong="binding"),
    "world/binding-null": Recipe(config=Config(fewest=2, most=2, null="binding"), wrong="binding"),
    "world/crowded": Recipe(config=CROWDED, wrong="binding", edited="binding"),
    "world/crowded-null": Recipe(config=NULL, wrong="binding", edited="binding"),
    "world/colour": Recipe(config=CROWDED, wrong="colour", edited="colour"),
    "world/shape": Recipe(config=CROWDED, wrong="shape", edited="shape"),
    "world/held-out": Recipe(config=Config(fewest=2, most=2, held=0.5), wrong="colour"),
}
"""What claims name as their data. A null set's captions do not say what its pictures show."""


def recipe(name: str) -> Recipe:
    """The recipe of a generated set.

    Raises:
        SensoriumError: an unknown name, with the nearest.
    """
    if name not in RECIPES:
        raise SensoriumError(f"data set {name!r}{nearest(name, ['starter', *RECIPES])}")
    return RECIPES[name]


def data_set(name: str) -> Path:
    """The folder of a named set: the starter set, or a generated one, written where it is not there yet.

    Raises:
        SensoriumError: an unknown name, with the nearest.
    """
    if name == "starter":
        return STARTER
    made = recipe(name)
    content = f"{sorted(asdict(made).items())}{source_key(Path(__file__))}"
    mark = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = home() / "worlds" / f"{name.partition('/')[2]}-{mark}"
    if not (folder / "dataset.json").is_file():
        for part, n in zip(PARTS, made.rows, strict=True):
            _write(folder / f"{part}.parquet", scenes(made, part, n))
        roles = {"image": "image", "text": "text", "group": "scene"}
        roles |= {"text/negative": "negative"} if made.wrong else {}
        roles |= {"image/negative": "edit"} if made.edited else {}
        write_atomic(folder / "dataset.json", to_json({"name": name, "license": "CC0-1.0", "roles": roles}))
    return folder


def scenes(recipe: Recipe, part: str, n: int) -> Rows:
    """Columns of `n` rows: scene (its number), image (PNG bytes), text; negative and edit where the recipe has them."""
    world = facts(recipe.seed, n, recipe.config, part=part)
    columns: dict[str, list[Any]] = {
        "scene": [f"{part}-{k}" for k in world.index.tolist()],
        "image": [_png(pixels) for pixels in render(world, recipe.size, recipe.style, recipe.seed)],
        "text": caption(world, recipe.form, recipe.language, recipe.seed),
    }
    if recipe.wrong:
        columns["negative"] = negative(world, recipe.wrong, recipe.form, recipe.language, recipe.seed)[0]
    if recipe.edited:
        other = twin(world) if recipe.edited == "binding" else edit(world, 0, recipe.edited, recipe.seed)[0]
        columns["edit"] = [_png(pixels) for pixels in render(other, recipe.size, recipe.style, recipe.seed)]
    return columns


def _png(pixels: np.ndarray) -> bytes:
    """u8 [3 H W] -> PNG bytes, fast rather than small."""
    out = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _write(path: Path, rows: Rows) -> None:
    with replacing(path) as tmp:
        pq.write_table(pa.table(dict(rows)), tmp, row_group_size=1024)
