"""Exact search in memory: a run, a data set, words or a picture or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq
from jinja2 import Template
from PIL import Image

from sensorium.core import Ranks, SensoriumError
from sensorium.data.dataset import Dataset, Limits
from sensorium.data.limits import Refused
from sensorium.data.media.image import load
from sensorium.run.features import Progress
from sensorium.run.runs import Model


@dataclass(frozen=True)
class Hit:
    """One found row: `seen` is train, validation or test of the run, empty where the run has never had the picture."""

    row: int
    id: str
    score: float
    text: str
    seen: str


def splits(model: Model) -> dict[int, str]:
    """Content of each picture that the run has had -> the split it was in."""
    path = model.path / "rows.parquet"
    if not path.is_file():
        return {}
    table = pq.read_table(path)
    return dict(zip(table["image"].to_pylist(), table["split"].to_pylist(), strict=True))


def seen_by(model: Model, data: Dataset) -> list[str]:
    """Which split of the run each picture was in, by content."""
    known = splits(model)
    return [known.get(k, "") for k in data.content("image").view("int64").tolist()]


def find(
    model: Model,
    data: Dataset,
    text: str | None = None,
    image: Path | None = None,
    top: int = 10,
    progress: Progress | None = None,
    language: str = "",
) -> list[Hit]:
    """The rows whose pictures score highest, equal ones in the order of the data; words and a picture together add
    their scores. `language` fr reads the words as text.fr."""
    if top < 1:
        raise SensoriumError(f"--top {top}; expected at least 1")
    must_rank(model)
    items = model.column(data, "image", progress)
    scores = None
    if text is not None:
        scores = model.rank(model.read(text_key(model, language), [text]), items)[0]
    if image is not None:
        by_image = model.rank(model.read("image", [picture(image)]), items)[0]
        scores = by_image if scores is None else scores + by_image
    if scores is None:
        raise SensoriumError("nothing to search with: give words, a picture, or both")
    best = scores.sort(descending=True, stable=True)
    seen = seen_by(model, data)
    shown = data.texts("text") if "text" in data.kinds else list(data.ids)
    return [
        Hit(i, data.ids[i], round(s, 4), shown[i], seen[i])
        for s, i in zip(best.values[:top].tolist(), best.indices[:top].tolist(), strict=True)
    ]


def must_rank(model: Model) -> None:
    """One clear line where a run has no scores to search by."""
    if not isinstance(model.method, Ranks):
        raise SensoriumError(f"{model.path} ({model.paper}) cannot rank, so nothing can be searched with it")


def text_key(model: Model, language: str) -> str:
    """The text key of a language; one clear line where the run was not trained with it."""
    if not language:
        return "text"
    key = f"text.{language}"
    known = [k.removeprefix("text.") for k in sorted(model.fields) if k.startswith("text.") and "/" not in k]
    if key not in model.fields:
        others = f"it has {', '.join(known)}" if known else "it has one text and no further language"
        raise SensoriumError(f"{model.path} ({model.paper}) was trained without {key}; {others}")
    return key


def picture(path: Path) -> Image.Image:
    """The picture in a file; one clear line where there is none."""
    try:
        return load(path.read_bytes(), Limits())
    except (OSError, Refused) as problem:
        raise SensoriumError(
            f"{path} is not a readable picture: {getattr(problem, 'strerror', None) or problem}"
        ) from None


PAGE = Template(
    """<!doctype html><meta charset="utf-8"><title>{{ query }}</title>
<style>
body{font:16px system-ui;margin:2rem;color-scheme:light dark}
ol{display:flex;flex-wrap:wrap;gap:1rem;padding:0;list-style:none}
figure{width:9rem;margin:0}
img{width:100%;background:#fff;border:3px solid #bbb}
.train img{border-style:dashed}
figcaption{font-size:.85rem}
</style>
<h1>{{ query }}</h1><p>A dashed frame marks a picture that training has seen.</p><ol>
{% for h, t in hits %}<li><figure class="{{ h.seen }}"><img src="{{ t }}" alt="{{ h.text }}">
<figcaption>{{ '%.3f' % h.score }} {{ h.text }}
{% if h.seen == 'train' %}(seen in training){% endif %}</figcaption></figure></li>
{% endfor %}</ol>
""",
    autoescape=True,
)


class Shown(Protocol):
    """What a page says of a hit."""

    @property
    def score(self) -> float: ...
    @property
    def text(self) -> str: ...
    @property
    def seen(self) -> str: ...


def page(query: str, hits: Sequence[Shown], thumbs: Sequence[str]) -> str:
    """One HTML page with the pictures, which are data URLs; opens from disk."""
    return str(PAGE.render(query=query, hits=list(zip(hits, thumbs, strict=True))))
