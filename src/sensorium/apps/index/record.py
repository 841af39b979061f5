"""collection.json: which run wrote an index, from which data sets, and which columns a filter sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sensorium.core import SensoriumError, Space
from sensorium.data.dataset import Dataset
from sensorium.run.checkpoint import newest, write_json
from sensorium.run.load import label
from sensorium.run.runs import Model

from .columns import FilterColumn, columns_of, reconciled

FORMAT = 1
FILE = "collection.json"


@dataclass(frozen=True)
class Source:
    """A data set that was added. `prefix` comes before the ids of its rows, so that two sets may share names."""

    path: str
    name: str
    prefix: str = ""
    roles: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Record:
    """collection.json. `writer` holds run, paper, weights, dim, normalised, many, similarity and roles; `near` what was
    measured of the approximate index, which is built from `exact_below` vectors on."""

    name: str
    writer: Mapping[str, Any]
    columns: tuple[FilterColumn, ...]
    sources: tuple[Source, ...] = ()
    exact_below: int = 50_000
    near: Mapping[str, Any] | None = None
    format: int = FORMAT

    @property
    def text(self) -> str:
        """The column with the text that is shown and that BM25 reads; "" where there is none."""
        return next((c.name for c in self.columns if c.key == "text"), "")

    def source(self, data: Dataset) -> int | None:
        """Which source a data set is: by its path, or by its name where the path it had is gone."""
        path = str(data.path.resolve())
        for k, source in enumerate(self.sources):
            if source.path == path or (source.name == data.name and not Path(source.path).exists()):
                return k
        return None

    def including(self, data: Dataset) -> tuple[Record, int]:
        """This record with a data set among its sources, and which one it is."""
        mine = columns_of(data)
        reconciled(self.columns, mine, str(data.path))
        k = self.source(data)
        at = len(self.sources) if k is None else k
        prefix = self._prefix(data.name) if k is None else self.sources[k].prefix
        source = Source(str(data.path.resolve()), data.name, prefix, data.roles or None)
        return replace(self, sources=(*self.sources[:at], source, *self.sources[at + 1 :])), at

    def _prefix(self, name: str) -> str:
        """ "" for the first source, else its name and a slash; a name that came before gets #2, #3 …"""
        if not self.sources:
            return ""
        taken = {s.prefix for s in self.sources}
        names = (f"{name}/" if n == 1 else f"{name}#{n}/" for n in range(1, len(taken) + 2))
        return next(p for p in names if p not in taken)

    def write(self, folder: Path) -> None:
        """Whole or not at all."""
        write_json(folder / FILE, asdict(self))


def is_index(path: str | Path) -> bool:
    """Whether a folder is an index."""
    return (Path(path) / FILE).is_file()


def read(folder: Path) -> Record:
    """The record of an index; one clear line where there is none or it is another version's."""
    try:
        stored = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise SensoriumError(f"{folder} is not an index: it has no {FILE}") from None
    except NotADirectoryError:
        raise SensoriumError(f"{folder} is a file; expected an index, which is a folder") from None
    except (OSError, ValueError) as problem:
        raise SensoriumError(f"{folder / FILE} cannot be read: {problem}") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        given = stored.get("format") if isinstance(stored, dict) else None
        raise SensoriumError(f"{folder} has format {given!r}; this version reads indexes of format {FORMAT}")
    try:
        columns = tuple(FilterColumn(**c) for c in stored.pop("columns"))
        sources = tuple(Source(**s) for s in stored.pop("sources"))
        return Record(columns=columns, sources=sources, **stored)
    except (KeyError, TypeError) as problem:
        raise SensoriumError(f"{folder / FILE} is not the record of an index: {problem}") from None


def space_of(model: Model, role: str) -> Space:
    """Where a run embeds a role; one clear line where it does not."""
    model.needs(role)
    spaces: Mapping[str, Space] = getattr(model.method, "spaces", {})
    return spaces[role]


def weights_of(model: Model) -> str:
    """SHA-256 of a run's weights, 16 hex digits."""
    return hashlib.sha256((newest(model.path) / "model.safetensors").read_bytes()).hexdigest()[:16]


def reading_of(model: Model) -> str:
    """16 hex digits over what its weights read through: frozen towers and the tokeniser."""
    words = model.tokenizer.to_str() if model.tokenizer is not None else ""
    towers = json.dumps(model.record.get("towers") or {}, sort_keys=True)
    return hashlib.sha256(f"{towers}\0{words}".encode()).hexdigest()[:16]


def writer_of(model: Model, normalised: bool) -> dict[str, Any]:
    """What an index remembers of the run that writes it, and whether its vectors are of length 1."""
    space = space_of(model, "image")
    return {
        "run": str(model.path.resolve()),
        "paper": label(model.paper),
        "weights": weights_of(model),
        "reading": reading_of(model),
        "dim": space.dim,
        "normalised": normalised,
        "many": space.many,
        "similarity": space.similarity,
        "roles": ["image"],
    }


def refuse_another(folder: Path, writer: Mapping[str, Any], model: Model) -> None:
    """One line that names both where a run did not write this index, or its weights have changed since."""
    weights, path = weights_of(model), str(model.path.resolve())
    if (weights, reading_of(model)) == (writer["weights"], writer["reading"]):
        return
    mine = f"{writer['run']} ({writer['paper']}, weights {writer['weights']})"
    if path == writer["run"]:
        raise SensoriumError(
            f"{folder} was written by {mine}, which has weights {weights} now; index again into a new folder"
        )
    given = f"{model.path} ({label(model.paper)}, weights {weights})"
    raise SensoriumError(f"{folder} was written by {mine}; {given} cannot read its vectors")
