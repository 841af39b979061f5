"""Search in what is served: exact over a data set, or through an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from PIL.Image import Image
from torch import Tensor

from sensorium.apps.search import Hit, seen_by
from sensorium.core import Ranks, SensoriumError, Tokens, nearest
from sensorium.data.columns import Column
from sensorium.data.dataset import Dataset
from sensorium.run.features import Progress
from sensorium.run.runs import Model

from .batch import Batcher
from .compare import agrees, compare, must_embed, must_rank
from .state import Served, spaces_of

MOST = 1000
"""Rows that one search may ask for."""


@dataclass(frozen=True, eq=False)
class Items:
    """The pictures of a data set as a run sees them: embedded, where comparing embeddings gives the run's own scores;
    which split of the run each was in; what is shown of each."""

    column: dict[str, Column]
    tokens: Tokens | None
    seen: Sequence[str]
    ids: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True, eq=False)
class Query:
    """Words, a picture, or both; how many rows to give; and how, where an index can."""

    text: str | None
    image: Image | None
    top: int = 10
    language: str = ""
    where: str = ""
    hybrid: bool = False

    @property
    def key(self) -> str:
        """The text key that the words are read under."""
        return f"text.{self.language}" if self.language else "text"


async def search(
    served: Served,
    batcher: Batcher,
    *,
    model: str = "",
    data_or_index: str = "",
    text: str | None = None,
    image: Image | None = None,
    where: str = "",
    top: int = 10,
    language: str = "",
    hybrid: bool = False,
) -> list[dict[str, Any]]:
    """The rows that match best, as JSON-ready records: id, score, text, thumb_url, seen; of an index also its values.
    Without names, the first run that is served and what it was trained on are searched with.

    Raises:
        SensoriumError: unknown names, nothing to search with, or something that the run or the target cannot do.
        Busy: too many requests wait.
    """
    if not (text or image):
        raise SensoriumError("nothing to search with: give words, a picture, or both")
    if not 1 <= top <= MOST:
        raise SensoriumError(f"top {top}; expected 1 to {MOST}")
    target = target_of(served, model, data_or_index)
    model = model_of(served, model, target)
    query = Query(text, image, top, language, where, hybrid)
    if target in served.indexes:
        return await _in_index(served, batcher, model, target, query)
    if where or hybrid:
        raise SensoriumError(f"{'where' if where else 'hybrid'} needs an index; {target} is a data set")
    _must_read(model, served.models[model], query)
    work = partial(_find_all, served, model, target)
    (hits,) = await batcher.ask(model, ("find", target), work, [query])
    return [
        {
            "id": hit.id,
            "score": hit.score,
            "text": hit.text,
            "thumb_url": f"/thumbs/{quote(target, safe='')}?row={hit.row}",
            "seen": hit.seen,
        }
        for hit in hits
    ]


def target_of(served: Served, model: str, name: str) -> str:
    """The data set or index of this name; without one, what the run was trained on, else the first there is."""
    there = [*served.data, *served.indexes]
    if name and name not in there:
        raise SensoriumError(f"unknown data set or index {name!r}{nearest(name, there)}")
    if not there:
        raise SensoriumError("nothing to search in: no data set and no index is served")
    run = model or next(iter(served.models))
    return name or served.trained_on.get(run) or there[0]


def model_of(served: Served, name: str, target: str) -> str:
    """The run of this name; without one, the run that wrote the index, or the first that can search the data."""
    if name and name not in served.models:
        raise SensoriumError(f"unknown model {name!r}{nearest(name, served.models)}")
    if target not in served.indexes:
        able = (k for k, model in served.models.items() if searchable(model, served.data[target]))
        return name or next(able, next(iter(served.models)))
    if not (writer := served.writers.get(target)):
        raise SensoriumError(f"{target} was written by a run that is not served")
    if name and name != writer:
        raise SensoriumError(f"{target} was written by {writer}; {name} cannot read its vectors")
    return writer


def _must_read(name: str, model: Model, query: Query) -> None:
    """One clear line where a run does not read what it is asked with."""
    must_rank(name, model)
    if query.text:
        must_embed(name, model, "text")
    if query.language and query.key not in model.fields:
        known = [k.removeprefix("text.") for k in model.fields if k.startswith("text.")]
        raise SensoriumError(f"{name} was trained without {query.key}; its languages: {', '.join(known) or 'one only'}")


def prepare(served: Served, model: str, data: str, progress: Progress | None = None) -> Items:
    """What a run makes of a data set, computed once. Call it on the model's thread, or before anything is served."""
    if (model, data) not in served.items:
        run, rows = served.models[model], served.data[data]
        must_rank(model, run)
        must_embed(model, run, "image")
        column = run.column(rows, "image", progress)
        tokens = run.embed(column) if plain(served, model) else None
        shown = rows.texts("text") if "text" in rows.kinds else rows.ids
        served.items[model, data] = Items(column, tokens, seen_by(run, rows), rows.ids, shown)
    return served.items[model, data]


def plain(served: Served, model: str) -> bool:
    """Whether comparing embeddings gives what the run ranks by, tried once. Call it on the model's thread."""
    if model not in served.plain:
        served.plain[model] = agrees(served.models[model])
    return served.plain[model]


def warm(served: Served, progress: Progress | None = None) -> None:
    """Load what the first request would wait for: towers, and every data set as every run sees it."""
    for name, model in served.models.items():
        plain(served, name)
        for data, rows in served.data.items():
            if searchable(model, rows):
                prepare(served, name, data, progress)


def searchable(model: Model, data: Dataset) -> bool:
    """Whether a run can look for pictures in a data set."""
    return isinstance(model.method, Ranks) and "image" in spaces_of(model) and data.kinds.get("image") == "image"


def _find_all(served: Served, model: str, data: str, queries: Sequence[Query]) -> list[list[Hit]]:
    """The answers to several queries, each as if it were alone."""
    items, run = prepare(served, model, data), served.models[model]
    scores: dict[int, Tensor] = {}
    for key in sorted({q.key for q in queries if q.text} | {"image"}):
        mine = [n for n, q in enumerate(queries) if (q.image if key == "image" else q.text and q.key == key)]
        values = [queries[n].image if key == "image" else queries[n].text for n in mine]
        for n, row in zip(mine, _scores(run, key, values, items) if mine else (), strict=True):
            scores[n] = row if n not in scores else scores[n] + row
    return [_best(items, scores[n], q.top) for n, q in enumerate(queries)]


def _scores(model: Model, key: str, values: Sequence[Any], items: Items) -> Tensor:
    column = model.read(key, values)
    if items.tokens is None:
        return model.rank(column, items.column)
    return compare(spaces_of(model)["image"], model.embed(column), items.tokens)


def _best(items: Items, scores: Tensor, top: int) -> list[Hit]:
    best = scores.topk(min(top, len(scores)))
    return [
        Hit(i, items.ids[i], round(s, 4), items.texts[i], items.seen[i])
        for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


async def _in_index(served: Served, batcher: Batcher, model: str, name: str, q: Query) -> list[dict[str, Any]]:
    index, run = served.indexes[name], served.models[model]

    def work(values: list[Query]) -> list[Any]:
        return [
            index.search(
                run, text=q.text, image=q.image, language=q.language, where=q.where, hybrid=q.hybrid, top=q.top
            )
            for q in values
        ]

    (found,) = await batcher.ask(model, ("index", name), work, [q])
    return [
        {
            "id": hit.id,
            "score": round(float(hit.score), 4),
            "text": hit.text,
            "thumb_url": f"/thumbs/{quote(name, safe='')}?id={quote(hit.id, safe='')}",
            "seen": hit.seen,
            "values": dict(hit.values),
        }
        for hit in found
    ]
