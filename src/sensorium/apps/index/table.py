"""The rows of an index in an embedded LanceDB table. Nothing else here knows LanceDB.

Our own columns begin with two underscores: the row's number (__order, no two are equal), hash, source, content of its
picture, file, thumbnail, number of vectors and vectors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sensorium.core import SensoriumError, Tokens

from .columns import TYPES, refusal
from .record import Record
from .vectors import Vectors, arrow_type, blocks, from_arrow

NAME = "rows"
FEW = 500
"""Ids or numbers in one statement."""
PART = 1 << 16
"""Rows whose vectors are read at a time."""
OLD = timedelta(hours=1)
"""Age at which what an earlier version held is removed: a reader may still have it open."""


def schema(record: Record) -> pa.Schema:
    """The columns of the table."""
    writer = record.writer
    own = [("id", pa.string()), ("__order", pa.int64()), ("__hash", pa.string()), ("__source", pa.int32())]
    more = [("__image", pa.int64()), ("__path", pa.string()), ("__thumb", pa.binary()), ("__count", pa.int32())]
    vector = ("__vector", arrow_type(writer["dim"], writer["many"]))
    return pa.schema([*own, *((c.name, TYPES[c.type]) for c in record.columns), *more, vector])


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def among(numbers: Sequence[int]) -> str:
    """The filter of the rows with these numbers."""
    return f"__order IN ({', '.join(str(int(n)) for n in numbers)})"


class Table:
    """One table: reads see every finished write, of other processes too."""

    def __init__(self, folder: Path, record: Record) -> None:
        try:
            import lancedb
        except ImportError:
            raise SensoriumError("an index needs LanceDB: pip install 'sensorium[search]'") from None
        self.folder, self._columns = folder, record.columns
        self._dim, self._many = int(record.writer["dim"]), bool(record.writer["many"])
        self._held: tuple[int, Vectors] | None = None
        try:
            base = lancedb.connect(str(folder), read_consistency_interval=timedelta(0))
            there = (folder / f"{NAME}.lance").is_dir()
            self._rows: Any = base.open_table(NAME) if there else base.create_table(NAME, schema=schema(record))
            self._rows.count_rows()
        except (OSError, ValueError, RuntimeError) as problem:
            raise SensoriumError(f"{folder} is damaged: {str(problem)[:200]}; index again into a new folder") from None

    # What is there

    @property
    def version(self) -> int:
        """Grows with every write."""
        return int(self._rows.version)

    def count(self, where: str = "") -> int:
        """Rows, or those that pass a filter."""
        with self._filtering(where):
            return int(self._rows.count_rows(where or None))

    def vectors_there(self) -> int:
        """Vectors of all rows together."""
        return int(np.sum(self._read(["__count"])["__count"].to_numpy())) if self._many else self.count()

    def numbers(self, where: str) -> NDArray[np.int64]:
        """The numbers of the rows that pass a filter."""
        with self._filtering(where):
            found: NDArray[np.int64] = self._read(["__order"], where)["__order"].to_numpy()
            return found

    def next_number(self) -> int:
        """Above every number there is."""
        return int(self._read(["__order"])["__order"].to_numpy().max(initial=-1)) + 1

    def hashes(self, source: int | None = None) -> dict[str, str]:
        """Id -> hash of every row, or of one source's."""
        found = self._read(["id", "__hash"], "" if source is None else f"__source = {source}")
        return dict(zip(found["id"].to_pylist(), found["__hash"].to_pylist(), strict=True))

    def vectors(self, where: str = "") -> Vectors:
        """The vectors of all rows, kept until the table changes, or of those that pass a filter."""
        if where:
            return self._vectors(where)
        version = self.version
        if self._held is None or self._held[0] != version:
            self._held = version, self._vectors("")
        return self._held[1]

    def parts(self) -> Iterator[Vectors]:
        """The vectors of all rows, so many at a time."""
        numbers = np.sort(self._read(["__order"])["__order"].to_numpy())
        for block in blocks(len(numbers), PART):
            yield self._vectors(f"__order >= {numbers[block[0]]} AND __order <= {numbers[block[-1]]}")

    def details(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Id, source, file and filter columns of rows, in the order asked for; one that is gone is left out."""
        names = ["__order", "id", "__source", "__image", "__path", *(c.name for c in self._columns)]
        there: dict[int, dict[str, Any]] = {}
        for block in blocks(len(numbers), FEW):
            some = self._read(names, among([numbers[k] for k in block]))
            there |= {row["__order"]: row for row in some.to_pylist()}
        return [there[n] for n in numbers if n in there]

    def thumb(self, id: str) -> bytes | None:
        """The thumbnail of a row."""
        found = self._read(["__thumb"], f"id = {quoted(id)}")["__thumb"].to_pylist()
        return found[0] if found else None

    def sample(self, n: int) -> list[int]:
        """The numbers of `n` rows, evenly spaced."""
        numbers = np.sort(self._read(["__order"])["__order"].to_numpy())
        return [int(i) for i in numbers[np.linspace(0, len(numbers) - 1, min(n, len(numbers))).astype(int)]]

    # What is near

    def near(self, query: Tokens, where: str, depth: int, probes: int) -> NDArray[np.int64]:
        """The numbers of some `depth` rows near to the query's one row of vectors, by the approximate index."""
        vectors = query.x[0][query.mask[0]].float().numpy()
        with self._filtering(where):
            asked = self._rows.search(vectors if self._many else vectors[0], vector_column_name="__vector")
            asked = asked.distance_type(self._metric).nprobes(probes).select(["__order", "_distance"]).limit(depth)
            found = (asked.where(where, prefilter=True) if where else asked).to_arrow()
        numbers: NDArray[np.int64] = found["__order"].to_numpy()
        return numbers

    def words(self, column: str, text: str, where: str, depth: int) -> NDArray[np.int64]:
        """The numbers of the `depth` rows whose text has the words, best by BM25 first, ties by number."""
        from lancedb import query

        match: Any = query.MatchQuery  # its own types ask for every argument
        with self._filtering(where):
            asked = self._rows.search(match(text, column), query_type="fts")
            asked = asked.select(["__order", "_score"]).limit(depth)
            found = (asked.where(where, prefilter=True) if where else asked).to_arrow()
        order, score = found["__order"].to_numpy(), found["_score"].to_numpy()
        best: NDArray[np.int64] = order[np.lexsort((order, -score))]
        return best

    # Writing

    def add(self, rows: Mapping[str, Any], replacing: bool) -> None:
        """Append rows, or put them in the place of those with their ids: all of them or none."""
        table = pa.table(dict(rows), schema=self._rows.schema)
        with self._writing():
            if replacing:
                put = self._rows.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                put.execute(table)
            else:
                self._rows.add(table)

    def remove(self, ids: Sequence[str]) -> int:
        """Remove rows by id; how many there were."""
        before = self.count()
        for block in blocks(len(ids), FEW):
            with self._writing():
                self._rows.delete(f"id IN ({', '.join(quoted(ids[k]) for k in block)})")
        return before - self.count()

    def index_words(self, column: str) -> None:
        """Index a column of texts for BM25, where it is not yet; without stemming and stop words, which are a
        language's."""
        from lancedb.index import FTS

        if any(column in index.columns for index in self._rows.list_indices()):
            return
        config = FTS(with_position=False, stem=False, remove_stop_words=False, ascii_folding=True)
        with self._writing():
            self._rows.create_index(column, config=config, replace=True)

    def index_vectors(self, partitions: int) -> None:
        """Partition the vectors by k-means; a search looks into some partitions, at the vectors as they are."""
        from lancedb.index import IvfFlat

        with self._writing():
            config = IvfFlat(distance_type=self._metric, num_partitions=partitions)
            self._rows.create_index("__vector", config=config, replace=True)

    def tidy(self) -> None:
        """Join small files, bring new rows into the indexes, remove what only old versions had."""
        with self._writing():
            self._rows.optimize(cleanup_older_than=OLD)

    @property
    def _metric(self) -> Literal["cosine", "dot"]:
        return "cosine" if self._many else "dot"

    def _read(self, columns: Sequence[str], where: str = "") -> pa.Table:
        asked = self._rows.search().select(list(columns))
        return (asked.where(where) if where else asked).to_arrow()

    def _vectors(self, where: str) -> Vectors:
        with self._filtering(where):
            return from_arrow(self._read(["__order", "__vector"], where), self._dim, self._many, "__order", "__vector")

    @contextmanager
    def _filtering(self, where: str) -> Iterator[None]:
        """What the table says of a filter it cannot take becomes one line."""
        try:
            yield
        except (ValueError, RuntimeError, OSError) as problem:
            if not where:
                raise
            raise refusal(where, str(problem), self._columns) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A write is there after a power cut too: LanceDB itself leaves its files to the system's buffers."""
        known = {path: path.stat().st_mtime_ns for path in self._files()}
        try:
            yield
        except (ValueError, RuntimeError, OSError) as problem:
            raise SensoriumError(f"cannot write {self.folder}: {str(problem)[:200]}") from problem
        for path in self._files():
            if known.get(path) != path.stat().st_mtime_ns:
                _sync(path)

    def _files(self) -> list[Path]:
        root = self.folder / f"{NAME}.lance"
        return [root, *(Path(at) / name for at, folders, files in os.walk(root) for name in (*files, *folders))]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
