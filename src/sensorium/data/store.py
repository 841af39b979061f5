"""A checked data set on disk: rows in order, memory-mapped, so that a million cost no memory and start at once."""

from __future__ import annotations

import json
import os
import shutil
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex
from stat import S_ISDIR
from typing import Any, overload

import numpy as np
import pyarrow as pa
import xxhash

from sensorium.core import SensoriumError

from .cache import home, write_atomic
from .codecs import Cell
from .sources.table import Bad, Source

VERSION = 3  # of checking and storing: part of every key
BATCH = 4096
SETTLED = 2_000_000_000
"""Nanoseconds: a file changed more recently than this before it was read may change again within the clock's tick."""
SPLITS = ("", "train", "validation", "test")


class Strings(Sequence[str]):
    """Texts that stay on disk: indexing and iterating read them, nothing holds them all."""

    def __init__(self, column: pa.ChunkedArray, renamed: Mapping[int, str] | None = None) -> None:
        self._chunks = column.chunks
        self._starts = np.cumsum([0, *(len(c) for c in self._chunks)]).tolist()
        self._renamed = renamed or {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def digest(self) -> str:
        """xxh3_128 over all texts, as they lie."""
        digest = xxhash.xxh3_128()
        for chunk in self._chunks:
            for buffer in chunk.buffers()[1:]:
                digest.update(memoryview(buffer))
        return digest.hexdigest()

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        k = i + len(self) if i < 0 else int(i)
        if not 0 <= k < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        if k in self._renamed:
            return self._renamed[k]
        chunk = bisect_right(self._starts, k) - 1
        return str(self._chunks[chunk][k - self._starts[chunk]].as_py())

    def __iter__(self) -> Iterator[str]:
        for start, chunk in zip(self._starts, self._chunks, strict=False):
            for k, value in enumerate(chunk.to_pylist(), start=start):
                yield self._renamed.get(k, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def stamp(path: Path) -> tuple[int, int]:
    """Size (0 for a folder) and modification time in nanoseconds; (-1, -1) where there is nothing."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return (0 if S_ISDIR(status.st_mode) else status.st_size), status.st_mtime_ns


class Writer:
    """Rows one by one, in batches to a new folder; `finish` makes it the stored data set of `name`."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self._name, self._keys = name, list(keys)
        self.folder = _sets() / f"{name}-{token_hex(4)}"
        self._started = time.time_ns()
        try:
            self.folder.mkdir(parents=True)
            self._blobs = (self.folder / "blobs.bin").open("wb")
            self._rows = _Batches(self.folder / "rows.arrow", _rows_schema(keys))
            self._files = _Batches(self.folder / "files.arrow", _FILES)
            self._bad = (self.folder / "quarantine.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise SensoriumError(f"cannot write {self.folder}: {error.strerror or error}") from error
        self._newest = 0

    def row(self, id: str, given: str, cells: Mapping[str, Cell], same: Mapping[str, int]) -> None:
        """One row: its name, split, cells, and per text key the hash that equal texts share."""
        values: dict[str, Any] = {"id": id, "given": SPLITS.index(given)}
        for key in self._keys:
            cell = cells[key]
            stored = cell.stored or (self._copied(cell.data) if cell.data else "")
            values |= {
                key: stored,
                f"{key}#content": cell.content,
                f"{key}#near": cell.near,
                f"{key}#about": cell.about,
            }
            values[f"{key}#same"] = same.get(key, 0)
        self._rows.add(values)

    def bad(self, bad: Bad) -> None:
        """One row set aside."""
        self._bad.write(json.dumps(asdict(bad), ensure_ascii=True) + "\n")

    def watch(self, path: Path) -> None:
        """A file whose change makes what is stored here stale."""
        size, mtime = stamp(path)
        self._newest = max(self._newest, mtime)
        self._files.add({"path": str(path), "size": size, "mtime": mtime})

    def finish(self, about: Mapping[str, Any], source: Source) -> Stored:
        """Publish, in the place of what was stored before."""
        for file in source.files:
            self.watch(file.absolute())
        for part in (self._rows, self._files, self._blobs, self._bad):
            part.close()
        settled = self._newest < self._started - SETTLED
        sums = {name: _sum(self.folder / name) for name in _FILES_OF}
        meta = {**about, "sums": sums, "settled": settled, "keys": self._keys}
        write_atomic(self.folder / "meta.json", json.dumps(meta, ensure_ascii=False).encode())
        pointer, before = _pointer(self._name), _pointed(self._name)
        write_atomic(pointer, self.folder.name.encode())
        if before is not None and before != self.folder:
            shutil.rmtree(before, ignore_errors=True)  # who has it mapped keeps it
        return Stored(self.folder)

    def abandon(self) -> None:
        """Leave nothing behind."""
        for part in (self._rows, self._files, self._blobs, self._bad):
            part.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copied(self, data: bytes) -> str:
        start = self._blobs.tell()
        self._blobs.write(data)
        return f"tar:{self.folder / 'blobs.bin'}#{start}#{len(data)}"


class Stored:
    """An opened data set: memory-mapped columns, and what was noted of it."""

    def __init__(self, folder: Path) -> None:
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_bytes())
        self.folder = folder
        with pa.memory_map(str(folder / "rows.arrow")) as source, pa.ipc.open_file(source) as reader:
            self._table = reader.read_all()
        lines = (folder / "quarantine.jsonl").read_text("utf-8").splitlines()
        self.quarantine = [Bad(**json.loads(line)) for line in lines]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def strings(self, column: str, renamed: Mapping[int, str] | None = None) -> Strings:
        """A column of texts."""
        return Strings(self._table[column], renamed)

    def numbers(self, column: str) -> np.ndarray:
        """A column of numbers [N], in memory."""
        found: np.ndarray = self._table[column].to_numpy()
        return found


def reopen(name: str) -> Stored | None:
    """What is stored under `name` if it is whole and no file that it came from has changed; else None."""
    folder = _pointed(name)
    if folder is None:
        return None
    try:
        found = Stored(folder)
        if not found.meta["settled"] or any(_sum(folder / n) != s for n, s in found.meta["sums"].items()):
            return None
        with pa.memory_map(str(folder / "files.arrow")) as source, pa.ipc.open_file(source) as reader:
            files = reader.read_all()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    for chunk in files.to_batches():
        for path, size, mtime in zip(*(chunk.column(k).to_pylist() for k in range(3)), strict=True):
            if stamp(Path(path)) != (size, mtime):
                return None
    return found


class _Batches:
    """Dictionaries to an Arrow file, a batch at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pa.ipc.new_file(str(path), schema)
        self._waiting: dict[str, list[Any]] = {name: [] for name in schema.names}

    def add(self, values: Mapping[str, Any]) -> None:
        for name, column in self._waiting.items():
            column.append(values[name])
        if len(column) == BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if next(iter(self._waiting.values())):
            self._writer.write_batch(pa.record_batch(self._waiting, self._schema))
            self._waiting = {name: [] for name in self._waiting}


_FILES = pa.schema([("path", pa.large_string()), ("size", pa.int64()), ("mtime", pa.int64())])
_FILES_OF = ("rows.arrow", "files.arrow", "quarantine.jsonl")


def _rows_schema(keys: Sequence[str]) -> pa.Schema:
    fields = [("id", pa.large_string()), ("given", pa.int8())]
    for key in keys:
        fields += [(key, pa.large_string()), (f"{key}#about", pa.large_string())]
        fields += [(f"{key}#{what}", pa.uint64()) for what in ("content", "near", "same")]
    return pa.schema(fields)


def _sets() -> Path:
    return home() / "decoded" / "sets"


def _pointer(name: str) -> Path:
    return _sets() / f"{name}.current"


def _pointed(name: str) -> Path | None:
    try:
        found = _pointer(name).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return _sets() / found if found.startswith(name) and "/" not in found else None


def _sum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
