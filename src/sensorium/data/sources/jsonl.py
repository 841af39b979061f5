"""JSON lines and CSV, strictly: duplicate keys, NaN and broken lines set the line aside with its number."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits

from .table import Bad, Entry, Row


def strict(text: str) -> dict[str, Any]:
    """A JSON object without duplicate keys and without NaN; ValueError says what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but a {type(value).__name__}")
    return value


def read_jsonl(path: Path, where: str, given: str, limits: Limits) -> Iterator[Entry]:
    """One row per line; `where` is the file's name in messages. Blank lines are skipped."""
    _small(path, limits)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if line.strip():
                    yield _line(line, f"{where}:{number}", path.parent, given)
    except OSError as error:
        raise SensoriumError(f"cannot read {path}: {error.strerror or error}") from error


def _line(line: bytes, place: str, base: Path, given: str) -> Entry:
    try:
        return Row(place, place, strict(line.rstrip(b"\n").decode("utf-8")), base, given)
    except UnicodeDecodeError:
        return Bad(place, "", "invalid UTF-8")
    except ValueError as error:  # only the last line has no newline after it: most likely the file was cut there
        cut = not line.endswith(b"\n") and str(error).startswith("broken")
        return Bad(place, "", f"truncated last line ({error})" if cut else str(error))


def read_csv(path: Path, where: str, given: str, limits: Limits) -> Iterator[Entry]:
    """One row per record under a header; empty cells are missing. Bytes that are no UTF-8 stay as surrogates."""
    _small(path, limits)
    try:
        with path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _records(file, path, where, given)
    except OSError as error:
        raise SensoriumError(f"cannot read {path}: {error.strerror or error}") from error


def _records(file: Any, path: Path, where: str, given: str) -> Iterator[Entry]:
    reader = csv.reader(file, strict=True)
    header = next(reader, [])
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise SensoriumError(f"{path} has two columns named {twice[0]!r}")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Bad(f"{where}:{reader.line_num}", "", f"broken CSV: {error}")
            continue
        place = f"{where}:{reader.line_num}"
        if cells and len(cells) != len(header):
            yield Bad(place, "", f"has {len(cells)} fields, the header has {len(header)}")
        elif cells:
            yield Row(place, place, dict(zip(header, cells, strict=True)), path.parent, given)


def _small(path: Path, limits: Limits) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SensoriumError(f"cannot read {path}: {error.strerror or error}") from error
    if size > limits.table:
        raise SensoriumError(f"{path} has {size:,} bytes; the limit is {limits.table:,}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(n for n in names if names.count(n) > 1)!r}")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
