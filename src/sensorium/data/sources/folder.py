"""Finds out what lies at a path: a metadata folder, split folders, split files or one file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sensorium.core import SensoriumError, nearest
from sensorium.data.limits import Limits

from .jsonl import read_csv, read_jsonl, strict
from .parquet import read_parquet, schema
from .table import SPLITS, Table

Reader = Callable[[Path, str, str, Limits], Table]
READERS: dict[str, Reader] = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
METADATA = ("metadata.jsonl", "metadata.csv")
EXPECTED = (
    "metadata.jsonl or metadata.csv with a file_name column, folders train/ and test/ of these, "
    "train.parquet and test.parquet, or a .jsonl, .csv or .parquet file"
)
_SPLIT_FILE = re.compile(rf"({'|'.join(SPLITS)})(?:[-_.].*)?\.(?:parquet|jsonl|csv)")


def read(path: Path, limits: Limits) -> Table:
    """Rows of whatever lies at `path`; SensoriumError names what was found and what was expected."""
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SensoriumError(f"no file or folder {path}{nearest(path.name, siblings)}")
    if path.is_file():
        if path.suffix.lower() not in READERS:
            raise SensoriumError(f"{path} is a {path.suffix or 'file without an ending'}; expected {EXPECTED}")
        table = READERS[path.suffix.lower()](path, path.name, "", limits)
    else:
        table = _folder(path, limits)
    _given(table)
    return table


def _folder(path: Path, limits: Limits) -> Table:
    table = Table(path)
    table.about = _about(path)
    if meta := _metadata(path):
        table.extend([_with_file_names(meta, meta.name, "", limits)])
        return table
    folders = [p for p in sorted(path.iterdir()) if p.is_dir() and p.name.lower() in SPLITS and _metadata(p)]
    if folders:
        metas = [(p, m) for p in folders if (m := _metadata(p))]
        table.extend(_with_file_names(m, f"{p.name}/{m.name}", SPLITS[p.name.lower()], limits) for p, m in metas)
        return table
    table.extend(_files(path, limits))
    return table


def _files(path: Path, limits: Limits) -> list[Table]:
    """train.parquet, train-00000-of-00002.parquet, test.jsonl …, also inside data/; else the only readable file."""
    inside = path / "data"
    places = [path, inside] if inside.is_dir() else [path]
    for place in places:
        files = sorted(p for p in place.iterdir() if p.is_file() and p.suffix.lower() in READERS)
        named = [(p, SPLITS[m[1]]) for p in files if (m := _SPLIT_FILE.fullmatch(p.name.lower()))]
        if not named and len(files) == 1:
            named = [(files[0], "")]
        if named:
            _same_schema([p for p, _ in named if p.suffix.lower() == ".parquet"])
            return [READERS[p.suffix.lower()](p, str(p.relative_to(path)), given, limits) for p, given in named]
    raise SensoriumError(f"{path} holds {_inventory(path)}; expected {EXPECTED}")


def _inventory(path: Path) -> str:
    entries = sorted(path.iterdir())
    folders = [f"{p.name}/" for p in entries if p.is_dir()]
    endings = Counter(p.suffix.lower() or p.name for p in entries if p.is_file())
    parts = folders[:5] + [f"{n} {ending}" for ending, n in endings.most_common(5)]
    return ", ".join(parts) or "nothing"


def _metadata(path: Path) -> Path | None:
    return next((path / name for name in METADATA if (path / name).is_file()), None)


def _with_file_names(meta: Path, where: str, given: str, limits: Limits) -> Table:
    table = READERS[meta.suffix](meta, where, given, limits)
    if table.rows and "file_name" not in (columns := table.columns):
        raise SensoriumError(f"{meta} has no column 'file_name'{nearest('file_name', columns)}")
    prefix = where.removesuffix(meta.name)
    table.rows = [
        replace(row, id=f"{prefix}{name}") if isinstance(name := row.values.get("file_name"), str) and name else row
        for row in table.rows
    ]
    return table


def _about(path: Path) -> dict[str, object]:
    file = path / "dataset.json"
    if not file.is_file():
        return {}
    try:
        about = strict(file.read_text("utf-8-sig"))
    except (ValueError, OSError) as error:
        raise SensoriumError(f"{file}: {error}") from error
    for name in ("roles", "splits"):
        value = about.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise SensoriumError(f"{file}: {name!r} is {type(value).__name__}; expected an object of strings")
    return about


def _same_schema(files: list[Path]) -> None:
    """Columns that two shards share must have one type."""
    seen: dict[str, tuple[str, Path]] = {}
    for file in files:
        for name, kind in schema(file).items():
            if kind == "null":
                continue
            before, first = seen.setdefault(name, (kind, file))
            if before != kind:
                raise SensoriumError(f"column {name!r} is {before} in {first} but {kind} in {file}")


def _given(table: Table) -> None:
    """Settles the given split of each row; `validation` beside `train` without a test split is the test split."""
    if not any(row.given for row in table.rows):
        found = [row.values.get("split") for row in table.rows]
        if found and all(isinstance(v, str) and v.lower() in SPLITS for v in found):
            table.rows = [replace(r, given=SPLITS[r.values["split"].lower()]) for r in table.rows]
            table.notes.append("given splits <- column split")
    wanted = {SPLITS.get(k, k): v for k, v in dict(table.about.get("splits") or {}).items()}
    if unknown := sorted(set(wanted.values()) - {"train", "validation", "test"}):
        raise SensoriumError(f"dataset.json: split {unknown[0]!r} is unknown; expected train, validation or test")
    names = {row.given for row in table.rows}
    if not wanted and {"train", "validation"} <= names and "test" not in names:
        wanted = {"validation": "test"}
        table.notes.append("no test split is given: the given validation split is the test split")
    if wanted:
        table.rows = [replace(row, given=wanted.get(row.given, row.given)) for row in table.rows]
