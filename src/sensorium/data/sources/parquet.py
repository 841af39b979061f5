"""Parquet: media as struct{bytes, path}, plain bytes or path strings; strings are decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .table import Blob, Entry, Row

BATCH = 512
"""Rows held at a time."""


def read_parquet(path: Path, where: str, given: str, limits: Limits) -> Iterator[Entry]:
    """One row per row. A file that cannot be opened, or would unpack to more than `limits.table` bytes, is an error."""
    number = 0
    for batch in _batches(path, limits):
        columns = [_values(batch.column(k)) for k in range(batch.num_columns)]
        for cells in zip(*columns, strict=True):
            names = zip(batch.schema.names, cells, strict=True)
            values = {name: _placed(cell, path, name, number) for name, cell in names}
            place = f"{where}:{number}"
            yield Row(place, _media_path(values) or place, values, path.parent, given)
            number += 1


def _batches(path: Path, limits: Limits) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
            if size > limits.table:
                raise SensoriumError(f"{path} unpacks to {size:,} bytes; the limit is {limits.table:,}")
            _no_extensions(path, file.schema_arrow)
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise SensoriumError(f"{path} has two columns named {twice!r}")
            yield from file.iter_batches(BATCH)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0][:120]
        raise SensoriumError(f"{path} is not readable as Parquet: {first}") from error


def fetch(path: str, column: str, row: int) -> bytes:
    """The bytes of one cell, read again; neighbours in the same row group cost nothing more."""
    starts = _opened(path)[1]
    group = int(np.searchsorted(starts, row, side="right")) - 1
    value = _group(path, group, column)[row - int(starts[group])].as_py()
    data = value["bytes"] if isinstance(value, dict) else value
    assert isinstance(data, bytes)
    return data


@lru_cache(maxsize=16)
def _opened(path: str) -> tuple[pq.ParquetFile, np.ndarray]:
    file = pq.ParquetFile(path)
    counts = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
    return file, np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


@lru_cache(maxsize=2)
def _group(path: str, group: int, column: str) -> Any:
    return _opened(path)[0].read_row_group(group, columns=[column])[column]


def schema(path: Path) -> dict[str, str]:
    """Column -> type, to compare shards before any is read."""
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0][:120]
        raise SensoriumError(f"{path} is not readable as Parquet: {first}") from error
    return {name: _family(found.field(k).type) for k, name in enumerate(found.names)}


def _family(kind: pa.DataType) -> str:
    """string, large_string and dictionary<string> are one family; so are the integer widths."""
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_null(kind):
        return "null"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    return str(kind)


def _no_extensions(path: Path, found: pa.Schema) -> None:
    for item in found:
        stored = (item.metadata or {}).get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
        name = getattr(item.type, "extension_name", "") or stored
        if "py_extension" in name or "pickle" in name:
            raise SensoriumError(f"{path}: column {item.name!r} is a pickled extension type; it is not read")


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):  # to_pylist would fail the column for one bad value
        return [_text(v) for v in column.cast(pa.large_binary()).to_pylist()]
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, pa.ArrowException):
        return [_cell(scalar) for scalar in column]


class _NotText(bytes):
    """Bytes that should have been UTF-8; set aside later, with that reason."""


def _text(value: bytes | None) -> str | bytes | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _NotText(value)


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (UnicodeDecodeError, pa.ArrowException):
        return _NotText(b"\xff")


def _placed(value: Any, path: Path, column: str, row: int) -> Any:
    """Bytes, alone or as struct{bytes, path}, with the place to read them again; anything else as it is."""
    at = f"parquet:{path.absolute()}#{column}#{row}"  # read again from wherever that is asked
    if isinstance(value, bytes) and not isinstance(value, _NotText):
        return Blob(value, at)
    if isinstance(value, dict) and isinstance(data := value.get("bytes"), bytes):
        return Blob(data, at, name if isinstance(name := value.get("path"), str) else "")
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return value["path"]
    return value


def _media_path(values: dict[str, Any]) -> str:
    return next((value.name for value in values.values() if isinstance(value, Blob) and value.name), "")
