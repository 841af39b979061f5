"""JSON lines and CSV, strictly: duplicate keys, NaN and broken lines set the line aside with its number."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Never

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .table import Bad, Row, Table


def strict(text: str) -> dict[str, Any]:
    """A JSON object without duplicate keys and without NaN; ValueError says what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but a {type(value).__name__}")
    return value


def read_jsonl(path: Path, where: str, given: str, limits: Limits) -> Table:
    """One row per line; `where` is the file's name in messages. Blank lines are skipped."""
    table = Table(path.parent)
    lines = _bytes(path, limits).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            values = strict(line.decode("utf-8"))
        except UnicodeDecodeError:
            table.bad.append(Bad(place, "", "invalid UTF-8"))
        except ValueError as error:  # the last line has no newline after it: most likely the file was cut there
            cut = number == len(lines) and str(error).startswith("broken")
            table.bad.append(Bad(place, "", f"truncated last line ({error})" if cut else str(error)))
        else:
            table.rows.append(Row(place, place, values, path.parent, given))
    return table


def read_csv(path: Path, where: str, given: str, limits: Limits) -> Table:
    """One row per record under a header; empty cells are missing. Bytes that are no UTF-8 stay as surrogates."""
    table = Table(path.parent)
    text = _bytes(path, limits).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise SensoriumError(f"{path} has two columns named {twice[0]!r}")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return table
        except csv.Error as error:
            table.bad.append(Bad(f"{where}:{reader.line_num}", "", f"broken CSV: {error}"))
            continue
        place = f"{where}:{reader.line_num}"
        if cells and len(cells) != len(header):
            table.bad.append(Bad(place, "", f"has {len(cells)} fields, the header has {len(header)}"))
        elif cells:
            table.rows.append(Row(place, place, dict(zip(header, cells, strict=True)), path.parent, given))


def _bytes(path: Path, limits: Limits) -> bytes:
    try:
        if (size := path.stat().st_size) > limits.table:
            raise SensoriumError(f"{path} has {size:,} bytes; the limit is {limits.table:,}")
        return path.read_bytes()
    except OSError as error:
        raise SensoriumError(f"cannot read {path}: {error.strerror or error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(n for n in names if names.count(n) > 1)!r}")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
