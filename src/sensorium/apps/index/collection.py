"""An index on disk: built by one run, grown and shrunk row by row, searched."""

from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image

from sensorium.apps.search import splits
from sensorium.core import SensoriumError, nearest
from sensorium.data.cache import write_atomic
from sensorium.data.columns import Column
from sensorium.data.dataset import Dataset
from sensorium.run.features import Progress
from sensorium.run.lock import NAME as LOCK
from sensorium.run.lock import held
from sensorium.run.runs import Model, load

from .columns import columns_of
from .near import draw, indexed
from .query import Found, Question, answered
from .record import Record, is_index, read, refuse_another, writer_of
from .rows import THUMB, Incoming, hashes, jpeg
from .table import NAME, Table
from .vectors import blocks, faithful

BLOCK = 512
"""Rows written at a time: what a killed add can lose."""
WANTED = "adding.txt"
"""Hashes of the rows that an add is writing; there only while it does."""
EXACT_BELOW = 50_000


@dataclass(frozen=True)
class Added:
    """Rows that an add wrote and rows that it found unchanged; `gone` are no more in the data: removed where `synced`.
    `replaced` of the added ones stand in the place of rows that had changed."""

    added: int
    kept: int
    gone: int
    replaced: int = 0
    synced: bool = False


class Collection:
    """An opened index: one process writes at a time, any number search."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._table = Table(self.path, self.record)
        self._accepted: Model | None = None
        self._splits: Mapping[int, str] = {}
        self._data: dict[int, tuple[Dataset, dict[str, int], NDArray[np.int64]]] = {}

    @property
    def record(self) -> Record:
        """What the index knows of itself, as it is on disk now."""
        return read(self.path)

    @property
    def name(self) -> str:
        """Name of the data set that it was built from."""
        return self.record.name

    @property
    def writer(self) -> Mapping[str, Any]:
        """The run that wrote it: run, paper, weights, reading, dim, normalised, many, similarity, roles."""
        return self.record.writer

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self._table.count()

    @property
    def version(self) -> int:
        """Grows with every write."""
        return self._table.version

    @property
    def missing(self) -> int:
        """Rows that an add was stopped before."""
        wanted = self.path / WANTED
        if not wanted.is_file():
            return 0
        return len(set(wanted.read_text("ascii").split()) - set(self._table.hashes().values()))

    def has(self, id: str) -> bool:
        """Whether there is a row of this name."""
        return self._table.thumb(id) is not None

    def model(self, trust_code: bool = False) -> Model:
        """The run that wrote it, from where it was then; one clear line where it is there no more, or has changed."""
        writer = self.writer
        try:
            model = load(writer["run"], trust_code)
        except SensoriumError as problem:
            raise SensoriumError(f"{self.path} was written by {writer['paper']}: {problem}") from None
        self.refuse(model)
        return model

    def refuse(self, model: Model) -> None:
        """One line that names both where a run did not write this index, or its weights have changed since."""
        if self._accepted is not model:
            refuse_another(self.path, self.writer, model)
            self._accepted, self._splits = model, splits(model)

    def add(self, model: Model, data: Dataset, progress: Progress | None = None, sync: bool = False) -> Added:
        """Write the rows of a data set that are new or have changed since they were written; `sync` removes those that
        it has no more. One that was killed goes on when it is asked for again."""
        self.refuse(model)
        return self._add(model, data, model.column(data, "image", progress), progress, sync)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows; one clear line, and nothing removed, where one is not there. How many were removed."""
        with held(self.path, f"sensorium index --out {self.path} --delete"):
            there = self._table.hashes()
            if unknown := [id for id in ids if id not in there]:
                raise SensoriumError(f"{self.path} has no row {unknown[0]!r}{nearest(unknown[0], there)}")
            removed = self._table.remove(list(dict.fromkeys(ids)))
            self._settle(self.record, None, None)
        return removed

    def search(
        self,
        model: Model,
        *,
        text: str | None = None,
        image: Image.Image | None = None,
        language: str = "",
        where: str = "",
        hybrid: bool = False,
        top: int = 10,
        rerank: Model | None = None,
    ) -> list[Found]:
        """The best rows for words, a picture or both, whose scores add up. `where` is an SQL filter on the columns of
        the data; `hybrid` fuses the ranks with those of BM25; `rerank` is a run whose own scores order the best 100."""
        self.refuse(model)
        asked = Question(text, image, language, where.strip(), hybrid, top)
        return answered(self._table, self.record, model, asked, rerank, self._pictures, self._splits)

    def thumb(self, id: str, side: int = THUMB) -> bytes | None:
        """The picture of a row as JPEG, at most `side` and never over 144 pixels a side; None for no such row."""
        stored = self._table.thumb(id)
        return stored if stored is None or side >= THUMB else jpeg(Image.open(io.BytesIO(stored)), side)

    def thumb_url(self, id: str) -> str:
        """The picture of a row as a data URL; "" for no such row."""
        stored = self.thumb(id)
        return "data:image/jpeg;base64," + b64encode(stored).decode() if stored else ""

    def picture_file(self, found: Found) -> Path | None:
        """A file to look at: the picture's own, or its thumbnail, written into the index; None where neither can be."""
        if found.path and Path(found.path).is_file():
            return Path(found.path)
        if (stored := self.thumb(found.id)) is None:
            return None
        path = self.path / "thumbs" / f"{xxhash.xxh3_64_hexdigest(stored)}.jpg"
        try:
            if not path.is_file():
                write_atomic(path, stored)
        except SensoriumError:
            return None
        return path

    def _add(
        self, model: Model, data: Dataset, column: Mapping[str, Column], progress: Progress | None, sync: bool
    ) -> Added:
        with held(self.path, f"sensorium index {model.path} {data.path}"):
            record, source = self.record.including(data)
            ids = [record.sources[source].prefix + id for id in data.ids]
            incoming = Incoming(model, data, column, source, ids, hashes(data))
            there = self._table.hashes(source)
            todo = [k for k, id in enumerate(ids) if there.get(id) != incoming.hashes[k]]
            others = self._table.hashes().keys() - there.keys()
            if twice := sorted(others & {ids[k] for k in todo}):
                raise SensoriumError(
                    f"{self.path} has a row {twice[0]!r} of another data set; make an index of its own"
                )
            gone = sorted(there.keys() - set(ids))
            record.write(self.path)
            unfinished = (self.path / WANTED).is_file()
            write_atomic(self.path / WANTED, "\n".join(incoming.hashes[k] for k in todo).encode())
            self._write(incoming, record, todo, there.keys(), progress)
            if sync and gone:
                self._table.remove(gone)
            if todo or unfinished or (sync and gone):
                self._settle(record, model, data)
            (self.path / WANTED).unlink()
        replaced = sum(ids[k] in there for k in todo)
        return Added(len(todo), len(ids) - len(todo), len(gone), replaced, sync)

    def _write(
        self,
        incoming: Incoming,
        record: Record,
        todo: Sequence[int],
        there: Set[str],
        progress: Progress | None,
    ) -> None:
        number = self._table.next_number()
        for block in blocks(len(todo), BLOCK):
            some = [todo[k] for k in block]
            rows = incoming.stored(some, record, number + block.start)
            self._table.add(rows, replacing=any(incoming.ids[k] in there for k in some))
            if progress is not None:
                progress("writing rows", block.stop, len(todo))

    def _settle(self, record: Record, model: Model | None, data: Dataset | None) -> None:
        """What is done after rows have come or gone: text and, in a large collection, vectors are indexed."""
        self._table.tidy()
        if record.text and self._table.count():
            self._table.index_words(record.text)
        near = None
        if self._table.vectors_there() >= record.exact_below:
            draw(self.path, self._table, model, data)
            near = indexed(self.path, self._table, str(record.writer["similarity"]), record.near)
        replace(record, near=near).write(self.path)

    def _pictures(self, rows: Sequence[Mapping[str, Any]]) -> list[Image.Image]:
        """The pictures of rows, from the data sets that they came from."""
        found, sources = [], self.record.sources
        for row in rows:
            source = sources[row["__source"]]
            if row["__source"] not in self._data:
                try:
                    data = Dataset(source.path, source.roles, max_bad=1)
                except SensoriumError as problem:
                    raise SensoriumError(f"a second run looks at the pictures themselves: {problem}") from None
                places = {id: k for k, id in enumerate(data.ids)}
                self._data[row["__source"]] = data, places, data.content("image").view(np.int64)
            data, places, content = self._data[row["__source"]]
            k = places.get(row["id"].removeprefix(source.prefix), -1)
            if k < 0 or int(content[k]) != row["__image"]:
                raise SensoriumError(f"{row['id']} has changed in {source.path}; index that again to rerank")
            found.append(data.image("image", k))
        return found


def build(
    model: Model, data: Dataset, path: str | Path, progress: Progress | None = None, exact_below: int = EXACT_BELOW
) -> Collection:
    """A new index of a data set by a run, at a path that holds nothing. From `exact_below` vectors on searches go
    through an approximate index."""
    folder = Path(path)
    if is_index(folder):
        raise SensoriumError(f"{folder} is an index already; open it and add to it")
    if folder.exists() and not folder.is_dir():
        raise SensoriumError(f"{folder} is a file; expected a folder to make")
    if folder.is_dir() and {p.name for p in folder.iterdir()} - {LOCK, f"{NAME}.lance"}:
        raise SensoriumError(f"{folder} is not empty and is not an index; name a new folder")
    if exact_below < 1:
        raise SensoriumError(f"exact_below {exact_below}; expected at least 1")
    column = model.column(data, "image", progress)
    writer = writer_of(model, faithful(model, data, column))
    record = Record(data.name, writer, columns_of(data), exact_below=exact_below)
    record.write(folder)
    collection = Collection(folder)
    collection.refuse(model)
    collection._add(model, data, column, progress, sync=False)
    return collection


def open_index(path: str | Path) -> Collection:
    """An index on disk. Warns of rows that a stopped add left out."""
    found = Collection(path)
    if found.missing:
        warnings.warn(
            f"{path} lacks {found.missing} rows: writing them was stopped; the same sensorium index goes on",
            stacklevel=2,
        )
    return found
