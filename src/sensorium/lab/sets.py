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

from sensorium.core import SensoriumError, derive, nearest
from sensorium.data.cache import home, replacing, write_atomic
from sensorium.run.checkpoint import to_json
from sensorium.run.keys import source_key

from .contexts import contexts
from .language import documents
from .named import few, located, mentioned, questioned
from .spoken import ROLES, SPOKEN, Spoken, utterances
from .world.facts import SHAPES, Config, Facts, facts
from .world.lang import CAPTIONERS, caption, described, negative, questions, weak
from .world.operators import edit, twin
from .world.scene import STYLE, Style, boxes, depth, edges, masks, metadata, render

STARTER = Path(__file__).parent.parent / "starter"
Rows = Mapping[str, list[Any]]
PARTS = ("train", "validation", "test")
MAPS = ("depth", "edges", "mask", "instances")
NUMBERS = ("objects", "colours", "shapes")
SEEDS = 2**31
"""Of the domains of a stream, so that none shows the scenes of another."""


@dataclass(frozen=True)
class Recipe:
    """A data set of scenes: how many rows per part, their dials and look, and what is written beside each picture.

    `form` and `language` are the caption's; `wrong` is the factor in which "negative" is false, `edited` the one in
    which the picture "edit" differs ("" for none). `asked` are the kinds of questions, of which each scene gets one.
    `captioners` say more of each picture in columns of their names; `weak` is the share of train captions that are
    another scene's. `grounded`: the box of each object that the caption names, and the characters that name it; with
    `asked` the text is the question instead, its answer the label; `masked`: the mask beside each box. `shots`: after
    the rows of train so many of each kind of object that `config.held` keeps out of it.
    `unseen`: no pictures, but what a language model reads (`language.documents`). `domains`: in equal parts rows of
    other recipes, one after the other, each with the name of its own as "label". `talk`: the text is a story
    or dialogue (`contexts`), "whole" or its "last" turn alone, and the caption of the picture is "text/caption".
    `maps`: pictures of depth, edges, kinds and instances, boxes of all objects, a long text, and numbers that are true
    of the picture.
    """

    rows: tuple[int, int, int] = (10_000, 500, 1_000)
    config: Config = field(default_factory=Config)
    style: Style = STYLE
    size: int = 32
    form: str = "list"
    language: str = "en"
    wrong: str = ""
    edited: str = ""
    asked: tuple[str, ...] = ()
    captioners: tuple[str, ...] = ()
    weak: float = 0.0
    grounded: bool = False
    masked: bool = False
    shots: int = 0
    unseen: bool = False
    domains: tuple[tuple[str, Recipe], ...] = ()
    talk: str = ""
    maps: bool = False
    seed: int = 0


ONE = Config(fewest=1, most=1)
TWO = Config(fewest=2, most=2)
CROWDED = Config(fewest=3, most=4)
"""Two objects are bound within 13,000 samples by plain CLIP; among three or four it is half way at 26,000."""
NULL = replace(CROWDED, null="binding")
TAIL = Config(cells=3, fewest=3, most=4, skew=2.0, typical=0.5)
"""Half of the objects have one of six kinds; the other 42 kinds share the rest, the last shapes least. Test scenes keep
the kinds but not the rarity of shapes."""
HALF = Config(cells=3, fewest=3, most=4, held=0.5)
"""Half of the 48 kinds of objects are in test alone."""
UNSAID = replace(
    ONE, sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black")
)
"""A short caption tells colour and shape of the object; size, texture, place and ground are seen alone."""
DETAILED = replace(UNSAID, fewest=2, most=2)
STREAM = (
    ("pastel", Recipe(style=Style(look="pastel"))),
    ("night", Recipe(style=Style(look="night"))),
    ("inverted", Recipe(style=Style(look="inverted"))),
    ("fine grid", Recipe(config=Config(cells=3))),
    ("relations", Recipe(form="short")),
    ("places", Recipe(config=TWO, form="long")),
)
"""Looks, layouts and captions in which the pair encoder, which knows "world/scenes", finds less than one in six."""
RECIPES: Mapping[str, Recipe] = {
    "world/scenes": Recipe(),
    "world/scenes-long": Recipe(form="long"),
    "world/binding": Recipe(config=TWO, wrong="binding"),
    "world/binding-null": Recipe(config=Config(fewest=2, most=2, null="binding"), wrong="binding"),
    "world/crowded": Recipe(config=CROWDED, wrong="binding", edited="binding"),
    "world/crowded-null": Recipe(config=NULL, wrong="binding", edited="binding"),
    "world/colour": Recipe(config=CROWDED, wrong="colour", edited="colour"),
    "world/shape": Recipe(config=CROWDED, wrong="shape", edited="shape"),
    "world/single": Recipe(config=ONE, form="short"),
    "world/single-long": Recipe(config=ONE, form="long"),
    "world/small": Recipe(config=ONE, form="short", size=16),
    "world/unsaid": Recipe(config=UNSAID, form="short"),
    "world/told": Recipe(config=UNSAID, form="long"),
    "world/questions": Recipe(rows=(40_000, 500, 2_000), form="short", asked=("colour", "shape", "count", "exists")),
    "world/details": Recipe(
        rows=(40_000, 500, 2_000),
        config=DETAILED,
        form="short",
        asked=("colour", "shape", "size", "texture", "ground"),
    ),
    "world/captioners": Recipe(form="short", captioners=("wordy", "colour-blind"), weak=0.3),
    "world/grounding": Recipe(config=TAIL, grounded=True),
    "world/grounding-null": Recipe(config=replace(TAIL, null="pair"), grounded=True),
    "world/segmentation": Recipe(config=TAIL, grounded=True, masked=True),
    "world/asked": Recipe(
        rows=(20_000, 500, 2_000),
        config=Config(cells=3, fewest=3, most=4),
        asked=("colour", "shape", "where", "exists"),
        grounded=True,
    ),
    "world/few-shot": Recipe(config=HALF, grounded=True, shots=4),
    "world/few-shot-alone": Recipe(rows=(0, 500, 1_000), config=HALF, grounded=True, shots=4),
    "world/language": Recipe(rows=(60_000, 500, 1_000), unseen=True),
    "world/contexts": Recipe(config=ONE, talk="whole"),
    "world/last-turns": Recipe(config=ONE, talk="last"),
    "world/stream": Recipe(rows=(12_000, 300, 900), domains=STREAM),
    "world/modalities": Recipe(
        rows=(20_000, 500, 1_000), style=Style(noise=1.0, jitter=0.0), size=16, form="list", maps=True
    ),
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
    made = SPOKEN[name] if name in SPOKEN else recipe(name)
    content = f"{sorted(asdict(made).items())}{source_key(Path(__file__))}"
    mark = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = home() / "worlds" / f"{name.partition('/')[2]}-{mark}"
    if not (folder / "dataset.json").is_file():
        for part, n in zip(PARTS, made.rows, strict=True):
            _write(folder / f"{part}.parquet", _rows(made, part, n))
        roles = ROLES if isinstance(made, Spoken) else _roles(made)
        write_atomic(folder / "dataset.json", to_json({"name": name, "license": "CC0-1.0", "roles": roles}))
    return folder


def _rows(made: Recipe | Spoken, part: str, n: int) -> Rows:
    if isinstance(made, Spoken):
        return utterances(made, part, n)
    return documents(made.config, part, n, made.seed) if made.unseen else scenes(made, part, n)


def _roles(made: Recipe) -> dict[str, str]:
    """Keys and the columns that they come from."""
    roles = {"text": "text", "group": "scene"} | ({} if made.unseen else {"image": "image"})
    roles |= {"text/negative": "negative"} if made.wrong else {}
    roles |= {"image/negative": "edit"} if made.edited else {}
    if (made.asked and not made.grounded) or made.unseen:
        roles |= {"text/question": "question", "text/answer": "answer"}
    roles |= {f"text.{who}": who for who in made.captioners}
    roles |= {"boxes": "boxes", "spans": "spans"} if made.grounded else {}
    roles |= {"mask": "mask"} if made.masked else {}
    roles |= {"label": "label", "label/kind": "kind"} if made.asked and made.grounded else {}
    roles |= {"label/stage": "stage"} if made.shots else {}
    roles |= {"label": "label"} if made.domains else {}
    if made.maps:
        roles |= {f"image.{name}": name for name in MAPS} | {f"value.{name}": name for name in NUMBERS}
        roles |= {"boxes": "boxes", "text.long": "long"}
    roles |= {"text/caption": "caption"} if made.talk else {}
    return roles


def scenes(recipe: Recipe, part: str, n: int) -> Rows:
    """Columns of `n` rows: scene (its number), image (PNG bytes), text; what else the recipe has."""
    if recipe.domains:
        return _stream(recipe, part, n)
    if recipe.shots:
        return _staged(recipe, part, n)
    return _columns(facts(recipe.seed, n, recipe.config, part=part), recipe)


def _columns(world: Facts, recipe: Recipe) -> Rows:
    """The columns of some scenes."""
    if recipe.talk:
        return _talked(world, recipe)
    columns: dict[str, list[Any]] = {
        "scene": [f"{world.part}-{k}" for k in world.index.tolist()],
        "image": [_png(pixels) for pixels in render(world, recipe.size, recipe.style, recipe.seed)],
        "text": caption(world, recipe.form, recipe.language, recipe.seed),
    }
    if recipe.wrong:
        columns["negative"] = negative(world, recipe.wrong, recipe.form, recipe.language, recipe.seed)[0]
    if recipe.edited:
        other = twin(world) if recipe.edited == "binding" else edit(world, 0, recipe.edited, recipe.seed)[0]
        columns["edit"] = [_png(pixels) for pixels in render(other, recipe.size, recipe.style, recipe.seed)]
    if recipe.asked and not recipe.grounded:
        columns |= _asked(world, recipe)
    for who in CAPTIONERS:
        if who.name in recipe.captioners:
            columns[who.name] = described(world, who, recipe.seed).texts
    if recipe.grounded:
        columns |= _named(world, recipe)
    if recipe.maps:
        columns |= _maps(world, recipe)
    if recipe.weak and world.part == "train":
        columns["text"] = weak(world, recipe.weak, recipe.form, recipe.language, recipe.seed).texts
    return columns


def kinds(world: Facts, size: int, style: Style = STYLE) -> np.ndarray:
    """uint8 [N H W]: 0 is ground, k + 1 the pixels in which an object of shape k is seen."""
    found, slots = masks(world, size, style), np.pad(world.shape + 1, ((0, 0), (1, 0)))
    return np.asarray(np.take_along_axis(slots, found.reshape(len(world), -1).astype(np.int64), 1), np.uint8).reshape(
        found.shape
    )


def grey_maps(world: Facts, size: int, style: Style = STYLE) -> Mapping[str, np.ndarray]:
    """uint8 [N H W] by name: depth and edges up to 255, kinds and instances in even steps from 0, the ground."""
    return {
        "depth": (255 * depth(world, size, style)).round().astype(np.uint8),
        "edges": 255 * edges(world, size, style).astype(np.uint8),
        "mask": kinds(world, size, style) * np.uint8(255 // len(SHAPES)),
        "instances": masks(world, size, style) * np.uint8(255 // world.row.shape[1]),
    }


def _maps(world: Facts, recipe: Recipe) -> Rows:
    """What is true of each picture, beside it."""
    found = {
        name: [_png(np.repeat(grey[None], 3, 0)) for grey in maps]
        for name, maps in grey_maps(world, recipe.size, recipe.style).items()
    }
    numbers = metadata(render(world, recipe.size, recipe.style, recipe.seed), world)
    where = boxes(world, recipe.size, recipe.style)
    return {
        **found,
        **{name: numbers[name].tolist() for name in NUMBERS},
        "boxes": [[box.tolist() for box in here if box.any()] for here in where],
        "long": caption(world, "long", recipe.language, recipe.seed),
    }


def _stream(recipe: Recipe, part: str, n: int) -> Rows:
    """The domains one after the other: scene, image, text and the domain as label."""
    columns: dict[str, list[Any]] = {"scene": [], "image": [], "text": [], "label": []}
    ends = [n * (k + 1) // len(recipe.domains) for k in range(len(recipe.domains))]
    for (name, domain), count in zip(recipe.domains, np.diff([0, *ends]).tolist(), strict=True):
        found = scenes(replace(domain, seed=derive(recipe.seed, name) % SEEDS), part, count)
        columns["scene"] += [f"{name} {scene}" for scene in found["scene"]]
        columns["image"] += found["image"]
        columns["text"] += found["text"]
        columns["label"] += [name] * count
    return columns


def _talked(world: Facts, recipe: Recipe) -> Rows:
    """The picture at the end of a story or dialogue, the text or its last turn, the caption."""
    told = contexts(world, recipe.seed)
    return {
        "scene": [f"{world.part}-{k}" for k in world.index.tolist()],
        "image": [_png(pixels) for pixels in render(told.world, recipe.size, recipe.style, recipe.seed)],
        "text": told.whole if recipe.talk == "whole" else told.last,
        "caption": told.caption,
    }


def _named(world: Facts, recipe: Recipe) -> Rows:
    """What the text names, with its box and, where the recipe says so, its mask; a question's answer is the label."""
    if not recipe.asked:
        named = mentioned(world, recipe.form, recipe.language, recipe.seed)
        return located(world, named, recipe.size, recipe.style, recipe.masked)
    asked = questioned(world, recipe.asked, recipe.seed)
    found = located(world, asked.named, recipe.size, recipe.style, recipe.masked)
    return {**found, "label": asked.answer, "kind": asked.kind}


def _staged(recipe: Recipe, part: str, n: int) -> Rows:
    """Rows of the first stage, and of the second the few that show what test shows. Validation shows that too."""
    plain = replace(recipe, shots=0)
    if part == "test":
        shown = {"2": scenes(plain, part, n)}
    elif part == "validation":
        shown = {"2": _columns(facts(derive(recipe.seed, part) % SEEDS, n, recipe.config, part="test"), plain)}
    else:
        shown = {"1": scenes(plain, part, n)} if n else {}
        shown["2"] = _columns(few(recipe.config, recipe.shots, recipe.seed), plain)
    columns: dict[str, list[Any]] = {"stage": [stage for stage, found in shown.items() for _ in found["text"]]}
    for name in shown["2"]:
        columns[name] = [value for found in shown.values() for value in found[name]]
    return columns | {"scene": [f"{part} {k}" for k in range(len(columns["stage"]))]}


def _asked(world: Facts, recipe: Recipe) -> Rows:
    """One question per scene and its answer: the kinds take turns, and a scene that allows none of its turn's kind gets
    the next that it allows."""
    asked = questions(world, recipe.asked, recipe.seed)
    at: dict[tuple[int, str], int] = {
        (int(s), k): i for i, (s, k) in enumerate(zip(asked.scene, asked.kind, strict=True))
    }
    columns: dict[str, list[str]] = {"question": [], "answer": []}
    for scene in range(len(world)):
        turns = [recipe.asked[(scene + k) % len(recipe.asked)] for k in range(len(recipe.asked))]
        found = next((at[scene, kind] for kind in turns if (scene, kind) in at), None)
        columns["question"].append("" if found is None else asked.text[found])
        columns["answer"].append("" if found is None else asked.answer[found])
    return columns


def _png(pixels: np.ndarray) -> bytes:
    """u8 [3 H W] -> PNG bytes, fast rather than small."""
    out = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _write(path: Path, rows: Rows) -> None:
    with replacing(path) as tmp:
        pq.write_table(pa.table(dict(rows)), tmp, row_group_size=1024)
