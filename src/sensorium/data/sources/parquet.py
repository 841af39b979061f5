"""Parquet: pictures as struct{bytes, path}, plain bytes or path strings; strings are decoded one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .table import Row, Table


def read_parquet(path: Path, where: str, given: str, limits: Limits) -> Table:
    """One row per row. A file that cannot be opened, or would unpack to more than `limits.table` bytes, is an error."""
    try:
        with pq.ParquetFile(path) as file:
            size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
            if size > limits.table:
                raise SensoriumError(f"{path} unpacks to {size:,} bytes; the limit is {limits.table:,}")
            _no_extensions(path, file.schema_arrow)
            data = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0][:120]
        raise SensoriumError(f"{path} is not readable as Parquet: {first}") from error
    names = data.column_names
    if len(set(names)) < len(names):
        raise SensoriumError(f"{path} has two columns named {next(n for n in names if names.count(n) > 1)!r}")
    columns = [_values(data[name]) for name in names]
    table = Table(path.parent)
    for number, cells in enumerate(zip(*columns, strict=True)):
        values = dict(zip(names, cells, strict=True))
        place = f"{where}:{number}"
        table.rows.append(Row(place, _picture_path(values) or place, values, path.parent, given))
    return table


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


def _values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):  # to_pylist would fail the column for one bad value
        return [_text(v) for v in column.cast(pa.large_binary()).to_pylist()]
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, pa.ArrowException):
        return [_cell(scalar) for scalar in column]


def _text(value: bytes | None) -> str | bytes | None:
    """Text, or the raw bytes where they are not UTF-8 (set aside later, with a reason)."""
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (UnicodeDecodeError, pa.ArrowException):
        return b"\xff"


def _picture_path(values: dict[str, Any]) -> str:
    for value in values.values():
        if isinstance(value, dict) and "bytes" in value and isinstance(path := value.get("path"), str) and path:
            return path
    return ""
