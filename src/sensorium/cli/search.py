"""`sensorium search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def search(
    run: str,
    data: str,
    query: str = "",
    *,
    image: Path | None = None,
    top: int = 10,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    html: Path | None = None,
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    trust_code: bool = False,
) -> None:
    """Search a data set in words, with a picture, or with both.

    Parameters
    ----------
    run
        A run, or a race (its best run).
    data
        What to search.
    query
        Words.
    image
        A picture to search with.
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
    from sensorium.apps.search import find, page
    from sensorium.cli.options import pairs
    from sensorium.cli.progress import Bar
    from sensorium.core import SensoriumError
    from sensorium.data.dataset import Dataset
    from sensorium.run.runs import load

    if not query and image is None:
        raise SensoriumError("nothing to search with: give words, --image FILE, or both")
    model = load(run, trust_code)
    rows = Dataset(data, pairs(map, "--map") or None)
    hits = find(model, rows, query or None, image, top, Bar())
    asked = " + ".join(x for x in (query, str(image) if image else "") if x)
    if html is not None:
        html.write_text(page(asked, hits, rows), encoding="utf-8")
    if json_:
        print(json.dumps({"query": asked, "hits": [vars(h) for h in hits]}, ensure_ascii=False, indent=1))
        return
    print(f"\n{asked}")
    for place, hit in enumerate(hits, 1):
        mark = "seen in training" if hit.seen == "train" else ("not seen" if hit.seen else "new to the run")
        print(f"  {place:>2}  {hit.score:.3f}  {hit.text[:48]:<48}  {mark:<16}  {hit.id}")
