"""What is served: runs, data sets, indexes and races by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.core import SensoriumError, Space
from sensorium.data.dataset import Dataset
from sensorium.run.load import paper, source_hash
from sensorium.run.runs import Model, load

if TYPE_CHECKING:
    from sensorium.apps.index import Collection

    from .search import Items

TEXTS = {"text": "caption", "text/answer": "answer"}
"""Keys of the texts that a run can be asked for -> what each is."""


@dataclass
class Served:
    """Everything by the name that requests use. `paths` holds the folder of each run, `trained_on` the served data set
    that a run was trained on, `races` the folders of races to show, `writers` the run that wrote each index, `items`
    what each run makes of each data set, `plain` whether comparing a run's embeddings gives what it ranks by."""

    models: dict[str, Model] = field(default_factory=dict)
    data: dict[str, Dataset] = field(default_factory=dict)
    indexes: dict[str, Collection] = field(default_factory=dict)
    races: dict[str, Path] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    trained_on: dict[str, str] = field(default_factory=dict)
    writers: dict[str, str] = field(default_factory=dict)
    items: dict[tuple[str, str], Items] = field(default_factory=dict, repr=False)
    plain: dict[str, bool] = field(default_factory=dict)


def served(
    paths: Sequence[Path],
    data: Sequence[Path] = (),
    indexes: Sequence[Path] = (),
    trust_code: bool = False,
    say: Callable[[str], object] = print,
) -> Served:
    """Open runs (a race gives its best one), data sets and indexes. Without `data`, the sets that the runs were trained
    on are served, as far as they are there; `say` is told of one that is not."""
    if not paths:
        raise SensoriumError("nothing to serve: name a run or a race")
    found = Served()
    for path in paths:
        if not path.is_dir():
            raise SensoriumError(f"{path} is not a run: there is no such folder")
        name = _free(_named(path).name, found.models)
        found.models[name] = load(path, trust_code)
        found.paths[name] = found.models[name].path
        if (path / "race.json").is_file():
            found.races[name] = path
    for path in data:
        found.data[_free(_named(path).stem, found.data)] = Dataset(path)
    if not data:
        _data_of_runs(found, say)
    for name, model in found.models.items():
        if there := [k for k, rows in found.data.items() if _same(model, rows)]:
            found.trained_on[name] = there[0]
    if indexes:
        from sensorium.apps.index import open_index

        for path in indexes:
            collection = open_index(path)
            name = _free(_named(path).name, {**found.data, **found.indexes})
            found.indexes[name] = collection
            if wrote := [k for k, model in found.models.items() if _wrote(model, collection)]:
                found.writers[name] = wrote[0]
            else:
                say(f"{path} cannot be searched: it was written by {collection.writer['run']}, which is not served")
    return found


def spaces_of(model: Model) -> Mapping[str, Space]:
    """What a run embeds: role -> space."""
    found: Mapping[str, Space] = getattr(model.method, "spaces", {})
    return found


def predicts_of(model: Model) -> Mapping[str, str]:
    """What a run predicts: key -> kind."""
    found: Mapping[str, str] = getattr(model.method, "predicts", {})
    return found


def writes(model: Model) -> dict[str, str]:
    """What text a run writes: "text" -> "caption", "text/answer" -> "answer"; nothing where it writes none."""
    return {key: what for key, what in TEXTS.items() if key in _generates(model) and model.tokenizer is not None}


def paints(model: Model) -> bool:
    """Whether a run paints pictures."""
    return "image" in _generates(model)


def needs_of(model: Model) -> dict[str, str]:
    """What the paper of a run needs: key -> kind, with " optional" where it may be missing; no further variants."""
    return dict(_needs(str(model.record["paper"]), str(model.record["source"]), model.path))


@cache
def _needs(stored: str, source: str, folder: Path) -> dict[str, str]:
    changed = stored.endswith(".py") and not (Path(stored).is_file() and source_hash(stored) == source)
    needs = paper(str(folder / "paper.py") if changed else stored).NEEDS
    return {
        k: " ".join(w for w in need.split() if w != "derivable") for k, need in needs.items() if not k.endswith(".*")
    }


def _generates(model: Model) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(model.method, "generates", {})
    return found


def _named(path: Path) -> Path:
    """The path with the name that it was given by; a link keeps its own."""
    return Path(os.path.abspath(path))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or name-2, name-3 … where it is taken."""
    names = [name, *(f"{name}-{k}" for k in range(2, len(taken) + 2))]
    return next(n for n in names if n not in taken)


def _data_of_runs(found: Served, say: Callable[[str], object]) -> None:
    for name, model in found.models.items():
        if any(_same(model, there) for there in found.data.values()):
            continue
        job = model.record["job"]
        try:
            opened = Dataset(job["data"], job.get("roles"), max_bad=job.get("max_bad", 0.1))
        except SensoriumError as problem:
            say(f"{name} is served without the data it was trained on: {problem}")
            continue
        found.data[_free(_named(opened.path).stem, found.data)] = opened


def _wrote(model: Model, collection: Collection) -> bool:
    try:
        collection.refuse(model)
    except SensoriumError:
        return False
    return True


def _same(model: Model, data: Dataset) -> bool:
    return bool(model.record.get("data") == data.fingerprint)
