"""`sensorium search`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from sensorium.apps.index import Found
    from sensorium.apps.search import Hit


def search(
    run: str,
    data: str = "",
    query: str = "",
    *,
    image: Path | None = None,
    language: str = "",
    where: str = "",
    hybrid: bool = False,
    rerank: str = "",
    by: str = "",
    top: int = 10,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    html: Path | None = None,
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    trust_code: bool = False,
) -> None:
    """Search a data set or an index in words, with a picture, or with both.

    sensorium search RUN DATA "words" looks through a data set; sensorium search INDEX "words" through an index.

    Parameters
    ----------
    run
        A run, a race (its best run), or an index.
    data
        What to search; of an index, the words.
    query
        Words.
    image
        A picture to search with.
    language
        Read the words as one of the run's further texts: fr for text.fr.
    where
        Of an index: an SQL filter on the columns of its data.
    hybrid
        Of an index: rank by words too (BM25), and fuse both.
    rerank
        Of an index: a run or a race that scores the best 100 anew.
    by
        Of an index: where the run that wrote it is now, if it has moved.
    top
        How many to print.
    json_
        Print JSON.
    html
        Write a page with the pictures.
    map
        role=column, as in race.
    trust_code
        Run the paper's file that the run carries.
    """
    from sensorium.apps.index import is_index
    from sensorium.apps.search import page

    if is_index(run):
        _refuse({"another text": query, "--map": map}, f'{run} is an index: sensorium search {run} "words"')
        answer = _in_index(run, by, data, image, language, where, hybrid, rerank, top, trust_code)
    else:
        only = {"--where": where, "--hybrid": hybrid, "--rerank": rerank, "--by": by}
        _refuse(only, f"{run} is not an index: sensorium index RUN DATA --out INDEX makes one")
        answer = _in_data(run, data, query, image, language, top, map, trust_code)
    if html is not None:
        html.write_text(page(answer.asked, answer.hits, answer.thumbs()), encoding="utf-8")
    if json_:
        print(json.dumps({"query": answer.asked, "hits": answer.records}, ensure_ascii=False, indent=1))
        return
    print(f"\n{answer.asked}")
    for place, (hit, name) in enumerate(zip(answer.hits, answer.names, strict=True), 1):
        mark = "seen in training" if hit.seen == "train" else ("not seen" if hit.seen else "new to the run")
        print(f"  {place:>2}  {hit.score:.3f}  {hit.text[:48]:<48}  {mark:<16}  {name}")


@dataclass(frozen=True)
class Answer:
    """What was asked for, what was found, what a row is called, and its pictures as data URLs, made when asked for."""

    asked: str
    hits: Sequence[Hit | Found]
    names: Sequence[str]
    thumbs: Callable[[], list[str]]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The hits, JSON-ready."""
        return [dict(vars(hit)) for hit in self.hits]


def _refuse(given: Mapping[str, object], why: str) -> None:
    """One line for what does not go with what is searched."""
    from sensorium.core import SensoriumError

    if names := [name for name, value in given.items() if value]:
        raise SensoriumError(f"{names[0]} does not apply, {why}")


def _asked(query: str, image: Path | None) -> str:
    return " + ".join(x for x in (query, str(image) if image else "") if x)


def _in_data(
    run: str,
    data: str,
    query: str,
    image: Path | None,
    language: str,
    top: int,
    map: Sequence[str],
    trust_code: bool,
) -> Answer:
    """Every picture of a data set, compared now."""
    from sensorium.apps.search import find
    from sensorium.cli.options import pairs
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.dataset import Dataset
    from sensorium.run.examples import thumb
    from sensorium.run.runs import load

    if not data:
        raise SensoriumError(f"nothing to search in: {run} is no index, so name a data set after it")
    model = load(run, trust_code)
    if not query and image is None:
        raise SensoriumError("nothing to search with: give words, --image FILE, or both")
    rows = Dataset(data, pairs(map, "--map") or None)
    hits = find(model, rows, query or None, image, top, Bar(), language)
    return Answer(_asked(query, image), hits, [h.id for h in hits], lambda: [thumb(rows, h.row, 144) for h in hits])


def _in_index(
    path: str,
    by: str,
    query: str,
    image: Path | None,
    language: str,
    where: str,
    hybrid: bool,
    rerank: str,
    top: int,
    trust_code: bool,
) -> Answer:
    """The vectors of an index, with the run that wrote them."""
    from sensorium.apps.index import open_index
    from sensorium.apps.search import picture
    from sensorium.core import SensoriumError
    from sensorium.run.runs import load

    if not query and image is None:
        raise SensoriumError("nothing to search with: give words, --image FILE, or both")
    shown = picture(image) if image is not None else None
    index = open_index(path)
    found = index.search(
        load(by, trust_code) if by else index.model(trust_code),
        text=query or None,
        image=shown,
        language=language,
        where=where,
        hybrid=hybrid,
        top=top,
        rerank=load(rerank, trust_code) if rerank else None,
    )
    files = [index.picture_file(hit) for hit in found]
    hits = [replace(hit, path=str(file or "")) for hit, file in zip(found, files, strict=True)]
    names = [f"{hit.id}  {hit.path}" for hit in hits]
    return Answer(_asked(query, image), hits, names, lambda: [index.thumb_url(hit.id) for hit in hits])
