"""Exact search in memory: a run, a data set, words or a picture or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from jinja2 import Template
from PIL import Image

from sensorium.core import SensoriumError
from sensorium.data.dataset import Dataset, Limits
from sensorium.data.limits import Refused
from sensorium.data.media.image import load
from sensorium.run.examples import thumb
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


def seen_by(model: Model, data: Dataset) -> list[str]:
    """Which split of the run each picture was in, by content."""
    path = model.path / "rows.parquet"
    if not path.is_file():
        return [""] * len(data)
    table = pq.read_table(path)
    known = dict(zip(table["image"].to_pylist(), table["split"].to_pylist(), strict=True))
    return [known.get(k, "") for k in data.content("image").view("int64").tolist()]


def find(
    model: Model,
    data: Dataset,
    text: str | None = None,
    image: Path | None = None,
    top: int = 10,
    progress: Progress | None = None,
) -> list[Hit]:
    """The rows whose pictures score highest; words and a picture together add their scores."""
    if top < 1:
        raise SensoriumError(f"--top {top}; expected at least 1")
    items = model.column(data, "image", progress)
    scores = None
    if text is not None:
        scores = model.rank(model.read("text", [text]), items)[0]
    if image is not None:
        by_image = model.rank(model.read("image", [_picture(image)]), items)[0]
        scores = by_image if scores is None else scores + by_image
    if scores is None:
        raise SensoriumError("nothing to search with: give words, a picture, or both")
    best = scores.topk(min(top, len(scores)))
    seen = seen_by(model, data)
    shown = data.texts("text") if "text" in data.kinds else list(data.ids)
    return [
        Hit(i, data.ids[i], round(s, 4), shown[i], seen[i])
        for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _picture(path: Path) -> Image.Image:
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


def page(query: str, hits: list[Hit], data: Dataset) -> str:
    """One HTML page with the pictures inline; opens from disk."""
    return str(PAGE.render(query=query, hits=[(h, thumb(data, h.row, 144)) for h in hits]))
